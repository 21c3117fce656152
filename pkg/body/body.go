// Package body declares what a partner is sent: a body is a value, not a program.
//
// A body is a tree of nodes. It is read from the outside in, as the partner's
// documentation is, and says where each value comes from:
//
//	body.Object(
//		body.Member("event", body.From("event_name")),
//		body.Member("sent_at", body.From("timestamp").Seconds()),
//		body.Member("user", body.Object(
//			body.Member("email", body.From("email").Hash("email")),
//			body.Member("phone", body.From("phone").Hash("phone")),
//		)),
//		body.Spread("properties"),
//	)
//
// # The author's guide
//
// One rule runs through everything: what is not there is left out. A value that the
// event does not have, a text that is no number where a number is asked for, an object
// without members, a list without elements: none of them is written, nor the key
// in front of it. [Always] is for a container that the partner wants also when it is
// empty, and [Else] for what stands in the place of something that is missing.
//
// Values come from
//
//	From("email", "address.email")   the fields of the action; the first of the paths that has a value
//	Setting("token")                 the user's setting; one that is empty, false or 0 is not there
//	Const("web")                     always the same
//	InsertID()                       the partner's key against repeats, the same in every repeat
//	Now()                            the time of sending
//	Event("context.ip")              the event itself, past the fields; for what no user should map
//	Format("{first} {last}")         a text with values in it; not there when one of them is missing
//	This("sku"), Outer("currency")   in Each: of the element, and of the action's fields
//	Answer(1, "data.id")             of the answer to an earlier step of the same event
//	Taken("contact")                 what such a step has taken out of its answer by that name
//	MaybeTaken("company")            the same, where it may have found nothing
//
// and what is done with them is written behind them, in the order in which it happens:
//
//	.Given() .Filled() .NotNull()    only if it is truthy; neither null nor ""; not null
//	.Is("a", "b") .Not("a")          only if its text is one of these, is none of these
//	.IsText() .IsNumber() .IsObject() .IsList() .IsTime() .Contains("@") .Matches(`^\d+$`) .Where("why", func)
//	.AtMost(255) .Every("why", func) only if it is no longer than that; if all elements are so
//	.Text() .Trim() .Lower() .Upper() .Cut(n) .Last(n) .Prefix("x") .Replace("-", "") .UUID()
//	.Number() .Integer() .Boolean() .Wrapped() .JSON() .Join(",") .Lookup(table) .Times(100) .Round()
//	.Seconds() .Millis() .ISO() .Time("date") .Layout("2006-01-02") .Epoch(time.Microsecond)
//	.Flat(".")                       an object without depth: {"a": {"b": 1}} as {"a.b": 1}
//	.Pairs()                         an object as a list of {"name": …, "value": …}, for EachOf
//	.Deep("what it makes", …, func)  a Go function for all values in an object, at any depth
//	.Normal("phone") .Hash("email")  as ad platforms want personal data; Hash is SHA-256 of that
//	.Rewritten("what it is", func)   the text as a Go function rewrites it
//	.As("what it makes", func)       a Go function, where nothing else will do
//
// From takes the first of its paths that gets through all of this: From("a",
// "b").Trim().Given() is the first that is not blank. As a condition a value holds when
// it is there:
//
//	If(From("source").Is("crm"), node)     All(...), Any(...), Not(...), Has("a", "b"), Some(members...),
//	                                       May(From("name").AtMost(255)): it is missing, or so
//	When(Setting("geoip_disable"), Member("$geoip_disable", Const(true)))
//	First(node, node)                      the first that writes something
//
// Objects have members:
//
//	Member("key", node)              one member
//	Same("email", "userId")          members that are called as the fields are; SameGiven, SameNotNull: only those
//	Copy("$os = os_name", …)         members that are called otherwise
//	Spread("properties", "a", "b")   all members of an object, but for those named and those that
//	                                 another Member writes
//	Spread("properties").Wins("id")  the other way round: its members replace the others, but for those named
//	Fields("list_id")                all fields of the action, but for those named
//	When(condition, members...)      only then
//	Within("data.attributes", node)  a member in objects that have no other
//	Together(members...)             some that stand in several objects, under one Go name
//
// and lists have elements: List(nodes...), and Each("products", node) with one for every
// element.
//
// A body with [Items] in it is one request for many events: what stands around Items is
// the envelope, and events share a request when their envelopes are the same. So a value
// in an envelope needs nothing else to keep different ones apart. [Batch] is an envelope
// with nothing else in it, and [Lines] is a whole body of items, one a line. [Framed] has other text around and between
// them, and [Above] a line before each. Such items, and a whole body, may be text that is no JSON: [Row], [Markup],
// [Plain], [Verbatim].
//
// Paths are checked when the destination is made: a path that begins with no
// field of the action, or a setting that does not exist, is a mistake in the program, with
// the nearest name.
//
// Two ways write a body: [Program.Append], which is compiled, and
// [Program.Interpret], which does it literally and slowly. Both write the same bytes.
package body

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/fanfold/fanfold/pkg/event"
)

// Node is a part of a body: it writes one JSON value, or nothing. Nodes are immutable and may be shared.
type Node interface{ isNode() }

// Cond is a condition on an event: a [Value], which holds if the value exists, or [All], [Any], [Not] of other
// conditions.
type Cond interface{ isCond() }

type (
	object struct {
		members []member
		always  bool
	}
	list struct {
		nodes  []Node
		always bool
	}
	each struct {
		of     Value
		node   Node
		always bool
	}
	first struct{ nodes []Node }
	when  struct {
		cond Cond
		node Node
	}
	always struct{ node Node } // for a value: null if it is missing
	whole  struct{ omit []string }
	items  struct {
		nodes []Node
		frame *frame // nil: they are a list
	}
	above  struct{ line, node Node }
	answer struct {
		step  int
		path  string
		maybe bool // without the value the member is left out
	}

	all   struct{ conds []Cond }
	anyOf struct{ conds []Cond }
	not   struct{ cond Cond }
)

func (object) isNode() {}
func (list) isNode()   {}
func (each) isNode()   {}
func (first) isNode()  {}
func (when) isNode()   {}
func (always) isNode() {}
func (whole) isNode()  {}
func (items) isNode()  {}
func (above) isNode()  {}
func (answer) isNode() {}
func (Value) isNode()  {}

func (all) isCond()    {}
func (anyOf) isCond()  {}
func (not) isCond()    {}
func (writes) isCond() {}
func (Value) isCond()  {}

// Members are the content of an object: [Member], [Same], [Spread], [Fields], [When].
type Members interface{ members() []member }

// member is one line of an object: a key with its node, or a spread.
type member struct {
	key    string
	node   Node
	spread *spread
	cond   Cond // nil: always
}

// spread is all members of an object.
type spread struct {
	of     Value // the zero Value: the action's fields
	fields bool
	omit   []string
	wins   bool
	each   Node // nil: the members' values unchanged
	rename func(string) string
}

type membersOf []member

func (ms membersOf) members() []member { return ms }

// Object is an object with the members that have a value. If there are none, the object is left out: see [Always].
func Object(of ...Members) Node {
	var o object
	for _, m := range of {
		o.members = append(o.members, m.members()...)
	}
	return o
}

// Member is a member of an object.
func Member(key string, n Node) Members { return membersOf{{key: key, node: n}} }

// Same are members with the same names as the action's fields.
func Same(keys ...string) Members {
	var ms membersOf
	for _, k := range keys {
		ms = append(ms, member{key: k, node: From(k)})
	}
	return ms
}

// Copy are members with other names than the fields: each line is "name = path", and the member is From(path).
func Copy(lines ...string) Members { return CopyOf(From, lines...) }

// CopyOf is [Copy] with [Outer] or another function instead of From.
func CopyOf(from func(paths ...string) Value, lines ...string) Members {
	var ms membersOf
	for _, line := range lines {
		name, path, ok := strings.Cut(line, " = ")
		if !ok {
			panic("body: Copy: " + line + ` is not "name = path"`)
		}
		ms = append(ms, member{key: strings.TrimSpace(name), node: from(strings.TrimSpace(path))})
	}
	return ms
}

// SameGiven is [Same] for values that are truthy: see [Value.Given].
func SameGiven(keys ...string) Members { return sameThat(Value.Given, keys) }

// SameNotNull is [Same] for values that are not null.
func SameNotNull(keys ...string) Members { return sameThat(Value.NotNull, keys) }

func sameThat(is func(Value) Value, keys []string) Members {
	var ms membersOf
	for _, k := range keys {
		ms = append(ms, member{key: k, node: is(From(k))})
	}
	return ms
}

// Together joins members that are used in several objects.
func Together(of ...Members) Members {
	var ms membersOf
	for _, m := range of {
		ms = append(ms, m.members()...)
	}
	return ms
}

// When includes members only if c holds.
func When(c Cond, of ...Members) Members {
	var ms membersOf
	for _, m := range of {
		for _, one := range m.members() {
			if one.cond == nil {
				one.cond = c
			} else {
				one.cond = All(c, one.cond)
			}
			ms = append(ms, one)
		}
	}
	return ms
}

// SpreadMembers are all members of an object.
type SpreadMembers struct{ s spread }

func (m SpreadMembers) members() []member { s := m.s; return []member{{spread: &s}} }

// Spread is all members of the object at a path, except those named. Names that another member or a later Spread
// writes are left out.
func Spread(path string, omit ...string) SpreadMembers { return SpreadOf(From(path), omit...) }

// SpreadOf is [Spread] of any object.
func SpreadOf(v Value, omit ...string) SpreadMembers {
	return SpreadMembers{spread{of: v, omit: omit}}
}

// Fields are all fields of the action that the event has, except those named and those that other members write.
func Fields(omit ...string) SpreadMembers {
	return SpreadMembers{spread{fields: true, omit: omit}}
}

// Wins makes the members of the object replace other members of the same name. The names given are left out of the
// object instead.
func (m SpreadMembers) Wins(but ...string) SpreadMembers {
	m.s.wins, m.s.omit = true, append(slices.Clip(m.s.omit), but...)
	return m
}

// Each writes n instead of every member's value, which is This() in n. A member for which n writes nothing is left
// out.
func (m SpreadMembers) Each(n Node) SpreadMembers { m.s.each = n; return m }

// Renamed gives every member another name; "" leaves it out. f is a pure function. Which names are left out is
// decided by the names before renaming.
func (m SpreadMembers) Renamed(f func(name string) string) SpreadMembers {
	m.s.rename = f
	return m
}

// List is a list of the elements that have a value. If there are none, the list is left out: see [Always].
func List(of ...Node) Node { return list{nodes: of} }

// Each is a list with one n for every element of the list at a path. In n, [This] reads from the element and
// [Outer] from the action's fields; [From] is the same as This.
func Each(path string, n Node) Node { return EachOf(From(path), n) }

// EachOf is [Each] of any list.
func EachOf(v Value, n Node) Node { return each{of: v, node: n} }

// First is the first of several nodes that writes something.
func First(of ...Node) Node { return first{of} }

// If is n if c holds, and nothing otherwise.
func If(c Cond, n Node) Node { return when{c, n} }

// Always writes an object, a list or an [Each] even if it is empty, and null for a missing value.
func Always(n Node) Node {
	switch n := n.(type) {
	case object:
		n.always = true
		return n
	case list:
		n.always = true
		return n
	case each:
		n.always = true
		return n
	}
	return always{n}
}

// Empty is an object without members.
func Empty() Node { return Always(Object()) }

// Payload is one object of all fields of the action that the event has.
func Payload(omit ...string) Node { return whole{omit} }

// Items is the list in an envelope that contains the items of a batch. Each n that writes something is an item;
// for [Each], every element is one.
func Items(of ...Node) Node { return items{nodes: of} }

// Lines is a body that consists of items, one per line.
func Lines(of ...Node) Node { return Framed("", "\n", "\n", of...) }

// Framed is a body that is text: open, the items with sep between them, and close. No item has a
// line end in it, so that
// a frame of lines is one. It has to be the whole body.
func Framed(open, sep, close string, of ...Node) Node {
	return items{nodes: of, frame: &frame{open: open, sep: sep, close: close}}
}

// Around is [Framed] by text with values in it ([Plain], [Markup], [Verbatim]), such as the names of columns that the
// user chooses: events share a request when it is the same for them. An event without one of the values is not sent.
func Around(open Node, sep string, close Node, of ...Node) Node {
	a, isOpen := open.(textual)
	b, isClose := close.(textual)
	if !isOpen || !isClose {
		panic("body: Around: what is around items is text: Plain, Markup or Verbatim")
	}
	a.around, b.around = true, true
	return items{nodes: of, frame: &frame{sep: sep, opening: &a, closing: &b}}
}

// frame is the text around and between items.
type frame struct {
	open, sep, close string
	opening, closing *textual // instead of open and close; nil: they are the same for all events
}

// Above is an item of [Lines] or [Framed] with a line of its own before it. Without that line there is no item.
func Above(line, n Node) Node { return above{line, n} }

// Framing says how a body is framed, and whether its items have a line above them; ok is false for one that is JSON, or
// that is framed by values.
func Framing(n Node) (open, sep, close string, lineAbove, ok bool) {
	it, is := n.(items)
	if !is || it.frame == nil || it.frame.opening != nil {
		return "", "", "", false, false
	}
	for _, one := range it.nodes {
		_, is := one.(above)
		lineAbove = lineAbove || is
	}
	return it.frame.open, it.frame.sep, it.frame.close, lineAbove, true
}

// ItemsAt is the path of the items in an envelope of objects; false: they are elsewhere.
func ItemsAt(n Node) (path []string, ok bool) {
	switch n := n.(type) {
	case items:
		return nil, n.frame == nil
	case always:
		return ItemsAt(n.node)
	case object:
		for i := range n.members {
			m := &n.members[i]
			if below, is := ItemsAt(m.node); is && m.spread == nil {
				return append([]string{m.key}, below...), true
			}
		}
	}
	return nil, false
}

// Answer is a value from the answer to an earlier request of the same event; steps are counted from 1. An answer
// without the value does not count as a success.
func Answer(step int, path string) Node { return answer{step: step, path: path} }

// Taken is a text that an earlier step of the same event has kept from its answer under a name.
func Taken(name string) Node { return answer{path: name} }

// MaybeTaken is [Taken], and the member or element that it is gets left out when nothing was kept under the name.
func MaybeTaken(name string) Node { return answer{path: name, maybe: true} }

// All holds when all of several do.
func All(of ...Cond) Cond { return all{of} }

// Any holds when one of several does.
func Any(of ...Cond) Cond { return anyOf{of} }

// Not holds when c does not.
func Not(c Cond) Cond { return not{c} }

// Has holds when there is a value at every one of the paths.
func Has(paths ...string) Cond {
	var a all
	for _, p := range paths {
		a.conds = append(a.conds, From(p))
	}
	return a
}

// source is where a value comes from.
type source uint8

const (
	fromField source = iota
	fromEvent
	fromElement
	fromConst
	fromSetting
	fromInsertID
	fromEventID
	fromNow
	fromHistory
	fromIndex
	fromFormat
	fromAnswer // only in paths
)

// Value is a value of the event, the settings or the delivery, with the steps that change it. It is immutable:
// every method returns a new one.
type Value struct {
	src   source
	outer bool // reads from the action's fields, even in Each
	at    []string
	konst []byte // JSON
	parts []piece
	steps []step
}

// piece is a part of a [Format]: text, or a value.
type piece struct {
	text  string
	value *Value
}

// From is the first value that exists among the action's fields, or members of them ("user.email"). In [Each] it
// reads from the element.
func From(paths ...string) Value { return Value{at: paths} }

// Outer is [From] the action's fields, inside [Each].
func Outer(paths ...string) Value { return Value{at: paths, outer: true} }

// This is [From] the current element of [Each]; without paths it is the element itself.
func This(paths ...string) Value {
	if len(paths) == 0 {
		paths = []string{""}
	}
	return Value{src: fromElement, at: paths}
}

// Event is the first of the event's own members at these paths that exists. It bypasses the fields, so the user
// cannot map it.
func Event(paths ...string) Value { return Value{src: fromEvent, at: paths} }

// Const is always the same value. It panics if v cannot be written as JSON.
func Const(v any) Value {
	b, err := encode(v)
	if err != nil {
		panic(fmt.Sprintf("body: constant %v: %v", v, err))
	}
	return Value{src: fromConst, konst: b}
}

// encode is the JSON of a Go value.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// Setting is the value of a setting. A setting that is "", false, 0 or empty counts as missing.
func Setting(key string) Value { return Value{src: fromSetting, at: []string{key}} }

// InsertID is the partner's dedupe key. It is always the same for the same event, action and request.
func InsertID() Value { return Value{src: fromInsertID} }

// EventID is the [InsertID] of the event's first request for the action, in further requests, too.
func EventID() Value { return Value{src: fromEventID} }

// Now is roughly the time of sending.
func Now() Value { return Value{src: fromNow} }

// History is true for an event that is history and which the user has not asked to be treated as new: see [Input].
// Otherwise it is missing.
func History() Value { return Value{src: fromHistory} }

// Index is the index of the current element of [Each], from 0.
func Index() Value { return Value{src: fromIndex} }

// Format is a text with values in it: {path} is From(path), {settings.key} is Setting(key). It is missing when one
// of them is missing.
func Format(text string) Value {
	v := Value{src: fromFormat}
	for text != "" {
		before, rest, ok := strings.Cut(text, "{")
		if before != "" {
			v.parts = append(v.parts, piece{text: before})
		}
		if !ok {
			break
		}
		var name string
		if name, text, ok = strings.Cut(rest, "}"); !ok {
			panic("body: Format: { without }: " + rest)
		}
		of := From(name)
		if strings.HasPrefix(name, "answer.") {
			of = Value{src: fromAnswer, at: []string{name}}
		}
		if key, is := strings.CutPrefix(name, "settings."); is {
			of = Setting(key)
		}
		v.parts = append(v.parts, piece{value: &of})
	}
	return v
}

// Else is n when the value is missing.
func (v Value) Else(n Node) Node { return First(v, n) }

func (v Value) then(s step) Value {
	v.steps = append(slices.Clip(v.steps), s)
	return v
}

// Given is the value if it is truthy in JavaScript: not null, false, 0 or "".
func (v Value) Given() Value { return v.then(step{do: given}) }

// Filled is the value if it is neither null nor "".
func (v Value) Filled() Value { return v.then(step{do: filled}) }

// NotNull is the value if it is not null.
func (v Value) NotNull() Value { return v.then(step{do: notNull}) }

// Is is the value if its text is one of these.
func (v Value) Is(texts ...string) Value { return v.then(step{do: isOneOf, texts: texts}) }

// Not is the value if its text is none of these.
func (v Value) Not(texts ...string) Value { return v.then(step{do: isNoneOf, texts: texts}) }

// IsText is the value if it is a text.
func (v Value) IsText() Value { return v.then(step{do: ofKind, kind: event.String}) }

// IsNumber is the value if it is a number.
func (v Value) IsNumber() Value { return v.then(step{do: ofKind, kind: event.Number}) }

// IsBoolean is the value if it is true or false.
func (v Value) IsBoolean() Value { return v.then(step{do: ofKind, kind: event.Bool}) }

// IsObject is the value if it is an object.
func (v Value) IsObject() Value { return v.then(step{do: ofKind, kind: event.Object}) }

// IsList is the value if it is a list.
func (v Value) IsList() Value { return v.then(step{do: ofKind, kind: event.Array}) }

// NotEmpty is the value unless it is "", or a list or an object without content.
func (v Value) NotEmpty() Value { return v.then(step{do: notEmpty}) }

// IsTime is the value if it can be read as a time.
func (v Value) IsTime() Value { return v.then(step{do: isTime}) }

// Contains is the value if its text has this one in it.
func (v Value) Contains(text string) Value { return v.then(step{do: contains, text: text}) }

// Matches is the value if a regular expression matches its text.
func (v Value) Matches(pattern string) Value {
	return v.then(step{do: matches, re: regexp.MustCompile(pattern)})
}

// Where is the value if f returns true for it. what describes this in words, for the documentation. f is a pure
// function.
func (v Value) Where(what string, f func(event.Value) bool) Value {
	return v.then(step{do: where, text: what, test: f})
}

// Text is the value as text: a number's digits, an object's JSON.
func (v Value) Text() Value { return v.then(step{do: text}) }

// Trim is the value's text without white space at its ends.
func (v Value) Trim() Value { return v.then(step{do: trim}) }

// Lower is the value's text in lower case.
func (v Value) Lower() Value { return v.then(step{do: lower}) }

// Upper is the value's text in upper case.
func (v Value) Upper() Value { return v.then(step{do: upper}) }

// Cut is the value's text, cut to at most n bytes between characters.
func (v Value) Cut(n int) Value { return v.then(step{do: cut, n: n}) }

// Last is the last n bytes of the value's text at most, for ids that differ at their end. Where a character is cut
// in two, "-" is written for the rest.
func (v Value) Last(n int) Value { return v.then(step{do: last, n: n}) }

// Prefix prepends a text to the value's text.
func (v Value) Prefix(s string) Value { return v.then(step{do: prefix, text: s}) }

// Suffix appends a text to the value's text.
func (v Value) Suffix(s string) Value { return v.then(step{do: suffix, text: s}) }

// Replace replaces every occurrence of a text in the value's text.
func (v Value) Replace(old, new string) Value {
	return v.then(step{do: replace, text: old, texts: []string{new}})
}

// UUID is the value's text in lower case if it is a UUID, otherwise a UUID derived from it.
func (v Value) UUID() Value { return v.then(step{do: uuid}) }

// Number is the value as a number: a text's number, 1 and 0 for true and false.
func (v Value) Number() Value { return v.then(step{do: number}) }

// Integer is Number cut off at the decimal point.
func (v Value) Integer() Value { return v.then(step{do: integer}) }

// Boolean is the value as true or false: true, yes and 1, false, no and 0, in any case.
func (v Value) Boolean() Value { return v.then(step{do: boolean}) }

// Wrapped is a list with the value as its only element; a list is left as it is.
func (v Value) Wrapped() Value { return v.then(step{do: wrapped}) }

// JSON is the value's JSON as a text.
func (v Value) JSON() Value { return v.then(step{do: asJSON}) }

// Join is the texts of a list's elements, separated by sep; any other value is converted to text.
func (v Value) Join(sep string) Value { return v.then(step{do: join, text: sep}) }

// Lookup is the entry for the value's text in a table.
func (v Value) Lookup(table map[string]string) Value { return v.then(step{do: lookup, table: table}) }

// Seconds is the time as seconds since 1970.
func (v Value) Seconds() Value { return v.then(step{do: asTime, text: "seconds"}) }

// Millis is the time as milliseconds since 1970.
func (v Value) Millis() Value { return v.then(step{do: asTime, text: "millis"}) }

// ISO is the time as ISO 8601. A text that begins with a date and continues with a time is not changed.
func (v Value) ISO() Value { return v.then(step{do: iso}) }

// Time is the time in one of the formats of mapping.Time: "iso", "rfc3339", "seconds",
// "millis", "micros", "nanos", "fraction", "date", "datetime", "day".
func (v Value) Time(format string) Value { return v.then(step{do: asTime, text: format}) }

// Layout is the time, in UTC, in a layout of Go's package time.
func (v Value) Layout(l string) Value { return v.then(step{do: layout, text: l}) }

// Normal is the value's text in the form that ad platforms require for personal data: see mapping.Normalize for
// the forms ("email", "phone", "name", …). There are also "compact" (lower case, no white space), "alphanumeric"
// (lower-case letters and digits of ASCII) and "email_plain" (an address in lower case, whose user part has no
// dots and nothing after a plus).
func (v Value) Normal(as string) Value { return v.then(step{do: normal, text: as}) }

// Hash is the SHA-256, in hex, of the value's normal form ("": of its text). A value that is a hash already is
// only converted to lower case.
func (v Value) Hash(as string) Value { return v.then(step{do: hash, text: as}) }

// Rewritten is the value's text as f rewrites it; when f returns "", it is missing. what describes this in words, for
// the documentation. f is a pure function, and is called concurrently. Recent results are remembered.
func (v Value) Rewritten(what string, f func(text string) string) Value {
	return v.NotNull().then(step{do: rewrite, text: what, rewrite: f})
}

// As is the result of f for the value. what describes it in words, for the documentation. f appends one JSON
// value, or nothing. It is a pure function of the value and of c, and is called concurrently.
func (v Value) As(what string, f func(dst []byte, v event.Value, c *Context) []byte) Value {
	return v.then(step{do: as, text: what, f: f})
}
