package cmd

import (
	"fmt"
	"net"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/eventgen"
	"github.com/fanfold/fanfold/pkg/flagvalue"
	"github.com/fanfold/fanfold/pkg/printable"
	"github.com/fanfold/fanfold/pkg/standin"
)

// generateCommand writes the sample archives and the input of benchmarks.
func (a *app) generateCommand() *cobra.Command {
	var o eventgen.Options
	var to string
	var cut int
	c := &cobra.Command{
		Use: "generate --to FILE", Args: cobra.NoArgs,
		Short: "Write a stream of made-up events, the same for the same seed",
		RunE: func(c *cobra.Command, _ []string) error {
			if o.Variety > eventgen.MostVariety {
				return usagef("--variety has to be at most %d, not %d", eventgen.MostVariety, o.Variety)
			}
			if to == "-" {
				return eventgen.WriteAs(printable.Under(a.out), to, o)
			}
			return eventgen.WriteFile(to, o, cut)
		},
	}
	f := c.Flags()
	f.StringVar(&to, "to", "-", "file to write; .zst and .gz are compressed")
	f.Uint64Var(&o.Seed, "seed", 1, "seed of the stream")
	flagvalue.Count(f, &o.Events, "events", 3000, "number of events")
	usual := strconv.Itoa(eventgen.DefaultVariety)
	flagvalue.Count(f, &o.Variety, "variety", 0,
		"number of event names, each with properties of its own, optional and nested ones; "+
			"without a number "+usual+", 0: a uniform stream")
	f.Lookup("variety").NoOptDefVal = usual
	f.BoolVar(&o.Messy, "messy", false, "add what real archives also hold")
	flagvalue.Count(f, &o.LongLine, "long-line", 0, "bytes of the over-long line of a messy stream")
	flagvalue.Count(f, &cut, "cut", 0, "bytes to cut off the end of the file")
	return c
}

// sinkCommand is a server that takes everything and counts, for benchmarks.
func (a *app) sinkCommand() *cobra.Command {
	var addr, mark string
	c := &cobra.Command{
		Use: "sink", Args: cobra.NoArgs, Annotations: inOrder(),
		Short: "Run a local server that takes every request and counts events, for benchmarks",
		Long: `sink answers every request with status 200 and JSON in which Mixpanel, webhooks and
whoever documents no more of an answer see a success. Where a partner documents another one
(Klaviyo: 202), that is no delivery: forward --rehearse has a stand-in for each partner. It
says in one JSON line where it listens, and counts requests, the bytes of their bodies as
they are when they are not compressed, and the events in them (--count). GET /stats
answers the counts so far as JSON. Ctrl-C or SIGTERM ends it: the counts are its last line.`,
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := net.Listen("tcp", addr)
			if err != nil {
				return usagef("listening: %w", err)
			}
			sink := standin.NewSink(mark)
			fmt.Fprintf(a.out, "{\"ready\":true,\"url\":\"http://%s\"}\n", l.Addr())
			if err := sink.Serve(c.Context(), l, a.interrupts.taken()); err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.out, sink.Counts())
			return err
		},
	}
	c.Flags().StringVar(&addr, "listen", "127.0.0.1:0", "address")
	c.Flags().StringVar(&mark, "count", `"event":"`, "text that stands once in every event; empty: count nothing")
	return c
}
