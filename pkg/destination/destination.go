// Package destination is the contract between fanfold's engine and its
// partners.
//
// A partner is a value: a [Spec] literal that declares its settings, actions,
// mappings, limits and answers. The spec is pure: events in, request out;
// response in, results out. It never opens a socket, sleeps, retries, logs or
// reads the clock. The destination says whether to retry; the engine says
// when.
//
// The unit of delivery is (position, destination, action, step). One event may
// fire several actions, and one action may need several items: each is its own
// [Delivery], with its own insert id, verdict and dead letter.
//
// The life of an event here has three steps:
//
//  1. [Sender.Route] decides which deliveries there are and encodes each one's
//     item: filter, mapping, validation, size and window checks, all before
//     any network.
//  2. [Sender.Send] makes one request of a batch of items and reads one
//     [Result] per delivery from the answer.
//  3. The engine acts on the results: retry, settle, dead-letter.
//
// A [Spec] declares as much as it can and writes the rest in Go. From the least code to the
// most, `destinations list --rungs` counts five rungs: 1 bodies are declared, and nothing
// else; 2 a value of a mapping is a Go function; 3 an item is made in Go; 4 verdicts on
// single items are read from the answer; 5 a request depends on an earlier answer.
package destination

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/mapping"
	"github.com/fanfold/fanfold/pkg/payload"
	"github.com/fanfold/fanfold/pkg/setting"
)

// Outcome says what became of a delivery. The list is closed. The zero value,
// Undecided, is that of a delivery that has still to be sent.
type Outcome uint8

const (
	Undecided Outcome = iota
	Delivered         // the partner accepted it
	Skipped           // rightly not sent: opted out, unsupported, outside the partner's window
	Retry             // not accepted this time; the engine tries again
	Rejected          // will never be accepted as it is; becomes a dead letter
)

// String names the outcome in reports and cassettes.
func (o Outcome) String() string {
	if names := [...]string{"undecided", "delivered", "skipped", "retry", "rejected"}; int(o) < len(names) {
		return names[o]
	}
	return "?"
}

// Reason says why a delivery was skipped, rejected or has to be retried. The
// list is closed: free text goes into Result.Detail.
type Reason string

const (
	// skipped
	OptedOut    Reason = "opted_out"   // the event's integrations object says so
	Unsupported Reason = "unsupported" // no action is subscribed to it
	TooOld      Reason = "too_old"     // before the partner's historical window
	TooNew      Reason = "too_new"     // after it
	Suppressed  Reason = "suppressed"  // whose event it is must not be sent anything
	NoConsent   Reason = "no_consent"  // they have not agreed to what the destination is for
	Unneeded    Reason = "unneeded"    // the action itself says there is nothing to send
	// rejected before sending
	NoTime          Reason = "no_time"          // nobody knows when it happened, and the partner is to be told
	TooLarge        Reason = "too_large"        // over the partner's size for one event
	MissingIdentity Reason = "missing_identity" // none of the ids that the partner needs
	Invalid         Reason = "invalid"          // the payload fails the action's field rules
	// rejected or retried by the partner's answer
	Refused      Reason = "refused"      // the partner said no to this event
	Unauthorized Reason = "unauthorized" // credentials refused: the lane stops, events stay pending
	RateLimited  Reason = "rate_limited"
	Unavailable  Reason = "unavailable" // 5xx, network, timeout
	Conflict     Reason = "conflict"    // 409, 423 and the like that pass with time
	Unexpected   Reason = "unexpected"  // an answer that the partner's documentation does not describe
	// decided by the engine
	Exhausted Reason = "exhausted" // the retry budget ran out
	Panicked  Reason = "panic"     // partner code panicked on it
	Blocked   Reason = "blocked"   // an earlier step of the same event was rejected
	// decided by a redrive
	NotSelected Reason = "not_selected" // the dead letter was not asked for
	Redriven    Reason = "redriven"     // an earlier redrive has delivered it
)

// Result is the verdict on one delivery.
type Result struct {
	Outcome    Outcome
	Reason     Reason
	Detail     string        // the partner's words, cut and redacted by the engine before they are kept
	Status     int           // HTTP status it was read from; 0 when there was no answer
	RetryAfter time.Duration // with Retry: what the partner asked for; 0 when it did not say
}

// Delivery is one item for one action. The byte slices belong to the
// [Deliveries] it was routed into. There are as many as there are events under way,
// times the destinations: it is kept small.
type Delivery struct {
	Item     []byte   // the item's final bytes in the request body, in the memory of the list: see [Deliveries.Add]
	InsertID string   // the partner's dedupe key, the same for the same input, always
	To       *Address // nil: where the action's requests go
	Settled  *Result  // by Route, never sent; nil: it has still to be sent
	Action   int32    // index into Plan.Actions
	Step     int32    // 0, or the number of this item among those of the same event and action
	Wait     bool     // send only after the previous step of the same event and action was delivered
	// Live: the event is older than [HistoryAfter], and the action starts something at the partner
	// all the same, see [Live]. Without [Env.TriggerLive] it must not be sent.
	Live bool
}

// Address says where the request of a delivery goes. It is immutable: deliveries
// share it.
type Address struct {
	Method string // instead of the action's, when not empty
	Path   string // request path and query below the base URL; instead of the action's, when not empty
	Key    string // further batch key
	Header string // further headers, each "Name: value" and a line end
}

// Group is what deliveries of one request have in common.
type Group struct {
	Action int32
	Address
}

// Address is To, or the zero Address.
func (d *Delivery) Address() Address {
	if d.To == nil {
		return Address{}
	}
	return *d.To
}

// Group returns what may share a request with the delivery.
func (d *Delivery) Group() Group { return Group{d.Action, d.Address()} }

// Verdict is Settled, or an Undecided one.
func (d *Delivery) Verdict() Result {
	if d.Settled == nil {
		return Result{}
	}
	return *d.Settled
}

// Env is what Route may know beside the event.
type Env struct {
	Now      time.Time // the engine's clock, for historical windows and sent-at fields
	Fallback string    // insert id for events without messageId: fingerprint of the object and offset
	// Suppressed: the event is of somebody who must not be sent anything, see Admit.
	Suppressed bool
	Consent    []string // categories that the event's consent has to grant, see Admit
	// TriggerLive: the user wants that events of long ago start what new ones start.
	TriggerLive bool
}

// Batch is what one request carries: deliveries of the same Group.
type Batch struct {
	Deliveries []*Delivery
	Now        time.Time
	// BaseURL is where an action's own Send makes its requests: the
	// partner's, or the user's instead of it. Set by the Sender of a Spec.
	BaseURL string
	moved   bool // it is the user's
	// Room is memory for the results, which whoever calls Send uses again when it is done with
	// them; nil: none.
	Room []Result
	// Pause waits, unless ctx ends or the run is to stop: then it returns an error. nil: nobody has
	// time to wait.
	Pause func(ctx context.Context, d time.Duration) error
	// After is for what is asked after a request was answered: it has a deadline of its own,
	// [ActionPlan.Patience] after that of the request. nil: that of the request.
	After context.Context
}

// ErrNotSent is what a [Transport] says that only looks at requests. Where several requests
// belong together all of them are shown to it: those that depend on an answer as if the
// partner knew nothing yet, with the name of a value in its place.
var ErrNotSent = errors.New("looked at, not sent")

// Transport is how a destination reaches its partner. Auth, user agent,
// compression, rate pauses and cassettes sit behind it.
type Transport interface {
	RoundTrip(*http.Request) (*http.Response, error)
}

// Sender is all that the engine sees of a configured destination. It is safe
// for concurrent use.
type Sender interface {
	// Plan tells the engine how to run the lane. Constant for a Sender.
	Plan() *Plan

	// Route appends the deliveries of one event to out, or one that says
	// Skipped when there is nothing to send. It is a pure function of the
	// event, env and the settings; the event is not changed and nothing of it
	// is kept but through out's own memory.
	Route(ev *event.Event, env *Env, out *Deliveries)

	// Send makes the request for a batch and returns one result per delivery,
	// in order, always. A non-nil error means that nothing is known of the
	// whole batch (network, timeout): the engine retries it.
	Send(ctx context.Context, t Transport, b *Batch) ([]Result, error)
}

// Aging is a [Sender] with something that gets old, such as a file that is open. Age is called about
// every second while a run is under way, with the time, also while nothing is sent, and beside Send.
type Aging interface{ Age(now time.Time) error }

// Plan is what the lane needs to know before the first event.
type Plan struct {
	Actions []ActionPlan
	Limits  LaneLimits // of all its requests together
	Order   bool       // events of one user must arrive in order
	// Auth is applied below the recorder, so that a credential in a header or
	// query cannot reach a cassette.
	Auth Auth
	// Secrets are the values of secret settings, for redaction.
	Secrets []string
	// Subscribed are the subscriptions, a user's or presets, each as its action and what
	// of the events it takes. Their order numbers the deliveries of an event.
	Subscribed []string
	// Content names what Route makes of events: Senders with the same Content
	// make the same of each, but for Stamp where a list's Stamps say so. "":
	// nobody else does.
	Content string
	// Stamp is a JSON text that stands in items, such as the token of a project.
	// It is as long for all with the same Content.
	Stamp string
	// Local marks a destination that is no HTTP partner (files, stdout, buckets).
	Local bool
	// Positions asks for Env.Fallback with every event, not only with those that
	// have no messageId: it names the event's place in the input.
	Positions bool
	// Paths are what Route looks for in events: where the parser that indexes them follows
	// these, see [event.Join], it has found everything already.
	Paths []*event.PathSet
}

// ActionPlan is what the lane needs to know of one action.
type ActionPlan struct {
	Slug     string
	Limits   ActionLimits // with the defaults of the destination filled in
	Overhead int          // bytes of the body around the items
	// OverheadFor says the same of a group's requests, by its Key, where it is not the
	// same for all; nil: it is.
	OverheadFor func(key string) int
	PerItem     int // bytes between two items
	// Requests is how many requests a batch takes at most, where the answer to one is needed
	// for another; 0 is one.
	Requests int
	// Once is the path in an item of what may stand in a request only once; "": nothing is so.
	Once string
	// AllOrNothing: one bad item makes the partner refuse the whole request
	// without naming it, so the engine bisects.
	AllOrNothing bool
	// Live is what the action does at the partner for events of long ago, too; its zero value:
	// nothing.
	Live Live
	// Patience is how long what has been taken may be asked about further.
	Patience time.Duration
}

// Info is who the partner is.
type Info struct {
	Slug    string
	Name    string
	Summary string // one line
	Docs    string // the partner's API documentation
	// Integrations are the names by which an event's integrations object
	// addresses this destination, beside "All".
	Integrations []string
	Backfill     string       // what a backfill will and will not trigger there
	Differences  []Difference // from what Segment's own destination sends
	Minimal      bool         // Segment switches on nothing here; the automatic presets are ours
}

// Difference is one way in which our requests rightly differ from Segment's.
type Difference struct{ What, Docs string }

// Input is what an action's Item sees of one event.
type Input struct {
	Event   *event.Event
	Payload *payload.Payload // valid during the call
	id      string
	now     time.Time
	old     bool // it is history
	age     time.Duration
	asked   bool // for what history would start
	out     *Output

	settings map[string]event.Value
}

// Setting is the value of a setting for [Declared.Item], or Missing when it is "", false, 0
// or empty.
func (in *Input) Setting(key string) event.Value { return in.settings[key] }

// InsertID is the insert id of the event's first delivery for the action. See
// [Output.InsertID] for what is written with it.
func (in *Input) InsertID() string { return in.id }

// Now is the time of sending, about. To write it there is [Output.Compute].
func (in *Input) Now() time.Time { return in.now }

// Request is the HTTP form of a batch of one action.
type Request struct {
	Method      string // default POST
	BaseURL     string // instead of the spec's, for an endpoint on a host of its own
	Path        string // below the base URL, with query
	Header      http.Header
	ContentType string // default application/json
	// Open, Sep and Close stand around and between the items of the body:
	// "[" "," "]" for a JSON array. All empty: the item is the body, and the
	// action sends one event a request.
	Open, Sep, Close string

	// envelope, when there is one, says of a batch key what stands around its items; ok
	// is false where Open and Close do.
	envelope func(key string) (open, close string, ok bool)
}

// Answer is a partner's response, read whole (up to a bound).
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	JSON   event.Value // the body when it is JSON, else Missing
}

// Preset is a subscription that exists without the user's doing.
type Preset struct {
	Name      string
	Action    string // slug
	Subscribe string // FQL
	// Mapping replaces the defaults of the fields it names.
	Mapping map[string]mapping.Value
	// Otherwise is the action that events go to, by its fields' defaults, which lack what Action
	// needs or have it in a form that it does not take; "": these are rejected.
	Otherwise string
}

// Subscription is an action as the user configured it (`actions:`).
type Subscription struct {
	Action    string
	Subscribe string
	Mapping   mapping.Value // zero: the fields' defaults

	otherwise string // of a preset
}

// opened is what actions may know of a destination.
type opened struct {
	settings any            // a pointer to the destination's struct
	values   map[string]any // the settings by key
	stamp    string         // key of the one that is the stamp
	live     Live           // of all actions that say nothing else
}

// Spec declares a destination with settings S. See Spec.Destination.
type Spec[S any] struct {
	Info    Info
	BaseURL func(s *S) string
	Auth    func(s *S) Auth
	Limits  Limits
	Order   bool
	Live    Live            // what all actions do for events of long ago, too, but those that say something else
	Keys    func(s *S) Keys // of its requests; nil: none
	// Schema, with [setting.Dynamic] as S, and Made are of a declaration that was read when the
	// program runs: Made is a text that differs when what is declared does.
	Schema *setting.Schema
	Made   string
	// Parts are texts that differ when a part of what is declared does, by the part's name, such as
	// actions.send.path. They tell nothing of what is declared.
	Parts   map[string]string
	Actions Actions
	Presets []Preset  // none: every action by its own trigger
	Success []Success // of all actions that have none of their own
	// Check validates settings beyond their tags; all problems at once.
	Check func(s *S) []error
	// Sayings are answers of all actions that mean something else than their status does, the first
	// that describes one counts.
	Sayings []Saying
	// Verdict is that in Go, where no Saying can say it: it maps a status for all actions before the default table; return
	// a zero Result to fall through.
	Verdict func(a *Answer) Result
	// Local opens a destination that is not HTTP at all (file, stdout): it
	// gets the decoded settings and answers as a Sender.
	Local func(s *S) (Sender, error)
	// Unused are options of a lane that this destination can do nothing with, beside
	// those that only HTTP has. A configuration that sets one is refused.
	Unused []string
}
