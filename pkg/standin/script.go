package standin

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Script says how a partner misbehaves. The same seed and the same order of requests
// always give the same faults.
type Script struct {
	Seed uint64 `yaml:"seed"`
	// Rules are tried in order, and the first that fires decides. If none fires, the
	// request gets Answer.
	Rules  []Rule `yaml:"rules"`
	Answer Reply  `yaml:"answer"` // status 200 by default
	// IDs are the paths of event ids in a body. A path has dotted members; a segment
	// that ends in [] stands for every element ("[].id" for an array).
	IDs Texts `yaml:"ids"`
}

// Rule is a fault and the requests that get it. Its counts apply to the requests that
// match Method, Path and ID. If several conditions are given, all of them have to hold.
type Rule struct {
	Method string `yaml:"method"` // "": any
	Path   string `yaml:"path"`   // as in an [Endpoint]; "": any
	ID     string `yaml:"id"`     // the request contains this event

	Skip  int     `yaml:"skip"`  // skips this many requests first
	Times int     `yaml:"times"` // fires at most this often; 0: no limit
	Every int     `yaml:"every"` // fires only for every n-th request
	Rate  float64 `yaml:"rate"`  // fires with this probability; 0: always

	Fault Fault `yaml:"fault"`
}

// Fault is a way to misbehave.
type Fault struct {
	Kind FaultKind `yaml:"kind"`
	// Delay is the time before anything is answered.
	Delay time.Duration `yaml:"delay"`
	// Reply is the answer of Answer and Partial, and the beginning of the answer of
	// kinds that break it.
	Reply Reply `yaml:"reply"`
	// RetryAfter is sent with the reply, as a number of seconds or, with
	// RetryAfterDate, as the date that is so far in the future.
	RetryAfter     time.Duration `yaml:"retry_after"`
	RetryAfterDate bool          `yaml:"retry_after_date"`
	// Pause is the time between the bytes of a Dribble.
	Pause time.Duration `yaml:"pause"`
	// Took is true if the events were stored before the connection broke, which the
	// sender cannot know. For Answer and Partial the reply decides instead.
	Took bool `yaml:"took"`
	// Lost is true if an Answer stores nothing, whatever its status, because it comes
	// from a proxy or a login page.
	Lost bool `yaml:"lost"`
	// Size is the length of a Huge body in bytes; 1 GiB by default.
	Size int64 `yaml:"size"`
	// Reject is the share of events that Partial rejects. It depends on seed and id, so
	// that an event that was rejected once is always rejected. 0: only those in
	// RejectIDs.
	Reject    float64  `yaml:"reject"`
	RejectIDs []string `yaml:"reject_ids"`
}

// FaultKind is what goes wrong.
type FaultKind string

// The kinds of fault.
const (
	Answer     FaultKind = "answer"          // the whole reply: for 429, 5xx, 401 and latency
	Partial    FaultKind = "partial"         // the reply, which names the rejected events; the others are taken
	Hang       FaultKind = "hang"            // no answer until the client gives up, or Stop is called
	Reset      FaultKind = "reset"           // the connection breaks before the answer
	ResetBody  FaultKind = "reset_body"      // the connection breaks in the middle of the answer's body
	Truncated  FaultKind = "truncated"       // the body ends early, but without an error
	Huge       FaultKind = "huge"            // the body seems to have no end
	Garbage    FaultKind = "garbage"         // the answer is not HTTP
	BadChunk   FaultKind = "malformed_chunk" // the length of a chunk is not a number
	Dribble    FaultKind = "dribble"         // the body arrives byte by byte, with a Pause between them
	Untrusted  FaultKind = "untrusted"       // the certificate's authority is unknown; needs a socket: [ServeTLS]
	hugeLength           = 1 << 30
	maxRules             = 10_000
)

// ParseScript reads a script from YAML. Unknown names are errors.
func ParseScript(data []byte) (*Script, error) {
	if len(data) > maxContract {
		return nil, fmt.Errorf("a script has at most %d bytes, this one has %d", maxContract, len(data))
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	var s Script
	if err := d.Decode(&s); err != nil {
		return nil, fmt.Errorf("reading the script: %w", err)
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	return &s, nil
}

func (s *Script) check() error {
	if len(s.Rules) > maxRules {
		return fmt.Errorf("a script has at most %d rules", maxRules)
	}
	kinds := []FaultKind{
		Answer,
		Partial,
		Hang,
		Reset,
		ResetBody,
		Truncated,
		Huge,
		Garbage,
		BadChunk,
		Dribble,
		Untrusted,
	}
	for i := range s.Rules {
		r := &s.Rules[i]
		f := &r.Fault
		switch {
		case !slices.Contains(kinds, f.Kind):
			return fmt.Errorf("rule %d: there is no fault %q", i, f.Kind)
		case r.Path != "" && !strings.HasPrefix(r.Path, "/"):
			return fmt.Errorf("rule %d: the path %q has to begin with /", i, r.Path)
		case r.Skip < 0 || r.Times < 0 || r.Every < 0 || f.Delay < 0 || f.Pause < 0 || f.RetryAfter < 0 || f.Size < 0:
			return fmt.Errorf("rule %d: a count, a duration or a size is below zero", i)
		case !(r.Rate >= 0 && r.Rate <= 1) || !(f.Reject >= 0 && f.Reject <= 1):
			return fmt.Errorf("rule %d: rate and reject are from 0 to 1", i)
		}
		if f.Size == 0 {
			f.Size = hugeLength
		}
		if err := f.Reply.compile(http.StatusOK); err != nil {
			return fmt.Errorf("rule %d: reply: %w", i, err)
		}
	}
	if err := s.Answer.compile(http.StatusOK); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return nil
}
