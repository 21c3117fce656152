// Package event holds customer events as the bytes they were read as, with an
// index over them.
//
// An [Event] is never decoded into maps. One validating pass over the bytes
// builds a flat, immutable index (kind, extent and next sibling of every
// value), which all lanes share. Reading a member walks the index and returns
// a [Value]: a place in the bytes, not a copy. So 20-digit numbers, repeated
// keys, escapes, lone surrogates and unknown fields survive to the byte, and
// nothing is decoded that nobody asked for.
//
// The package knows JSON and the Segment spec's common fields, and nothing
// else: no sources, no destinations.
package event

import (
	"bytes"
	"iter"
	"time"
)

// Kind is the JSON type of a value. The zero Kind is Missing: no value at all.
type Kind uint8

const (
	Missing Kind = iota
	Null
	Bool
	Number
	String
	Array
	Object
)

// String returns the JSON name of the kind.
func (k Kind) String() string {
	return [...]string{"missing", "null", "bool", "number", "string", "array", "object"}[k]
}

// Type is one of the six calls of the Segment spec, or Other.
type Type uint8

const (
	Other Type = iota
	Track
	Identify
	Page
	Screen
	Group
	Alias
)

// String returns the type as it stands in an event; "other" for Other.
func (t Type) String() string {
	return [...]string{"other", "track", "identify", "page", "screen", "group", "alias"}[t]
}

// TypeOf is the type with a text; Other: it is none of the spec's.
func TypeOf(text string) Type {
	switch text {
	case "track":
		return Track
	case "identify":
		return Identify
	case "page":
		return Page
	case "screen":
		return Screen
	case "group":
		return Group
	case "alias":
		return Alias
	}
	return Other
}

// doc is a text with its index: its values, and where each of them stands in it.
type doc struct {
	raw    []byte
	nodes  []node
	places []place

	// What the paths lead to that the parser followed; nil: none.
	followed *PathSet
	found    []Ref
	asks     bool // some of found is ask

	// The time that the value timed stands for, Unix seconds and nanoseconds; 0: it
	// was not read when the text was.
	timed int32
	nanos int32
	secs  int64
}

// kind is that of the whole text; Missing: it is not indexed.
func (d *doc) kind() Kind {
	if len(d.nodes) == 0 {
		return Missing
	}
	return d.nodes[0].kind()
}

// place is the extent of a value in the text.
type place struct{ start, end uint32 }

// hasEscapes is the bit of a place's end that marks a string with escapes.
const hasEscapes = 1 << 31

func (p place) stop() uint32 { return p.end &^ hasEscapes }

// node is one value. Nodes stand in document order, so the first child
// of a container is the node after it. They are kept small: an event has dozens,
// and walking them is mostly waiting for memory.
type node struct {
	next    uint32 // index of the node after this value's subtree
	name    uint32 // offset of the member's key, after the quote
	nameLen uint16 // its length there, without quotes; longName: at least that
	hash    uint8  // of the key, see hashKey: a cheap no
	bits    uint8  // kind, and what follows
}

const (
	kindBits uint8 = 7
	oddName  uint8 = 16 // the key has escapes
	repeats  uint8 = 32 // an object that may hold a key twice
)

// longName is the length of keys that do not fit.
const longName = 1<<16 - 1

func (n *node) kind() Kind { return Kind(n.bits & kindBits) }

// key is the member's key as it stands in the text, without quotes.
func (n *node) key(raw []byte) []byte {
	if n.nameLen == longName {
		return n.longKey(raw)
	}
	return raw[n.name : n.name+uint32(n.nameLen)]
}

func (n *node) longKey(raw []byte) []byte {
	at := int(n.name) + longName
	// Escapes that straddle the place are looked at from their beginning.
	for at > int(n.name) && raw[at-1] == '\\' {
		at--
	}
	for raw[at] != '"' {
		if raw[at] == '\\' {
			at++
		}
		at++
	}
	return raw[n.name:at]
}

// common are the top-level members that almost every reader asks for; the pass
// that indexes an event notes where they are.
const (
	topType = iota
	topMessageID
	topUserID
	topAnonymousID
	topEvent
	topTimestamp
	topOriginal
	topReceived
	topSent
	topIntegrations
	topCount
)

// commonNames are the names of these members.
func commonNames() [topCount]string {
	return [topCount]string{
		"type",
		"messageId",
		"userId",
		"anonymousId",
		"event",
		"timestamp",
		"originalTimestamp",
		"receivedAt",
		"sentAt",
		"integrations",
	}
}

// Event is one event: its bytes and their index. It is immutable and safe for
// concurrent readers. An Event made by a [Parser] is valid until the parser is
// reset.
type Event struct {
	doc doc
	top [topCount]Ref // the common members; 0: it has none
	typ Type
	id  string // text of the member messageId; "": none, or it was not kept
}

// Raw returns the event as it was read. The caller must not change it.
func (e *Event) Raw() []byte { return e.doc.raw }

// Root returns the whole event as a value.
func (e *Event) Root() Value { return Value{doc: &e.doc, kind: Object} }

// Lookup returns the value at a compiled path.
func (e *Event) Lookup(p Path) Value { return e.Root().Lookup(p) }

// Type returns which of the spec's calls the event is.
func (e *Event) Type() Type { return e.typ }

func (e *Event) common(i int) Value {
	f := e.top[i]
	if f == 0 {
		return Value{}
	}
	return Value{doc: &e.doc, at: int32(f >> refShift), kind: f.Kind()}
}

// TypeValue returns the member "type".
func (e *Event) TypeValue() Value { return e.common(topType) }

// MessageID returns the member "messageId".
func (e *Event) MessageID() Value { return e.common(topMessageID) }

// ID returns the text of the member "messageId"; "" when it has none. The text
// outlives the event.
func (e *Event) ID() string {
	if e.id != "" {
		return e.id
	}
	v := e.MessageID()
	if v.kind == Missing {
		return ""
	}
	if v.kind != String {
		return string(v.raw())
	}
	return string(appendUnescaped(nil, v.text()))
}

// UserID returns the member "userId".
func (e *Event) UserID() Value { return e.common(topUserID) }

// AnonymousID returns the member "anonymousId".
func (e *Event) AnonymousID() Value { return e.common(topAnonymousID) }

// Integrations returns the member "integrations": where the event may go.
func (e *Event) Integrations() Value { return e.common(topIntegrations) }

// Name returns the member "event": what a track call is about.
func (e *Event) Name() Value { return e.common(topEvent) }

// TimestampMember returns the member "timestamp".
func (e *Event) TimestampMember() Value { return e.common(topTimestamp) }

// Timestamp is [Event.TimeIn] any order, and whether there is one.
func (e *Event) Timestamp() (time.Time, bool) {
	t, err := e.TimeIn(AnyOrder)
	return t, err == nil
}

// TimeIn returns when the event happened. That is its timestamp; without one, its
// receivedAt, less how long it was on the way by the device's clock (sentAt less
// originalTimestamp); and where one of these is missing, originalTimestamp, sentAt or
// receivedAt, whichever there is first. What is there and cannot be read is not passed
// over: the others may be months away from it. See [ReadTimeText] for the forms.
func (e *Event) TimeIn(order DateOrder) (time.Time, error) {
	if v := e.common(topTimestamp); isGiven(v) {
		return readTime(v, order)
	}
	original, sent, received := e.common(topOriginal), e.common(topSent), e.common(topReceived)
	if isGiven(original) && isGiven(sent) && isGiven(received) {
		o, err1 := readTime(original, order)
		s, err2 := readTime(sent, order)
		r, err3 := readTime(received, order)
		if err1 == nil && err2 == nil && err3 == nil {
			return r.Add(o.Sub(s)), nil
		}
	}
	for _, v := range [...]Value{original, sent, received} {
		if isGiven(v) {
			return readTime(v, order)
		}
	}
	return time.Time{}, ErrNoTime
}

func isGiven(v Value) bool { return v.kind > Null && !v.IsEmptyText() }

// leastUnix is the least number that is read as the time of an event, in seconds: smaller
// ones are days or figures of another kind.
const leastUnix = 1e8

// readTime reads an event's time.
func readTime(v Value, order DateOrder) (time.Time, error) {
	switch v.kind {
	case String:
		if v.at > 0 && v.at == v.doc.timed {
			return time.Unix(v.doc.secs, int64(v.doc.nanos)).UTC(), nil
		}
		if b, ok := v.Plain(); ok {
			return ReadTimeText(b, order)
		}
		return ReadTimeText(v.AppendString(nil), order)
	case Number:
		if f, ok := v.Float(); ok && f >= leastUnix {
			if t, ok := ParseTime(v); ok {
				return t, nil
			}
		}
	case Object: // MongoDB's exports
		if at := v.Get("$date"); at.Kind() == Object {
			return ReadTimeText(at.Get("$numberLong").AppendString(nil), order)
		} else if at.Kind() > Null {
			return readTime(at, order)
		}
	}
	return time.Time{}, ErrNoTime
}

// Value is a place in an event (or in any JSON text): a kind and an extent.
// The zero Value is Missing. Values are small and are passed by value; they
// are valid as long as what they were taken from.
type Value struct {
	doc  *doc
	at   int32 // index of its node; a member's key: the negated index of the member's
	kind Kind
}

func (v Value) node() *node { return &v.doc.nodes[v.at] }

func (v Value) place() place { return v.doc.places[v.at] }

// raw is Raw of a value that exists.
func (v Value) raw() []byte {
	if v.at < 0 {
		n := &v.doc.nodes[-v.at]
		end := n.name + uint32(len(n.key(v.doc.raw))) + 1
		return v.doc.raw[n.name-1 : end : end]
	}
	p := v.place()
	end := p.stop()
	return v.doc.raw[p.start:end:end]
}

// text is a String's bytes between the quotes, escapes and all.
func (v Value) text() []byte {
	raw := v.raw()
	return raw[1 : len(raw)-1]
}

// escaped says that a String has escapes.
func (v Value) escaped() bool {
	if v.at < 0 {
		return v.doc.nodes[-v.at].bits&oddName != 0
	}
	return v.place().end&hasEscapes != 0
}

// Kind returns the JSON type, or Missing.
func (v Value) Kind() Kind { return v.kind }

// Exists says that there is a value, null included.
func (v Value) Exists() bool { return v.kind != Missing }

// Nullish says that there is no value, or that it is null.
func (v Value) Nullish() bool { return v.kind <= Null }

// Raw returns the value's JSON text; nil when it is Missing. The caller must
// not change it.
func (v Value) Raw() []byte {
	if v.kind == Missing {
		return nil
	}
	return v.raw()
}

// Size is the length of the JSON text, in bytes.
func (v Value) Size() int {
	if v.kind == Missing {
		return 0
	}
	return len(v.raw())
}

// IsLine says that the JSON text stands on one line.
func (v Value) IsLine() bool {
	return v.kind == Missing || bytes.IndexByte(v.raw(), '\n') < 0 && bytes.IndexByte(v.raw(), '\r') < 0
}

// Bool returns the value of true or false; false for every other kind.
func (v Value) Bool() bool {
	if v.kind != Bool {
		return false
	}
	return v.doc.raw[v.place().start] == 't'
}

// Plain returns the decoded text of a String that has no escapes, without
// copying, and whether it is one.
func (v Value) Plain() ([]byte, bool) {
	if v.kind != String {
		return nil, false
	}
	if v.escaped() {
		return nil, false
	}
	return v.text(), true
}

// Len returns the number of elements or members of an Array or Object, the
// decoded length in bytes of a String, and 0 for every other kind.
func (v Value) Len() int {
	switch v.kind {
	case Array, Object:
		n := 0
		end := v.node().next
		for c := uint32(v.at) + 1; c < end; c = v.doc.nodes[c].next {
			n++
		}
		return n
	case String:
		if !v.escaped() {
			return len(v.text())
		}
		return len(v.AppendString(nil))
	}
	return 0
}

func (v Value) child(i uint32) Value {
	return Value{doc: v.doc, at: int32(i), kind: v.doc.nodes[i].kind()}
}

// Index returns an Array's element i, or Missing.
func (v Value) Index(i int) Value {
	if v.kind != Array || i < 0 {
		return Value{}
	}
	end := v.node().next
	for c := uint32(v.at) + 1; c < end; c = v.doc.nodes[c].next {
		if i == 0 {
			return v.child(c)
		}
		i--
	}
	return Value{}
}

// Get returns an Object's member, or Missing. Of repeated keys the last one
// counts, as it does for every JSON parser that builds maps.
func (v Value) Get(key string) Value {
	if v.kind != Object {
		return Value{}
	}
	return v.get(key, hashKey(key))
}

// followed is get of what the parser followed a path to; known says whether it did.
func (v Value) followed(key string, h uint8) (found Value, known bool) {
	set := v.doc.followed
	for at := set.tree[0].bucket[h&31]; at != 0; {
		k := &set.tree[at]
		if k.hash == h && k.key == key && k.slot >= 0 {
			if f := v.doc.found[k.slot]; f != 0 {
				found = Value{doc: v.doc, at: int32(f >> refShift), kind: f.Kind()}
			}
			return found, true
		}
		at = k.chain
	}
	return Value{}, false
}

// HashKey is a cheap hash of a key.
func HashKey(key []byte) uint8 { return hashKey(key) }

func hashKey[T string | []byte](key T) uint8 {
	if len(key) == 0 {
		return 0
	}
	return key[0] ^ key[len(key)-1]<<1 ^ uint8(len(key))*29
}

func (v Value) get(key string, h uint8) Value {
	if v.at == 0 && v.doc.followed != nil {
		if found, known := v.followed(key, h); known {
			return found
		}
	}
	nodes, raw := v.doc.nodes, v.doc.raw
	end, dup := nodes[v.at].next, nodes[v.at].bits&repeats != 0
	var found uint32
	for c := uint32(v.at) + 1; c < end; {
		n := &nodes[c]
		if n.bits&oddName != 0 {
			if equalEscaped(n.key(raw), key) {
				found = c
			}
		} else if n.hash == h && int(n.nameLen) == min(len(key), longName) && string(n.key(raw)) == key {
			if !dup {
				return v.child(c)
			}
			found = c
		}
		c = n.next
	}
	if found == 0 {
		return Value{}
	}
	return v.child(found)
}

// Members yields an Object's members in order, repeated keys included: the key
// as a String, and the value.
func (v Value) Members() iter.Seq2[Value, Value] {
	return func(yield func(Value, Value) bool) {
		if v.kind != Object {
			return
		}
		end := v.node().next
		for c := uint32(v.at) + 1; c < end; c = v.doc.nodes[c].next {
			if !yield(Value{doc: v.doc, at: -int32(c), kind: String}, v.child(c)) {
				return
			}
		}
	}
}

// Elements yields an Array's elements in order.
func (v Value) Elements() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		if v.kind != Array {
			return
		}
		end := v.node().next
		for c := uint32(v.at) + 1; c < end; c = v.doc.nodes[c].next {
			if !yield(v.child(c)) {
				return
			}
		}
	}
}

// AppendString appends a String's decoded text; a surrogate without its
// partner becomes U+FFFD here, and only here. For other kinds it appends the
// JSON text.
func (v Value) AppendString(dst []byte) []byte {
	if v.kind == String {
		if v.escaped() {
			return appendUnescaped(dst, v.text())
		}
		return append(dst, v.text()...)
	}
	return append(dst, v.Raw()...)
}

// Text is AppendString as a string. It is so short that the compiler puts it into whoever calls
// it: there, a text of up to 32 bytes that is only looked at (compared, searched, counted) stays
// on the stack.
func (v Value) Text() string { return string(v.decoded()) }

// decoded is AppendString, without copying where nothing has to be decoded.
func (v Value) decoded() []byte {
	if v.kind == String && v.escaped() {
		return appendUnescaped(nil, v.text())
	}
	if v.kind == String {
		return v.text()
	}
	return v.Raw()
}

// SameText says that two values have the same Text.
func (v Value) SameText(o Value) bool { return string(v.decoded()) == string(o.decoded()) }

// IsText says that the value is a String whose decoded text is s. It does not
// allocate.
func (v Value) IsText(s string) bool {
	if v.kind != String {
		return false
	}
	if v.escaped() {
		return equalEscaped(v.text(), s)
	}
	return string(v.text()) == s
}

// IsEmptyText says that the value is the String "".
func (v Value) IsEmptyText() bool {
	if v.kind != String {
		return false
	}
	return len(v.text()) == 0
}

// Falsy says that the value is what JavaScript holds to be false: missing,
// null, false, zero, the empty string.
func (v Value) Falsy() bool {
	switch v.kind {
	case Missing, Null:
		return true
	case Bool:
		return !v.Bool()
	case String:
		return v.IsEmptyText()
	case Number:
		return isZero(v)
	}
	return false
}

func isZero(v Value) bool {
	raw := v.raw()
	for _, c := range raw {
		switch {
		case c >= '1' && c <= '9':
			// A non-zero digit: zero only if the exponent
			// underflows.
			if bytes.ContainsAny(raw, "eE") {
				f, _ := v.Float()
				return f == 0
			}
			return false
		case c == 'e' || c == 'E':
			return true
		}
	}
	return true
}

// Test is f of the value.
func (v Value) Test(f func(Value) bool) bool { return f(v) }

// KeySet is a set of names, looked up by their hash and length: most others are told from them at once.
type KeySet [256]uint32

// Add adds a name.
func (k *KeySet) Add(name string) { k[hashKey(name)] |= 1 << (len(name) & 31) }

// Apart says that an object has members, none of which is called like one of the keys, and
// that nothing stands between them: they can be copied together.
func (v Value) Apart(keys *KeySet) bool {
	if v.kind != Object {
		return false
	}
	nodes, places := v.doc.nodes, v.doc.places
	end, size := nodes[v.at].next, 1
	for c := uint32(v.at) + 1; c < end; {
		n := &nodes[c]
		if n.bits&oddName != 0 || n.nameLen == longName || keys[n.hash]>>(n.nameLen&31)&1 != 0 {
			return false
		}
		size += int(n.nameLen) + len(`"":,`) + int(places[c].stop()-places[c].start)
		c = n.next
	}
	return size > 1 && size == v.Size()
}

// Cursor walks the members of an object, or the elements of an array, without a function
// for each. The zero Cursor has none.
type Cursor struct {
	doc      *doc
	at, next uint32
	end      uint32
}

// Cursor returns a cursor before the first member or element; for other kinds there is
// none.
func (v Value) Cursor() Cursor {
	if v.kind < Array {
		return Cursor{}
	}
	return Cursor{doc: v.doc, next: uint32(v.at) + 1, end: v.node().next}
}

// Next goes on to the next one, and says whether there is one.
func (c *Cursor) Next() bool {
	if c.next >= c.end {
		return false
	}
	c.at = c.next
	c.next = c.doc.nodes[c.at].next
	return true
}

// Key is the member's key, a String.
func (c *Cursor) Key() Value { return Value{doc: c.doc, at: -int32(c.at), kind: String} }

// Among says whether the member's key may be among keys: whether it is has to be looked at.
func (c *Cursor) Among(keys *KeySet) bool {
	n := &c.doc.nodes[c.at]
	return n.bits&oddName != 0 || n.nameLen == longName || keys[n.hash]>>(n.nameLen&31)&1 != 0
}

// Value is the member's value, or the element.
func (c *Cursor) Value() Value {
	return Value{doc: c.doc, at: int32(c.at), kind: c.doc.nodes[c.at].kind()}
}

// Size is the length of the member in the text: key, colon and value, with nothing between
// them.
func (c *Cursor) Size() int {
	n, p := &c.doc.nodes[c.at], c.doc.places[c.at]
	return len(n.key(c.doc.raw)) + 3 + int(p.stop()-p.start)
}
