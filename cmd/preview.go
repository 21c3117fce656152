package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/run"
	"github.com/fanfold/fanfold/pkg/transport"
)

func (a *app) previewCommand() *cobra.Command {
	var s selection
	var output, now string
	var batch int
	var show bool
	c := &cobra.Command{
		Use:   "preview --from INPUT --to DESTINATION",
		Short: "Print the requests that forward would send, and send nothing",
		Long: `preview runs the same selection, mappings and checks as forward and prints the
requests instead of sending them, with secrets masked. Events that would not be
sent are printed with the reason; it exits 3 when one would be rejected.`,
		Example: `  fanfold preview --from events.jsonl --to mixpanel --limit 5 -o json | jq .body
  fanfold preview --from events.jsonl --to webhook --batch-events 1 -o curl --show-secrets | sh`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			at := a.now()
			if now != "" {
				t, relative, err := parseTime("--now", now, at)
				if err != nil || relative {
					return usagef("--now has to be a time like 2024-06-01T00:00:00Z, not %q", now)
				}
				at = t
				a.now = func() time.Time { return at }
			}
			if batch < 0 {
				return usagef("--batch-events has to be a positive number, not %d", batch)
			}
			j, err := a.prepareJob(&s, &runOptions{}, func(o *config.Opened) {
				if batch > 0 {
					o.Config.BatchEvents = batch
				}
			})
			if err != nil {
				return err
			}
			return a.preview(c.Context(), j, &printer{a: a, form: output, show: show})
		},
	}
	s.flags(c, a.schemes())
	f := c.Flags()
	choiceP(f, &output, "output", "o", "one line a request, or commands that can be run", "json", "curl")
	f.StringVar(&now, "now", "", "preview as if it were this time")
	f.IntVar(&batch, "batch-events", 0, "at most so many events in a request; 1 turns batching off")
	f.BoolVar(&show, "show-secrets", false, "do not mask secrets")
	return c
}

// preview prints the requests of a run.
func (a *app) preview(ctx context.Context, j *run.Job, p *printer) (err error) {
	dir, err := os.MkdirTemp("", "fanfold-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := a.runWorld().Preview(ctx, j, dir, p.line); err != nil {
		return err
	}
	a.noteSteps(j.Steps)
	if p.rejected {
		return outcome(exitRejected)
	}
	return nil
}

// printer prints a preview.
type printer struct {
	a        *app
	form     string // json or curl
	show     bool   // secrets
	rejected bool
}

type notSent struct {
	Destination string `json:"destination"`
	Action      string `json:"action,omitempty"`
	Event       string `json:"event"`
	Skipped     string `json:"skipped,omitempty"`
	Rejected    string `json:"rejected,omitempty"`
	Detail      string `json:"detail"`
}

type shownRequest struct {
	Destination string            `json:"destination"`
	Action      string            `json:"action"`
	Events      []string          `json:"events"`
	Method      string            `json:"method"`
	URL         string            `json:"url"`
	Headers     map[string]string `json:"headers"`
	Body        any               `json:"body"`
	Then        string            `json:"then,omitempty"`
}

// line prints one line of a preview.
func (p *printer) line(s run.Shown) error {
	switch {
	case s.Bad != nil:
		p.rejected = true
		fmt.Fprintf(p.a.err, "fanfold: not an event: %s: %s\n", s.Bad.Place(), s.Bad.Detail)
		return nil
	case s.Settled != nil:
		return p.settled(s)
	case s.Request == nil:
		return p.json(shownRequest{Destination: s.Destination, Action: s.Action, Events: s.Events, Method: "WRITE", Headers: map[string]string{}, Body: json.RawMessage(s.Item)})
	case p.form == "curl":
		return p.text(curl(s.Request))
	}
	r := shownRequest{Destination: s.Destination, Action: s.Action, Events: s.Events, Method: s.Request.Method, URL: s.Request.URL, Headers: map[string]string{}}
	for k, v := range s.Request.Header {
		r.Headers[strings.ToLower(k)] = strings.Join(v, ", ")
	}
	r.Body = string(s.Request.Body)
	if json.Valid(s.Request.Body) {
		r.Body = json.RawMessage(s.Request.Body)
	}
	return p.json(r)
}

// settled says of a delivery that it is not sent.
func (p *printer) settled(s run.Shown) error {
	n := notSent{Destination: s.Destination, Action: s.Action, Event: s.Events[0], Detail: s.Settled.Detail}
	if s.Settled.Outcome == destination.Skipped {
		n.Skipped = string(s.Settled.Reason)
	} else {
		n.Rejected, p.rejected = string(s.Settled.Reason), true
	}
	if p.form == "curl" {
		return p.text(fmt.Sprintf("# %s: event %s is not sent: %s%s %s\n", n.Destination, comment(n.Event), n.Skipped, n.Rejected, comment(n.Detail)))
	}
	return p.json(n)
}

// comment keeps what others wrote inside of a comment of the shell.
func comment(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, s)
}

func (p *printer) json(v any) error {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	return p.text(b.String())
}

func (p *printer) text(s string) error {
	if !p.show {
		s = p.a.secrets.redact(s)
	}
	_, err := io.WriteString(p.a.out, s)
	return err
}

// curl is a command that sends a request.
func curl(r *transport.Captured) string {
	var b strings.Builder
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
	fmt.Fprintf(&b, "curl -X %s %s", r.Method, quote(r.URL))
	for _, k := range sortedKeys(r.Header) {
		for _, v := range r.Header[k] {
			fmt.Fprintf(&b, " -H %s", quote(k+": "+v))
		}
	}
	if len(r.Body) > 0 {
		fmt.Fprintf(&b, " --data-binary %s", quote(string(r.Body)))
	}
	return b.String() + "\n"
}
