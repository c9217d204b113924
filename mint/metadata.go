package mint

import "encoding/json"

// Metadata returns the discovery document of an issuer (OpenID Connect
// Discovery 1.0 §3, RFC 8414 §2). It names no authorization or token endpoint,
// because nobody logs in here: it is there so that a verifier which knows the
// issuer alone finds the keys.
func Metadata(issuer, jwksURI string) []byte {
	document, err := json.Marshal(struct {
		Issuer        string   `json:"issuer"`
		JWKSURI       string   `json:"jwks_uri"`
		ResponseTypes []string `json:"response_types_supported"`
		SubjectTypes  []string `json:"subject_types_supported"`
		Algorithms    []string `json:"id_token_signing_alg_values_supported"`
		Claims        []string `json:"claims_supported"`
	}{
		Issuer:  issuer,
		JWKSURI: jwksURI,
		// These three are REQUIRED, and verifiers that parse the whole document
		// (Spring's among them) refuse one without them.
		ResponseTypes: []string{"id_token"},
		SubjectTypes:  []string{"public"},
		Algorithms:    []string{string(ES256)},
		Claims:        reserved,
	})
	if err != nil {
		panic(err) // strings always marshal
	}
	return document
}
