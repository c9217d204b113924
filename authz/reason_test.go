package authz_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"slices"
	"strconv"
	"testing"

	"github.com/countersign/countersign/authz"
)

// TestReasonStatus is the table of statuses that users are promised.
func TestReasonStatus(t *testing.T) {
	tests := []struct {
		reason  authz.Reason
		outcome authz.Outcome
		status  int
	}{
		{"public", authz.Allow, http.StatusOK},
		{"signed_in", authz.Allow, http.StatusOK},
		{"passthrough", authz.Allow, http.StatusOK},
		{"login_required", authz.Deny, http.StatusUnauthorized},
		{"login_started", authz.Redirect, http.StatusFound},
		{"login_finished", authz.Redirect, http.StatusSeeOther},
		{"login_refused", authz.Deny, http.StatusForbidden},
		{"login_invalid", authz.Deny, http.StatusBadRequest},
		{"login_expired", authz.Deny, http.StatusBadRequest},
		{"signed_out", authz.Respond, http.StatusOK},
		{"information", authz.Respond, http.StatusOK},
		{"forbidden", authz.Deny, http.StatusForbidden},
		{"no_rule", authz.Deny, http.StatusForbidden},
		{"unknown_host", authz.Deny, http.StatusMisdirectedRequest},
		{"not_found", authz.Deny, http.StatusNotFound},
		{"wrong_method", authz.Deny, http.StatusMethodNotAllowed},
		{"foreign_origin", authz.Deny, http.StatusForbidden},
		{"too_early", authz.Deny, http.StatusTooEarly},
		{"malformed", authz.Deny, http.StatusBadRequest},
		{"ambiguous_path", authz.Deny, http.StatusBadRequest},
		{"too_large", authz.Deny, http.StatusRequestHeaderFieldsTooLarge},
		{"store_unavailable", authz.Fail, http.StatusServiceUnavailable},
		{"provider_unavailable", authz.Fail, http.StatusServiceUnavailable},
		{"internal", authz.Fail, http.StatusInternalServerError},
	}
	var known []authz.Reason
	for _, tt := range tests {
		known = append(known, tt.reason)
		t.Run(string(tt.reason), func(t *testing.T) {
			d := authz.Failed(tt.reason, nil)
			if d.Reason != tt.reason || d.Outcome != tt.outcome || d.Status != tt.status {
				t.Errorf("answer = %s %s %d, want %s %d", d.Reason, d.Outcome, d.Status, tt.outcome, tt.status)
			}
			if _, ok := fixed[tt.reason]; !ok {
				t.Error("mustHold does not know it")
			}
		})
	}
	for _, r := range authz.Reasons() {
		if !slices.Contains(known, r) {
			t.Errorf("Reasons has %s, whose status nobody was promised", r)
		}
	}
	if len(authz.Reasons()) != len(known) {
		t.Errorf("Reasons has %d, want %d", len(authz.Reasons()), len(known))
	}
}

// TestReasonsOfTheSource holds the constants against the table: one without a row would
// be answered as internal.
func TestReasonsOfTheSource(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "Reason" {
			return true
		}
		literal, ok := spec.Values[0].(*ast.BasicLit)
		if !ok {
			t.Fatalf("%s is no literal", spec.Names[0])
		}
		reason, err := strconv.Unquote(literal.Value)
		if err != nil {
			t.Fatal(err)
		}
		found++
		if !slices.Contains(authz.Reasons(), authz.Reason(reason)) {
			t.Errorf("%s (%s) is not in the table", spec.Names[0], reason)
		}
		return true
	})
	if found != len(authz.Reasons()) {
		t.Errorf("the source has %d reasons, the table %d", found, len(authz.Reasons()))
	}
}

// TestDetail: a person or a program that is refused hears why.
func TestDetail(t *testing.T) {
	for _, r := range authz.Reasons() {
		d := authz.Failed(r, nil)
		refuses := d.Outcome == authz.Deny || d.Outcome == authz.Fail
		own := r == authz.Internal || r.Detail() != authz.Internal.Detail()
		if refuses && !own {
			t.Errorf("%s has no detail of its own", r)
		}
	}
}
