package admin

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"

	"github.com/countersign/countersign/oidc"
)

// Bounds of a token in bytes. Nobody guesses one of 32 characters that were drawn.
const (
	shortestToken = 32
	longestToken  = 4 << 10
)

// tokenForm is what can stand in a header (RFC 6750 §2.1), and a line break.
var tokenForm = regexp.MustCompile(`\A([A-Za-z0-9._~+/-]+=*)\r?\n?\z`)

// ParseToken returns the token that a file holds: one line of at least 32
// characters. Its errors hold nothing of it.
func ParseToken(data []byte) (oidc.Secret, error) {
	form := tokenForm.FindSubmatch(data)
	switch {
	case len(data) > longestToken:
		return "", fmt.Errorf("is too large: more than %d KiB", longestToken>>10)
	case form == nil:
		return "", errors.New("must hold one line of letters, digits and -._~+/, as openssl rand -base64 32 writes it")
	case len(form[1]) < shortestToken:
		return "", fmt.Errorf("holds less than %d characters: openssl rand -base64 32 writes enough", shortestToken)
	}
	return oidc.Secret(form[1]), nil
}

// ReadToken returns the token that the file at path holds.
func ReadToken(path string) (oidc.Secret, error) {
	data, err := readToken(path)
	if wrapped, ok := errors.AsType[*fs.PathError](err); ok {
		err = wrapped.Err // it names the path, too
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	token, err := ParseToken(data)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return token, nil
}

func readToken(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, longestToken+1))
}
