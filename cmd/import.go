package cmd

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/reference"
	"github.com/fanfold/fanfold/pkg/run"
	"github.com/fanfold/fanfold/pkg/workspace"
)

// maxExport bounds an export of a workspace.
const maxExport = 64 << 20

func (a *app) importWorkspaces() *cobra.Command {
	return group("import", "Make a fanfold.yaml of another tool's workspace",
		&cobra.Command{
			Use: "segment FILE|-", Args: cobra.ExactArgs(1),
			Short: "Of a Segment workspace: sources, destinations, settings, subscriptions, mappings",
			Long: `import segment prints a commented fanfold.yaml made of an export of a Segment workspace:
answers of the Public API (/destinations, /sources, /destinations/ID/subscriptions and
/filters), one after the other, or what ` + "`terraform show -json`" + ` prints. Secrets are not carried over: the file
names a variable for each. What could not be carried over stands in it as a comment, and is
said on standard error where other events or other requests are sent without it.`,
			Example: `  fanfold import segment export.json > fanfold.yaml
  terraform show -json | fanfold import segment - > fanfold.yaml`,
			RunE: func(_ *cobra.Command, args []string) error { return a.importWorkspace(args[0], workspace.Segment) },
		},
		&cobra.Command{
			Use: "rudderstack FILE|-", Short: "Of a RudderStack workspace configuration", Args: cobra.ExactArgs(1),
			RunE: func(_ *cobra.Command, args []string) error { return a.importWorkspace(args[0], workspace.RudderStack) },
		},
	)
}

// importWorkspace prints what an export comes to, and what is wrong with that.
func (a *app) importWorkspace(path string, read func([]byte) (*workspace.Workspace, error)) error {
	data, err := reference.ReadInput(path, a.in, maxExport+1)
	if err != nil {
		return usagef("reading the export: %w", err)
	}
	if len(data) > maxExport {
		return usagef("%s is larger than %d MiB", path, maxExport>>20)
	}
	found, err := read(data)
	if err != nil {
		return usagef("%s: %w", path, err)
	}
	from := filepath.Base(path)
	if path == "-" {
		from = "standard input"
	}
	out, said, err := workspace.Write(from, found, a.catalogue.All())
	if err != nil {
		return err
	}
	if _, err = a.out.Write(out); err != nil {
		return err
	}
	for _, one := range said {
		a.sayf("%s", one)
	}
	// What `config check` would find is said now: a subscription may be older than the
	// action that it is for.
	w := a.world()
	f, wrong := w.Parse("fanfold.yaml", out)
	if wrong == nil {
		var picked []*config.Destination
		if picked, wrong = w.Choose(f, config.Choice{Rehearse: true}); wrong == nil {
			_, wrong = w.Open(f, picked, config.OpenOptions{Rehearse: true})
		}
	}
	for _, e := range run.Leaves(wrong) {
		a.sayf("warning: to be fixed by hand: %v", e)
	}
	return nil
}
