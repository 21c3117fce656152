package cmd

import (
	"github.com/spf13/cobra"

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
				return report.Catalogue(a.out, a.catalogue(), rungs)
			}
			entries := []report.Entry{}
			for _, d := range a.catalogue() {
				entries = append(entries, report.EntryOf(d))
			}
			return report.JSON(a.out, entries)
		},
	}
	list.Flags().BoolVar(&rungs, "rungs", false,
		"show how much code each one needs, from 1 (fields alone) to 5 (a conversation)")
	choiceP(list.Flags(), &listForm, "output", "o", "json is one array", "text", "json")
	show := &cobra.Command{
		Use: "show SLUG", Args: cobra.ExactArgs(1),
		Short: "Show a destination's settings, actions, mappings and limits with their sources",
		RunE: func(c *cobra.Command, args []string) error {
			d, ok := a.world().Find(args[0])
			if !ok {
				return usagef("%s", setting.Unknown(args[0], "destination", a.world().Slugs()))
			}
			if showForm == "json" {
				return report.JSON(a.out, report.DestinationOf(d))
			}
			report.Manual(a.out, d)
			return nil
		},
	}
	choiceP(show.Flags(), &showForm, "output", "o", "json is one document", "text", "json")
	return group("destinations", "The catalogue of partners", list, show)
}
