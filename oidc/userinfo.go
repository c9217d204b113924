package oidc

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"mime"
	"net/http"
	"slices"
)

// Userinfo asks the userinfo endpoint about g with its access token (OpenID
// Connect Core 1.0 §5.3) and returns g with the Identity that comes of the
// answer. A claim of the answer takes the place of the known one, but for those
// that tell of the sign-in: iss, auth_time, acr, amr and sid. A known claim that
// only an earlier userinfo can have stated, because g's ID token lacks it, is
// gone when this one lacks it too.
//
// A status of 401 is ErrEnded. That is also what an access token gets whose time
// is over: after g.Expires the answer says nothing. Another subject is
// ErrSubject. Every other error is ErrInvalid or ErrUnavailable and no answer,
// as it is when the provider has no such endpoint.
func (p *Provider) Userinfo(ctx context.Context, g Grant) (Grant, error) {
	return p.revisit(ctx, g, func(m *metadata) (Grant, error) {
		switch {
		case m.Userinfo == "":
			return Grant{}, unavailable(userinfoName, errNoEndpoint)
		case g.Access == "":
			return Grant{}, unavailable(userinfoName, errNothingToSend)
		}
		r, err := p.fetchUserinfo(ctx, m, g.Access)
		if err != nil {
			return Grant{}, err
		}
		if r.status == http.StatusUnauthorized { // RFC 6750 §3.1
			return Grant{}, fmt.Errorf("%w: %s: status %d", ErrEnded, userinfoName, r.status)
		}
		said, err := p.readUserinfo(ctx, r, g.Subject)
		if err != nil {
			return Grant{}, err
		}
		g.Identity = p.restated(g, said)
		return g, nil
	})
}

const userinfoName = "userinfo"

// userinfo asks for the claims that are wanted and not in the ID token, known.
// It returns nil where none is missing or the provider has no such endpoint.
func (p *Provider) userinfo(ctx context.Context, m *metadata, access Secret, known claims) (claims, error) {
	if m.Userinfo == "" || len(p.missing(known)) == 0 {
		return nil, nil
	}
	return p.askUserinfo(ctx, m, access, known.text("sub"))
}

func (p *Provider) askUserinfo(ctx context.Context, m *metadata, access Secret, subject string) (claims, error) {
	r, err := p.fetchUserinfo(ctx, m, access)
	if err != nil {
		return nil, err
	}
	return p.readUserinfo(ctx, r, subject)
}

func (p *Provider) fetchUserinfo(ctx context.Context, m *metadata, access Secret) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.Userinfo, nil)
	if err != nil {
		return reply{}, unavailable(userinfoName, err)
	}
	req.Header.Set("Authorization", "Bearer "+access.Reveal())
	return p.do(req, userinfoName)
}

// readUserinfo returns the claims of an answer, which must be about the same
// subject (OpenID Connect Core 1.0 §5.3.2), and be JSON.
func (p *Provider) readUserinfo(ctx context.Context, r reply, subject string) (claims, error) {
	if r.status != http.StatusOK {
		return nil, fmt.Errorf("%w: status %d", ErrUserinfo, r.status)
	}
	if kind, _, _ := mime.ParseMediaType(r.header.Get("Content-Type")); kind == "application/jwt" {
		return nil, fmt.Errorf("%w: it is signed or encrypted; set the client to plain JSON at the provider", ErrUserinfo)
	}
	var said claims
	if err := decode(r.body, &said); err != nil {
		return nil, unavailable(userinfoName, err)
	}
	switch sub := said.text("sub"); {
	case sub == "":
		return nil, fmt.Errorf("%w: it has no sub", ErrUserinfo)
	case sub != subject:
		return nil, fmt.Errorf("%w: userinfo is about somebody else", ErrSubject)
	}
	p.config.Log.LogAttrs(ctx, slog.LevelDebug, "userinfo read", slog.String("provider", p.config.Name),
		slog.Any("claims", slices.Sorted(maps.Keys(said))))
	return said, nil
}

// missing lists the claims that the configuration wants and the ID token lacks.
func (p *Provider) missing(known claims) []string {
	var names []string
	for _, name := range p.wanted {
		if _, ok := claim(known, name); !ok {
			names = append(names, name)
		}
	}
	return names
}
