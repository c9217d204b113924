package session

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/countersign/countersign/oidc"
)

// hotContent is what the hot part of a record holds. Names are short because
// there may be a million of them; a field that is not there is its zero value.
type hotContent struct {
	App      string          `json:"app"`
	Identity identityContent `json:"who"`
	Created  time.Time       `json:"created"`
	Ends     time.Time       `json:"ends"`
	Idle     time.Duration   `json:"idle"` // in nanoseconds
	Checked  time.Time       `json:"checked,omitzero"`
	Due      time.Time       `json:"due,omitzero"`
}

// displayContent is what an administrator sees of a session, beside the times
// that the store knows.
type displayContent struct {
	App     string    `json:"app"`
	Browser string    `json:"browser,omitzero"`
	Created time.Time `json:"created"`
}

// identityContent is an [oidc.Identity]. It uses omitzero, which keeps an empty
// list apart from none.
type identityContent struct {
	Provider  string         `json:"provider,omitzero"`
	Issuer    string         `json:"iss,omitzero"`
	Subject   string         `json:"sub,omitzero"`
	Email     string         `json:"email,omitzero"`
	Name      string         `json:"name,omitzero"`
	Username  string         `json:"username,omitzero"`
	Groups    []string       `json:"groups,omitzero"`
	ACR       string         `json:"acr,omitzero"`
	AMR       []string       `json:"amr,omitzero"`
	AuthTime  time.Time      `json:"auth_time,omitzero"`
	SessionID string         `json:"sid,omitzero"`
	Claims    map[string]any `json:"claims,omitzero"`
}

// tokensContent is what the other part holds. The strings are plain here,
// because an [oidc.Secret] never encodes its value.
type tokensContent struct {
	IDToken string    `json:"id,omitzero"`
	Access  string    `json:"access,omitzero"`
	Refresh string    `json:"refresh,omitzero"`
	Expires time.Time `json:"expires,omitzero"`
}

func encodeHot(s Session) ([]byte, error) {
	return json.Marshal(hotContent{
		App: s.App, Identity: identityContent(s.Identity),
		Created: s.Created, Ends: s.Ends, Idle: s.Idle, Checked: s.Checked, Due: s.Due,
	})
}

func decodeHot(plain []byte) (Session, error) {
	var c hotContent
	if err := decode(plain, &c); err != nil {
		return Session{}, err
	}
	return Session{
		App: c.App, Identity: oidc.Identity(c.Identity),
		Created: c.Created, Ends: c.Ends, Idle: c.Idle, Checked: c.Checked, Due: c.Due,
	}, nil
}

func encodeTokens(g oidc.Grant) ([]byte, error) {
	return json.Marshal(tokensContent{
		IDToken: g.IDToken.Reveal(), Access: g.Access.Reveal(), Refresh: g.Refresh.Reveal(),
		Expires: g.Expires,
	})
}

func decodeTokens(plain []byte) (oidc.Grant, error) {
	var c tokensContent
	if err := decode(plain, &c); err != nil {
		return oidc.Grant{}, err
	}
	return oidc.Grant{
		IDToken: oidc.Secret(c.IDToken), Access: oidc.Secret(c.Access), Refresh: oidc.Secret(c.Refresh),
		Expires: c.Expires,
	}, nil
}

// decode reads what we sealed ourselves. Numbers of claims become json.Number,
// so that an integer is still one when it is signed into a token. Its error does
// not name the value, which is somebody's.
func decode(plain []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(plain))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("session: sealed content of an unknown shape (%T)", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("session: sealed content has a rest")
	}
	return nil
}
