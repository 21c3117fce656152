package run

import "errors"

// closers are closed at the end of a run, in reverse order of opening, as with defer. But unlike with defer no
// error can be lost: a deferred assignment to a named result has no effect once an inner scope declares a second
// err.
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
