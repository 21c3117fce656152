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

// Script says how a partner misbehaves. The same seed and the same order of
// requests give the same faults.
type Script struct {
	Seed uint64 `yaml:"seed"`
	// Rules are tried in order; the first that fires decides. A request that no
	// rule fires for gets Answer.
	Rules  []Rule `yaml:"rules"`
	Answer Reply  `yaml:"answer"` // status 200 unless it says so
	// IDs are the paths of the events' ids in a body: dotted members, of which a
	// segment that ends in [] means every element ("[].id" for an array).
	IDs Texts `yaml:"ids"`
}

// Rule is a fault, and the requests that it is for. Its counts are of the
// requests that match Method, Path and ID; where several are given, all have to
// hold.
type Rule struct {
	Method string `yaml:"method"` // "": any
	Path   string `yaml:"path"`   // as in an [Endpoint]; "": any
	ID     string `yaml:"id"`     // the request holds this event

	Skip  int     `yaml:"skip"`  // leaves the first so many alone
	Times int     `yaml:"times"` // fires at most so often; 0: no limit
	Every int     `yaml:"every"` // fires for every n-th only
	Rate  float64 `yaml:"rate"`  // fires with this probability; 0: always

	Fault Fault `yaml:"fault"`
}

// Fault is a way to misbehave.
type Fault struct {
	Kind FaultKind `yaml:"kind"`
	// Delay passes before anything is answered.
	Delay time.Duration `yaml:"delay"`
	// Reply is what Answer and Partial give, and what the broken kinds begin.
	Reply Reply `yaml:"reply"`
	// RetryAfter is sent with the reply: seconds as a number, or, with
	// RetryAfterDate, as the date that lies so far ahead.
	RetryAfter     time.Duration `yaml:"retry_after"`
	RetryAfterDate bool          `yaml:"retry_after_date"`
	// Pause passes between the bytes of a Dribble.
	Pause time.Duration `yaml:"pause"`
	// Took says that the events were stored before the connection broke: the
	// sender cannot know. Answer and Partial go by their reply instead.
	Took bool `yaml:"took"`
	// Lost says that an Answer stores nothing, whatever its status: it is that of a
	// proxy or a login page.
	Lost bool `yaml:"lost"`
	// Size is the length of a Huge body; 1 GiB unless it says so.
	Size int64 `yaml:"size"`
	// Reject is the share of events that Partial refuses, by seed and id, so that
	// an event once refused stays so; 0: those in RejectIDs.
	Reject    float64  `yaml:"reject"`
	RejectIDs []string `yaml:"reject_ids"`
}

// FaultKind is what goes wrong.
type FaultKind string

// The kinds of fault.
const (
	Answer     FaultKind = "answer"          // the reply, whole: 429s, 5xx, 401, latency
	Partial    FaultKind = "partial"         // the reply, which names the refused events; the others are taken
	Hang       FaultKind = "hang"            // nothing, until the client gives up or Stop
	Reset      FaultKind = "reset"           // the connection breaks before the answer
	ResetBody  FaultKind = "reset_body"      // it breaks in the middle of the answer's body
	Truncated  FaultKind = "truncated"       // the body ends early, in good order
	Huge       FaultKind = "huge"            // the body does not seem to end
	Garbage    FaultKind = "garbage"         // what comes is no HTTP
	BadChunk   FaultKind = "malformed_chunk" // a chunk's length is no number
	Dribble    FaultKind = "dribble"         // the body comes byte by byte, with a Pause between them
	Untrusted  FaultKind = "untrusted"       // the certificate is of no known authority; with a socket: [ServeTLS]
	hugeLength           = 1 << 30
	maxRules             = 10_000
)

// ParseScript reads a script from YAML and refuses what it does not know.
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
