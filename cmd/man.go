package cmd

import (
	"bytes"
	"time"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/formats"
	"github.com/fanfold/fanfold/pkg/manual"
)

// manCommand writes the man pages: packages are built with it.
func (a *app) manCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", Args: cobra.ExactArgs(1), Hidden: true,
		Short: "Write the man pages into a folder",
		RunE: func(_ *cobra.Command, args []string) error {
			date := a.now()
			if built, err := time.Parse(time.RFC3339, a.build.Date); err == nil {
				date = built
			}
			var topics []manual.Topic
			for _, name := range topicNames {
				var text bytes.Buffer
				if err := a.topic(&text, name); err != nil {
					return err
				}
				if name == "formats" { // there is no second argument
					if err := formats.Reference(&text); err != nil {
						return err
					}
				}
				topics = append(topics, manual.Topic{Name: name, Text: text.Bytes()})
			}
			return manual.Write(args[0], root, topics, a.build.Version, date)
		},
	}
}
