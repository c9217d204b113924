package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/config"
	"github.com/countersign/countersign/server"
	"github.com/countersign/countersign/session"
)

func newServe() *cobra.Command {
	var file string
	var drain time.Duration
	c := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Answer Envoy until told to stop",
		Long: `Answer Envoy until told to stop.

On SIGTERM the server reports NOT_SERVING to gRPC health checks and 503 at
/readyz, goes on answering for --drain-delay, takes no new requests, lets those
under way end, and exits with status 0.`,
		Example: "  countersign serve --config countersign.yaml",
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if file == "" {
				return usageError{fmt.Errorf("serve needs --config FILE")}
			}
			cfg, err := config.Load(file, os.LookupEnv)
			if err != nil {
				return err
			}
			log := newLogger(c.ErrOrStderr(), cfg.Log.Level)
			for _, w := range cfg.Warnings {
				log.Warn("configuration", slog.String("warning", w.Error()))
			}
			defer warnOfReload(log)()
			s, err := server.New(server.Options{Config: cfg, Log: log, Version: version, DrainDelay: drain})
			if err != nil {
				return err
			}
			return s.Run(c.Context())
		},
	}
	c.Flags().StringVar(&file, "config", "", "the configuration `FILE`")
	c.Flags().DurationVar(&drain, "drain-delay", 5*time.Second,
		"how long to go on answering after SIGTERM: longer than Envoy's health check interval")
	return c
}

// warnOfReload keeps SIGHUP, which asks for a reload, from ending the server. It
// returns what ends that.
func warnOfReload(log *slog.Logger) (stop func()) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	go func() {
		for range hup {
			log.Warn("reload is not supported yet: the running configuration stays, restart to change it")
		}
	}()
	return func() { signal.Stop(hup); close(hup) }
}

// newLogger writes one JSON object a line.
func newLogger(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}

func newCheck() *cobra.Command {
	return &cobra.Command{
		Use:     "check FILE",
		Short:   "Say what is wrong with a configuration, or what was understood",
		Example: "  countersign check countersign.yaml",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("check takes one FILE")}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := config.Load(args[0], os.LookupEnv)
			if err != nil {
				return err
			}
			describe(c.OutOrStdout(), cfg)
			return nil
		},
	}
}

// describe says in words what a configuration means.
func describe(w io.Writer, cfg *config.Config) {
	for _, a := range cfg.Apps {
		fmt.Fprintf(w, "app %s, signed in by %s\n", strings.TrimSpace(a.Name+" "+a.URL.String()), a.ProviderName)
		for i, r := range a.Rules {
			fmt.Fprintf(w, "  %2d. %s\n", i+1, r.Describe())
		}
	}
	describeSessions(w, cfg.Session)
	if a := cfg.Listen.Admin; a != nil {
		fmt.Fprintf(w, "administrators are answered at %s\n", a.Address)
	}
	for _, p := range cfg.Warnings {
		fmt.Fprintf(w, "warning: %v\n", p)
	}
}

func describeSessions(w io.Writer, s config.Session) {
	where := "in memory: they end with the process"
	if s.Redis != nil {
		where = fmt.Sprintf("in Redis, and known ones pass for %s without it", s.Outage)
	}
	fmt.Fprintf(w, "sessions %s; at most %s, %s unused\n", where, s.Absolute, s.Idle)
	if r := s.Revalidation; r.Via == session.ViaNothing {
		fmt.Fprintln(w, "the provider is not asked again during a session")
	} else {
		fmt.Fprintf(w, "the provider is asked again every %s, by %s; without an answer a session goes on for %s\n", r.Every, r.Via, r.Grace)
	}
}
