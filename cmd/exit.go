package cmd

import (
	"errors"
	"fmt"
	"slices"

	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/run"
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

// sentences are the mistakes that one error stands for, each to be said by itself.
func sentences(err error) []error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil || inner.Error() != err.Error() {
			return run.Leaves(err)
		}
		err = inner
	}
}

// outcome ends a command that has said all it has to say with a code of its
// own.
type outcome int

func (o outcome) Error() string { return "" }

// exitCode maps every error to a code. Where several hold: 1 before 2 before 5
// before 4 before 3.
func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	code := exitOK
	for _, e := range run.Leaves(err) {
		c := codeOf(e)
		if slices.Index(precedence, c) < slices.Index(precedence, code) {
			code = c
		}
	}
	return code
}

// precedence is the order in which codes win.
var precedence = []int{exitError, exitUsage, exitFinding, exitIncomplete, exitRejected, exitOK}

func codeOf(err error) int {
	var o outcome
	var signalled *signalError
	var usage *usageError
	var input *source.InputError
	var mistake *run.MistakeError
	var busy *journal.BusyError
	switch {
	case errors.As(err, &o):
		return int(o)
	case errors.As(err, &busy):
		return exitIncomplete // nothing was done: another process does it
	case errors.As(err, &signalled):
		return signalled.code()
	case errors.As(err, &usage), errors.As(err, &input), errors.As(err, &mistake):
		return exitUsage
	}
	return exitError
}
