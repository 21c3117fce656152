package report

import "github.com/fanfold/fanfold/pkg/config"

// Config says in a line what a configuration without problems holds, with so many
// destinations.
func Config(conf *config.File, dests int) string {
	text := "no destination in it"
	if dests > 0 {
		text = Count(dests, "destination")
	}
	text += ", " + Count(len(conf.Transform), "transform step")
	if n := len(conf.Profiles); n > 0 {
		text += ", " + Count(n, "profile")
	}
	if n := len(conf.Tests); n > 0 {
		text += ", " + Count(n, "test")
	}
	text += ", no problems"
	if dests == 0 {
		text += "; `fanfold config init` prints one to start from"
	}
	return text
}
