package cmd

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/setting"
)

// globalFlag adds the flag of an option that may also stand in the environment or in
// fanfold.yaml.
func globalFlag(flags *pflag.FlagSet, value *string, name string) {
	for _, g := range config.GlobalOptions() {
		if g.Name == name {
			*value = g.Default
			flags.Var(&checked{value, g.Check}, name, g.Usage)
		}
	}
}

// checked is a flag whose value is held against what it has to be as it is given.
type checked struct {
	value *string
	check func(string) error
}

func (c *checked) String() string { return *c.value }
func (c *checked) Type() string   { return "string" }

func (c *checked) Set(s string) error {
	if err := c.check(s); err != nil {
		return err
	}
	*c.value = s
	return nil
}

// envOf is the environment variable of a global option.
func envOf(name string) string {
	return "FANFOLD_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// readGlobals reads the options of fanfold as a whole: flag before environment
// before file. What it finds becomes the value of the command's flags, too.
func (a *app) readGlobals(c *cobra.Command) error {
	a.configGiven = a.configFile != ""
	if a.hasProfile = c.Flags().Changed("profile"); !a.hasProfile {
		a.profile, a.hasProfile = a.env("FANFOLD_PROFILE")
	}
	path := a.findConfig()
	if path == "" && a.profile != "" && c.Name() != "redrive" { // which finds the configuration of its run
		if c.Flags().Changed("profile") {
			return usagef("--profile %s: there is no configuration file", a.profile)
		} else if !needsNoConfig(c) {
			a.sayf("warning: FANFOLD_PROFILE is %s, and there is no configuration file", a.profile)
		}
	}
	if from := c.Flags().Lookup("from"); from != nil && isStdin(path) && isStdinIn(from) {
		return usagef("--config %s and --from - both take standard input", path)
	}
	v := viper.New()
	a.viper = v
	if path != "" {
		f, err := a.loadConfig()
		if f == nil || f.Unusable {
			if !needsNoConfig(c) || f == nil && a.configGiven { // what is named has to be there
				return err
			}
		} else if a.configFile = path; len(f.Globals) > 0 {
			values := map[string]any{}
			for name, g := range f.Globals {
				values[name] = g.Value
			}
			if err := v.MergeConfigMap(values); err != nil {
				return err
			}
		}
	}
	var wrong []error
	for _, g := range config.GlobalOptions() {
		value, ok := a.lookup(envOf(g.Name))
		if !ok || value == "" {
			continue
		}
		if err := g.Check(value); err != nil {
			wrong = append(wrong, usagef("the environment variable %s %w", envOf(g.Name), err))
			continue
		}
		if err := v.MergeConfigMap(map[string]any{g.Name: value}); err != nil {
			return err
		}
	}
	if len(wrong) > 0 && !needsNoConfig(c) {
		return errors.Join(wrong...)
	}
	if err := v.BindPFlags(c.Flags()); err != nil {
		return err
	}
	for _, g := range config.GlobalOptions() {
		if f := c.Flags().Lookup(g.Name); f != nil && !f.Changed {
			if err := f.Value.Set(v.GetString(g.Name)); err != nil {
				return usagef("%s %w", g.Name, err)
			}
		}
	}
	return nil
}

// variablesRead are the environment variables beside settings and options of fanfold as a
// whole that something of fanfold reads or sets.
var variablesRead = []string{"FANFOLD_PROFILE", "FANFOLD_REDACTION_KEY", "FANFOLD_REPLAY_ADMIN", "FANFOLD_JAVA_TRUST"}

// doubtVariables warns of variables that look like ours and that nothing reads: a slip
// in a name would have its value ignored without a word. Others may begin with FANFOLD_
// too, since configurations may name any.
func (a *app) doubtVariables(flags *pflag.FlagSet) {
	if a.environ == nil {
		return
	}
	known := slices.Clone(variablesRead)
	for _, g := range config.GlobalOptions() {
		known = append(known, envOf(g.Name))
	}
	slugs := map[string]string{} // by how their variables begin
	for _, d := range a.catalogue() {
		slugs[config.EnvName(d.Info.Slug, "")] = d.Info.Slug
		for _, f := range d.Settings.Fields {
			known = append(known, config.EnvName(d.Info.Slug, f.Key))
		}
	}
	names := slices.Collect(maps.Keys(a.dotenv))
	for _, e := range a.environ() {
		name, _, _ := strings.Cut(e, "=")
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if !strings.HasPrefix(strings.ToUpper(name), "FANFOLD") || slices.Contains(known, name) {
			continue
		}
		hint, short := "", strings.TrimLeft(strings.ToUpper(name)[len("FANFOLD"):], "_")
		if near := setting.Nearest(short, trimmed(known)); near != "" {
			hint = "; is it FANFOLD_" + near + "?"
		} else if f := flags.Lookup(strings.ToLower(strings.ReplaceAll(short, "_", "-"))); f != nil {
			hint = "; the flag --" + f.Name + " says it"
		}
		for begin, slug := range slugs {
			if hint == "" && strings.HasPrefix(name, begin) {
				hint = "; `fanfold destinations show " + slug + "` names those that hold its settings"
			}
		}
		if hint != "" {
			a.sayf("warning: nothing reads the environment variable %s%s", name, hint)
		}
	}
}

// trimmed are variables without what all of them begin with.
func trimmed(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = strings.TrimPrefix(n, "FANFOLD_")
	}
	return out
}

// needsNoConfig says that a command works where the configuration is broken: one
// that helps to mend it.
func needsNoConfig(c *cobra.Command) bool {
	switch strings.TrimPrefix(c.CommandPath(), "fanfold ") {
	case "fanfold", "help", "version", "eval", "generate", "sink", "write-completions",
		"config", "config init", "config check", "config schema", "import", "import segment", "import rudderstack":
		return true
	}
	return false
}

// configText is a configuration file as it was read. It is read once: the path may be
// that of a pipe.
type configText struct {
	path string
	data []byte
	err  error
}

// configBytes returns what stands in a configuration file.
func (a *app) configBytes(path string) ([]byte, error) {
	if a.configText.path != path {
		data, err := readBounded(path, a.in, config.MaxBytes+1)
		a.configText = configText{path, data, err}
	}
	switch err := a.configText.err; {
	case errors.Is(err, fs.ErrNotExist):
		return nil, usagef("%s: no such file; `fanfold config init` prints one to start from", path)
	case err != nil:
		return nil, usagef("reading the configuration: %w", err)
	case a.configGiven && len(bytes.TrimSpace(a.configText.data)) == 0 && !isRegular(path):
		return nil, usagef("%s: it is empty: a configuration that is piped in has to hold something", path)
	}
	return a.configText.data, nil
}

// findConfig returns the configuration file: the one asked for, or the first
// that is there.
func (a *app) findConfig() string {
	if a.configFile != "" {
		return a.configFile
	}
	places := []string{"fanfold.yaml"}
	if dir, ok := a.env("XDG_CONFIG_HOME"); ok && dir != "" {
		places = append(places, filepath.Join(dir, "fanfold", "fanfold.yaml"))
	} else if home, ok := a.env("HOME"); ok {
		places = append(places, filepath.Join(home, ".config", "fanfold", "fanfold.yaml"))
	}
	for _, p := range places {
		if info, err := os.Stat(p); err == nil && !info.IsDir() {
			return p
		}
	}
	return ""
}

// isStdin says that a path is that of standard input.
func isStdin(path string) bool {
	return path == "-" || path == "/dev/stdin" || path == "/dev/fd/0" || path == "/proc/self/fd/0"
}

func isStdinIn(from *pflag.Flag) bool {
	list, ok := from.Value.(pflag.SliceValue)
	return ok && slices.ContainsFunc(list.GetSlice(), isStdin)
}

func isRegular(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
