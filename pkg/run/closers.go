package run

import "errors"

// closers are what a run closes at its end: the last opened first, as with defer,
// but every error counts. A deferred assignment to a result is lost as soon as
// somebody declares a second err further in.
type closers []func() error

func (c *closers) add(f func() error) { *c = append(*c, f) }

func (c *closers) close() error {
	var errs []error
	for i := len(*c) - 1; i >= 0; i-- {
		errs = append(errs, (*c)[i]())
	}
	*c = nil
	return errors.Join(errs...)
}
