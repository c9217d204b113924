package oidc

import (
	"cmp"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// sent are the secrets of one request. A provider may say in its answer what it
// was sent, and what it says goes into errors and the log.
type sent []string

// sentWith lists the secrets of a request to the token or the introspection
// endpoint.
func (p *Provider) sentWith(req *http.Request, form url.Values) sent {
	_, credentials, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	secrets := sent{p.config.ClientSecret.Reveal(), credentials}
	for _, name := range []string{"code", "code_verifier", "refresh_token", "token"} {
		secrets = append(secrets, form.Get(name))
	}
	return secrets
}

var escapes = regexp.MustCompile("%[0-9A-F]{2}")

// cut replaces each secret in text, plain or URL-encoded, by "[secret]". It
// comes before [clip], which could leave a part of one.
func (secrets sent) cut(text string) string {
	var forms []string
	for _, s := range secrets {
		for _, form := range []string{s, url.QueryEscape(s), url.PathEscape(s)} {
			forms = append(forms, form, escapes.ReplaceAllStringFunc(form, strings.ToLower))
		}
	}
	// A secret may be a part of another one.
	slices.SortFunc(forms, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	var pairs []string
	for _, form := range forms {
		if form != "" {
			pairs = append(pairs, form, redacted)
		}
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// cutCode is cut for an error code. One that is known is no secret, whatever a
// visitor sends as the code: it decides what becomes of a login.
func (secrets sent) cutCode(code string) string {
	if hints[code] != "" {
		return code
	}
	return secrets.cut(code)
}
