// Package stdout writes events to standard output, one a line, for looking at
// them and for pipes.
package stdout

import (
	"bytes"
	"context"
	"io"
	"os"
	"sync"

	"github.com/fanfold/fanfold/destinations/file"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/printable"
)

// Settings: none.
type Settings struct{}

// New declares the destination.
func New() destination.Destination {
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "stdout", Name: "Standard output", Summary: "JSON lines on standard output", Docs: "https://jsonlines.org/",
			Minimal:  true,
			Backfill: "Every event is printed once. The summary goes to standard error then.",
		},
		Unused: []string{"timeout"}, // a write that has begun cannot be called off
		Local:  func(*Settings) (destination.Sender, error) { return &sender{out: standardOutput()}, nil },
	}.Destination()
}

type sender struct {
	mu  sync.Mutex
	out io.Writer
}

// standardOutput is it, byte for byte; but a person's terminal gets no control
// characters of events.
func standardOutput() io.Writer {
	if info, err := os.Stdout.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		return printable.NewWriter(os.Stdout, nil)
	}
	return os.Stdout
}

func (o *sender) Plan() *destination.Plan { return file.Plan() }

func (o *sender) Route(ev *event.Event, env *destination.Env, out *destination.Deliveries) {
	file.Route(ev, env, out)
}

func (o *sender) Send(_ context.Context, _ destination.Transport, b *destination.Batch) ([]destination.Result, error) {
	var lines bytes.Buffer
	for _, d := range b.Deliveries {
		lines.Write(d.Item)
		lines.WriteByte('\n')
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, err := o.out.Write(lines.Bytes()); err != nil { // it will not get better: the lane stops
		r := destination.Result{Outcome: destination.Retry, Reason: destination.Unauthorized}
		r.Detail = "writing to standard output: " + err.Error()
		return destination.Same(r, len(b.Deliveries)), nil
	}
	return destination.Same(destination.Result{Outcome: destination.Delivered}, len(b.Deliveries)), nil
}
