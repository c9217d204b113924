package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/admin"
	"github.com/countersign/countersign/config"
)

// adminFlags say where the admin listener of a server is.
type adminFlags struct{ config, address, tokenFile string }

func (f *adminFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.config, "config", "", "the configuration `FILE` of the server, of which listen.admin is read")
	c.Flags().StringVar(&f.address, "address", "", "instead: the `ADDRESS` of its admin listener, host:port or unix:///path")
	c.Flags().StringVar(&f.tokenFile, "token-file", "", "with --address: the `FILE` that holds its token")
	c.RegisterFlagCompletionFunc("address", cobra.NoFileCompletions) //nolint:errcheck // the flag is there
}

// ask calls do with a client of the listener, and explains its error.
func (f *adminFlags) ask(do func(*admin.Client) error) error {
	if err := f.complete(); err != nil {
		return err
	}
	token, err := admin.ReadToken(f.tokenFile)
	if err != nil {
		return fmt.Errorf("token file %w", err)
	}
	base, err := baseURL(f.address)
	if err != nil {
		return usageError{err}
	}
	client, err := admin.NewClient(base, token)
	if err != nil {
		return usageError{err}
	}
	return f.explain(do(client))
}

// complete fills in what stands in the configuration.
func (f *adminFlags) complete() error {
	direct := f.address != "" || f.tokenFile != ""
	switch {
	case f.config != "" && direct:
		return usageError{errors.New("--config cannot stand beside --address and --token-file")}
	case f.config == "" && (f.address == "" || f.tokenFile == ""):
		return usageError{errors.New("where is the server? Say --config FILE, or --address and --token-file")}
	case direct:
		return nil
	}
	a, err := config.LoadAdmin(f.config, os.LookupEnv)
	if err != nil {
		return err
	}
	if a == nil {
		return fmt.Errorf("%s: has no listen.admin, so that its server answers no administrator: "+
			"add listen: {admin: {token_file: FILE}} and restart it", f.config)
	}
	f.address, f.tokenFile = a.Address.String(), a.TokenFile
	return nil
}

// baseURL is the address of a listener as one asks there. One that listens
// everywhere is asked here.
func baseURL(address string) (string, error) {
	if strings.Contains(address, "://") {
		return address, nil
	}
	host, port, err := net.SplitHostPort(address)
	switch {
	case err != nil:
		return "", errors.New("--address must be host:port or unix:///path")
	case port == "0":
		return "", errors.New("listen.admin takes any port that is free: say --address and --token-file, with the one in the server's log")
	}
	return "http://" + net.JoinHostPort(here(host), port), nil
}

// here is the host to dial for one that is listened at. A name is not left to the
// resolver: with localhost, Go listens on 127.0.0.1 alone, so that whoever takes
// the port on ::1 would be shown the token.
func here(host string) string {
	ip := net.ParseIP(host)
	switch {
	case host == "", strings.EqualFold(host, "localhost"), ip.IsUnspecified() && ip.To4() != nil:
		return "127.0.0.1"
	case ip.IsUnspecified():
		return "::1"
	}
	return host
}

// explain says what to do about an error.
func (f *adminFlags) explain(err error) error {
	p, answered := errors.AsType[*admin.Problem](err)
	switch {
	case err == nil, errors.Is(err, errNoSession):
		return err
	case answered && p.Status == http.StatusUnauthorized:
		return fmt.Errorf("%s: the server does not accept the token in %s: is that the token_file of its listen.admin?", f.address, f.tokenFile)
	case answered:
		return fmt.Errorf("%s: %w", f.address, err)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		return fmt.Errorf("%s: nobody answers there: is countersign serve running, with listen.admin in its configuration?", f.address)
	}
	return fmt.Errorf("%s: %w: it may have been done, and can be repeated", f.address, err)
}
