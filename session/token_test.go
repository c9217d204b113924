package session_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/countersign/countersign/session"
)

func TestParseToken(t *testing.T) {
	good := session.NewToken().Reveal()
	for _, tt := range []struct {
		name  string
		value string
		want  bool
	}{
		{"its_own", good, true},
		{"all_zeros", strings.Repeat("A", 43), true},
		{"nothing", "", false},
		{"a_character_less", good[:42], false},
		{"a_character_more", good + "A", false},
		{"padding", good + "=", false},
		{"padding_instead_of_a_character", good[:42] + "=", false},
		{"stray_bits", strings.Repeat("A", 42) + "B", false},
		{"base64_of_the_other_alphabet", strings.Repeat("/", 42) + "8", false},
		{"a_line_break_inside", good[:21] + "\n" + good[22:], false},
		{"a_line_break_behind", good[:42] + "\n", false},
		{"quotes", `"` + good[:41] + `"`, false},
		{"hex", strings.Repeat("0", 64), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if token, ok := session.ParseToken(tt.value); ok != tt.want || !ok && token != (session.Token{}) {
				t.Errorf("ParseToken = %v, want %v", ok, tt.want)
			}
		})
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add(strings.Repeat("A", 43))
	f.Add(strings.Repeat("-_", 21) + "8")
	f.Add(strings.Repeat("A", 42) + "\n")
	f.Fuzz(func(t *testing.T, value string) {
		if token, ok := session.ParseToken(value); ok && token.Reveal() != value {
			t.Errorf("%q is a second spelling of %q", value, token.Reveal())
		}
	})
}

func TestTokenIsNeverPrinted(t *testing.T) {
	token := session.Token{1, 2, 3}
	id := token.ID()
	encoded, err := json.Marshal(map[string]any{"token": token})
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("decided", slog.Any("token", token))
	printed := fmt.Sprintf("%v %+v %#v %s %q %s %s", token, token, token, token, token, encoded, log.String())
	for _, shown := range []string{token.Reveal(), "AQID", "1 2 3", "0x1", "010203"} {
		if strings.Contains(printed, shown) {
			t.Errorf("printed as %s", printed)
		}
	}
	if want := session.ID(sha256.Sum256(token[:])); id != want {
		t.Errorf("ID = %x, want %x", id[:], want[:])
	}
}

func TestID(t *testing.T) {
	id := session.ID{0xab, 0xcd, 0xef, 0x01, 0x23}
	if got, want := id.String(), "abcdef01"; got != want {
		t.Errorf("String = %s, want %s", got, want)
	}
	if got, want := id.SID(), "abcdef0123"+strings.Repeat("00", 11); got != want {
		t.Errorf("SID = %s, want %s", got, want)
	}
	if got, want := id.LogValue().String(), "abcdef01"; got != want {
		t.Errorf("LogValue = %s, want %s", got, want)
	}
	if got := (session.ID{}).LogValue().String(); got != "" {
		t.Errorf("LogValue of the zero ID = %q, want nothing", got)
	}
}
