package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fanfold/fanfold/pkg/setting"
)

// GlobalEnv is the environment variable of an option of fanfold as a whole.
func GlobalEnv(name string) string {
	return "FANFOLD_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// variablesRead are the environment variables beside settings and options of fanfold as a
// whole that something of fanfold reads or sets.
func variablesRead() []string {
	return []string{"FANFOLD_PROFILE", "FANFOLD_REDACTION_KEY", "FANFOLD_REPLAY_ADMIN", "FANFOLD_JAVA_TRUST"}
}

// DoubtfulVariables says which of the environment variables with these names look like
// ours although nothing reads them, a sentence each: a slip in a name would have its
// value ignored without a word. Others may begin with FANFOLD_ too, since configurations
// may name any. isFlag says whether the command has a flag of a name.
func (w *World) DoubtfulVariables(names []string, isFlag func(name string) bool) (doubts []string) {
	known := variablesRead()
	for _, g := range GlobalOptions() {
		known = append(known, GlobalEnv(g.Name))
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		return !strings.HasPrefix(strings.ToUpper(name), "FANFOLD") || slices.Contains(known, name) || w.isSetting(name)
	})
	if len(names) == 0 {
		return nil
	}
	slugs := map[string]string{} // by how their variables begin
	for _, d := range w.Catalogue.All() {
		slugs[EnvName(d.Info.Slug, "")] = d.Info.Slug
		for _, f := range d.Settings.Fields {
			known = append(known, EnvName(d.Info.Slug, f.Key))
		}
	}
	short := make([]string, len(known))
	for i, n := range known {
		short[i] = strings.TrimPrefix(n, "FANFOLD_")
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		hint, rest := "", strings.TrimLeft(strings.ToUpper(name)[len("FANFOLD"):], "_")
		flag := strings.ToLower(strings.ReplaceAll(rest, "_", "-"))
		if near := setting.Nearest(rest, short); near != "" {
			hint = "is it FANFOLD_" + near + "?"
		} else if isFlag(flag) {
			hint = "the flag --" + flag + " says it"
		}
		for begin, slug := range slugs {
			if hint == "" && strings.HasPrefix(name, begin) {
				hint = "`fanfold destinations show " + slug + "` names those that hold its settings"
			}
		}
		if hint != "" {
			doubts = append(doubts, fmt.Sprintf("nothing reads the environment variable %s; %s", name, hint))
		}
	}
	return doubts
}

// isSetting says whether an environment variable holds a setting of a destination of the catalogue.
func (w *World) isSetting(name string) bool {
	for _, slug := range w.Slugs() {
		if !strings.HasPrefix(name, EnvName(slug, "")) {
			continue
		}
		d, _ := w.Catalogue.Find(slug)
		if slices.ContainsFunc(d.Settings.Fields, func(f setting.Field) bool { return EnvName(slug, f.Key) == name }) {
			return true
		}
	}
	return false
}
