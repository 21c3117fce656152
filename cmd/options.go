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
	"github.com/fanfold/fanfold/pkg/flagvalue"
	"github.com/fanfold/fanfold/pkg/reference"
)

// globalFlag adds the flag of an option that may also stand in the environment or in
// fanfold.yaml.
func globalFlag(flags *pflag.FlagSet, value *string, name string) {
	for _, g := range config.GlobalOptions() {
		if g.Name == name {
			*value = g.Default
			flagvalue.Checked(flags, value, name, g.Usage, g.Check)
		}
	}
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
		value, ok := a.lookup(config.GlobalEnv(g.Name))
		if !ok || value == "" {
			continue
		}
		if err := g.Check(value); err != nil {
			wrong = append(wrong, usagef("the environment variable %s %w", config.GlobalEnv(g.Name), err))
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

// doubtVariables warns of variables that look like ours and that nothing reads.
func (a *app) doubtVariables(flags *pflag.FlagSet) {
	if a.environ == nil {
		return
	}
	names := slices.Collect(maps.Keys(a.dotenv))
	for _, e := range a.environ() {
		name, _, _ := strings.Cut(e, "=")
		names = append(names, name)
	}
	for _, doubt := range a.world().DoubtfulVariables(names, func(f string) bool { return flags.Lookup(f) != nil }) {
		a.say("warning: " + doubt)
	}
}

// needsNoConfig says that a command works where the configuration is broken: one
// that helps to mend it.
func needsNoConfig(c *cobra.Command) bool {
	switch strings.TrimPrefix(c.CommandPath(), "fanfold ") {
	case "fanfold", "help", "version", "eval", "generate", "sink", "write-completions", "man",
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
		data, err := reference.ReadInput(path, a.in, config.MaxBytes+1)
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
