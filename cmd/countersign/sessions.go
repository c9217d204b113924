package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/admin"
)

func newSessions() *cobra.Command {
	c := &cobra.Command{
		Use:   "sessions",
		Short: "List and end the sessions of a running server",
		Long: `List and end the sessions of a running server, through its admin listener
(listen.admin in its configuration). All replicas share their sessions, so one
of them is enough to ask.`,
		Example: `  countersign sessions list --config countersign.yaml
  countersign sessions revoke --config countersign.yaml --issuer https://id.example.org --subject 4711`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newSessionsList(), newSessionsRevoke())
	return c
}

func newSessionsList() *cobra.Command {
	var at adminFlags
	var who admin.Selector
	var limit int
	var asJSON bool
	c := &cobra.Command{
		Use:   "list [--issuer I --subject S | --id PREFIX]",
		Short: "List sessions: all, those of a person, or one",
		Long: `List sessions: all, those of a person, or those whose identifier begins with
some hex digits. A person is an issuer and a subject, which are the idp and sub
claims of the token that the upstream gets; nothing else about a session's owner
can be read without the cookie.`,
		Example: `  countersign sessions list --config countersign.yaml
  countersign sessions list --config countersign.yaml --issuer https://id.example.org --subject 4711
  countersign sessions list --address 127.0.0.1:9192 --token-file /run/secrets/admin --json`,
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkSelector(who); err != nil {
				return err
			}
			if limit < 1 || limit > 100_000 {
				return usageError{errors.New("--limit must be between 1 and 100000")}
			}
			return at.ask(func(client *admin.Client) error {
				list, err := client.List(c.Context(), who, limit)
				if err != nil {
					return err
				}
				if asJSON {
					return json.NewEncoder(c.OutOrStdout()).Encode(list)
				}
				return writeSessions(c.OutOrStdout(), time.Now(), list)
			})
		},
	}
	at.add(c)
	addSelector(c, &who)
	c.Flags().IntVar(&limit, "limit", 1000, "list at most `N`, up to 100000")
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON, for programs")
	return c
}

func newSessionsRevoke() *cobra.Command {
	var at adminFlags
	var who admin.Selector
	var yes, asJSON bool
	c := &cobra.Command{
		Use:   "revoke (--issuer I --subject S | --id PREFIX | --all)",
		Short: "End sessions: those of a person, one, or all",
		Long: `End the sessions of a person, one session, or all of them. Within a second no
replica lets them in any more; a connection that is open by then, such as a
WebSocket, goes on until it ends. Logins of a person that are under way end,
too. What they have at the provider stays: they can sign in again unless that
locks them out.

A person is an issuer and a subject, which are the idp and sub claims of the
token that the upstream gets. If there is no session of that person, or none with
that identifier, the exit status is 1, since one of them may be mistyped. To
repeat a command does no harm.`,
		Example: `  countersign sessions revoke --config countersign.yaml --issuer https://id.example.org --subject 4711
  countersign sessions revoke --config countersign.yaml --id 3f9a0c12
  countersign sessions revoke --address unix:///run/countersign/admin.sock --token-file /run/secrets/admin --all --yes`,
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkRevocation(who, yes); err != nil {
				return err
			}
			return at.ask(func(client *admin.Client) error {
				return revoke(c.Context(), c.OutOrStdout(), client, who, asJSON)
			})
		},
	}
	at.add(c)
	addSelector(c, &who)
	c.Flags().BoolVar(&who.All, "all", false, "end every session there is")
	c.Flags().BoolVar(&yes, "yes", false, "with --all: this is meant")
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON, for programs")
	return c
}

// addSelector adds the flags that name a person or a session.
func addSelector(c *cobra.Command, who *admin.Selector) {
	c.Flags().StringVar(&who.Issuer, "issuer", "", "the `ISSUER` of a person: the idp claim of the token that the upstream gets")
	c.Flags().StringVar(&who.Subject, "subject", "", "the person's `SUBJECT` there: the sub claim of that token")
	c.Flags().StringVar(&who.ID, "id", "", "the first `DIGITS` of a session's identifier, as in the log")
	for _, name := range []string{"issuer", "subject", "id"} {
		c.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions) //nolint:errcheck // the flags are there
	}
}

func checkSelector(who admin.Selector) error {
	switch {
	case (who.Issuer == "") != (who.Subject == ""):
		return usageError{errors.New("a person is an --issuer and a --subject: one of them is missing")}
	case who.Issuer != "" && who.ID != "":
		return usageError{errors.New("--id cannot stand beside --issuer and --subject")}
	}
	return nil
}

func checkRevocation(who admin.Selector, yes bool) error {
	if err := checkSelector(who); err != nil {
		return err
	}
	named := who.ID != "" || who.Issuer != ""
	switch {
	case who.All && named:
		return usageError{errors.New("--all cannot stand beside --id, or --issuer and --subject")}
	case who.All && !yes:
		return usageError{errors.New("--all ends every session of every app, and everybody who is signed in has to sign in again: add --yes if that is meant")}
	case !who.All && !named:
		return usageError{errors.New("whose sessions? Say --issuer and --subject, --id, or --all")}
	}
	return nil
}

// errNoSession tells a script that names somebody that nobody was meant.
var errNoSession = errors.New("no such session")

func revoke(ctx context.Context, w io.Writer, client *admin.Client, who admin.Selector, asJSON bool) error {
	n, err := client.Revoke(ctx, who)
	if err != nil {
		return err
	}
	nobody := n == 0 && !who.All
	switch {
	case asJSON:
		err = json.NewEncoder(w).Encode(admin.Revoked{Revoked: n})
	case !nobody:
		_, err = fmt.Fprintf(w, "Ended %s.\n", count(n, "session"))
	}
	if err == nil && nobody {
		return errNoSession
	}
	return err
}

// writeSessions writes a table for people.
func writeSessions(w io.Writer, now time.Time, list admin.List) error {
	if len(list.Sessions) == 0 {
		_, err := fmt.Fprintln(w, "There is no such session.")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tAPP\tBROWSER\tAGE\tLAST SEEN\tENDS")
	for _, s := range list.Sessions {
		age := "unknown"
		if !s.Created.IsZero() {
			age = words(now.Sub(s.Created))
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s ago\t%s\n", s.ID[:min(16, len(s.ID))], orDash(s.App), orDash(s.Browser),
			age, words(now.Sub(s.Seen)), ends(now, s))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if list.Truncated {
		_, err := fmt.Fprintf(w, "There are more than these %d: see --limit.\n", len(list.Sessions))
		return err
	}
	_, err := fmt.Fprintln(w, count(len(list.Sessions), "session"))
	return err
}

// ends says when a session ends.
func ends(now time.Time, s admin.Session) string {
	at := "in " + words(s.Ends.Sub(now))
	if s.IdleEnd.Before(s.Ends) {
		return "in " + words(s.IdleEnd.Sub(now)) + " unless used, " + at + " in any case"
	}
	return at
}

// words says roughly how long d is.
func words(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return count(int(max(d, 0)/time.Second), "second")
	case d < time.Hour:
		return count(int(d/time.Minute), "minute")
	case d < 2*day:
		return count(int(d/time.Hour), "hour")
	}
	return count(int(d/day), "day")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
