package run

import (
	"errors"
	"fmt"
	"strings"
)

// MistakeError is a mistake in what was asked for, found before anything was sent.
type MistakeError struct{ Err error }

func (e *MistakeError) Error() string { return e.Err.Error() }

// Unwrap returns the mistake itself.
func (e *MistakeError) Unwrap() error { return e.Err }

func mistakef(format string, args ...any) error {
	return &MistakeError{fmt.Errorf(format, args...)}
}

// SentError is a mistake in the input that was found only after something had been sent.
// So it is not one of usage: it does not unwrap to the mistake.
type SentError struct{ Mistake error }

func (e *SentError) Error() string { return e.Mistake.Error() }

// Leaves returns the errors that were joined into one. An error that wraps several errors but was not made by
// joining them counts as one.
func Leaves(err error) []error {
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
		all = append(all, Leaves(e)...)
		text = append(text, e.Error())
	}
	if err.Error() != strings.Join(text, "\n") {
		return []error{err}
	}
	return all
}

// Distinct joins the errors that were joined in err, after change has replaced each of them (nil: it is left out).
// Errors with the same text are kept once: when the disk is full, every lane reports it.
func Distinct(err error, change func(error) error) error {
	var kept []error
	said := map[string]bool{}
	for _, e := range Leaves(err) {
		if e = change(e); e == nil || e.Error() != "" && said[e.Error()] {
			continue
		}
		said[e.Error()] = true
		kept = append(kept, e)
	}
	return errors.Join(kept...)
}
