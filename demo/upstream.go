package demo

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"strings"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/net/websocket"
)

// assertion is the header in which the demo's upstreams get their token.
const assertion = "X-Countersign-Assertion"

// verifier checks the tokens that Countersign signs, as any upstream can: by
// the published keys, the issuer and its own audience.
func verifier(ctx context.Context, issuer, audience, keysURL string) *gooidc.IDTokenVerifier {
	keys := gooidc.NewRemoteKeySet(ctx, keysURL)
	return gooidc.NewVerifier(issuer, keys, &gooidc.Config{
		ClientID: audience, SupportedSigningAlgs: []string{gooidc.ES256},
	})
}

// claims is what the upstreams learn about the caller.
type claims struct {
	Issuer   string   `json:"iss"`
	Audience any      `json:"aud"`
	Subject  string   `json:"sub"`
	SID      string   `json:"sid"`
	Provider string   `json:"idp"`
	Email    string   `json:"email"`
	Name     string   `json:"name"`
	Groups   []string `json:"groups"`
	Expires  int64    `json:"exp"`
}

// errSpoofed means that a header which only Countersign may set came twice.
var errSpoofed = errors.New("more than one assertion")

// learn verifies the request's token and returns what it says.
func learn(r *http.Request, v *gooidc.IDTokenVerifier) (claims, error) {
	tokens := r.Header.Values(assertion)
	if len(tokens) != 1 {
		return claims{}, errSpoofed
	}
	token, err := v.Verify(r.Context(), tokens[0])
	if err != nil {
		return claims{}, err
	}
	var c claims
	return c, token.Claims(&c)
}

// newAPI is an upstream that believes nothing but a valid token.
func newAPI(v *gooidc.IDTokenVerifier) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/whoami", whoami)
	mux.HandleFunc("GET /api/chat", chat)
	mux.Handle("GET /api/echo", websocket.Server{Handler: func(ws *websocket.Conn) {
		io.Copy(ws, io.LimitReader(ws, 1<<20)) //nolint:errcheck // the echo ends with its connection
	}})
	mux.HandleFunc("GET /admin/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "The administrators' page. Welcome, %s.\n", from(r).Name)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := learn(r, v)
		if err != nil {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintln(w, "The API wants a token that Countersign signed for it.")
			return
		}
		mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
	})
}

type callerKey struct{}

// from is the caller that learn found.
func from(r *http.Request) claims {
	c, _ := r.Context().Value(callerKey{}).(claims)
	return c
}

// seenBy is what the API shows: what it learned, and every header that tried to
// say who somebody is.
type seenBy struct {
	Learned         claims              `json:"learned"`
	IdentityHeaders map[string][]string `json:"identity_headers"`
	Cookies         []string            `json:"cookies"`
}

func whoami(w http.ResponseWriter, r *http.Request) {
	s := seenBy{Learned: from(r), IdentityHeaders: map[string][]string{}, Cookies: []string{}}
	for name, values := range r.Header {
		folded := strings.ToLower(strings.NewReplacer("_", "-", ".", "-").Replace(name))
		if strings.HasPrefix(folded, "x-countersign") || strings.HasPrefix(folded, "x-auth-request") ||
			strings.HasPrefix(folded, "x-forwarded-user") || strings.HasPrefix(folded, "x-forwarded-email") {
			s.IdentityHeaders[name] = values
		}
	}
	for _, c := range r.Cookies() {
		s.Cookies = append(s.Cookies, c.Name)
	}
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.Encode(s) //nolint:errcheck // the client is gone
}

// chat streams an answer, word by word, as server-sent events.
func chat(w http.ResponseWriter, r *http.Request) {
	c := from(r)
	answer := fmt.Sprintf("Hello %s. I know you by a token that Countersign signed for me a moment ago, and by nothing else.", c.Name)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	flush := http.NewResponseController(w)
	for word := range strings.FieldsSeq(answer) {
		fmt.Fprintf(w, "data: %s\n\n", word)
		if flush.Flush() != nil {
			return
		}
		select {
		case <-time.After(40 * time.Millisecond):
		case <-r.Context().Done():
			return
		}
	}
	fmt.Fprint(w, "event: done\ndata: \n\n")
}

//go:embed ui.html
var uiHTML string

var uiPage = template.Must(template.New("ui").Parse(uiHTML))

// newUI is the chat playground. It shows who it was told is there.
func newUI(v *gooidc.IDTokenVerifier) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ping", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "pong") })
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		c, err := learn(r, v)
		if err != nil {
			http.Error(w, "The playground wants a token that Countersign signed for it.", http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		uiPage.Execute(w, c) //nolint:errcheck // the browser is gone
	})
	return mux
}
