package mint_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/countersign/countersign/mint"
)

// Keys of every kind, made once.
var (
	p256      = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	p256Other = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	p384      = must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	p521      = must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))
	rsa2048   = must(rsa.GenerateKey(rand.Reader, 2048))
	edwards   = func() ed25519.PrivateKey {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return must(private, err)
	}()
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// jwk is one key as it stands in a file.
type jwk map[string]any

func asJWK(key any, members ...jwk) jwk {
	var k jwk
	if err := json.Unmarshal(must(jose.JSONWebKey{Key: key}.MarshalJSON()), &k); err != nil {
		panic(err)
	}
	for _, m := range members {
		maps.Copy(k, m)
	}
	return k
}

func kid(name string) jwk { return jwk{"kid": name} }

func file(keys ...jwk) []byte { return must(json.Marshal(map[string]any{"keys": keys})) }

func thumbprint(key any) string {
	k := jose.JSONWebKey{Key: key}
	return base64.RawURLEncoding.EncodeToString(must(k.Thumbprint(crypto.SHA256)))
}

func TestLoadKeys(t *testing.T) {
	tests := []struct {
		name      string
		file      []byte
		wantKid   string   // of the key that signs
		published []string // kid and alg
	}{
		{"one_key", file(asJWK(p256, kid("a"))), "a", []string{"a ES256"}},
		{"no_kid", file(asJWK(p256)), thumbprint(p256), []string{thumbprint(p256) + " ES256"}},
		{"empty_kid", file(asJWK(p256, kid(""))), thumbprint(p256), []string{thumbprint(p256) + " ES256"}},
		{"alg_and_use", file(asJWK(p256, kid("a"), jwk{"alg": "ES256", "use": "sig"})), "a", []string{"a ES256"}},
		{"first_signs", file(asJWK(p256, kid("a")), asJWK(p256Other, kid("b"))), "a", []string{"a ES256", "b ES256"}},
		{"first_in_the_file_not_by_name", file(asJWK(p256Other, kid("b")), asJWK(p256, kid("a"))), "b", []string{"b ES256", "a ES256"}},
		{
			"first_private_signs", file(asJWK(&p256Other.PublicKey, kid("previous")), asJWK(p256, kid("current"))),
			"current",
			[]string{"previous ES256", "current ES256"},
		},
		{
			"first_of_the_algorithm_signs",
			file(asJWK(rsa2048, kid("r")), asJWK(p384, kid("e")), asJWK(p521, kid("f")), asJWK(edwards, kid("o")), asJWK(p256, kid("a"))),
			"a",
			[]string{"r RS256", "e ES384", "f ES512", "o EdDSA", "a ES256"},
		},
		{"public_keys_of_other_kinds", file(asJWK(p256, kid("a")), asJWK(&rsa2048.PublicKey, kid("r"))), "a", []string{"a ES256", "r RS256"}},
		{"one_key_under_two_names", file(asJWK(p256, kid("a")), asJWK(&p256.PublicKey, kid("b"))), "a", []string{"a ES256", "b ES256"}},
		{"unknown_members", file(asJWK(p256, kid("a"), jwk{"note": "spare"})), "a", []string{"a ES256"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			keys, err := mint.LoadKeys(tt.file, mint.ES256)
			if err != nil {
				t.Fatalf("LoadKeys: %v", err)
			}
			if keys.KeyID() != tt.wantKid {
				t.Errorf("KeyID = %q, want %q", keys.KeyID(), tt.wantKid)
			}
			var set jose.JSONWebKeySet
			if err := json.Unmarshal(keys.JWKS(), &set); err != nil {
				t.Fatal(err)
			}
			var published []string
			for _, k := range set.Keys {
				published = append(published, k.KeyID+" "+k.Algorithm)
			}
			if !slices.Equal(published, tt.published) {
				t.Errorf("published %q, want %q", published, tt.published)
			}
			mustHoldOfKeys(t, tt.file)
		})
	}
}

// badFiles are refused. The error says which key, and what is wrong with it.
func badFiles() map[string]struct {
	file []byte
	want string
} {
	b64 := base64.RawURLEncoding.EncodeToString
	good := asJWK(p256, kid("good"))
	// A valid modulus cannot be that small with Go's own generator.
	weak := jwk{"kty": "RSA", "kid": "weak", "n": b64(append([]byte{0xc1}, make([]byte, 127)...)), "e": "AQAB"}
	exponent := asJWK(&rsa2048.PublicKey, kid("three"), jwk{"e": "Aw"})
	twice := `{"kty":"EC","kty":"EC"}`

	type bad = struct {
		file []byte
		want string
	}
	return map[string]bad{
		"nothing":             {nil, "keys: not a JWK Set"},
		"not_json":            {[]byte("-----BEGIN EC PRIVATE KEY-----"), "keys: not a JWK Set"},
		"a_list":              {[]byte(`[{}]`), "keys: not a JWK Set"},
		"more_after_it":       {append(file(good), `{}`...), "keys: not a JWK Set"},
		"keys_twice":          {[]byte(`{"keys":[],"keys":[]}`), "keys: not a JWK Set"},
		"keys_in_other_case":  {[]byte(`{"KEYS":[{}]}`), "keys: the set is empty"},
		"empty":               {file(), "keys: the set is empty"},
		"null":                {[]byte(`null`), "keys: the set is empty"},
		"a_single_key":        {must(json.Marshal(good)), "keys: a single JWK"},
		"not_an_object":       {[]byte(`{"keys":["x"]}`), "keys[0]: not a JWK"},
		"a_member_twice":      {[]byte(`{"keys":[` + twice + `]}`), "keys[0]: not a JWK"},
		"kid_is_a_number":     {file(asJWK(p256, jwk{"kid": 7})), "keys[0]: not a JWK"},
		"no_type":             {file(jwk{"kid": "a"}), `keys[0] (kid "a"): kty is missing`},
		"an_empty_key":        {file(good, jwk{}), "keys[1]: kty is missing"},
		"unknown_type":        {file(good, jwk{"kty": "AKP", "kid": "pq"}), `keys[1] (kid "pq"): its kty is not supported`},
		"type_in_other_case":  {file(asJWK(p256, jwk{"kty": "ec"})), "keys[0]: its kty is not supported"},
		"a_shared_secret":     {file(good, jwk{"kty": "oct", "kid": "s", "k": b64(make([]byte, 32))}), `keys[1] (kid "s"): a shared secret (kty oct): HS256 is not supported yet`},
		"for_encryption":      {file(asJWK(p256, kid("e"), jwk{"use": "enc"})), `keys[0] (kid "e"): its use is not "sig"`},
		"of_another_alg":      {file(asJWK(p256, kid("a"), jwk{"alg": "ES384"})), `keys[0] (kid "a"): its alg is not that of its type: want ES256`},
		"for_key_agreement":   {file(asJWK(p256, kid("a"), jwk{"alg": "ECDH-ES"})), `keys[0] (kid "a"): its alg is not that of its type: want ES256`},
		"no_x":                {file(asJWK(p256, kid("a"), jwk{"x": nil})), `keys[0] (kid "a"): not a good EC key`},
		"short_x":             {file(asJWK(p256, kid("a"), jwk{"x": b64(make([]byte, 31))})), `keys[0] (kid "a"): not a good EC key`},
		"off_the_curve":       {file(asJWK(p256, kid("a"), jwk{"y": b64(bytes.Repeat([]byte{7}, 32))})), `keys[0] (kid "a"): not a good EC key`},
		"the_point_of_zeros":  {file(asJWK(p256, kid("a"), jwk{"x": b64(make([]byte, 32)), "y": b64(make([]byte, 32))})), `keys[0] (kid "a"): not a good EC key`},
		"not_base64url":       {file(asJWK(p256, kid("a"), jwk{"x": strings.Repeat("+/", 21)})), `keys[0] (kid "a"): not a good EC key`},
		"unknown_curve":       {file(asJWK(p256, kid("a"), jwk{"crv": "secp256k1"})), `keys[0] (kid "a"): not a good EC key`},
		"private_part_empty":  {file(asJWK(p256, kid("a"), jwk{"d": ""})), `keys[0] (kid "a"): not a good EC key`},
		"private_part_short":  {file(asJWK(p256, kid("a"), jwk{"d": b64([]byte{1})})), `keys[0] (kid "a"): `},
		"private_part_zero":   {file(asJWK(p256, kid("a"), jwk{"d": b64(make([]byte, 32))})), `keys[0] (kid "a"): the private part is out of range`},
		"private_part_large":  {file(asJWK(p256, kid("a"), jwk{"d": b64(bytes.Repeat([]byte{255}, 32))})), `keys[0] (kid "a"): the private part is out of range`},
		"parts_of_two_keys":   {file(asJWK(p256, kid("a"), jwk{"d": asJWK(p256Other)["d"]})), `keys[0] (kid "a"): the private part does not belong to the public one`},
		"parts_of_two_others": {file(asJWK(edwards, kid("o"), jwk{"d": b64(make([]byte, 32))})), `keys[0] (kid "o"): not a good OKP key`},
		"x25519":              {file(asJWK(edwards, kid("o"), jwk{"crv": "X25519"})), `keys[0] (kid "o"): not a good OKP key`},
		"weak_rsa":            {file(good, weak), `keys[1] (kid "weak"): weak: RSA of 1024 bits`},
		"weak_exponent":       {file(good, exponent), `keys[1] (kid "three"): weak: RSA with an exponent below 65537`},
		"rsa_without_primes":  {file(good, asJWK(rsa2048, kid("r"), jwk{"p": nil})), `keys[1] (kid "r"): not a good RSA key`},
		"public_only":         {file(asJWK(&p256.PublicKey)), "keys: no private key for ES256"},
		"others_only":         {file(asJWK(p384), asJWK(rsa2048), asJWK(edwards)), "keys: no private key for ES256"},
		"one_kid_twice":       {file(good, asJWK(p384), asJWK(p256Other, kid("good"))), `keys[2] (kid "good"): has the kid of keys[0]`},
		"one_key_twice":       {file(asJWK(p256), asJWK(p256)), `keys[1] (kid "` + thumbprint(p256) + `"): has the kid of keys[0]`},
		"every_problem_at_once": {
			file(jwk{"kty": "oct", "kid": "s"}, good, jwk{}),
			"keys[0] (kid \"s\"): a shared secret (kty oct): HS256 is not supported yet\nkeys[2]: kty is missing",
		},
	}
}

func TestLoadKeysRefuses(t *testing.T) {
	for name, tt := range badFiles() {
		t.Run(name, func(t *testing.T) {
			keys, err := mint.LoadKeys(tt.file, mint.ES256)
			if keys != nil || err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("LoadKeys = %v, want %s", err, tt.want)
			}
			mustHoldOfKeys(t, tt.file)
		})
	}
}

func TestAlgorithms(t *testing.T) {
	tests := []struct {
		algorithm mint.Algorithm
		want      string
	}{
		{"ES256", ""},
		{"", ""},
		{"EdDSA", "algorithm EdDSA: not supported yet, only ES256 is"},
		{"RS256", "algorithm RS256: not supported yet, only ES256 is"},
		{"HS256", "algorithm HS256: not supported yet, only ES256 is"},
		{"none", `algorithm "none": not known, only ES256 is supported`},
		{"es256", `algorithm "es256": not known, only ES256 is supported`},
	}
	for _, tt := range tests {
		_, err := mint.LoadKeys(file(asJWK(p256)), tt.algorithm)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("LoadKeys for %q = %q, want %q", tt.algorithm, got, tt.want)
		}
	}
}

func TestLoadedKeySigns(t *testing.T) {
	both := file(asJWK(p256, kid("a")), asJWK(p256Other, kid("b")))
	keys, err := mint.LoadKeys(both, mint.ES256)
	if err != nil {
		t.Fatal(err)
	}
	token := mustMint(t, mint.NewSigner(keys), noon, template(nil), signedIn(alice))
	mustVerify(t, keys, token)

	only := func(key any) []byte { return file(asJWK(key, kid("a"))) }
	if _, err := verify(only(&p256.PublicKey), token); err != nil {
		t.Errorf("not signed by the first key: %v", err)
	}
	if _, err := verify(only(&p256Other.PublicKey), token); err == nil {
		t.Error("verified by the second key under the first one's name")
	}
}

func TestGenerateKeys(t *testing.T) {
	keys, other := newKeys(t), newKeys(t)
	if keys.KeyID() == other.KeyID() {
		t.Error("two generated keys are one")
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(keys.JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	if len(set.Keys) != 1 {
		t.Fatalf("published %d keys, want 1", len(set.Keys))
	}
	k := set.Keys[0]
	if k.KeyID != keys.KeyID() || k.KeyID != thumbprint(k.Key) || k.Use != "sig" || k.Algorithm != "ES256" {
		t.Errorf("published kid %q use %q alg %q, want the thumbprint %q, sig, ES256", k.KeyID, k.Use, k.Algorithm, thumbprint(k.Key))
	}
	if keys.Algorithm() != mint.ES256 {
		t.Errorf("Algorithm = %q", keys.Algorithm())
	}
	mustHoldOfJWKS(t, keys)
}

func TestSignerPublishesItsKeys(t *testing.T) {
	keys := newKeys(t)
	if got := mint.NewSigner(keys).JWKS(); !bytes.Equal(got, keys.JWKS()) {
		t.Errorf("JWKS = %s, want %s", got, keys.JWKS())
	}
}

func TestJWKSIsACopy(t *testing.T) {
	keys := newKeys(t)
	clear(keys.JWKS())
	mustHoldOfJWKS(t, keys)
}

// mustHoldOfKeys is true of every file: an error tells no secret, and whatever
// is accepted publishes no secret, loads the same again, and signs what its own
// set verifies.
func mustHoldOfKeys(t *testing.T, data []byte) {
	t.Helper()
	keys, err := mint.LoadKeys(data, mint.ES256)
	if err != nil {
		if keys != nil {
			t.Error("LoadKeys returns keys with an error")
		}
		for _, secret := range secrets(data) {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error tells a secret: %v", err)
			}
		}
		return
	}
	mustHoldOfJWKS(t, keys)
	again, err := mint.LoadKeys(data, mint.ES256)
	if err != nil || !bytes.Equal(again.JWKS(), keys.JWKS()) || again.KeyID() != keys.KeyID() {
		t.Errorf("a second LoadKeys differs: %v", err)
	}
	if len(keys.KeyID()) > 1000 {
		return // a token must not be too large
	}
	mustVerify(t, keys, mustMint(t, mint.NewSigner(keys), noon, template(nil), signedIn(alice)))
}

// mustHoldOfJWKS is true of every published set.
func mustHoldOfJWKS(t *testing.T, keys *mint.Keys) {
	t.Helper()
	var set map[string][]map[string]any
	if err := json.Unmarshal(keys.JWKS(), &set); err != nil {
		t.Fatalf("JWKS: %v", err)
	}
	if len(set) != 1 || len(set["keys"]) == 0 {
		t.Errorf("JWKS has other members than keys, or none: %s", keys.JWKS())
	}
	named := map[any]bool{}
	for _, k := range set["keys"] {
		for member := range k {
			if !slices.Contains([]string{"kty", "use", "alg", "kid", "crv", "x", "y", "n", "e"}, member) {
				t.Errorf("JWKS publishes the member %q", member)
			}
		}
		if k["kty"] == "oct" || k["use"] != "sig" || k["alg"] == nil || k["kid"] == nil {
			t.Errorf("JWKS publishes kty %v use %v alg %v kid %v", k["kty"], k["use"], k["alg"], k["kid"])
		}
		named[k["kid"]] = true
	}
	if len(named) != len(set["keys"]) {
		t.Error("two published keys have one kid")
	}
	if !named[keys.KeyID()] {
		t.Errorf("the key that signs, %q, is not published", keys.KeyID())
	}
}

// secrets returns the private members of a file, as far as it is one, that are
// long enough to be told from other words and are not the name of a key.
func secrets(data []byte) []string {
	var set struct{ Keys []map[string]any }
	if json.Unmarshal(data, &set) != nil {
		return nil
	}
	var found []string
	names := ""
	for _, k := range set.Keys {
		for member, value := range k {
			text, ok := value.(string)
			if !ok {
				continue
			}
			if slices.Contains([]string{"d", "p", "q", "dp", "dq", "qi", "k"}, member) && len(text) >= 16 {
				found = append(found, text)
			} else if strings.EqualFold(member, "kid") {
				names += text + "\n"
			}
		}
	}
	return slices.DeleteFunc(found, func(s string) bool { return strings.Contains(names, s) })
}

func FuzzLoadKeys(f *testing.F) {
	f.Add(file(asJWK(p256, kid("a"))))
	f.Add(file(asJWK(rsa2048), asJWK(edwards), asJWK(p384), asJWK(p256)))
	f.Add(file(asJWK(&p256Other.PublicKey, kid("previous")), asJWK(p256, kid("current"))))
	for _, tt := range badFiles() {
		f.Add(tt.file)
	}
	f.Fuzz(mustHoldOfKeys)
}
