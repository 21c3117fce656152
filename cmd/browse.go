package cmd

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/cassette/browse"
	"github.com/fanfold/fanfold/pkg/recording"
)

func (a *app) browseCommand() *cobra.Command {
	var listen, report string
	c := &cobra.Command{
		Use:   "browse PATH...",
		Short: "Look at cassettes on a local page",
		Long: `browse serves a page, until Ctrl-C, on which cassettes can be looked at: the
interactions, their bodies laid out for reading, what was redacted and why, and,
with the report of a replay, the requests that were missed beside the nearest
recorded ones. The page is in the binary, and neither it nor the command asks
anybody else.`,
		Example: `  fanfold cassettes browse cassettes/shop
  fanfold replay cassettes/shop --report report.json -- npm test
  fanfold cassettes browse cassettes/shop --report report.json`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.browse(c.Context(), listen, report, args) },
	}
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:0",
		"address of the page, one of this machine; port 0 chooses one")
	c.Flags().StringVar(&report, "report", "", "report of a replay (replay --report), for its misses")
	return c
}

func (a *app) browse(ctx context.Context, listen, report string, args []string) error {
	list, err := recording.Load(args)
	if err != nil {
		return err
	}
	misses, err := recording.Misses(report)
	if err != nil {
		return usagef("--report: %w", err)
	}
	host, _, err := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return usagef("--listen has to be an address of this machine, like 127.0.0.1:8090: " +
			"cassettes are nobody else's business")
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return usagef("listening: %w", err)
	}
	server := &http.Server{Handler: browse.New(list, misses), ReadHeaderTimeout: time.Minute}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	if err := json.NewEncoder(a.out).Encode(map[string]any{"ready": true,
		"url": "http://" + l.Addr().String() + "/"}); err != nil {
		return err
	}
	a.sayf("the page is at http://%s/ until Ctrl-C", l.Addr())
	select {
	case <-signals:
	case <-ctx.Done():
	case err := <-failed:
		return err
	}
	return server.Close()
}
