// Package recording implements the commands record and replay. It runs a program that
// talks to local listeners instead of partners. The conversation is recorded in a
// cassette, or answered from one.
package recording

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/fanfold/fanfold/pkg/cassette/redact"
	"github.com/fanfold/fanfold/pkg/cassette/serve"
	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/listen"
	"github.com/fanfold/fanfold/pkg/run"
)

// World is what the package needs from its caller. All members are required.
type World struct {
	Version string // of fanfold
	Now     func() time.Time
	Env     func(string) (string, bool)
	// Say shows messages to the user. Each is a sentence.
	Say func(...string)
	// Hide removes secrets from a text that will be shown.
	Hide func(string) string
	// Key returns the key with which a cassette is redacted. If create is true, a
	// missing key is created.
	Key func(path string, create bool) ([]byte, error)
	// Secrets returns the secrets in the environment, including the variables named in
	// more.
	Secrets func(more []string) ([]redact.Secret, error)
	// Redactor returns a redactor with the given rules and those of the configuration.
	Redactor func(key []byte, secrets []redact.Secret, also, allow []string) (*redact.Redactor, error)
	// Serve starts a service and runs a command, or, without a command, waits for a
	// signal. If ending is not nil, it is called before connections are closed.
	Serve func(ctx context.Context, s *listen.Service, command []string, ending func()) (code int, err error)
	// Ours is true if a command is fanfold itself. Own then runs it in this process.
	Ours func(command []string) bool
	Own  func(ctx context.Context, on *Wire, command []string) (code int)
}

// ErrFinding means that something differs, or would leak. The user has already been
// told what.
var ErrFinding = errors.New("there are findings")

// ChildError means that the command failed. It has printed why.
type ChildError struct{ Code int }

func (e *ChildError) Error() string {
	return fmt.Sprintf("the command ended with exit code %d", e.Code)
}

func mistakef(format string, args ...any) error {
	return &run.MistakeError{Err: fmt.Errorf(format, args...)}
}

func (w *World) sayf(format string, args ...any) { w.Say(fmt.Sprintf(format, args...)) }

// Wire carries fanfold's own requests while they are recorded or replayed.
type Wire struct {
	// open returns the conversation. secrets are those of all destinations.
	open func(secrets []redact.Secret) (*serve.Conversation, error)
	conv *serve.Conversation
}

// NewWire returns a wire. It is opened later, when the destinations of a run and their
// secrets are known.
func NewWire(open func(secrets []redact.Secret) (*serve.Conversation, error)) *Wire {
	return &Wire{open: open}
}

// Begin opens the wire for the destinations of a run.
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

// Hook inserts the conversation into a lane's transport, before credentials are added.
func (w *Wire) Hook(next http.RoundTripper) http.RoundTripper {
	if w.conv.Rec == nil {
		return w.conv
	}
	return &serve.Conversation{Old: w.conv.Old, Rec: w.conv.Rec, Network: next}
}
