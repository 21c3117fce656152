package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/run"
	"github.com/fanfold/fanfold/pkg/shell"
	"github.com/fanfold/fanfold/pkg/transport"
)

// Preview prints what a run would send.
type Preview struct {
	Out io.Writer
	// Redact masks secrets in what is printed; nil: they are shown.
	Redact func(string) string
	// Say gets the sentence about a record that is no event, and about what a run stops before.
	Say func(string)
	// Curl prints commands of a shell instead of JSON.
	Curl bool
	// Rejected says, in the end, that something would have been rejected.
	Rejected bool

	live map[string]bool // destinations of which it was said
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
}

// Print prints one line of a preview.
func (p *Preview) Print(s run.Shown) error {
	if s.Live != "" && !s.Asked && !p.live[s.Destination] {
		if p.live == nil {
			p.live = map[string]bool{}
		}
		p.live[s.Destination] = true
		p.Say(fmt.Sprintf("%s: forward would stop here: %s; --trigger-live %s says that it is meant", s.Destination, s.Live,
			s.Destination))
	}
	switch {
	case s.Bad != nil:
		p.Rejected = true
		p.Say(fmt.Sprintf("not an event: %s: %s", s.Bad.Place(), s.Bad.Detail))
		return nil
	case s.Settled != nil:
		return p.settled(s)
	case s.Request != nil && p.Curl:
		return p.text(curl(s.Request))
	}
	return p.json(requestOf(s))
}

// requestOf is a request, or what is written, as a document.
func requestOf(s run.Shown) shownRequest {
	r := shownRequest{Destination: s.Destination, Action: s.Action, Events: s.Events, Headers: map[string]string{}}
	if s.Request == nil {
		r.Method, r.Body = "WRITE", json.RawMessage(s.Item)
		return r
	}
	r.Method, r.URL = s.Request.Method, s.Request.URL
	for k, v := range s.Request.Header {
		r.Headers[strings.ToLower(k)] = strings.Join(v, ", ")
	}
	r.Body = string(s.Request.Body)
	if json.Valid(s.Request.Body) {
		r.Body = json.RawMessage(s.Request.Body)
	}
	return r
}

// notSentOf is a delivery that is not sent, as a document.
func notSentOf(s run.Shown) notSent {
	n := notSent{Destination: s.Destination, Action: s.Action, Event: s.Events[0], Detail: s.Settled.Detail}
	if s.Settled.Outcome == destination.Skipped {
		n.Skipped = string(s.Settled.Reason)
	} else {
		n.Rejected = string(s.Settled.Reason)
	}
	return n
}

// settled says of a delivery that it is not sent.
func (p *Preview) settled(s run.Shown) error {
	n := notSentOf(s)
	p.Rejected = p.Rejected || n.Rejected != ""
	if p.Curl {
		return p.text(fmt.Sprintf("# %s: event %s is not sent: %s%s %s\n",
			n.Destination, comment(n.Event), n.Skipped, n.Rejected, comment(n.Detail)))
	}
	return p.json(n)
}

func (p *Preview) json(v any) error {
	var b strings.Builder
	if err := JSON(&b, v); err != nil {
		return err
	}
	return p.text(b.String())
}

func (p *Preview) text(s string) error {
	if p.Redact != nil {
		s = p.Redact(s)
	}
	_, err := io.WriteString(p.Out, s)
	return err
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

// curl is a command that sends a request.
func curl(r *transport.Captured) string {
	var b strings.Builder
	fmt.Fprintf(&b, "curl -X %s %s", r.Method, shell.Quote(r.URL))
	for _, k := range sortedKeys(r.Header) {
		for _, v := range r.Header[k] {
			fmt.Fprintf(&b, " -H %s", shell.Quote(k+": "+v))
		}
	}
	if len(r.Body) > 0 {
		fmt.Fprintf(&b, " --data-binary %s", shell.Quote(string(r.Body)))
	}
	return b.String() + "\n"
}
