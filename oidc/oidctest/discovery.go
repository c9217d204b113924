package oidctest

import "net/http"

// serveDiscovery answers with the provider's metadata (OpenID Connect Discovery
// 1.0 §4.2, RFC 8414 §2, RFC 9207 §3).
func (p *Provider) serveDiscovery(w http.ResponseWriter, _ *http.Request) {
	metadata := p.metadata()
	p.Lies().twistMetadata(metadata)
	writeJSON(w, http.StatusOK, metadata)
}

func (p *Provider) metadata() map[string]any {
	issuer := p.config.Issuer
	return map[string]any{
		"issuer":                 issuer,
		"authorization_endpoint": issuer + authorizePath,
		"token_endpoint":         issuer + tokenPath,
		"userinfo_endpoint":      issuer + userinfoPath,
		"jwks_uri":               issuer + keysPath,
		"revocation_endpoint":    issuer + revokePath,
		"introspection_endpoint": issuer + introspectPath,
		"end_session_endpoint":   issuer + endSessionPath,

		"response_types_supported":                       []string{"code"},
		"response_modes_supported":                       []string{"query"},
		"grant_types_supported":                          []string{"authorization_code", "refresh_token"},
		"code_challenge_methods_supported":               []string{"S256"},
		"token_endpoint_auth_methods_supported":          []string{"client_secret_basic", "client_secret_post"},
		"id_token_signing_alg_values_supported":          []string{p.config.Algorithm},
		"subject_types_supported":                        []string{"public"},
		"scopes_supported":                               []string{"openid", "profile", "email", "groups", "offline_access"},
		"prompt_values_supported":                        []string{"none", "login", "select_account"},
		"acr_values_supported":                           p.config.ACRs,
		"authorization_response_iss_parameter_supported": true,
		"claims_parameter_supported":                     false,
		"request_parameter_supported":                    false,
		"request_uri_parameter_supported":                false, // when it is left out it means true
		"claims_supported": []string{
			"sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "azp", "sid",
			"name", "preferred_username", "email", "email_verified", "groups",
		},
	}
}
