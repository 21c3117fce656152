package cmd

import (
	"os"

	"golang.org/x/term"

	"github.com/fanfold/fanfold/pkg/printable"
	"github.com/fanfold/fanfold/pkg/progress"
	"github.com/fanfold/fanfold/pkg/run"
)

// showProgress shows how far a run is until the function it returns is called. Bars
// would paint over events that go to the same terminal.
func (a *app) showProgress(r *run.Run, mode string, toStdout bool) (ended func()) {
	if mode == "never" {
		return func() {}
	}
	d := &progress.Display{Lines: a.err, AtEnd: mode == "always", Now: a.now}
	f, isFile := printable.Under(a.out).(*os.File)
	if shared := toStdout && isFile && term.IsTerminal(int(f.Fd())); !shared {
		d.Screen, _ = printable.Under(a.err).(*progress.Screen)
	}
	return d.Show(r.Progress)
}

// inIsTerminal says that standard input is a person.
func (a *app) inIsTerminal() bool {
	f, ok := a.in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
