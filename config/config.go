package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/authz"
	"github.com/countersign/countersign/mint"
	"github.com/countersign/countersign/oidc"
	"github.com/countersign/countersign/session"
	"github.com/countersign/countersign/session/redis"
)

// Config is what a file says. Defaults are filled in, but for those of
// oidc.Config, which has its own.
type Config struct {
	Listen    Listen
	Providers []oidc.Config // at least one; names are unique
	Session   Session
	Mint      Mint
	Apps      []App // at least one; authz.NewRoutes takes them
	Log       Log

	Warnings []Problem // what is allowed and yet worth a look, by its place in the file
}

// Listen says where the server listens.
type Listen struct {
	GRPC   Address // Envoy asks here: loopback, a socket, or said to be in the clear
	HTTP   Address // login endpoints and public keys
	Health Address // health and metrics
	Admin  *Admin  // nil: administrators are not answered
}

// Admin says where administrators are answered.
type Admin struct {
	Address   Address // loopback, a socket, or said to be in the clear
	TokenFile string  // what they must know; it had a token, and may change
}

// Address is what net.Listen takes.
type Address struct {
	Network string // tcp or unix
	Address string // host:port, or the absolute path of a socket
}

// String returns the address as the file has it.
func (a Address) String() string {
	if a.Network == "unix" {
		return "unix://" + a.Address
	}
	return a.Address
}

// Session says how long sessions live and where.
type Session struct {
	Absolute time.Duration    // no session outlives this
	Idle     time.Duration    // nor as long without being used; at most Absolute
	Keys     *session.Keyring // nil: none given, to be generated; never nil with Redis
	Redis    *redis.Options   // nil: sessions live in memory; its URL holds no password
	Outage   time.Duration    // how long known sessions pass when Redis does not answer

	Revalidation session.Revalidation // when the provider is asked again, and how
}

// Mint says how the tokens of the upstreams are signed.
type Mint struct {
	Algorithm mint.Algorithm
	Keys      *mint.Keys    // nil: none given, to be generated; never nil with Redis
	Lifetime  time.Duration // of a token whose template says nothing else
}

// App is an application and the name of its provider, one of Config.Providers.
// Its Provider is nil: whoever makes the providers sets it.
type App struct {
	*authz.App
	ProviderName string
}

// Log says what is logged.
type Log struct {
	Level slog.Level
}

// Environment is what a file may refer to. The zero Environment has no
// variables and the files of the operating system.
type Environment struct {
	Getenv func(name string) (string, bool)         // nil: no variable is set
	Open   func(path string) (io.ReadCloser, error) // nil: os.Open
}

func (e Environment) getenv(name string) (string, bool) {
	if e.Getenv == nil {
		return "", false
	}
	return e.Getenv(name)
}

func (e Environment) open(path string) (io.ReadCloser, error) {
	if e.Open != nil {
		return e.Open(path)
	}
	return os.Open(path)
}

// Load reads the file at path; getenv is os.LookupEnv or the like. Files that it
// names by a relative path are looked for beside it. The error is Problems, or
// says why the file cannot be read.
func Load(path string, getenv func(string) (string, bool)) (*Config, error) {
	env := Environment{Getenv: getenv}
	data, err := env.read(path, maxBytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return Parse(path, data, env)
}

// LoadAdmin reads listen.admin alone from the file at path, as Load does. It is nil
// where the file has none. What is wrong elsewhere is not looked at: sessions may
// have to be ended by somebody who cannot read the secrets.
func LoadAdmin(path string, getenv func(string) (string, bool)) (*Admin, error) {
	env := Environment{Getenv: getenv}
	data, err := env.read(path, maxBytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	d := newDecoder(path, env)
	root, ok := d.root(data)
	if !ok {
		return nil, Problems(d.problems)
	}
	const key = "listen.admin"
	found := decodeAdmin(root.find(key))
	d.problems = slices.DeleteFunc(d.problems, func(p Problem) bool {
		return p.Key != key && !strings.HasPrefix(p.Key, key+".")
	})
	if len(d.problems) > 0 {
		sortProblems(d.problems)
		return nil, Problems(d.problems)
	}
	return found, nil
}

// Parse reads data as the content of the file name. The error is Problems.
func Parse(name string, data []byte, env Environment) (*Config, error) {
	d := newDecoder(name, env)
	c := d.config(data)
	if len(d.problems) > 0 {
		sortProblems(d.problems)
		return nil, Problems(d.problems)
	}
	sortProblems(d.warnings)
	c.Warnings = d.warnings
	return c, nil
}

func (d *decoder) config(data []byte) *Config {
	c := new(Config)
	root, ok := d.root(data)
	if !ok {
		return c
	}
	c.Listen = decodeListen(root.get("listen"))
	c.Providers = decodeProviders(root.get("providers"))
	c.Session = decodeSession(root.get("session"))
	c.Mint = decodeMint(root.get("mint"), c.Session)
	c.Apps = decodeApps(root.get("apps"), c.Providers, c.Mint.Lifetime)
	c.Log = decodeLog(root.get("log"))
	root.close()
	return c
}

// root returns the map that a file is. It reports false, and a problem, if it is
// something else.
func (d *decoder) root(data []byte) (*object, bool) {
	tree, ok := d.parse(data)
	if !ok {
		return nil, false
	}
	return value{d: d, node: tree, at: tree.at}.object()
}

func decodeLog(v value) Log {
	levels := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}
	o, _ := v.object()
	level := o.get("level").choose("info", "debug", "info", "warn", "error")
	o.close()
	return Log{Level: levels[level]}
}

const (
	maxBytes       = 1 << 20  // of the configuration
	maxSecretBytes = 4 << 10  // of a file that holds one secret
	maxKeysBytes   = 64 << 10 // of a file that holds keys
)

var errTooLarge = errors.New("is too large")

// read returns the content of a file of at most limit bytes. Its error never
// quotes the file, and leaves it to the caller to name it.
func (e Environment) read(path string, limit int64) ([]byte, error) {
	f, err := e.open(path)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, withoutPath(err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%w: more than %d KiB", errTooLarge, limit>>10)
	}
	return data, nil
}

func withoutPath(err error) error {
	if wrapped, ok := errors.AsType[*fs.PathError](err); ok {
		return wrapped.Err
	}
	return err
}
