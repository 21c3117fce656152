package cmd

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/flagvalue"
)

func (a *app) dropCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "drop CASSETTE N,N-N...",
		Short: "Take interactions out of a cassette",
		Long: `drop takes interactions out of a cassette, by their numbers as show and replay
--fail-unused tell them, from 0. The others and the sidecar stay as they are.`,
		Example: `  fanfold cassettes drop cassettes/shop/order.yaml 0,3-5`,
		Args:    cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			k, err := cassette.Load(args[0])
			if err != nil {
				return usagef("%w", err)
			}
			drop, err := flagvalue.Ranges(strings.Join(args[1:], ","), "interactions", len(k.Interactions))
			if err != nil {
				return usagef("%w", err)
			}
			if len(drop) == len(k.Interactions) {
				return usagef("these are all interactions of %s: remove the file, and its sidecar", k.Path)
			}
			secrets, err := a.secretEnv(nil)
			if err != nil {
				return err
			}
			key, err := a.redactionKey(k.Path, false)
			if err != nil {
				return err
			}
			k.Drop(drop)
			red, err := a.redactor(key, secrets, nil, nil)
			if err != nil {
				return err
			}
			if err := a.save(k, red); err != nil {
				return err
			}
			a.sayf("%d interactions are out of %s, %d are left", len(drop), k.Path, len(k.Interactions))
			return nil
		},
	}
}
