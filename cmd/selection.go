package cmd

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/flagvalue"
	"github.com/fanfold/fanfold/pkg/formats"
	"github.com/fanfold/fanfold/pkg/run"
	"github.com/fanfold/fanfold/pkg/source"
)

// selection is what input a run reads, as the flags say it.
type selection struct {
	from         []string
	since, until string
	filter       string
	limit        int64

	format, layout string
	lateness       string
	columns        []string
	separator      string
	types          []string // of columns
	unwrap         string
	encoding       string
	reading        readingOptions
	mapFile        string         // of a record shape of the user's own
	schemes        source.Schemes // what --from may name, with the values of their flags

	allowEmpty bool

	to, sets, opts []string
	live           []string // destinations
	rehearse       bool
}

// input is the selection as a run takes it.
func (a *app) input(s *selection) (run.Input, error) {
	in := run.Input{Since: s.since, Until: s.until, Lateness: s.lateness, Schemes: s.schemes.Identity(s.from)}
	// The manifest holds names: however a path is spelled, it is the same input.
	for _, f := range s.from {
		in.From = append(in.From, absolute(f))
	}
	in.Options = source.Options{
		From: in.From, Format: s.format, Columns: s.columns, Layout: s.layout, Separator: s.comma(),
		Types: s.types, Unwrap: s.unwrap, Encoding: s.encoding,
		Schemes: s.schemes, Disk: a.disk, Log: a.log, AllowEmpty: s.allowEmpty,
	}
	stream, err := s.schemes.Stream(a.disk, a.in, s.from)
	if err != nil {
		return in, err
	}
	if stream != nil {
		in.Stream = &run.Stream{Name: stream.Name, In: stream.In, Interactive: stream.Standard && a.inIsTerminal()}
		if !stream.Standard { // it may wait for whoever writes to it
			a.sayf("%s can be read only once, like standard input", stream.Name)
		}
	}
	if s.lateness != "" {
		d, wrong := flagvalue.Age(s.lateness)
		if wrong != nil {
			return in, usagef("--lateness has to be a duration like 72h, not %q", s.lateness)
		}
		in.Options.Lateness = d
	}
	var relativeSince, relativeUntil bool
	if in.Bounds.Since, relativeSince, err = parseTime("--since", s.since, a.now()); err != nil {
		return in, err
	}
	if in.Bounds.Until, relativeUntil, err = parseTime("--until", s.until, a.now()); err != nil {
		return in, err
	}
	in.Bounds.Relative = relativeSince || relativeUntil
	s.reading.read(&in, a.now())
	if err = s.readMap(&in); err != nil {
		return in, err
	}
	return in, in.Check()
}

// readMap reads the mapping of --map: another one is another run.
func (s *selection) readMap(in *run.Input) error {
	if s.mapFile == "" {
		return formats.Into(&in.Options, nil)
	}
	if s.format != "" && s.format != "auto" {
		return usagef("--map and --format %s exclude each other: a mapping makes a format of its own", s.format)
	}
	data, err := os.ReadFile(s.mapFile)
	if err != nil {
		return usagef("--map: %v", err)
	}
	in.Map = string(data)
	if err = formats.Into(&in.Options, data); err != nil {
		return usagef("--map %s: %v", s.mapFile, err)
	}
	return nil
}

// comma is the separator itself.
func (s *selection) comma() string {
	if s.separator == "tab" || s.separator == `\t` {
		return "\t"
	}
	return s.separator
}

// readingOptions say how the times of events are read.
type readingOptions struct{ undated, dateOrder string }

func (o *readingOptions) flags(f *pflag.FlagSet) {
	flagvalue.Choice(f, &o.undated, "undated", "", "what becomes of events without a clear time", "reject", "now", "skip")
	flagvalue.Choice(f, &o.dateOrder, "date-order", "", "what is first in dates like 03/04/2024", "unknown", "mdy", "dmy")
}

// read puts the options into an input.
func (o *readingOptions) read(in *run.Input, now time.Time) {
	in.DateOrder = map[string]event.DateOrder{"mdy": event.MonthFirst, "dmy": event.DayFirst}[o.dateOrder]
	in.Options.DateOrder = in.DateOrder
	switch o.undated {
	case run.UndatedNow:
		in.Undated, in.Bounds.Undated = o.undated, now.UTC().Truncate(time.Millisecond)
	case run.UndatedSkip:
		in.Undated = o.undated
	}
}

// absolute is a local path from the root on; anything else is left alone.
func absolute(from string) string {
	if from == "-" || strings.Contains(from, "://") {
		return from
	}
	if abs, err := filepath.Abs(from); err == nil {
		return abs
	}
	return from
}

func (s *selection) flags(c *cobra.Command, schemes source.Schemes) {
	s.schemes = schemes
	f := c.Flags()
	f.StringArrayVar(&s.from, "from", nil, "where the events are: "+s.schemes.Forms()+" (repeatable)")
	f.BoolVar(&s.allowEmpty, "allow-empty", false, "a folder, pattern or prefix with nothing in it is no mistake")
	f.StringVar(&s.format, "format", "auto", "shape of the records")
	f.StringVar(&s.layout, "layout", "", "where an object's path has its time")
	f.StringVar(&s.lateness, "lateness", "", "how long after an event its object may have been written (default 72h)")
	f.StringSliceVar(&s.columns, "columns", nil, "names of the columns of tables without a header")
	f.StringVar(&s.separator, "separator", "",
		"what stands between the cells of tables: one character, or tab (default: found out)")
	f.StringSliceVar(&s.types, "types", nil,
		"what the cells of columns are: COLUMN=number, boolean, json, time or text (repeatable, or separated by commas)")
	f.StringVar(&s.unwrap, "unwrap", "",
		"path of the event inside each record, such as detail or Records.body; JSON in texts is undone on the way")
	f.StringVar(&s.encoding, "encoding", "",
		"how texts are written: utf-8 or latin1 (default: UTF-8, UTF-16 by its marks)")
	s.reading.flags(f)
	f.StringVar(&s.mapFile, "map", "", "file with the mapping that makes events of the records (see help shapes)")
	for _, scheme := range s.schemes {
		for _, o := range scheme.Flags {
			if o.Switch != nil {
				f.BoolVar(o.Switch, o.Name, false, o.Usage)
			} else {
				f.StringVar(o.Text, o.Name, "", o.Usage)
			}
		}
	}
	flagvalue.Moment(f, &s.since, "since",
		"events from this time on: RFC 3339, a date, or a duration back from now (72h, 3d)")
	flagvalue.Moment(f, &s.until, "until", "events before this time")
	f.StringVar(&s.filter, "filter", "", "only events that match, in FQL")
	f.Int64Var(&s.limit, "limit", 0, "stop after this many selected events")
	s.destFlags(c)
}

func (s *selection) destFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringArrayVar(&s.to, "to", nil,
		"destinations: names from the configuration, or slugs (repeatable, or separated by commas)")
	f.StringArrayVar(&s.sets, "set", nil,
		"a setting: NAME.KEY=VALUE, VALUE being env:NAME, file:PATH or a literal (repeatable)")
	f.StringArrayVar(&s.opts, "opt", nil, "an option: NAME.KEY=VALUE (repeatable)")
	triggerLive(f, &s.live)
	f.BoolVar(&s.rehearse, "rehearse", false, "send to built-in stand-ins of the partners instead of the network")
}

// triggerLive is the flag by which destinations are allowed to start something for old events.
func triggerLive(f *pflag.FlagSet, live *[]string) {
	f.StringArrayVar(live, "trigger-live", nil,
		"destinations where events of more than a day ago start what new ones start: messages, campaigns, deletions")
}
