package cmd

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fanfold/fanfold/pkg/journal"
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
	code := exitOK
	for _, e := range leaves(err) {
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
	var busy *journal.BusyError
	switch {
	case errors.As(err, &o):
		return int(o)
	case errors.As(err, &busy):
		return exitIncomplete // nothing was done: another process does it
	case errors.As(err, &signalled):
		return signalled.code()
	case errors.As(err, &usage), errors.As(err, &input):
		return exitUsage
	case strings.HasPrefix(err.Error(), "unknown command"), strings.HasPrefix(err.Error(), "eval: "), strings.HasPrefix(err.Error(), "--mapping"), strings.HasPrefix(err.Error(), "--filter"),
		strings.HasPrefix(err.Error(), "accepts "), strings.HasPrefix(err.Error(), "requires at least"), strings.HasPrefix(err.Error(), "invalid argument"):
		return exitUsage // cobra's own, and eval's
	}
	return exitError
}

// leaves are the errors that were joined into one. An error that merely wraps
// several is one.
func leaves(err error) []error {
	if err == nil {
		return nil
	}
	j, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	var text []string
	for _, e := range j.Unwrap() {
		all = append(all, leaves(e)...)
		text = append(text, e.Error())
	}
	if err.Error() != strings.Join(text, "\n") {
		return []error{err}
	}
	return all
}

// distinct joins what is left of an error when each leaf has become what change
// makes of it (nil: nothing), and those that say what an earlier one said are
// taken out: when the disk is full, every lane finds out.
func distinct(err error, change func(error) error) error {
	var kept []error
	said := map[string]bool{}
	for _, e := range leaves(err) {
		if e = change(e); e == nil || e.Error() != "" && said[e.Error()] {
			continue
		}
		said[e.Error()] = true
		kept = append(kept, e)
	}
	return errors.Join(kept...)
}

// sentError is a mistake in the input that was found only when something had
// been sent: no mere bad usage any more.
type sentError struct{ err error }

func (e *sentError) Error() string { return e.err.Error() }
