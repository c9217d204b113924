package session_test

import (
	"testing"
	"time"

	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/session"
)

// byRefresh asks every ten minutes, and bears half an hour without an answer.
var byRefresh = session.Revalidation{Via: session.ViaRefresh, Every: 10 * time.Minute, Grace: 30 * time.Minute}

func TestRevalidationIsDue(t *testing.T) {
	with := func(change func(*session.Revalidation)) session.Revalidation {
		r := byRefresh
		change(&r)
		return r
	}
	grant := func(life time.Duration) oidc.Grant {
		g := alice()
		g.Expires = noon.Add(life)
		return g
	}
	endless, noRefresh, noTokens := grant(0), grant(time.Minute), grant(time.Minute)
	endless.Expires = time.Time{}
	noRefresh.Refresh = ""
	noTokens.Refresh, noTokens.Access = "", ""
	userinfo := with(func(r *session.Revalidation) { r.Via = session.ViaUserinfo })
	introspection := with(func(r *session.Revalidation) { r.Via = session.ViaIntrospection })
	const never = -1
	for _, tt := range []struct {
		name  string
		r     session.Revalidation
		grant oidc.Grant
		want  time.Duration // after the sign-in
	}{
		{"the_zero_revalidation", session.Revalidation{}, grant(time.Minute), never},
		{"an_access_token_that_ends_earlier", byRefresh, grant(5 * time.Minute), 5 * time.Minute},
		{"an_access_token_that_ends_with_it", byRefresh, grant(10 * time.Minute), 10 * time.Minute},
		{"an_access_token_that_ends_later", byRefresh, grant(time.Hour), 10 * time.Minute},
		{"an_access_token_whose_end_is_not_known", byRefresh, endless, 10 * time.Minute},
		{"an_access_token_that_ends_in_a_million_years", byRefresh, grant(1<<63 - 1), 10 * time.Minute},
		{"an_access_token_that_ends_exactly_now", byRefresh, grant(0), 10 * time.Second},
		{"an_access_token_that_ended_before", byRefresh, grant(-time.Hour), 10 * time.Second},
		{"an_access_token_that_lives_for_a_second", byRefresh, grant(time.Second), 10 * time.Second},
		{"one_that_ended_and_every_is_shorter", with(func(r *session.Revalidation) { r.Every = 3 * time.Second }), grant(0), 3 * time.Second},
		{"every_is_zero", with(func(r *session.Revalidation) { r.Every = 0 }), grant(time.Minute), never},
		{"every_is_below_zero", with(func(r *session.Revalidation) { r.Every = -1 }), grant(time.Minute), never},
		{"every_is_a_century", with(func(r *session.Revalidation) { r.Every = 100 * 365 * 24 * time.Hour }), endless, 100 * 365 * 24 * time.Hour},
		{"by_refresh_without_a_refresh_token", byRefresh, noRefresh, never},
		{"by_userinfo_without_a_refresh_token", userinfo, noRefresh, 10 * time.Minute},
		{"by_userinfo_whose_access_token_ends_earlier", userinfo, grant(time.Minute), 10 * time.Minute},
		{"by_userinfo_without_a_token", userinfo, noTokens, never},
		{"by_introspection_without_a_refresh_token", introspection, noRefresh, 10 * time.Minute},
		{"by_introspection_without_a_token", introspection, noTokens, never},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, _ := vault(t)
			v.Revalidation = tt.r
			token, created := signIn(t, v, tt.grant)
			loaded, err := v.Load(t.Context(), noon, token)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range []session.Session{created, loaded} {
				if tt.want == never {
					if !s.Due.IsZero() || !s.Renew.IsZero() || !s.Lapses.IsZero() {
						t.Errorf("due %v, renew %v, lapses %v, want never", s.Due, s.Renew, s.Lapses)
					}
					continue
				}
				if got := s.Due.Sub(noon); got != tt.want {
					t.Errorf("due after %v, want %v", got, tt.want)
				}
				if got := s.Lapses.Sub(s.Due); got != tt.r.Grace {
					t.Errorf("lapses %v after it is due, want %v", got, tt.r.Grace)
				}
				if ahead := s.Renew.Sub(noon); ahead < tt.want/10*7 || ahead > tt.want/10*9 {
					t.Errorf("renewed after %v, want 70 to 90 %% of %v", ahead, tt.want)
				}
			}
		})
	}
}

func TestRevalidationThatChangedSince(t *testing.T) {
	for _, tt := range []struct {
		name string
		then session.Revalidation
		want time.Duration // after the sign-in; 0 for never
	}{
		{"it_did_not", byRefresh, 10 * time.Minute},
		{"it_asks_nothing_now", session.Revalidation{}, 0},
		{"it_asks_more_often_now", session.Revalidation{Via: session.ViaRefresh, Every: time.Minute}, time.Minute},
		{"it_asks_less_often_now", session.Revalidation{Via: session.ViaRefresh, Every: time.Hour}, 10 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, _ := vault(t)
			v.Revalidation = byRefresh
			g := alice()
			g.Expires = time.Time{}
			token, _ := signIn(t, v, g)
			v.Revalidation = tt.then
			s, err := v.Load(t.Context(), noon, token)
			if err != nil {
				t.Fatal(err)
			}
			want := time.Time{}
			if tt.want > 0 {
				want = noon.Add(tt.want)
			}
			if !s.Due.Equal(want) || s.Renew.After(s.Due) {
				t.Errorf("due %v, renewed %v, want due %v", s.Due, s.Renew, want)
			}
		})
	}
}

// Those who came together do not all ask at once.
func TestRevalidationIsSpread(t *testing.T) {
	v, _ := vault(t)
	v.Revalidation = byRefresh
	g := alice()
	g.Expires = time.Time{}
	parts := map[int]int{} // by tenths of the fifth of the time in which they ask
	for range 1000 {
		_, s := signIn(t, v, g)
		parts[int(s.Renew.Sub(noon.Add(7*time.Minute))*10/(2*time.Minute))]++
	}
	for i := range 10 {
		if parts[i] < 50 || parts[i] > 200 {
			t.Errorf("%d of 1000 ask in part %d, want 100 or so", parts[i], i)
		}
	}
	if len(parts) != 10 {
		t.Errorf("they ask in the parts %v, want 0 to 9", parts)
	}
}

func TestSessionIsAskedAbout(t *testing.T) {
	s := session.Session{
		ID: session.ID{1}, Seen: noon, Ends: noon.Add(12 * time.Hour), Idle: time.Hour,
		Renew: noon.Add(8 * time.Minute), Due: noon.Add(10 * time.Minute), Lapses: noon.Add(40 * time.Minute),
	}
	never := s
	never.Renew, never.Due, never.Lapses = time.Time{}, time.Time{}, time.Time{}
	for _, tt := range []struct {
		name           string
		s              session.Session
		at             time.Duration // after noon
		state          session.State
		renews, lapsed bool
	}{
		{"never", never, 30 * time.Minute, session.Fresh, false, false},
		{"not_yet", s, 8*time.Minute - 1, session.Fresh, false, false},
		{"in_the_background_exactly_now", s, 8 * time.Minute, session.Fresh, true, false},
		{"just_before_it_is_due", s, 10*time.Minute - 1, session.Fresh, true, false},
		{"due_exactly_now", s, 10 * time.Minute, session.Stale, true, false},
		{"just_before_it_lapses", s, 40*time.Minute - 1, session.Stale, true, false},
		{"lapses_exactly_now", s, 40 * time.Minute, session.Stale, true, true},
		{"due_and_ended_exactly_now", s, time.Hour, session.Ended, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := noon.Add(tt.at)
			if s := tt.s; s.State(now) != tt.state || s.Renews(now) != tt.renews || s.Lapsed(now) != tt.lapsed {
				t.Errorf("State, Renews, Lapsed = %v, %v, %v, want %v, %v, %v",
					s.State(now), s.Renews(now), s.Lapsed(now), tt.state, tt.renews, tt.lapsed)
			}
		})
	}
}
