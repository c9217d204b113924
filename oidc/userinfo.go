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

// userinfo asks for the claims that are wanted and not in the ID token (OpenID
// Connect Core 1.0 §5.3). It returns nil where none is missing or the provider
// has no such endpoint. The answer must be about the same subject (§5.3.2), and
// be JSON.
func (p *Provider) userinfo(ctx context.Context, m *metadata, t tokens, known claims) (claims, error) {
	missing := p.missing(known)
	if len(missing) == 0 || m.Userinfo == "" {
		return nil, nil
	}
	const who = "userinfo"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.Userinfo, nil)
	if err != nil {
		return nil, unavailable(who, err)
	}
	req.Header.Set("Authorization", "Bearer "+t.Access.Reveal())
	r, err := p.do(req, who)
	if err != nil {
		return nil, err
	}
	if r.status != http.StatusOK {
		return nil, fmt.Errorf("%w: status %d", ErrUserinfo, r.status)
	}
	if kind, _, _ := mime.ParseMediaType(r.header.Get("Content-Type")); kind == "application/jwt" {
		return nil, fmt.Errorf("%w: it is signed or encrypted; set the client to plain JSON at the provider", ErrUserinfo)
	}
	var more claims
	if err := decode(r.body, &more); err != nil {
		return nil, unavailable(who, err)
	}
	if sub := more.text("sub"); sub == "" || sub != known.text("sub") {
		return nil, fmt.Errorf("%w: userinfo is about somebody else", ErrSubject)
	}
	p.config.Log.LogAttrs(ctx, slog.LevelDebug, "userinfo read", slog.String("provider", p.config.Name),
		slog.Any("missing", missing), slog.Any("claims", slices.Sorted(maps.Keys(more))))
	return more, nil
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
