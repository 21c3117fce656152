// Package recording is what the commands record and replay do: it runs a program between
// listeners that stand for partners, and keeps what was said in a cassette, or answers from
// one.
package recording

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/redact"
	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/listen"
	"github.com/fanfold/fanfold/pkg/run"
)

// World is what is needed of the outside. All of it is required.
type World struct {
	Version string // of fanfold
	Now     func() time.Time
	Env     func(string) (string, bool)
	// Say tells the user something, a sentence each.
	Say func(...string)
	// Hide takes secrets out of a text that is told.
	Hide func(string) string
	// Key is the key of redaction for a cassette; with create a missing one is made.
	Key func(path string, create bool) ([]byte, error)
	// Secrets are those of the environment, and of the variables named.
	Secrets func(more []string) ([]redact.Secret, error)
	// Redactor has the rules given, and those of the configuration.
	Redactor func(key []byte, secrets []redact.Secret, also, allow []string) (*redact.Redactor, error)
	// Serve starts a service and runs a command, or waits for a signal where there is none;
	// ending, if not nil, is called before connections are cut off.
	Serve func(ctx context.Context, s *listen.Service, command []string, ending func()) (code int, err error)
	// Ours says that a command is fanfold itself; Own runs it in this process.
	Ours func(command []string) bool
	Own  func(ctx context.Context, on *Wire, command []string) (code int)
}

// ErrFinding says that something differs, or would leak. What it is has been said.
var ErrFinding = errors.New("there are findings")

// ChildError says that the command that was run failed. It has said why.
type ChildError struct{ Code int }

func (e *ChildError) Error() string {
	return fmt.Sprintf("the command ended with exit code %d", e.Code)
}

func mistakef(format string, args ...any) error {
	return &run.MistakeError{Err: fmt.Errorf(format, args...)}
}

func (w *World) sayf(format string, args ...any) { w.Say(fmt.Sprintf(format, args...)) }

// Wire is where fanfold's own requests go while it is recorded or replayed.
type Wire struct {
	// open returns the conversation, given the secrets of all destinations.
	open func(secrets []redact.Secret) (*cassette.Conversation, error)
	conv *cassette.Conversation
}

// NewWire returns a wire that is opened once the destinations of a run, and so their
// secrets, are known.
func NewWire(open func(secrets []redact.Secret) (*cassette.Conversation, error)) *Wire {
	return &Wire{open: open}
}

// Begin opens the wire, once the destinations of a run are known.
func (w *Wire) Begin(dests []*config.Opened) (err error) {
	var secrets []redact.Secret
	for _, d := range dests {
		for _, f := range d.Spec.Settings.Fields {
			if v, ok := d.Config.Settings[f.Key].(string); ok && f.Secret {
				secrets = append(secrets, redact.Secret{Name: d.Name + "." + f.Key, Value: v, Example: f.Example})
			}
		}
		for _, v := range append(slices.Clone(d.Sender.Plan().Secrets), d.Sender.Plan().Auth.Secrets()...) {
			secrets = append(secrets, redact.Secret{Name: d.Name, Value: v})
		}
	}
	w.conv, err = w.open(secrets)
	return err
}

// Hook puts the conversation into a lane's transport, above its credentials.
func (w *Wire) Hook(next http.RoundTripper) http.RoundTripper {
	if w.conv.Rec == nil {
		return w.conv
	}
	return &cassette.Conversation{Old: w.conv.Old, Rec: w.conv.Rec, Network: next}
}
