package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"
)

// TestMain lets the test's own binary be the servers, too.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestTheTable(t *testing.T) {
	var out, progress bytes.Buffer
	if err := bench(t.Context(), []string{"-rounds", "1", "-requests", "200"}, &out, &progress); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", out.String())
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 9 {
		t.Fatalf("%d lines, want 9", len(lines))
	}
	for i, server := range []string{noop, hot, miss} {
		var name string
		var f [7]float64
		_, err := fmt.Sscan(lines[1+i], &name, &f[0], &f[1], &f[2], &f[3], &f[4], &f[5], &f[6])
		if err != nil || name != server {
			t.Errorf("line %q: want %s and seven figures: %v", lines[1+i], server, err)
		}
	}
	if !strings.HasPrefix(lines[5], "goal: hot ") || !strings.HasPrefix(lines[6], "goal: miss ") || !strings.HasPrefix(lines[7], "a session takes ") {
		t.Errorf("the last lines do not say how it went:\n%s", out.String())
	}
	if !strings.HasPrefix(progress.String(), "round 1 of 1: ") {
		t.Errorf("progress = %q", progress.String())
	}
}

func TestJSONSaysTheSame(t *testing.T) {
	var out bytes.Buffer
	if err := bench(t.Context(), []string{"-rounds", "1", "-requests", "200", "-json"}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Servers) != 3 || r.Servers[1].Goal != goals[hot] || r.Requests != 200 || r.Weight.Redis <= 0 || r.Weight.Cached <= 0 {
		t.Errorf("report = %+v", r)
	}
	for _, s := range r.Servers {
		if s.CPU <= 0 || s.PerSec <= 0 || s.P50 <= 0 || s.P99 < s.P50 || s.Allocs <= 0 || s.Ratio <= 0 {
			t.Errorf("row = %+v, want every figure", s)
		}
	}
}

func TestFlagsOutOfBounds(t *testing.T) {
	for _, args := range []string{"-rounds=0", "-rounds=101", "-requests=0", "-requests=10000001", "more"} {
		if err := bench(t.Context(), []string{args}, io.Discard, io.Discard); err == nil {
			t.Errorf("bench %s ran", args)
		}
	}
}

func TestTheRequestIsOfACommonSize(t *testing.T) {
	r := checkRequest("")
	if n := proto.Size(r); n < 1350 || n > 1450 {
		t.Errorf("%d bytes, want about 1,400", n)
	}
	if n := len(r.GetAttributes().GetRequest().GetHttp().GetHeaderMap().GetHeaders()); n != 25 {
		t.Errorf("%d header lines, want 25", n)
	}
}

func TestWrongAnswersAreFound(t *testing.T) {
	l := &load{asserted: true}
	tests := []struct {
		name string
		out  *authv3.CheckResponse
	}{
		{"denied", &authv3.CheckResponse{HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{}}}},
		{"ok_without_an_assertion", &authv3.CheckResponse{HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{}}}},
		{"empty", &authv3.CheckResponse{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if l.verify(tt.out) == nil {
				t.Error("verify says nothing")
			}
		})
	}
}

func TestMedian(t *testing.T) {
	if got := median([]float64{3, 1, 2}); got != 2 {
		t.Errorf("median of three = %v, want 2", got)
	}
	if got := median([]float64{4, 1, 2, 3}); got != 2.5 {
		t.Errorf("median of four = %v, want 2.5", got)
	}
}
