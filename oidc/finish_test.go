package oidc_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/oidc/oidctest"
)

func TestFinish_reads_the_redirect(t *testing.T) {
	w := discovered(t, nil)
	good := url.Values{"state": {"s"}, "code": {"c"}, "iss": {issuer}}
	for _, tt := range []struct {
		name   string
		change url.Values
		want   error
	}{
		{"nothing_at_all", url.Values{"state": nil, "code": nil, "iss": nil}, oidc.ErrIssuer},
		{"no_code", url.Values{"code": nil}, oidc.ErrParameters},
		{"empty_code", url.Values{"code": {""}}, oidc.ErrParameters},
		{"two_codes", url.Values{"code": {"c", "c"}}, oidc.ErrParameters},
		{"no_state", url.Values{"state": nil}, oidc.ErrState},
		{"empty_state", url.Values{"state": {""}}, oidc.ErrState},
		{"another_state", url.Values{"state": {"S"}}, oidc.ErrState},
		{"two_states", url.Values{"state": {"s", "s"}}, oidc.ErrParameters},
		{"two_iss", url.Values{"iss": {issuer, issuer}}, oidc.ErrParameters},
		{"two_errors", url.Values{"error": {"a", "b"}}, oidc.ErrParameters},
		{"iss_with_slash", url.Values{"iss": {issuer + "/"}}, oidc.ErrIssuer},
		{"wrong_iss_comes_before_wrong_state", url.Values{"iss": {"x"}, "state": {"x"}}, oidc.ErrIssuer},
		{"error_with_another_state", url.Values{"error": {"access_denied"}, "state": {"x"}}, oidc.ErrState},
		{"error_of_another_issuer", url.Values{"error": {"access_denied"}, "iss": {"x"}}, oidc.ErrIssuer},
		{"error_beside_a_code", url.Values{"error": {"access_denied"}}, oidc.ErrRefused},
		{"id_token_in_the_redirect", url.Values{"id_token": {"a.b.c"}}, oidc.ErrParameters},
		{"access_token_in_the_redirect", url.Values{"access_token": {"t"}}, oidc.ErrParameters},
	} {
		t.Run(tt.name, func(t *testing.T) {
			query := url.Values{}
			for _, values := range []url.Values{good, tt.change} {
				maps.Copy(query, values)
			}
			a, _ := attempt()
			grant, err := w.client.Finish(t.Context(), a, redirect, query)
			mustHold(t, grant, err)
			if !errors.Is(err, tt.want) {
				t.Errorf("Finish = %v, want %v", err, tt.want)
			}
		})
	}
	if n := w.Count(oidctest.TokenAsked); n != 0 {
		t.Errorf("a code was sent %d times", n)
	}
}

func TestFinish_refuses_an_attempt(t *testing.T) {
	w := discovered(t, nil)
	for _, tt := range []struct {
		name   string
		change func(*oidc.Attempt)
		want   error
	}{
		{"zero", func(a *oidc.Attempt) { *a = oidc.Attempt{} }, oidc.ErrAttempt},
		{"of_another_provider", func(a *oidc.Attempt) { a.Provider = "other" }, oidc.ErrAttempt},
		{"expired_exactly_now", func(a *oidc.Attempt) { a.Started = noon.Add(-oidc.AttemptLife) }, oidc.ErrAttempt},
		{"with_a_second_left", func(a *oidc.Attempt) { a.Started = noon.Add(time.Second - oidc.AttemptLife) }, oidc.ErrCode},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, query := attempt()
			tt.change(&a)
			if _, err := w.client.Finish(t.Context(), a, redirect, query); !errors.Is(err, tt.want) {
				t.Errorf("Finish = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestFinish_believes_iss_even_when_it_was_not_announced(t *testing.T) {
	w := newWorld(t, nil)
	lies := oidctest.Lies{Metadata: map[string]any{"authorization_response_iss_parameter_supported": false}}
	w.SetLies(lies)
	run(t, w.client)
	await(t, func() bool { return w.client.Ready() == nil })

	lies.CallbackIssuer = oidctest.Missing
	w.SetLies(lies)
	if _, err := w.login(t); err != nil {
		t.Errorf("without iss, Finish = %v", err)
	}
	lies.CallbackIssuer = "https://evil.test"
	w.SetLies(lies)
	if _, err := w.login(t); !errors.Is(err, oidc.ErrIssuer) {
		t.Errorf("with another iss, Finish = %v, want ErrIssuer", err)
	}
}

func TestFinish_refuses_an_injected_code(t *testing.T) {
	w := discovered(t, nil)
	_, fromEve := w.signIn(t)
	alices, _ := w.signIn(t)
	fromEve.Set("state", alices.State.Reveal())
	if _, err := w.client.Finish(t.Context(), alices, redirect, fromEve); !errors.Is(err, oidc.ErrCode) {
		t.Errorf("Finish of eve's code = %v, want ErrCode", err)
	}
}

// hanging answers nothing until it is released.
type hanging struct {
	http.RoundTripper
	path    string
	release chan struct{}
}

func (h hanging) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path == h.path {
		select {
		case <-h.release:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	return h.RoundTripper.RoundTrip(r)
}

func TestFinish_waits_at_most_64_times(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		w := hangingWorld(t, "/token", release)
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				a, query := attempt()
				if _, err := w.client.Finish(t.Context(), a, redirect, query); !errors.Is(err, oidc.ErrCode) {
					t.Errorf("Finish that waited = %v, want ErrCode", err)
				}
			})
		}
		synctest.Wait()
		began := time.Now()
		a, query := attempt()
		if _, err := w.client.Finish(t.Context(), a, redirect, query); !errors.Is(err, oidc.ErrUnavailable) {
			t.Errorf("Finish beyond the bound = %v, want ErrUnavailable", err)
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("it waited %v", waited)
		}
		close(release)
		wg.Wait()
		if _, err := w.client.Finish(t.Context(), a, redirect, query); !errors.Is(err, oidc.ErrCode) {
			t.Errorf("Finish after all = %v, want ErrCode", err)
		}
	})
}

func TestFinish_gives_up(t *testing.T) {
	for _, tt := range []struct {
		name   string
		budget time.Duration
		want   time.Duration
	}{
		{"after_the_timeout", time.Hour, 10 * time.Second},
		{"with_its_caller", 3 * time.Second, 3 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := hangingWorld(t, "/token", nil)
				ctx, cancel := context.WithTimeout(t.Context(), tt.budget)
				defer cancel()
				began := time.Now()
				a, query := attempt()
				if _, err := w.client.Finish(ctx, a, redirect, query); !errors.Is(err, oidc.ErrUnavailable) {
					t.Errorf("Finish = %v, want ErrUnavailable", err)
				}
				if took := time.Since(began); took != tt.want {
					t.Errorf("it took %v, want %v", took, tt.want)
				}
			})
		})
	}
}

// hangingWorld is a discovered world within a synctest bubble, one of whose
// endpoints hangs.
func hangingWorld(t *testing.T, path string, release chan struct{}) *world {
	t.Helper()
	w := newWorld(t, func(theirs *oidctest.Config, ours *oidc.Config) {
		provider, err := oidctest.New(*theirs)
		if err != nil {
			t.Fatal(err)
		}
		ours.Transport = hanging{inside{provider}, path, release}
	})
	run(t, w.client)
	synctest.Wait()
	if err := w.client.Ready(); err != nil {
		t.Fatal(err)
	}
	return w
}
