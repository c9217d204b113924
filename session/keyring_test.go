package session_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/session"
)

// Keys of the tests.
var (
	oldKey   = testKey(1)
	newKey   = testKey(2)
	otherKey = testKey(3)
)

func testKey(b byte) string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, 32))
}

// ring returns a Keyring of keys.
func ring(tb testing.TB, keys ...string) *session.Keyring {
	tb.Helper()
	k, err := session.ParseKeyring([]byte(strings.Join(keys, "\n")))
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func TestParseKeyring(t *testing.T) {
	short := base64.StdEncoding.EncodeToString(make([]byte, 31))
	long := base64.StdEncoding.EncodeToString(make([]byte, 33))
	for _, tt := range []struct {
		name string
		data string
		want []string // what the error says, none for a good file
	}{
		{"one_key", oldKey, nil},
		{"one_key_and_a_line_break", oldKey + "\n", nil},
		{"two_keys", newKey + "\n" + oldKey + "\n", nil},
		{"comments_and_blank_lines", "# of 2026\n\n" + newKey + "\n  \n\t# older\n" + oldKey, nil},
		{"line_breaks_of_windows", newKey + "\r\n" + oldKey + "\r\n", nil},

		{"nothing", "", []string{"no key found"}},
		{"only_comments", "# soon\n", []string{"no key found"}},
		{"a_short_key", short, []string{"line 1: want 32 bytes"}},
		{"a_long_key", long, []string{"line 1: want 32 bytes"}},
		{"a_key_without_padding", strings.TrimRight(oldKey, "="), []string{"line 1: want 32 bytes"}},
		{"a_key_in_base64url", strings.ReplaceAll(testKey(0xff), "/", "_"), []string{"line 1: want 32 bytes in standard base64"}},
		{"a_key_in_hex", hex.EncodeToString(make([]byte, 32)), []string{"line 1: want 32 bytes"}},
		{"a_key_with_stray_bits", strings.Replace(oldKey, "E=", "F=", 1), []string{"line 1: want 32 bytes in standard base64"}},
		{"a_key_with_a_comment_behind", oldKey + " # mine", []string{"line 1: want 32 bytes"}},
		{"two_keys_on_a_line", oldKey + newKey, []string{"line 1: want 32 bytes"}},
		{"a_carriage_return_inside", oldKey[:20] + "\r" + oldKey[21:], []string{"line 1: want 32 bytes"}},
		{"the_same_key_twice", "#\n" + oldKey + "\n" + newKey + "\n" + oldKey, []string{"line 4: same key as line 2"}},
		{"several_errors", short + "\n" + oldKey + "\n" + oldKey + "\n" + long, []string{"line 1:", "line 3: same key as line 2", "line 4:"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k, err := session.ParseKeyring([]byte(tt.data))
			mustParse(t, []byte(tt.data), k, err)
			if (err != nil) != (tt.want != nil) {
				t.Fatalf("ParseKeyring = %v, want errors %q", err, tt.want)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("ParseKeyring = %q, want it to say %q", err, want)
				}
			}
		})
	}
}

// mustParse checks what holds for every key file: a ring that seals and opens, or
// an error that repeats nothing of the file.
func mustParse(t *testing.T, data []byte, k *session.Keyring, err error) {
	t.Helper()
	if err != nil {
		for line := range bytes.Lines(data) {
			if line = bytes.TrimSpace(line); len(line) > 8 && strings.Contains(err.Error(), string(line)) {
				t.Errorf("ParseKeyring = %q, which repeats the file", err)
			}
		}
		return
	}
	got, err := k.Open(session.Binding{}, k.Seal(session.Binding{}, []byte("plain")))
	if err != nil || string(got) != "plain" {
		t.Errorf("Open = %q, %v", got, err)
	}
}

func FuzzParseKeyring(f *testing.F) {
	f.Add([]byte(oldKey))
	f.Add([]byte("# old\r\n" + oldKey + "\n\n" + newKey + "\n"))
	f.Add([]byte(oldKey[:43]))
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := session.ParseKeyring(data)
		mustParse(t, data, k, err)
	})
}

// whole is a binding that uses all of its fields.
var whole = session.Binding{Purpose: "test", Secret: []byte("secret"), Parts: []string{"a", "bc"}}

func TestKeyring(t *testing.T) {
	k := ring(t, oldKey)
	t.Run("opens_what_it_sealed", func(t *testing.T) {
		for _, b := range []session.Binding{{}, whole} {
			for _, plain := range []string{"", "plain", strings.Repeat("long", 10_000)} {
				got, err := k.Open(b, k.Seal(b, []byte(plain)))
				if err != nil || string(got) != plain {
					t.Errorf("Open = %.20q, %v, want %.20q", got, err, plain)
				}
			}
		}
	})
	t.Run("never_seals_the_same_twice", func(t *testing.T) {
		if bytes.Equal(k.Seal(whole, []byte("plain")), k.Seal(whole, []byte("plain"))) {
			t.Error("two seals are equal")
		}
	})
	t.Run("adds_45_bytes_and_shows_nothing", func(t *testing.T) {
		plain := bytes.Repeat([]byte("plain"), 10)
		sealed := k.Seal(whole, plain)
		if got, want := len(sealed), len(plain)+45; got != want {
			t.Errorf("%d bytes, want %d", got, want)
		}
		for _, shown := range [][]byte{[]byte("plain"), []byte("secret"), bytes.Repeat([]byte{1}, 8)} {
			if bytes.Contains(sealed, shown) {
				t.Errorf("the seal shows %q", shown)
			}
		}
	})
	t.Run("generated_rings_differ", func(t *testing.T) {
		alice, bob := session.GenerateKeyring(), session.GenerateKeyring()
		if _, err := bob.Open(whole, alice.Seal(whole, nil)); !errors.Is(err, session.ErrUnknownKey) {
			t.Errorf("Open = %v, want %v", err, session.ErrUnknownKey)
		}
	})
	t.Run("without_a_key_opens_nothing_and_panics_to_seal", func(t *testing.T) {
		var zero session.Keyring
		if _, err := zero.Open(whole, k.Seal(whole, nil)); !errors.Is(err, session.ErrUnknownKey) {
			t.Errorf("Open = %v, want %v", err, session.ErrUnknownKey)
		}
		defer func() {
			if recover() == nil {
				t.Error("a ring without a key sealed something")
			}
		}()
		zero.Seal(whole, nil)
	})
	t.Run("is_never_printed", func(t *testing.T) {
		v := &session.Vault{Sealer: k}
		encoded, err := json.Marshal(k)
		if err != nil {
			t.Fatal(err)
		}
		for _, printed := range []string{
			fmt.Sprintf("%v %+v %#v %s %q", k, k, k, k, k), fmt.Sprintf("%v %+v %#v", *k, *k, *k),
			fmt.Sprintf("%v %+v", v.Sealer, v.Sealer), string(encoded), k.LogValue().String(),
		} {
			if !strings.Contains(printed, "[secret]") || strings.Contains(printed, "1 1 1") || strings.Contains(printed, "0x1, 0x1") {
				t.Errorf("printed as %s", printed)
			}
		}
	})
}

func TestSealIsBound(t *testing.T) {
	k := ring(t, oldKey)
	sealed := k.Seal(whole, []byte("plain"))
	for _, tt := range []struct {
		name string
		b    session.Binding
	}{
		{"another_purpose", session.Binding{Purpose: "tests", Secret: whole.Secret, Parts: whole.Parts}},
		{"no_purpose", session.Binding{Secret: whole.Secret, Parts: whole.Parts}},
		{"another_secret", session.Binding{Purpose: "test", Secret: []byte("Secret"), Parts: whole.Parts}},
		{"a_secret_with_a_zero_behind", session.Binding{Purpose: "test", Secret: []byte("secret\x00"), Parts: whole.Parts}},
		{"no_secret", session.Binding{Purpose: "test", Parts: whole.Parts}},
		{"no_parts", session.Binding{Purpose: "test", Secret: whole.Secret}},
		{"a_part_less", session.Binding{Purpose: "test", Secret: whole.Secret, Parts: []string{"a"}}},
		{"a_part_more", session.Binding{Purpose: "test", Secret: whole.Secret, Parts: []string{"a", "bc", ""}}},
		{"parts_that_join_to_the_same", session.Binding{Purpose: "test", Secret: whole.Secret, Parts: []string{"ab", "c"}}},
		{"one_part_that_joins_to_the_same", session.Binding{Purpose: "test", Secret: whole.Secret, Parts: []string{"abc"}}},
		{"parts_the_other_way_round", session.Binding{Purpose: "test", Secret: whole.Secret, Parts: []string{"bc", "a"}}},
		{"a_purpose_that_takes_a_part", session.Binding{Purpose: "testa", Secret: whole.Secret, Parts: []string{"bc"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if plain, err := k.Open(tt.b, sealed); !errors.Is(err, session.ErrForged) {
				t.Errorf("Open = %q, %v, want %v", plain, err, session.ErrForged)
			}
		})
	}
}

func TestSealThatWasChanged(t *testing.T) {
	k := ring(t, oldKey)
	sealed := k.Seal(whole, []byte("plain"))
	for i := range sealed {
		for bit := range 8 {
			changed := slices.Clone(sealed)
			changed[i] ^= 1 << bit
			want := session.ErrForged
			if i < 9 { // the version and the name of the key
				want = session.ErrUnknownKey
			}
			if plain, err := k.Open(whole, changed); !errors.Is(err, want) {
				t.Errorf("Open with bit %d of byte %d flipped = %q, %v, want %v", bit, i, plain, err, want)
			}
		}
		if plain, err := k.Open(whole, sealed[:i]); !errors.Is(err, session.ErrForged) {
			t.Errorf("Open of the first %d bytes = %q, %v, want %v", i, plain, err, session.ErrForged)
		}
	}
	if plain, err := k.Open(whole, append(slices.Clone(sealed), 0)); !errors.Is(err, session.ErrForged) {
		t.Errorf("Open of a byte more = %q, %v, want %v", plain, err, session.ErrForged)
	}
}

// One ring after the other, as an operator changes the key of several replicas.
func TestRotation(t *testing.T) {
	for _, tt := range []struct {
		name         string
		seals, opens []string
		want         error
	}{
		{"the_new_key_is_appended_here_first", []string{oldKey, newKey}, []string{oldKey}, nil},
		{"the_new_key_is_appended_there_first", []string{oldKey}, []string{oldKey, newKey}, nil},
		{"the_new_key_is_promoted_here_first", []string{newKey, oldKey}, []string{oldKey, newKey}, nil},
		{"the_new_key_is_promoted_there_first", []string{oldKey, newKey}, []string{newKey, oldKey}, nil},
		{"the_old_key_is_dropped", []string{newKey, oldKey}, []string{newKey}, nil},
		{"the_new_key_was_never_appended_there", []string{newKey, oldKey}, []string{oldKey}, session.ErrUnknownKey},
		{"the_old_key_was_dropped_too_early", []string{oldKey}, []string{newKey}, session.ErrUnknownKey},
		{"another_ring", []string{oldKey, newKey}, []string{otherKey}, session.ErrUnknownKey},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ring(t, tt.opens...).Open(whole, ring(t, tt.seals...).Seal(whole, []byte("plain")))
			if !errors.Is(err, tt.want) || err == nil && string(got) != "plain" {
				t.Errorf("Open = %q, %v, want %v", got, err, tt.want)
			}
		})
	}
}

// vector is a seal of the past, with what becomes of it. Those in testdata were
// made by another implementation, from the doc comment of Keyring.
type vector struct {
	Name   string   `json:"name"`
	Key    string   `json:"key"` // the ring
	Binds  string   `json:"purpose"`
	Secret []byte   `json:"secret"`
	Parts  []string `json:"parts"`
	Sealed string   `json:"sealed"` // hex
	Plain  string   `json:"plain"`
	Fails  string   `json:"fails"` // "forged", "unknown" or empty
}

// What was sealed once must open for ever, or until its format is given up.
func TestSealsOfThePast(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			want := map[string]error{"": nil, "forged": session.ErrForged, "unknown": session.ErrUnknownKey}[v.Fails]
			b := session.Binding{Purpose: v.Binds, Secret: v.Secret, Parts: v.Parts}
			got, err := ring(t, v.Key).Open(b, v.sealed(t))
			if !errors.Is(err, want) || string(got) != v.Plain {
				t.Errorf("Open = %q, %v, want %q, %v", got, err, v.Plain, want)
			}
		})
	}
}

func vectors(tb testing.TB) []vector {
	tb.Helper()
	data, err := os.ReadFile("testdata/seals.json")
	if err != nil {
		tb.Fatal(err)
	}
	var all []vector
	if err := json.Unmarshal(data, &all); err != nil || len(all) == 0 {
		tb.Fatalf("%d vectors, %v", len(all), err)
	}
	return all
}

func (v vector) sealed(tb testing.TB) []byte {
	tb.Helper()
	sealed, err := hex.DecodeString(v.Sealed)
	if err != nil {
		tb.Fatal(err)
	}
	return sealed
}

func FuzzKeyringOpen(f *testing.F) {
	k := ring(f, newKey, oldKey)
	var genuine [][]byte
	for _, v := range vectors(f) {
		sealed := v.sealed(f)
		f.Add(sealed)
		if _, err := k.Open(whole, sealed); err == nil {
			genuine = append(genuine, sealed)
		}
	}
	f.Fuzz(func(t *testing.T, sealed []byte) {
		plain, err := k.Open(whole, sealed)
		isGenuine := slices.ContainsFunc(genuine, func(g []byte) bool { return bytes.Equal(g, sealed) })
		switch {
		case isGenuine && err != nil:
			t.Errorf("Open = %v", err)
		case !isGenuine && err == nil:
			t.Errorf("Open = %q of what nobody sealed", plain)
		case err != nil && !errors.Is(err, session.ErrForged) && !errors.Is(err, session.ErrUnknownKey):
			t.Errorf("Open = %v, which is neither forged nor unknown", err)
		}
	})
}

func BenchmarkKeyringOpen(b *testing.B) {
	k := ring(b, oldKey)
	sealed := k.Seal(whole, make([]byte, 1500))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Open(whole, sealed); err != nil {
			b.Fatal(err)
		}
	}
}
