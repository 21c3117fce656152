package cmd

import (
	"errors"
	"fmt"
	"strings"

	"github.com/fanfold/fanfold/pkg/source"
)

// The exit codes that scripts rely on; `help exit-codes` explains them.
const (
	exitOK         = 0
	exitError      = 1
	exitUsage      = 2
	exitRejected   = 3
	exitIncomplete = 4
	exitFinding    = 5
)

// usageError is a mistake in the command or the configuration, found before
// anything was sent.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// outcome ends a command that has said all it has to say with a code of its
// own.
type outcome int

func (o outcome) Error() string { return "" }

// exitCode maps every error to a code. Where several hold: 1 before 2 before 4
// before 3.
func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	var o outcome
	var usage *usageError
	var input *source.InputError
	switch {
	case errors.As(err, &o) && err.Error() == "":
		return int(o)
	case errors.As(err, &usage), errors.As(err, &input):
		return exitUsage
	case strings.HasPrefix(err.Error(), "unknown command"), strings.HasPrefix(err.Error(), "eval: "), strings.HasPrefix(err.Error(), "--mapping"), strings.HasPrefix(err.Error(), "--filter"),
		strings.HasPrefix(err.Error(), "accepts "), strings.HasPrefix(err.Error(), "requires at least"), strings.HasPrefix(err.Error(), "invalid argument"):
		return exitUsage // cobra's own, and eval's
	}
	return exitError
}
