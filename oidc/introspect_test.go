package oidc_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/oidc/oidctest"
	"github.com/google/go-cmp/cmp"
)

func TestIntrospect_asks_about_the_token_that_lasts(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*oidc.Grant)
		want   error
	}{
		{"the_refresh_token", func(*oidc.Grant) {}, nil},
		{"the_refresh_token_even_if_the_access_token_is_no_good", func(g *oidc.Grant) { g.Access = "unknown" }, nil},
		{"the_access_token_where_there_is_no_other", func(g *oidc.Grant) { g.Refresh = "" }, nil},
		{"an_unknown_refresh_token", func(g *oidc.Grant) { g.Refresh = "unknown" }, oidc.ErrEnded},
		{"an_unknown_access_token", func(g *oidc.Grant) { g.Access, g.Refresh = "unknown", "" }, oidc.ErrEnded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, _ := lasting(t, nil)
			g := w.granted(t)
			tt.change(&g)
			got, err := w.revisit(t, visits["Introspect"], g)
			if !errors.Is(err, tt.want) {
				t.Errorf("Introspect = %v, want %v", err, tt.want)
			}
			if diff := cmp.Diff(g, got); err == nil && diff != "" {
				t.Errorf("Grant (-want +got):\n%s", diff)
			}
		})
	}
}

func TestIntrospect_of_a_login_that_ended(t *testing.T) {
	for name, end := range map[string]func(*world, *clock){
		"signed_out":                      func(w *world, _ *clock) { w.SignOut("alice") },
		"removed":                         func(w *world, _ *clock) { w.RemovePerson("alice") },
		"refresh_token_ended_exactly_now": func(_ *world, c *clock) { c.sleep(24 * time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			w, c := lasting(t, nil)
			g := w.granted(t)
			end(w, c)
			if _, err := w.revisit(t, visits["Introspect"], g); !errors.Is(err, oidc.ErrEnded) {
				t.Errorf("Introspect = %v, want ErrEnded", err)
			}
		})
	}
}

func TestIntrospect_refuses_each_lie(t *testing.T) {
	says := func(status int, body string) oidctest.Lies {
		return oidctest.Lies{Introspection: oidctest.Fault{Status: status, Body: body}}
	}
	active := func(v any) oidctest.Lies { return oidctest.Lies{IntrospectionActive: v} }
	subject := func(v any) oidctest.Lies { return oidctest.Lies{IntrospectionSubject: v} }
	w, _ := lasting(t, nil)
	g := w.granted(t)
	for _, tt := range []struct {
		name string
		lies oidctest.Lies
		want error
	}{
		{"not_active", active(false), oidc.ErrEnded},
		{"active_in_a_string", active("true"), oidc.ErrActive},
		{"inactive_in_a_string", active("false"), oidc.ErrActive},
		{"active_by_a_number", active(1), oidc.ErrActive},
		{"active_null", active(json.RawMessage("null")), oidc.ErrActive},
		{"active_missing", active(oidctest.Missing), oidc.ErrActive},
		{"active_in_capitals", says(200, `{"Active":true}`), oidc.ErrActive},
		{"null", says(200, `null`), oidc.ErrActive},
		{"sub_of_another", subject("eve"), oidc.ErrSubject},
		{"sub_a_number", subject(1), oidc.ErrSubject},
		{"sub_missing", subject(oidctest.Missing), nil},
		{"invalid_client", says(401, `{"error":"invalid_client"}`), oidc.ErrUnavailable},
		{"invalid_grant", says(400, `{"error":"invalid_grant"}`), oidc.ErrUnavailable},
		{"401_and_not_active", says(401, `{"active":false}`), oidc.ErrUnavailable},
		{"404", says(404, `{}`), oidc.ErrUnavailable},
		{"429", says(429, `{"active":false}`), oidc.ErrUnavailable},
		{"500", says(500, `{"active":false}`), oidc.ErrUnavailable},
		{"html", says(200, `<html>`), oidc.ErrUnavailable},
		{"a_list", says(200, `[{"active":false}]`), oidc.ErrUnavailable},
		{"dropped", oidctest.Lies{Introspection: oidctest.Fault{Drop: true}}, oidc.ErrUnavailable},
		{"of_2_MiB", oidctest.Lies{Introspection: oidctest.Fault{Padding: 2 << 20}}, oidc.ErrUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.SetLies(tt.lies)
			if _, err := w.revisit(t, visits["Introspect"], g); !errors.Is(err, tt.want) {
				t.Errorf("Introspect = %v, want %v", err, tt.want)
			}
			w.SetLies(oidctest.Lies{})
			if _, err := w.revisit(t, visits["Introspect"], g); err != nil {
				t.Errorf("honest again, Introspect = %v", err)
			}
		})
	}
}
