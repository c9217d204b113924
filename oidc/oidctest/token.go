package oidctest

import (
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"net/http"
	"slices"
	"strings"
)

func (p *Provider) serveToken(w http.ResponseWriter, r *http.Request) {
	client, ok := p.authenticate(w, r)
	p.rememberToken(recorded(r))
	if !ok {
		return
	}
	switch r.PostForm.Get("grant_type") {
	case "authorization_code":
		p.exchange(w, r, client)
	case "refresh_token":
		p.refreshGrant(w, r, client)
	default:
		writeRefusal(w, Refusal{"unsupported_grant_type", "want authorization_code or refresh_token"})
	}
}

// recorded copies what a test may want to see, without the client's secret.
func recorded(r *http.Request) TokenRequest {
	form := maps.Clone(r.PostForm)
	delete(form, "client_secret")
	if id, _, basic := basicAuth(r); basic {
		return TokenRequest{Client: id, AuthMethod: "client_secret_basic", Form: form}
	}
	return TokenRequest{Client: form.Get("client_id"), AuthMethod: "client_secret_post", Form: form}
}

// exchange trades a code for tokens (RFC 6749 §4.1.3, RFC 7636 §4.6).
func (p *Provider) exchange(w http.ResponseWriter, r *http.Request, client Client) {
	l, refusal := p.spendCode(client, r.PostForm.Get("code"))
	switch {
	case refusal.Code != "":
	case r.PostForm.Get("redirect_uri") != l.redirectURI:
		refusal = Refusal{"invalid_grant", "the redirect URI is not the one of the authorization request"}
	case !same(l.challenge, challengeOf(r.PostForm.Get("code_verifier"))):
		refusal = Refusal{"invalid_grant", "the code verifier does not match the challenge"}
	}
	if refusal.Code != "" {
		writeRefusal(w, refusal)
		return
	}
	p.count(CodeSpent)
	refresh := ""
	if l.wants("offline_access") || client.AlwaysRefresh {
		refresh = p.newRefresh(l)
	}
	p.giveTokens(w, l, p.Lies(), l.nonce, refresh)
}

// spendCode takes a code, which is then good for nothing, even if the rest of
// the request is wrong. A second use revokes what the first one gave (RFC 6749
// §4.1.2); another client's attempt changes nothing.
func (p *Provider) spendCode(client Client, code string) (*login, Refusal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.codes.find(p.now(), code)
	if k == nil || k.value.client.ID != client.ID {
		return nil, Refusal{"invalid_grant", "the code is not known, or it has ended"}
	}
	if k.spent {
		k.value.revoked = true
		p.log.add(ReplayRefused)
		return nil, Refusal{"invalid_grant", "the code was used before"}
	}
	k.spent = true
	if k.value.revoked {
		return nil, Refusal{"invalid_grant", "the login has ended"}
	}
	return k.value, Refusal{}
}

// refreshGrant trades a refresh token for new tokens (RFC 6749 §6).
func (p *Provider) refreshGrant(w http.ResponseWriter, r *http.Request, client Client) {
	old := r.PostForm.Get("refresh_token")
	lies := p.Lies().onRefresh()
	keep := lies.NoRotation
	l, refusal := p.spendRefresh(client, old, keep)
	if refusal.Code == "" {
		for scope := range strings.FieldsSeq(r.PostForm.Get("scope")) {
			if !slices.Contains(l.scopes, scope) {
				refusal = Refusal{"invalid_scope", "the scope goes beyond what was granted"}
			}
		}
	}
	if refusal.Code != "" {
		writeRefusal(w, refusal)
		return
	}
	p.count(Refreshed)
	next := ""
	if !keep {
		next = p.newRefresh(l)
	}
	p.giveTokens(w, l, lies, "", next) // no nonce: OpenID Connect Core 1.0 §12.2
}

// spendRefresh takes a refresh token. Whoever brings a spent one ends the whole
// family, since one of the two who had it is a thief (RFC 9700 §4.14.2).
func (p *Provider) spendRefresh(client Client, token string, keep bool) (*login, Refusal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.refresh.find(p.now(), token)
	if k == nil || k.value.client.ID != client.ID {
		return nil, Refusal{"invalid_grant", "the refresh token is not known, or it has ended"}
	}
	if k.spent {
		k.value.revoked = true
		p.log.add(ReplayRefused)
		return nil, Refusal{"invalid_grant", "the refresh token was used before"}
	}
	if k.value.revoked {
		return nil, Refusal{"invalid_grant", "the login has ended"}
	}
	k.spent = !keep
	return k.value, Refusal{}
}

func (p *Provider) newRefresh(l *login) string {
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refresh.put(now, now.Add(p.config.RefreshLife), l)
}

// giveTokens answers with what l is worth (RFC 6749 §5.1, OpenID Connect Core
// 1.0 §3.1.3.3).
func (p *Provider) giveTokens(w http.ResponseWriter, l *login, lies Lies, nonce, refresh string) {
	now := p.now()
	p.mu.Lock()
	person, known := p.person(l.username)
	access := p.access.put(now, now.Add(p.config.AccessLife), l)
	p.mu.Unlock()
	if !known {
		writeRefusal(w, Refusal{"invalid_grant", "the person is gone"})
		return
	}
	id, err := p.idToken(l, person, lies, nonce, access, now)
	if err != nil {
		http.Error(w, "signing failed", http.StatusInternalServerError)
		return
	}
	answer := map[string]any{
		"access_token": access,
		"token_type":   "Bearer",
		"expires_in":   int(p.config.AccessLife.Seconds()),
		"scope":        strings.Join(l.scopes, " "),
		"id_token":     id,
	}
	if refresh != "" {
		answer["refresh_token"] = refresh
	}
	lies.twistTokens(answer)
	writeJSON(w, http.StatusOK, answer)
}

// challengeOf is S256 (RFC 7636 §4.2).
func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
