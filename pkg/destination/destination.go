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
// else; 2 a rule for events is a Go function; 3 an item is made in Go; 4 verdicts on
// single items are read from the answer; 5 a request depends on an earlier answer.
package destination

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/mapping"
	"github.com/fanfold/fanfold/pkg/payload"
	"github.com/fanfold/fanfold/pkg/setting"
)

// Outcome says what became of a delivery. The list is closed. The zero value, Undecided, means that the delivery
// has still to be sent.
type Outcome uint8

const (
	Undecided Outcome = iota
	Delivered         // the partner accepted it
	Skipped           // rightly not sent: opted out, unsupported, outside the partner's historical window
	Retry             // not accepted this time; the engine tries again
	Rejected          // will never be accepted as it is, so it becomes a dead letter
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
	Suppressed  Reason = "suppressed"  // its user is on the suppression list
	NoConsent   Reason = "no_consent"  // its user has not consented to the destination's purpose
	Unneeded    Reason = "unneeded"    // the action itself finds that there is nothing to send
	// rejected before sending
	NoTime          Reason = "no_time"          // its time is not known, and the partner has to be told a time
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

// Delivery is one item for one action. The byte slices belong to the [Deliveries] it was routed into. It is kept
// small, because there may be as many as there are events in progress, times the destinations.
type Delivery struct {
	// Item is the item's final bytes in the request body, in the memory of the list: see [Deliveries.Add]. The memory
	// behind it holds other items, so nothing may be appended to it.
	Item     []byte
	InsertID string   // the partner's dedupe key, the same for the same input, always
	To       *Address // nil: where the action's requests go
	Settled  *Result  // when Route has settled it, so that it is never sent; nil: it has still to be sent
	Action   int32    // index into Plan.Actions
	Step     int32    // 0, or the number of this item among those of the same event and action
	Wait     bool     // send only after the previous step of the same event and action was delivered
	// Live says that the event is older than [HistoryAfter] but the action would still start something at the
	// partner, see [Live]. Without [Env.TriggerLive] it must not be sent.
	Live bool
}

// Address says where the request of a delivery goes. It is immutable, because deliveries share it.
type Address struct {
	Method string // instead of the action's, when not empty
	Path   string // request path and query below the base URL; instead of the action's, when not empty
	Key    string // added to the batch key
	Header string // further headers, each "Name: value" and a line end
}

// Group is what deliveries in the same request have in common.
type Group struct {
	Action int32
	Address
}

// Address returns To, or the zero Address.
func (d *Delivery) Address() Address {
	if d.To == nil {
		return Address{}
	}
	return *d.To
}

// Group returns the group that the delivery can share a request with.
func (d *Delivery) Group() Group { return Group{d.Action, d.Address()} }

// Verdict returns Settled, or an Undecided result.
func (d *Delivery) Verdict() Result {
	if d.Settled == nil {
		return Result{}
	}
	return *d.Settled
}

// Env is what Route may use besides the event.
type Env struct {
	Now      time.Time // the engine's clock, for historical windows and sent-at fields
	Fallback string    // insert id for events without messageId: fingerprint of the object and offset
	// Suppressed says that the event's user is on the suppression list, see Admit.
	Suppressed bool
	Consent    []string // the categories that the event's consent must grant, see Admit
	// TriggerLive says that the user allows old events to start what new events start.
	TriggerLive bool
}

// Batch is what one request carries: deliveries of the same Group.
type Batch struct {
	Deliveries []*Delivery
	Now        time.Time
	// BaseURL is where an action's own Send makes its requests: the partner's address, or the one that the user
	// set instead. The Sender of a Spec sets it.
	BaseURL string
	moved   bool // the user has set it
	// Room is memory for the results. The caller of Send reuses it once it has read them; nil: none.
	Room []Result
	// Pause waits. It returns an error when ctx ends or the run is about to stop. nil: the caller cannot wait.
	Pause func(ctx context.Context, d time.Duration) error
	// After is the context for questions that are asked after a request was answered. Its deadline is later than
	// that of the request by [ActionPlan.Patience]. nil: the context of the request.
	After context.Context
}

// ErrNotSent is returned by a [Transport] that only shows requests and does not send them. Of a conversation it is
// shown every request: those that depend on an answer as if the partner had no data yet, with names in place of
// the values.
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

	// Route appends the deliveries of one event to out, or one Skipped delivery when there is nothing to send. It
	// is a pure function of the event, env and the settings. It does not change the event, and keeps nothing of it
	// except what it writes into out.
	Route(ev *event.Event, env *Env, out *Deliveries)

	// Send makes the request for a batch and always returns one result per delivery, in order. A non-nil error
	// means that the fate of the whole batch is unknown (network, timeout): the engine retries it.
	Send(ctx context.Context, t Transport, b *Batch) ([]Result, error)
}

// Aging is a [Sender] that holds something which must not stay open too long, such as a file. While a run goes on,
// Age is called with the time about once a second, also when nothing is sent, and concurrently with Send.
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
	// Subscribed are the subscriptions, the user's or the presets', each as its action and the events it takes.
	// The deliveries of an event are numbered in their order.
	Subscribed []string
	// Content identifies what Route writes: Senders with the same Content write the same for each event, except
	// for Stamp at the places in Deliveries.Stamps. "": no other Sender does.
	Content string
	// Stamp is a JSON text that differs between Senders with the same Content, such as a project's token. It has
	// the same length in all of them.
	Stamp string
	// Local marks a destination that is no HTTP partner (files, stdout, buckets).
	Local bool
	// Positions asks for Env.Fallback with every event, not only with those that have no messageId, because it
	// names the event's position in the input.
	Positions bool
	// Place names where the destination writes under names that come of the input alone. Two of a run with the same
	// Place would replace what the other has written. "": it writes under no such names.
	Place string
	// Paths are the paths that Route reads from events. When the parser that indexes events follows them, see
	// [event.Join], Route need not search for them again.
	Paths []*event.PathSet
}

// ActionPlan is what the lane needs to know of one action.
type ActionPlan struct {
	Slug     string
	Limits   ActionLimits // with the defaults of the destination filled in
	Overhead int          // bytes of the body around the items
	// OverheadFor returns the same for a group's requests, by its Key, where it is not the same for all groups;
	// nil: it is.
	OverheadFor func(key string) int
	PerItem     int // bytes between two items
	// Requests is the largest number of requests that a batch takes, where one request needs the answer to
	// another; 0 counts as one.
	Requests int
	// Once is the path in an item of a value that may occur only once in a request, see Name; whoever makes batches
	// sees to it. "": there is none.
	Once string
	// Live is what the action starts at the partner even for old events; zero value: nothing.
	Live Live
	// Patience is how long after its answer a request may still be asked about.
	Patience time.Duration
}

// Name is the value in a delivery that may occur only once in a request; "": there is none.
func (a *ActionPlan) Name(d *Delivery) string {
	if a.Once == "" {
		return ""
	}
	return nameIn(d.Item, a.Once)
}

// nameIn is the value at a path in an item, in lower case.
func nameIn(item []byte, path string) string {
	v, err := event.ParseValue(item)
	if err != nil {
		return ""
	}
	return strings.ToLower(at(v, path).Text())
}

// Info describes the partner.
type Info struct {
	Slug    string
	Name    string
	Summary string // one line
	Docs    string // the partner's API documentation
	// Integrations are the names by which an event's integrations object
	// addresses this destination, beside "All".
	Integrations []string
	// Elsewhere are other names of it in exports of other tools' workspaces.
	Elsewhere   []string
	Backfill    string       // what backfilled events will and will not trigger there
	Differences []Difference // from what Segment's own destination sends
	Minimal     bool         // Segment enables nothing here by default, so the automatic presets are our own
}

// Difference is one way in which our requests rightly differ from Segment's.
type Difference struct{ What, Docs string }

// Differences are differences, each as what it is and the partner's URL that says why. It panics for an odd number of
// texts.
func Differences(whatAndDocs ...string) (list []Difference) {
	for pair := range slices.Chunk(whatAndDocs, 2) {
		list = append(list, Difference{What: pair[0], Docs: pair[1]})
	}
	return list
}

// Input is what an action's Item sees of one event.
type Input struct {
	Event   *event.Event
	Payload *payload.Payload // valid during the call
	id      string
	now     time.Time
	old     bool // older than HistoryAfter
	age     time.Duration
	asked   bool // the user allows history to trigger things

	settings map[string]event.Value
}

// Setting is the value of a setting for [Declared.Item]. It is Missing when the setting is "", false, 0 or empty.
func (in *Input) Setting(key string) event.Value { return in.settings[key] }

// InsertID is the insert id of the event's first delivery for the action. See [Output.InsertID] for the id of the
// delivery being written.
func (in *Input) InsertID() string { return in.id }

// Now is roughly the time of sending.
func (in *Input) Now() time.Time { return in.now }

// Request is the HTTP form of a batch of one action.
type Request struct {
	Method      string // default POST
	BaseURL     string // instead of the spec's, for an endpoint on a host of its own
	Path        string // below the base URL, with query
	Header      http.Header
	ContentType string // default application/json
	// Open, Sep and Close stand before, between and after the items of the body: "[" "," "]" for a JSON array. If
	// all are empty, the item is the body, and every request carries one event.
	Open, Sep, Close string

	// envelope, if not nil, returns what stands before and after the items for a batch key. When ok is false, Open
	// and Close are used.
	envelope func(key string) (open, close string, ok bool)
}

// Answer is a partner's response, read whole (up to a bound).
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	JSON   event.Value // the body when it is JSON, else Missing
}

// Preset is a subscription that exists without the user having written it.
type Preset struct {
	Name      string
	Action    string // slug
	Subscribe string // FQL; "": the action's own trigger
	// Mapping replaces the defaults of the fields it names.
	Mapping map[string]mapping.Value
	// Otherwise is the action for events that lack what Action needs, or have it in a form that Action does not
	// accept. They are mapped by the defaults of its fields. "": such events are rejected.
	Otherwise string
}

// Subscription is an action as the user configured it (`actions:`).
type Subscription struct {
	Action    string
	Subscribe string
	Mapping   mapping.Value // zero: the fields' defaults

	otherwise string // Preset.Otherwise
}

// opened is what actions can know about an opened destination.
type opened struct {
	values map[string]any // the settings by key
	stamp  string         // key of the setting that is the stamp
	live   Live           // for all actions that declare none of their own
}

// Spec declares a destination with settings S. See Spec.Destination.
type Spec[S any] struct {
	Info    Info
	BaseURL func(s *S) string
	// Hosts are the addresses of a partner that keeps data in several regions, instead of BaseURL: by the values of
	// the setting that has these choices.
	Hosts   map[string]string
	Auth    func(s *S) Auth
	Headers map[string]body.Value // of all actions, see [Declared.Header]
	Limits  Limits
	Order   bool
	Live    Live            // of all actions that declare none of their own
	Keys    func(s *S) Keys // idempotency headers of its requests; nil: none
	// Schema, with [setting.Dynamic] as S, and Made are for destinations whose declaration is read when the
	// program runs. Made is a text that changes whenever the declaration changes. It may hold secrets.
	Schema *setting.Schema
	Made   string
	// Parts are texts by the name of a part of the declaration, such as actions.send.path. A text changes whenever
	// its part changes. It may hold secrets.
	Parts   map[string]string
	Actions Actions
	Presets []Preset  // none: every action by its own trigger
	Success []Success // of all actions that have none of their own
	// Check validates settings beyond their tags; all problems at once.
	Check func(s *S) []error
	// Sayings are answers that mean something else than their status says, for all actions. The first one that
	// matches counts.
	Sayings []Saying
	// Local opens a destination that is not reached by HTTP (file, stdout). It gets the decoded settings and
	// returns its own Sender.
	Local func(s *S) (Sender, error)
	// Unused are lane options that have no effect on this destination, besides those that only concern HTTP. A
	// configuration that sets one is refused.
	Unused []string
}
