package cmd

import (
	"bytes"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/filter"
	"github.com/fanfold/fanfold/pkg/formats"
	"github.com/fanfold/fanfold/pkg/mapping"
	"github.com/fanfold/fanfold/pkg/setting"
)

//go:embed topics/*.txt
var topics embed.FS

// topicNames are the help topics beside the commands, in reading order.
var topicNames = []string{"sources", "events", "shapes", "formats", "stores", "config", "transform", "mapping",
	"filters", "http", "resume", "exit-codes", "backfill", "cassettes", "performance"}

func (a *app) helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND|TOPIC]",
		Short: "Help about a command, or a topic: " + strings.Join(topicNames, ", "),
		Args:  cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return root.Help()
			}
			cmd, rest, err := root.Find(args)
			found := err == nil && cmd != root && len(rest) == 0
			if found { // config and cassettes are topics, too: those follow
				if err = cmd.Help(); err != nil {
					return err
				}
			}
			if len(args) == 2 && args[0] == "formats" {
				if err = formats.Show(a.out, args[1]); err != nil {
					return &usageError{err}
				}
				return nil
			}
			if len(args) == 1 && slices.Contains(topicNames, args[0]) {
				if found {
					fmt.Fprintln(a.out)
				}
				return a.topic(a.out, args[0])
			}
			switch {
			case found:
				return nil
			case err == nil && cmd != root:
				return usagef("%s", setting.Unknown(rest[0], "command", commandNames(cmd)))
			}
			if slices.Contains(topicNames, args[0]) {
				return usagef("%q is too much: fanfold help %s", strings.Join(args[1:], " "), args[0])
			}
			var names []string
			for _, cmd := range root.Commands() {
				if !cmd.Hidden {
					names = append(names, cmd.Name())
				}
			}
			return usagef("%s", setting.Unknown(args[0], "command or topic",
				slices.Compact(slices.Sorted(slices.Values(append(names, topicNames...))))))
		},
	}
}

func (a *app) topic(w io.Writer, name string) error {
	text, err := fs.ReadFile(topics, "topics/"+name+".txt")
	if err != nil {
		return err
	}
	if name == "config" {
		text = bytes.Replace(text, []byte("OPTIONS\n"), []byte(config.OptionReference()), 1)
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	switch name {
	case "formats":
		return formats.List(w)
	case "mapping":
		return mapping.WriteReference(w)
	case "filters":
		return filter.WriteReference(w)
	}
	return nil
}
