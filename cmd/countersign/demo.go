package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/demo"
)

func newDemo() *cobra.Command {
	o := demo.Options{Version: version}
	var check bool
	c := &cobra.Command{
		Use:   "demo [--port 8080] [--check]",
		Short: "Run the whole thing on this machine, with no file and no service",
		Long: `Run the whole thing on the loopback: an OpenID provider with three people, a
playground and an API as upstreams, Countersign, and a real Envoy in front.
With --check it takes free ports, walks through sign-in, API call, forged header
and sign-out, prints each step with its result, and exits with status 0 only
when all held.`,
		Example: "  countersign demo\n  countersign demo --check\n  countersign demo --envoy /usr/local/bin/envoy",
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if check && !c.Flags().Changed("port") {
				o.Port = 0
			}
			o.Log = newLogger(c.ErrOrStderr(), o.Level())
			d, err := demo.Start(c.Context(), o)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, d.Stop()) }()
			fmt.Fprintln(c.OutOrStdout(), "Envoy", d.EnvoyVersion)
			if check {
				return d.Check(c.Context(), c.OutOrStdout())
			}
			d.Explain(c.OutOrStdout())
			return d.Wait(c.Context())
		},
	}
	c.Flags().IntVar(&o.Port, "port", 8080, "the `PORT` to open in a browser")
	c.Flags().StringVar(&o.Envoy, "envoy", "", "the Envoy binary (default: found in PATH or below .parts)")
	c.Flags().BoolVar(&o.Verbose, "verbose", false, "log every decision")
	c.Flags().BoolVar(&check, "check", false, "walk through it and exit")
	return c
}
