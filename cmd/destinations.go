package cmd

import (
	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/api"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/flagvalue"
	"github.com/fanfold/fanfold/pkg/report"
	"github.com/fanfold/fanfold/pkg/setting"
)

func (a *app) destinationsCommand() *cobra.Command {
	var rungs bool
	var listForm, showForm string
	list := &cobra.Command{
		Use: "list", Short: "List all destinations", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if listForm != "json" {
				return report.Catalogue(a.out, a.catalogue.All(), rungs)
			}
			entries := []report.Entry{}
			for _, d := range a.catalogue.All() {
				entries = append(entries, report.EntryOf(d))
			}
			return report.JSON(a.out, entries)
		},
	}
	list.Flags().BoolVar(&rungs, "rungs", false,
		"show how much code each one needs, from 1 (fields alone) to 5 (a conversation)")
	flagvalue.Output(list.Flags(), &listForm, "json is one array", "text", "json")
	show := &cobra.Command{
		Use: "show SLUG|NAME", Args: cobra.ExactArgs(1),
		Short: "Show a destination's settings, actions, mappings and limits with their sources",
		Long: `show prints what is known of a destination of the catalogue, or, with its NAME, of one of
type http that fanfold.yaml describes.`,
		RunE: func(c *cobra.Command, args []string) error {
			if args[0] == api.Type && showForm == "text" { // a type, of which each is described by itself
				return a.topic(a.out, api.Type)
			}
			d, err := a.shown(args[0])
			if err != nil {
				return err
			}
			if showForm == "json" {
				return report.JSON(a.out, report.DestinationOf(d))
			}
			report.Manual(a.out, d)
			return nil
		},
	}
	flagvalue.Output(show.Flags(), &showForm, "json is one document", "text", "json")
	return group("destinations", "The catalogue of partners", list, show, a.destinationTestCommand())
}

// shown is the destination of a name: of the catalogue, or one that the configuration
// describes.
func (a *app) shown(name string) (destination.Destination, error) {
	w := a.world()
	if d, ok := w.Catalogue.Find(name); ok {
		return d, nil
	}
	names := w.Slugs()
	conf, err := a.loadConfig()
	if conf != nil {
		for _, d := range conf.Destinations {
			if d.Own == nil {
				continue
			}
			if names = append(names, d.Name); d.Name == name {
				own := *d.Own
				own.Info.Slug = d.Name // by which it is known, also in environment variables
				return own, nil
			}
		}
	}
	if err != nil {
		return destination.Destination{}, err
	}
	return destination.Destination{}, usagef("%s", setting.Unknown(name, "destination", names))
}
