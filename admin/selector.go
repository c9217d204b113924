package admin

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Selector says which sessions are meant: those of a person, those whose
// identifier begins in some way, or all. The zero Selector means none that
// could be revoked.
type Selector struct {
	Issuer, Subject string // a person (OpenID Connect Core 1.0 §5.7)
	ID              string // the first digits of the identifier, in hex
	All             bool
}

// Numbers of a request.
const (
	defaultLimit = 1000
	maxLimit     = 100_000
	leastDigits  = 8 // that name a session to revoke: what a log line shows of it
)

// query is how a Selector stands in an address.
func (s Selector) query() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"issuer": s.Issuer, "subject": s.Subject, "id": s.ID} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if s.All {
		q.Set("all", "true")
	}
	return q
}

// parseListing reads what a GET asks for.
func parseListing(rawQuery string) (s Selector, limit int, refused *Problem) {
	q, refused := parseQuery(rawQuery, "issuer", "subject", "id", "limit")
	if refused != nil {
		return s, 0, refused
	}
	if s, refused = q.selector(1); refused != nil {
		return s, 0, refused
	}
	limit = defaultLimit
	if text := q["limit"]; text != "" {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil || n < 1 || n > maxLimit {
			return s, 0, problem(http.StatusBadRequest, fmt.Sprintf("limit must be a number from 1 to %d.", maxLimit))
		}
		limit = int(n)
	}
	return s, limit, nil
}

// parseRevocation reads what a DELETE asks for.
func parseRevocation(rawQuery string) (Selector, *Problem) {
	q, refused := parseQuery(rawQuery, "issuer", "subject", "id", "all")
	if refused != nil {
		return Selector{}, refused
	}
	s, refused := q.selector(leastDigits)
	if refused != nil {
		return s, refused
	}
	switch {
	case q["all"] != "" && q["all"] != "true":
		return s, problem(http.StatusBadRequest, "all has one value, true.")
	case q["all"] == "true" && s != (Selector{}):
		return s, problem(http.StatusBadRequest, "all cannot stand beside issuer and subject, or id.")
	case q["all"] == "" && s == (Selector{}):
		return s, problem(http.StatusBadRequest, "Say whose sessions are meant: issuer and subject, id, or all=true.")
	}
	s.All = q["all"] == "true"
	return s, nil
}

// parameters are those of a request, each once and none of them empty.
type parameters map[string]string

func parseQuery(raw string, names ...string) (parameters, *Problem) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, problem(http.StatusBadRequest, "The query cannot be read.")
	}
	q := parameters{}
	for name, all := range values {
		switch {
		case !slices.Contains(names, name):
			return nil, problem(http.StatusBadRequest, "Only these parameters are known here: "+strings.Join(names, ", ")+".")
		case len(all) != 1:
			return nil, problem(http.StatusBadRequest, name+" stands there twice.")
		case all[0] == "":
			return nil, problem(http.StatusBadRequest, name+" is empty.")
		}
		q[name] = all[0]
	}
	return q, nil
}

var hexForm = regexp.MustCompile(`\A[0-9a-f]{1,64}\z`)

// selector reads the parameters that name a person or an identifier, of which
// there must be at least so many digits.
func (q parameters) selector(digits int) (Selector, *Problem) {
	s := Selector{Issuer: q["issuer"], Subject: q["subject"], ID: q["id"]}
	switch {
	case (s.Issuer == "") != (s.Subject == ""):
		return s, problem(http.StatusBadRequest, "A person is an issuer and a subject: one of them is missing.")
	case s.ID != "" && s.Issuer != "":
		return s, problem(http.StatusBadRequest, "id cannot stand beside issuer and subject.")
	case s.ID != "" && (!hexForm.MatchString(s.ID) || len(s.ID) < digits):
		return s, problem(http.StatusBadRequest,
			fmt.Sprintf("id must be the first %d to 64 hex digits of a session's identifier, in lower case.", digits))
	}
	return s, nil
}
