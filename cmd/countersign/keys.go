package main

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/mint"
)

func newKeys() *cobra.Command {
	keys := &cobra.Command{
		Use:     "keys",
		Short:   "Make the keys that the configuration names",
		Example: "  countersign keys generate mint",
		Args:    noArguments,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	keys.AddCommand(newKeysGenerate(), notYet("list"), notYet("rotate"))
	return keys
}

func newKeysGenerate() *cobra.Command {
	return &cobra.Command{
		Use:   "generate session|mint",
		Short: "Write a new key file to standard output",
		Long: `Write a new key file to standard output: secret, so keep it where only
Countersign reads it.

  session  a line for session.keys_file, which seals sessions
  mint     a private JWK Set for mint.keys_file, which signs the upstream's token`,
		Example: `  (umask 077 && countersign keys generate session > session-keys)
  (umask 077 && countersign keys generate mint > mint.jwks)`,
		ValidArgs: []string{"session", "mint"},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || (args[0] != "session" && args[0] != "mint") {
				return usageError{fmt.Errorf("keys generate wants to know which: session or mint")}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if args[0] == "session" {
				key := make([]byte, 32)
				rand.Read(key)
				_, err := fmt.Fprintln(c.OutOrStdout(), base64.StdEncoding.EncodeToString(key))
				return err
			}
			set, err := mint.GenerateKeySet()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s\n", set)
			return err
		},
	}
}
