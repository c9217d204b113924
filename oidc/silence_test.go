package oidc_test

import (
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/oidc/oidctest"
)

// cable is a network that can be cut.
type cable struct {
	to  http.RoundTripper
	cut atomic.Bool
}

func (c *cable) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.cut.Load() {
		return nil, errors.New("no route to host")
	}
	return c.to.RoundTrip(r)
}

// A provider to which nobody can connect gets nobody sent, until it is back.
func TestBegin_while_the_provider_is_away(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := new(cable)
		w := newWorld(t, func(_ *oidctest.Config, ours *oidc.Config) { ours.Transport = line })
		line.to = inside{w.Provider}
		run(t, w.client)
		time.Sleep(time.Second)
		begins := func() error {
			_, _, err := w.client.Begin(w.config.Now(), redirect, "/", false)
			if ready := w.client.Ready(); (ready == nil) != (err == nil) {
				t.Errorf("Begin = %v, but Ready = %v", err, ready)
			}
			return err
		}
		if err := begins(); err != nil {
			t.Fatalf("Begin = %v", err)
		}

		line.cut.Store(true)
		time.Sleep(12 * time.Second)
		if err := begins(); !errors.Is(err, oidc.ErrUnavailable) {
			t.Errorf("Begin while it is away = %v, want ErrUnavailable", err)
		}
		line.cut.Store(false)
		time.Sleep(2 * time.Second)
		if err := begins(); err != nil {
			t.Errorf("Begin when it is back = %v", err)
		}

		// A provider that answers, be it with an error, is there.
		w.SetLies(oidctest.Lies{Discovery: oidctest.Fault{Status: http.StatusInternalServerError}})
		time.Sleep(time.Minute)
		if err := begins(); err != nil {
			t.Errorf("Begin while discovery answers 500 = %v", err)
		}
	})
}
