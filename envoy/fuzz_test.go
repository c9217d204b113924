package envoy_test

import (
	"context"
	"net/http"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"

	"github.com/countersign/countersign/authz"
	"github.com/countersign/countersign/envoy"
)

// FuzzCheck feeds messages, as they come over the wire, to a Checker that repeats
// what it was sent wherever a decision has room for it.
func FuzzCheck(f *testing.F) {
	seeds := []*authv3.CheckRequest{
		browser(page),
		browser(raw),
		{},
		page(""),
		raw("/?"),
		asking(&httpRequest{Method: "CONNECT"}),
		raw("/", "cookie: a=\xff\r\nb: c", "X_Auth.User: \x00", ":path: /b", "location: \r"),
		raw("/", "content-type: application/grpc", "cookie: é"),
		values("/", "", "a"),
		both(page("/", "a: b"), raw("/c", "d: e")),
	}
	for _, seed := range seeds {
		wire, err := proto.Marshal(seed)
		if err != nil {
			f.Fatal(err)
		}
		for outcome := range uint8(5) {
			f.Add(wire, outcome)
		}
	}
	f.Fuzz(func(t *testing.T, wire []byte, outcome uint8) {
		in := new(authv3.CheckRequest)
		if proto.Unmarshal(wire, in) != nil {
			return // refused before Check, see TestUndecodable
		}
		var d authz.Decision
		s := serving(func(_ context.Context, req authz.Request) authz.Decision {
			d = echoing(req, authz.Outcome(outcome))
			return d
		})
		out := check(t, s, in)
		if _, err := envoy.Read(in); err == nil && d.Outcome == authz.Allow {
			encodesAlike(t, d, out)
		}
		if allows(out) && d.Outcome != authz.Allow {
			t.Errorf("allowed, but the decision was %v", d.Outcome)
		}
		if ok := out.GetOkResponse(); ok != nil && (len(ok.Headers) != len(d.Upstream.Set) || len(ok.HeadersToRemove) != len(d.Upstream.Remove)) {
			t.Errorf("allowed with %d of %d edits and %d of %d removals",
				len(ok.Headers), len(d.Upstream.Set), len(ok.HeadersToRemove), len(d.Upstream.Remove))
		}
	})
}

// echoing is a decision full of what the client sent.
func echoing(req authz.Request, outcome authz.Outcome) authz.Decision {
	d := authz.Decision{
		Outcome: outcome, Reason: authz.Reason(req.Method), Status: len(req.Header) * 100,
		ID: req.Path, App: req.Host, Rule: req.Query, Subject: req.Scheme,
		Client: http.Header{}, Body: []byte(req.Query),
	}
	for i, f := range req.Header {
		d.Client.Add(f.Name, f.Value)
		if i%2 == 0 {
			d.Upstream.Set = append(d.Upstream.Set, f)
		} else {
			d.Upstream.Remove = append(d.Upstream.Remove, f.Name)
		}
	}
	return d
}
