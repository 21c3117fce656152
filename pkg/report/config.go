package report

import (
	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/printable"
)

// Config says in a line what a configuration without problems holds, with so many
// destinations.
func Config(conf *config.File, dests int) string {
	text := "no destination in it"
	if dests > 0 {
		text = printable.Count(dests, "destination")
	}
	text += ", " + printable.Count(len(conf.Transform), "transform step")
	if n := len(conf.Profiles); n > 0 {
		text += ", " + printable.Count(n, "profile")
	}
	if n := len(conf.Tests); n > 0 {
		text += ", " + printable.Count(n, "test")
	}
	text += ", no problems"
	if dests == 0 {
		text += "; `fanfold config init` prints one to start from"
	}
	return text
}
