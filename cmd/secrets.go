package cmd

import "github.com/fanfold/fanfold/pkg/secret"

// secrets are the values that must never be printed or stored: the one set of the
// process, that of logs, errors, summaries, dead letters and journals.
type secrets struct{ secret.Set }

func (s *secrets) add(values ...string) { s.Add(values...) }

func (s *secrets) redact(text string) string { return s.Redact(text) }
