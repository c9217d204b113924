package config

import (
	"github.com/countersign/countersign/oidc"
)

func decodeProviders(v value) []oidc.Config {
	if !v.require() {
		return nil
	}
	var providers []oidc.Config
	first := map[string]string{}
	for _, item := range v.items() {
		o, ok := item.object()
		if !ok {
			continue
		}
		p := decodeProvider(o)
		if other, twice := first[p.Name]; twice && p.Name != "" {
			o.find("name").fail("is also the name of %s", other)
		}
		first[p.Name] = item.key
		providers = append(providers, p)
	}
	return providers
}

func decodeProvider(o *object) oidc.Config {
	var p oidc.Config
	name := o.get("name")
	name.require()
	p.Name = name.name()
	o.get("preset").chooseNow("generic", "proconnect", "franceconnect", "google", "entra", "keycloak")
	p.Issuer = required(o.get("issuer"))
	p.ClientID = required(o.get("client_id"))
	p.ClientSecret, _ = o.secret("client_secret")
	if !o.find("client_secret").given() && !o.find("client_secret_file").given() {
		o.find("client_secret").fail("is required: write client_secret_file")
	}
	p.AuthMethod = oidc.AuthMethod(o.get("token_endpoint_auth_method").
		choose("", string(oidc.AuthBasic), string(oidc.AuthPost)))
	p.Scopes = o.get("scopes").texts()
	p.ACRValues = o.get("acr_values").texts()
	p.AssumeEmailVerified = o.get("email_verified").choose("", "assume") == "assume"
	p.GroupsClaim = o.get("groups_claim").textOr("")
	o.close()
	if o.find("client_secret_file").given() {
		o.d.failed[o.find("client_secret").key] = true // told at the file, if it is
	}
	_, err := oidc.New(p)
	o.report(err, map[string]string{"auth_method": "token_endpoint_auth_method"})
	return p
}

// required returns a text that must be there.
func required(v value) string {
	v.require()
	return v.textOr("")
}
