package cmd

import (
	_ "embed" // the starter
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/filter"
	"github.com/fanfold/fanfold/pkg/report"
)

// starter is a configuration to begin with.
//
//go:embed starter.yaml
var starter string

func (a *app) configCommand() *cobra.Command {
	return group("config", "Check, show or begin a configuration",
		a.configTestCommand(),
		&cobra.Command{
			Use: "check", Short: "Report all problems of the configuration at once, with file and line", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error { return a.checkConfig() },
		},
		&cobra.Command{
			Use: "show", Short: "Print the effective configuration with secrets masked", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error { return a.showConfig() },
		},
		&cobra.Command{
			Use: "init", Short: "Print a commented configuration to start from", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				_, err := fmt.Fprint(a.out, starter)
				return err
			},
		},
		&cobra.Command{
			Use: "schema", Short: "Print the JSON Schema of fanfold.yaml, for editors and CI", Args: cobra.NoArgs,
			Long: `schema prints the JSON Schema (draft 7) of fanfold.yaml: keys, options, and of each
destination the settings, actions and fields. Editors with a YAML language server
take it by a line at the top of the file:

  # yaml-language-server: $schema=./fanfold.schema.json`,
			Example: `  fanfold config schema > fanfold.schema.json`,
			RunE: func(*cobra.Command, []string) error {
				e := json.NewEncoder(a.out)
				e.SetEscapeHTML(false)
				e.SetIndent("", "  ")
				return e.Encode(a.world().Schema())
			},
		},
	)
}

// checkConfig reports what is wrong with the configuration, all of it: as it is, and with
// each of its profiles.
func (a *app) checkConfig() error {
	conf, dests, err := a.checkProfile()
	if conf == nil {
		return err
	}
	if err == nil && conf.Path == "" {
		return usagef("there is no fanfold.yaml here; `fanfold config init` prints one to start from")
	}
	var found config.Findings
	found.Add(err, "")
	if a.profile == "" && !conf.Unusable {
		for _, name := range conf.Profiles {
			a.profile = name
			_, _, err := a.checkProfile()
			found.Add(err, name)
		}
		a.profile = ""
	}
	if _, err := a.suppression(conf); err != nil {
		found.Add(err, "")
	}
	if err := found.Err(); err != nil {
		return &usageError{err}
	}
	for _, o := range dests {
		a.warn(conf, o, "filter", o.Filter.String())
		for _, s := range o.Config.Actions {
			a.warn(conf, o, "actions", s.Subscribe)
		}
	}
	fmt.Fprintf(a.out, "%s: %s\n", conf.Path, report.Config(conf, len(dests)))
	return nil
}

// checkProfile opens everything that the configuration has.
func (a *app) checkProfile() (*config.File, []*config.Opened, error) {
	conf, err := a.loadConfig()
	if conf == nil {
		return nil, nil, err
	}
	if len(conf.Destinations) == 0 {
		return conf, nil, plainly(err)
	}
	picked, wrong := a.choose(conf, config.Choice{})
	dests, wrong2 := a.open(conf, picked, config.OpenOptions{})
	return conf, dests, errors.Join(plainly(err), plainly(wrong), plainly(wrong2))
}

// plainly is an error without what says that it is one of usage, so that what it joins
// can be told apart.
func plainly(err error) error {
	var u *usageError
	if errors.As(err, &u) {
		return u.err
	}
	return err
}

// showConfig prints what the file, the environment and the defaults come to.
func (a *app) showConfig() error {
	conf, err := a.loadConfig()
	if err != nil {
		return err
	}
	globals := map[string]string{}
	for _, g := range config.GlobalOptions() {
		globals[g.Name] = a.viper.GetString(g.Name)
	}
	if dir, wrong := a.stateDir(); wrong == nil {
		globals["state-dir"] = dir
	}
	text, err := a.world().Show(conf, globals)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(a.out, a.secrets.redact(text))
	return err
}

// warn says where Segment's own trigger parser would read a trigger differently, and
// what in a filter is mostly a slip.
func (a *app) warn(c *config.File, o *config.Opened, key, src string) {
	if src == "" {
		return
	}
	var found []filter.Difference
	if key == "actions" {
		found = filter.Differences(src)
	}
	if f, err := filter.Compile(src); err == nil {
		found = append(found, f.Doubts()...)
	}
	oneLine := strings.Join(strings.Fields(src), " ")
	for _, d := range found {
		fmt.Fprintf(a.err, "%s:%d: warning: %s: %s: %s\n", c.Path, o.Lines[key], o.Name, oneLine, d)
	}
}
