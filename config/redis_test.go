package config_test

import (
	"strings"
	"testing"

	"github.com/countersign/countersign/config"
	"github.com/countersign/countersign/session/redis"
)

const redisKeys = "session: {keys_file: /run/secrets/session-keys, redis: {url: 'URL'}}\nmint: {keys_file: /run/secrets/mint.jwks}"

func withRedis(url string) string { return fill("", "", strings.ReplaceAll(redisKeys, "URL", url)) }

func TestRedisAddresses(t *testing.T) {
	for _, tt := range []struct{ name, url string }{
		{"one_server", "redis://redis"},
		{"one_server_with_everything", "rediss://redis.example.org:6380/3"},
		{"an_ip_address", "redis://[::1]:6379/0"},
		{"a_socket", "unix:///run/redis.sock"},
		{"a_socket_and_a_database", "unix:///run/redis.sock?db=2"},
		{"one_sentinel", "redis+sentinel://h1/0?master=m"},
		{"sentinels_with_ports_and_without", "rediss+sentinel://h1:1,h2,[::1]:2/1?master=m"},
		{"a_cluster", "redis+cluster://h1,h2"},
		{"a_cluster_with_its_only_database", "rediss+cluster://h1:7000,h2:7001/0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := parse(t, withRedis(tt.url))
			if got := c.Session.Redis.URL; got != tt.url {
				t.Errorf("url = %s, want %s", got, tt.url)
			}
		})
	}
}

// TestTheStoreTakesTheAddresses holds what is accepted here against what the store
// says. Nobody listens there.
func TestTheStoreTakesTheAddresses(t *testing.T) {
	for _, url := range []string{
		"redis://:" + canary + "@127.0.0.1:1/3", "rediss://u:" + canary + "@[::1]:1", "unix:///nonexistent/redis.sock?db=2",
		"redis+sentinel://127.0.0.1:1,[::1]:1/1?master=m", "rediss+sentinel://u:" + canary + "@127.0.0.1:1/0?master=m",
		"redis+cluster://127.0.0.1:1,127.0.0.1:2", "rediss+cluster://u:" + canary + "@127.0.0.1:1/0",
	} {
		store, err := redis.Open(*parse(t, withRedis(url)).Session.Redis)
		if err != nil {
			t.Errorf("redis.Open with %s = %v", url, err)
			continue
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestAnAddressIsGoodForBothOrForNone holds the address as it stands in the file
// against the store: what one of them does not read, neither may accept.
func TestAnAddressIsGoodForBothOrForNone(t *testing.T) {
	const good, bad = true, false
	for _, tt := range []struct {
		name, url string
		good      bool
	}{
		{"one_server", "redis://127.0.0.1", good},
		{"the_last_port", "redis://127.0.0.1:65535/0", good},
		{"the_last_database", "redis://127.0.0.1:1/65535", good},
		{"an_ip_address", "rediss://[::1]:1", good},
		{"a_socket", "unix:///nonexistent/redis.sock", good},
		{"a_socket_and_a_database", "unix:///nonexistent/redis.sock?db=5", good},
		{"sentinels", "redis+sentinel://127.0.0.1:1,[::1]/1?master=m", good},
		{"a_cluster", "redis+cluster://127.0.0.1:1,127.0.0.1", good},

		{"a_parameter", "redis://127.0.0.1:1/0?canary=1", bad},
		{"a_semicolon", "redis://127.0.0.1:1/0?canary=true;db=3", bad},
		{"a_percent_sign", "redis://127.0.0.1:1/0?canary%zz", bad},
		{"a_semicolon_beside_a_master", "redis+sentinel://127.0.0.1:1/0?master=m&canary=1;db=3", bad},
		{"two_masters", "redis+sentinel://127.0.0.1:1/0?master=m&master=canary", bad},
		{"no_master", "redis+sentinel://127.0.0.1:1/0?master=&canary=1", bad},
		{"two_databases_of_a_socket", "unix:///nonexistent/canary?db=0&db=5", bad},
		{"a_percent_sign_of_a_socket", "unix:///nonexistent/canary?db=0&%zz", bad},
		{"the_master_of_a_socket", "unix:///nonexistent/canary?master=m", bad},
		{"a_socket_after_a_host", "unix://canary/nonexistent", bad},
		{"a_socket_after_a_comma", "unix://,canary/nonexistent", bad},
		{"no_path", "unix://?db=5", bad},
		{"a_port_too_many", "redis://canary:65536", bad},
		{"port_99999", "redis://canary:99999", bad},
		{"port_0", "redis://canary:0", bad},
		{"no_port_after_the_colon", "redis://canary:", bad},
		{"no_port_after_the_colon_of_an_ip_address", "redis://[::1]:/0", bad},
		{"no_port_of_a_later_host", "redis+cluster://127.0.0.1:1,canary:", bad},
		{"port_99999_of_a_later_sentinel", "redis+sentinel://127.0.0.1:1,canary:99999/0?master=m", bad},
		{"no_host", "redis://:1", bad},
		{"no_address_in_brackets", "redis://[]:1", bad},
		{"a_database_too_many", "redis://canary:1/65536", bad},
		{"a_database_with_a_sign", "redis://canary:1/+1", bad},
		{"a_database_below_0", "redis://canary:1/-1", bad},
		{"a_database_of_a_cluster", "redis+cluster://canary:1/1", bad},
		{"several_hosts", "redis://canary:1,127.0.0.1:1", bad},
		{"another_scheme", "http://canary:1", bad},
		{"a_hash", "redis://127.0.0.1:1/0#canary", bad},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url := strings.ReplaceAll(tt.url, "canary", canary)
			_, inFile := config.Parse("f.yaml", []byte(withRedis(url)), world)
			store, inStore := redis.Open(redis.Options{URL: url})
			if inStore == nil {
				defer store.Close() //nolint:errcheck // nothing is under way
			}
			for who, err := range map[string]error{"config.Parse": inFile, "redis.Open": inStore} {
				if (err == nil) != tt.good {
					t.Errorf("%s of %s = %v, want it to be good: %v", who, url, err, tt.good)
				}
				if err != nil && strings.Contains(err.Error(), canary) {
					t.Errorf("%s quotes the address: %v", who, err)
				}
			}
		})
	}
}

func TestAPasswordLeavesTheAddress(t *testing.T) {
	for _, tt := range []struct{ name, url, want string }{
		{"of_one_server", "redis://:" + canary + "@h", "redis://@h"},
		{"of_a_user", "rediss://u:" + canary + "@h/1", "rediss://u@h/1"},
		{"of_sentinels", "redis+sentinel://u:" + canary + "@h1:1,h2/0?master=m", "redis+sentinel://u@h1:1,h2/0?master=m"},
		{"of_a_cluster", "redis+cluster://u:" + canary + "@h1,h2:2", "redis+cluster://u@h1,h2:2"},
		{"with_a_comma_and_an_at", "redis://u:" + canary + ",%40@h", "redis://u@h"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := parse(t, withRedis(tt.url)).Session.Redis
			if r.URL != tt.want || !strings.HasPrefix(r.Password.Reveal(), canary) {
				t.Errorf("url = %s with a password of %d, want %s", r.URL, len(r.Password), tt.want)
			}
		})
	}
}

func TestBadRedisAddresses(t *testing.T) {
	const (
		schemes = "must begin with redis://, rediss://, unix://, redis+sentinel://, rediss+sentinel://, redis+cluster:// or rediss+cluster://"
		rest    = "must have no parameters and no #; write # in a password as %23"
		number  = "must name the database by its number, as in rediss://redis:6379/0"
		host    = "must have a host, as in rediss://redis:6379/0"
		port    = "must have a port between 1 and 65535 after the colon of a host"
		master  = "must name the master as the sentinels do, as in rediss+sentinel://host1,host2,host3/0?master=main"
	)
	for _, tt := range []struct{ name, url, want string }{
		{"another_scheme", "http://:" + canary + "@h", schemes},
		{"another_shape", "redis+ring://h", schemes},
		{"no_scheme", "h:6379," + canary, "is not a URL"},
		{"a_socket_with_tls", "unix+sentinel:///run/redis.sock", schemes},
		{"a_port_that_is_none", "redis://h:" + canary, "is not a URL"},
		{"a_later_port_that_is_none", "redis+cluster://h1,h2:" + canary, "is not a URL"},
		{"no_host", "redis:///0", host},
		{"no_host_after_a_comma", "redis+cluster://h1,", host},
		{"several_hosts", "redis://h1,h2", "must have one host: several are for redis+sentinel:// and redis+cluster://"},
		{"a_database_that_is_none", "redis://h/" + canary, number},
		{"a_parameter", "redis://h/0?" + canary + "=1", rest},
		{"the_master_of_one_server", "redis://h/0?master=m", rest},
		{"an_open_hash", "redis://h/0#" + canary, rest},
		{"sentinels_of_nobody", "redis+sentinel://h1,h2/0", master},
		{"sentinels_of_two", "redis+sentinel://h1/0?master=a&master=b", "must have no parameters but one master and no #; write # in a password as %23"},
		{"two_databases_of_a_socket", "unix:///run/redis.sock?db=0&db=5", "must have no parameters but one db and no #; write # in a password as %23"},
		{"what_is_no_parameter", "redis://h/0?ssl=true;db=3", rest},
		{"a_port_beyond_all", "redis://h:99999", port},
		{"no_port_after_the_colon", "redis+cluster://h1,h2:", port},
		{"a_database_of_a_cluster", "redis+cluster://h1/1", "must have no database but 0: a cluster has no other"},
		{"a_relative_socket", "unix://run/redis.sock", "must be unix:// and an absolute path, as in unix:///run/redis.sock"},
		{"a_user_without_a_password", "redis://u@h", "has a user without a password: write password_file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := config.Parse("f.yaml", []byte(withRedis(tt.url)), world)
			want := "f.yaml:3:62: session.redis.url: " + tt.want
			if err == nil || err.Error() != want {
				t.Errorf("Parse = %v, want %s", err, want)
			}
		})
	}
}
