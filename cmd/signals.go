package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/fanfold/fanfold/pkg/engine"
)

// interrupts are the signals that ask fanfold to stop. They are caught before
// anything else is done: one that comes while the command line is read must end a
// run as one that comes later.
type interrupts struct{ ch chan os.Signal }

// Who started fanfold with a signal ignored (nohup, a shell that runs it in the
// background) keeps it so.
func catchInterrupts() *interrupts {
	i := &interrupts{make(chan os.Signal, 4)}
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signal.Notify(i.ch, s)
		}
	}
	return i
}

// taken gives the signals to a command that stops in a way of its own. A nil
// receiver has none, ever.
func (i *interrupts) taken() <-chan os.Signal {
	if i == nil {
		return nil
	}
	return i.ch
}

// leave has signals end the process at once from now on, for commands that have
// nothing to save. One that has come already is an error.
func (i *interrupts) leave() error {
	if i == nil {
		return nil
	}
	signal.Stop(i.ch)
	select {
	case s := <-i.ch:
		return &signalError{s}
	default:
		return nil
	}
}

// signalError ends a command that was asked to stop before it had begun.
type signalError struct{ sig os.Signal }

func (e *signalError) Error() string { return fmt.Sprintf("stopped by a signal (%s)", e.sig) }

// code is what a shell makes of a process that a signal has ended.
func (e *signalError) code() int {
	if s, ok := e.sig.(syscall.Signal); ok {
		return 128 + int(s)
	}
	return exitError
}

// stopsInOrder marks commands that take the signals themselves.
const stopsInOrder = "stops-in-order"

// inOrder are the annotations of such a command.
func inOrder() map[string]string { return map[string]string{stopsInOrder: "yes"} }

// stopper turns the first signal into an orderly end of a run and the second into
// one at once. A run that is still being opened has nothing to end in order: what is
// opened stops at the first.
type stopper struct {
	stop chan struct{} // closed by the first signal
	end  func()        // gives up waiting for signals

	mu    sync.Mutex
	begun bool // everything is open
	early bool // the first signal came before
}

// stopper returns the contexts of what is opened and of the engine, too.
func (a *app) stopper(ctx context.Context) (s *stopper, opening, running context.Context) {
	running, end := context.WithCancel(ctx)
	opening, cancelOpening := context.WithCancel(running)
	s = &stopper{stop: make(chan struct{}), end: end}
	a.opening = opening
	signals := a.interrupts.taken()
	go func() {
		defer end()
		select {
		case sig := <-signals:
			a.log.Info(engine.LogStop, "why", "signal: "+sig.String())
		case <-running.Done():
			cancelOpening()
			return
		}
		a.say("stopping: what is in flight is finished and saved (again to stop now)")
		close(s.stop)
		s.mu.Lock()
		if !s.begun {
			s.early = true
			cancelOpening()
		}
		s.mu.Unlock()
		select {
		case <-signals:
		case <-running.Done():
		}
		cancelOpening()
	}()
	return s, opening, running
}

// begin says that everything is open.
func (s *stopper) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun = true
}

// ended gives up waiting for signals. An error that comes of stopping a run that had
// not begun is none of the machine's.
func (a *app) ended(s *stopper, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end()
	if s.begun || !s.early || !errors.Is(err, context.Canceled) {
		return err
	}
	a.say("stopped before anything was sent: the same command begins again")
	return outcome(exitIncomplete)
}
