// Package normalize brings events to the form that the Segment spec gives them, so that
// nobody behind it has to know how other tools and archives write the same:
//
//   - one time: "timestamp" is when it happened, as RFC 3339, whatever it was written as
//     and whichever of the four times says it (see [event.Event.Timestamp]);
//   - one identity: an id that is empty, or the nil UUID, is none, and an identify call has its traits in
//     "traits", not only in "context.traits", where RudderStack keeps them;
//   - one type: "Track" is a track call.
//
// An event that has this form already, as nearly all of Segment's have, is left alone, to
// the byte. What is changed is decided by the event alone: a second reading gives the same.
package normalize

import (
	"bytes"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/event"
)

// Rules say how events are read. The zero value is what they are unless the user says
// more. Many goroutines may use them.
type Rules struct {
	Order event.DateOrder
	// Undated stands in for the time of an event without any; zero: nothing does.
	Undated time.Time
}

// idKeys are the members that say whose event it is, and which.
var idKeys = [...]string{"userId", "anonymousId", "previousId", "groupId", "messageId"}

// edit is one member of an event, as it should be; nil: it should not be.
type edit struct {
	key   string
	value []byte
}

// edits are what is changed in an event. They are few: the array spares an allocation for
// events that are left alone.
type edits struct {
	list [8]edit
	n    int
}

func (e *edits) add(key string, value []byte) {
	e.list[e.n] = edit{key, value}
	e.n++
}

// Event returns the event in the spec's form: itself when it has it. What it is
// rewritten to is in the memory of p; nil: in memory of its own. Without rules the event
// is left as it is.
func (r *Rules) Event(p *event.Parser, ev *event.Event) (*event.Event, error) {
	if r == nil {
		return ev, nil
	}
	var e edits
	typ := typeOf(ev, &e)
	r.time(ev, &e)
	ids(ev, typ, &e)
	if typ == event.Identify {
		traits(ev, &e)
	}
	if e.n == 0 {
		return ev, nil
	}
	if p == nil {
		return event.Parse(e.apply(ev))
	}
	return p.Parse(e.apply(ev))
}

// typeOf is the event's type, however it is spelled.
func typeOf(ev *event.Event, e *edits) event.Type {
	if t := ev.Type(); t != event.Other {
		return t
	}
	given := ev.TypeValue().Text()
	for t := event.Track; t <= event.Alias; t++ {
		if name := t.String(); strings.EqualFold(strings.TrimSpace(given), name) {
			e.add("type", []byte(`"`+name+`"`))
			return t
		}
	}
	return event.Other
}

// time is the event's own time, as RFC 3339.
func (r *Rules) time(ev *event.Event, e *edits) {
	if isRFC3339(ev.TimestampMember()) {
		return
	}
	at, err := ev.TimeIn(r.Order)
	switch {
	case err == nil:
	case !r.Undated.IsZero():
		at = r.Undated
	default:
		return
	}
	at = at.UTC()
	if at.Year() < 0 || at.Year() > 9999 {
		return
	}
	layout := `"2006-01-02T15:04:05.000Z"`
	if at.Nanosecond()%1e6 != 0 {
		layout = `"2006-01-02T15:04:05.999999999Z"`
	}
	e.add("timestamp", at.AppendFormat(nil, layout))
}

// isRFC3339 says that a value needs no rewriting: every reader of JSON knows the form.
func isRFC3339(v event.Value) bool {
	b, ok := v.Plain()
	if !ok || len(b) < len("2006-01-02T15:04:05Z") || b[10] != 'T' || b[4] != '-' || b[13] != ':' || b[16] != ':' {
		return false
	}
	if b[len(b)-1] != 'Z' {
		if zone := b[len(b)-6:]; zone[0] != '+' && zone[0] != '-' || zone[3] != ':' {
			return false
		}
		if _, err := time.Parse(time.RFC3339Nano, string(b)); err != nil {
			return false
		}
		return true
	}
	_, ok = event.ParseTime(v)
	return ok && b[11] <= '2' && string(b[11:13]) != "24" && bytes.IndexByte(b, ',') < 0
}

// ids takes out those that are empty.
func ids(ev *event.Event, typ event.Type, e *edits) {
	for _, v := range [...]event.Value{ev.UserID(), ev.AnonymousID(), ev.MessageID()} {
		if isEmptyID(v) {
			emptyIDs(ev, e)
			return
		}
	}
	if typ == event.Group || typ == event.Alias {
		emptyIDs(ev, e)
	}
}

func emptyIDs(ev *event.Event, e *edits) {
	for _, key := range idKeys {
		if isEmptyID(ev.Root().Get(key)) {
			e.add(key, nil)
		}
	}
}

// nilUUID stands where a program had no id to write. As an id it would make one person of
// many, and repeats of events that are none.
const nilUUID = "00000000-0000-0000-0000-000000000000"

// isEmptyID says that a text has nothing but blanks in it, or is the UUID of nothing.
func isEmptyID(v event.Value) bool {
	if v.Kind() != event.String {
		return false
	}
	b, ok := v.Plain()
	return ok && (len(b) == len(nilUUID) && b[0] == '0' && string(b) == nilUUID ||
		len(b) < 64 && len(bytes.TrimSpace(b)) == 0)
}

// traits are those of an identify call.
func traits(ev *event.Event, e *edits) {
	if own := ev.Root().Get("traits"); !own.Nullish() && (own.Kind() != event.Object || own.Len() > 0) {
		return
	}
	if v := ev.Root().Get("context").Get("traits"); v.Kind() == event.Object && v.Len() > 0 {
		e.add("traits", v.Raw())
	}
}

// apply writes the event with what is changed in it: in its place, or at the end.
func (e *edits) apply(ev *event.Event) []byte {
	raw := ev.Raw()
	out := make([]byte, 0, len(raw)+96)
	out = append(out, '{')
	var done [len(e.list)]bool
	member := func(key, value []byte) {
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, key...)
		out = append(out, ':')
		out = append(out, value...)
	}
	for k, v := range ev.Root().Members() {
		i := e.index(k)
		switch {
		case i < 0:
			member(k.Raw(), v.Raw())
		case !done[i] && e.list[i].value != nil:
			member(k.Raw(), e.list[i].value)
		}
		if i >= 0 {
			done[i] = true // a key that stands twice is written once
		}
	}
	for i := range e.list[:e.n] {
		if !done[i] && e.list[i].value != nil {
			member(event.AppendQuoted(nil, e.list[i].key), e.list[i].value)
		}
	}
	return append(out, '}')
}

func (e *edits) index(key event.Value) int {
	for i := range e.list[:e.n] {
		if key.IsText(e.list[i].key) {
			return i
		}
	}
	return -1
}
