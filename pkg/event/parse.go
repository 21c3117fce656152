package event

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/fanfold/fanfold/pkg/stock"
)

// Limits bound what is accepted as an event.
type Limits struct {
	MaxDepth int // nesting of arrays and objects; 0: 1000
	MaxBytes int // length of the text; 0: 16 MiB
}

const (
	defaultDepth = 1000
	defaultBytes = 16 << 20
)

// What a text can be refused for, beside a [SyntaxError].
var (
	ErrNotObject = errors.New("not a JSON object")
	ErrTooDeep   = errors.New("nested too deeply")
	ErrTooLarge  = errors.New("too large")
)

// SyntaxError says where a text stops being JSON.
type SyntaxError struct {
	Offset int    // bytes before the offending one
	Msg    string // what was found or expected there
}

func (e *SyntaxError) Error() string {
	if e.Offset == 0 {
		return "no JSON: " + e.Msg
	}
	return fmt.Sprintf("invalid JSON at byte %d: %s", e.Offset, e.Msg)
}

// Parse indexes one event: any JSON object, with white space around it
// allowed. It keeps raw, which must not change afterwards. The error is a
// *SyntaxError, or wraps ErrNotObject, ErrTooDeep or ErrTooLarge.
func Parse(raw []byte) (*Event, error) {
	p := Parser{once: true}
	return p.Parse(raw)
}

// ParseValue indexes any one JSON value: a payload field, a partner's answer.
func ParseValue(raw []byte) (Value, error) {
	p := Parser{once: true}
	return p.ParseValue(raw)
}

// Valid reports whether raw is one JSON value, within the default limits.
func Valid(raw []byte) error {
	_, err := ParseValue(raw)
	return err
}

// Parser indexes many texts into memory that it reuses. The results are valid
// until Reset. The zero Parser is ready; it is not for concurrent use, but what
// it made is safe for concurrent readers.
type Parser struct {
	Limits Limits
	// Follow are the paths that are to be found while an event is indexed; nil: none.
	// They come out of [PathSet.Find] without looking.
	Follow *PathSet

	nodes  slab[node]
	places slab[place]
	events slab[Event]
	docs   slab[doc]
	refs   slab[Ref]
	texts  stock.Texts // ids
	spare  *Event      // room for an event, left by a text that is none

	work scanner
	// The memory of passes over large texts.
	largeNodes  []node
	largePlaces []place
	once        bool // for one text only: no more memory than that takes
}

// slab hands out memory that is taken back all at once.
type slab[T any] struct {
	chunks [][]T
	used   int // of the chunks
	free   []T // what is left of the one in use
}

// take returns n elements, whose content is that of an earlier use.
func (s *slab[T]) take(n, chunk int) []T {
	s.room(n, chunk)
	out := s.free[:n:n]
	s.free = s.free[n:]
	return out
}

// room sees to it that n elements are free, side by side.
func (s *slab[T]) room(n, chunk int) {
	for len(s.free) < n {
		if s.used == len(s.chunks) {
			s.chunks = append(s.chunks, make([]T, max(n, min(chunk, 1<<10<<min(len(s.chunks), 10)))))
		} else if len(s.chunks[s.used]) < n {
			s.chunks[s.used] = make([]T, n)
		}
		s.free = s.chunks[s.used]
		s.used++
	}
}

func (s *slab[T]) reset() { s.used, s.free = 0, nil }

const (
	slabNodes = 1 << 14
	slabRefs  = 1 << 13
	slabDocs  = 256
	maxKeptID = 1 << 10
)

// Reset makes the memory of all earlier results available again; they must
// not be used any more.
func (p *Parser) Reset() {
	p.spare = nil
	if p.nodes.used|p.events.used|p.docs.used|p.refs.used == 0 {
		return // nothing was made since
	}
	p.nodes.reset()
	p.places.reset()
	p.events.reset()
	p.docs.reset()
	p.refs.reset()
}

// Parse is [Parse] into the parser's memory.
func (p *Parser) Parse(raw []byte) (*Event, error) {
	e := p.spare
	if e == nil {
		e = p.room()
	}
	p.spare = nil
	err := p.index(&e.doc, raw, p.Follow)
	if k := e.doc.kind(); err == nil && k != Object {
		err = fmt.Errorf("%w: found %s", ErrNotObject, article(k))
	}
	if err != nil {
		e.doc = doc{} // it must not hold the text
		p.spare = e
		return nil, err
	}
	p.event(e)
	return e, nil
}

// room is memory for an event.
func (p *Parser) room() *Event {
	if p.once {
		return new(Event)
	}
	return &p.events.take(1, slabDocs)[0]
}

// findTop notes the top-level members that almost every reader asks for.
func (e *Event) findTop() {
	e.top = [topCount]Ref{}
	nodes := e.doc.nodes
	end := nodes[0].next
	for c := uint32(1); c < end; {
		n := &nodes[c]
		i := -1
		key := n.key(e.doc.raw)
		if n.bits&oddName != 0 {
			key = appendUnescaped(nil, key)
		}
		switch len(key) {
		case 4:
			if string(key) == "type" {
				i = topType
			}
		case 5:
			if string(key) == "event" {
				i = topEvent
			}
		case 6:
			if string(key) == "userId" {
				i = topUserID
			} else if string(key) == "sentAt" {
				i = topSent
			}
		case 9:
			if string(key) == "messageId" {
				i = topMessageID
			} else if string(key) == "timestamp" {
				i = topTimestamp
			}
		case 10:
			if string(key) == "receivedAt" {
				i = topReceived
			}
		case 11:
			if string(key) == "anonymousId" {
				i = topAnonymousID
			}
		case 12:
			if string(key) == "integrations" {
				i = topIntegrations
			}
		case 17:
			if string(key) == "originalTimestamp" {
				i = topOriginal
			}
		}
		if i >= 0 {
			e.top[i] = Ref(c)<<refShift | Ref(n.kind())
		}
		c = n.next
	}
}

// event reads what stands in every event, of one whose text is indexed.
func (p *Parser) event(e *Event) {
	d := &e.doc
	e.typ, e.id = Other, ""
	if d.followed == nil {
		e.findTop()
	} else {
		for i, slot := range d.followed.common {
			e.top[i] = d.found[slot]
		}
	}
	if t := e.TypeValue(); t.kind == String {
		if b, ok := t.Plain(); ok {
			e.typ = TypeOf(string(b))
		} else {
			e.typ = TypeOf(string(t.AppendString(nil)))
		}
	}
	if !p.once {
		p.readAhead(e)
	}
}

// readAhead reads what nearly every destination asks for, so that they need not,
// each for itself: the event's id and its time.
func (p *Parser) readAhead(e *Event) {
	if b, ok := e.MessageID().Plain(); ok && len(b) > 0 && len(b) <= maxKeptID {
		e.id = stock.Keep(&p.texts, b)
	}
	for _, i := range [...]int{topTimestamp, topOriginal} {
		if v := e.common(i); v.kind == String {
			if b, ok := v.Plain(); ok {
				if t, ok := fastTime(b); ok {
					e.doc.timed, e.doc.secs, e.doc.nanos = v.at, t.Unix(), int32(t.Nanosecond())
					return
				}
			}
		}
	}
}

// ParseValue is [ParseValue] into the parser's memory.
func (p *Parser) ParseValue(raw []byte) (Value, error) {
	var d *doc
	if p.once {
		d = new(doc)
	} else {
		d = &p.docs.take(1, slabDocs)[0]
	}
	if err := p.index(d, raw, nil); err != nil {
		return Value{}, err
	}
	return Value{doc: d, kind: d.kind()}, nil
}

func article(k Kind) string {
	switch k {
	case Array, Object:
		return "an " + k.String()
	case Null:
		return "null"
	}
	return "a " + k.String()
}

func (p *Parser) limits() (maxBytes, maxDepth int) {
	maxBytes, maxDepth = p.Limits.MaxBytes, p.Limits.MaxDepth
	if maxBytes <= 0 {
		maxBytes = defaultBytes
	}
	if maxDepth <= 0 {
		maxDepth = defaultDepth
	}
	return min(maxBytes, maxRefs), maxDepth // a value takes a byte at least
}

func (p *Parser) tooLarge(raw []byte) error {
	if maxBytes, _ := p.limits(); len(raw) > maxBytes {
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, len(raw), maxBytes)
	}
	return nil
}

// index validates raw and finds its nodes and their places, and what the paths of a set
// lead to.
func (p *Parser) index(d *doc, raw []byte, follow *PathSet) error {
	*d = doc{raw: raw, followed: follow}
	if err := p.tooLarge(raw); err != nil {
		return err
	}
	s := &p.work
	_, s.maxDepth = p.limits()
	s.b = raw
	// A value takes two bytes at least, with what stands before it. Texts that are not
	// huge are indexed where the index stays.
	most := len(raw)/2 + 2
	direct := !p.once && most <= slabNodes/4
	switch {
	case direct:
		p.nodes.room(most, slabNodes)
		p.places.room(most, slabNodes)
		s.nodes, s.places = p.nodes.free[:most], p.places.free[:most]
	case p.once || p.largeNodes == nil:
		n := len(raw)/12 + 8
		s.nodes, s.places = make([]node, n), make([]place, n)
	default:
		s.nodes, s.places = p.largeNodes, p.largePlaces
	}
	s.n, s.marks = 0, marksOf(s.marks, raw)
	s.asks = false
	if s.follow = follow; follow != nil {
		s.found = p.refs.take(len(follow.paths)+follow.inner, slabRefs)
		clear(s.found)
	}
	defer s.rest()
	i := s.space(0)
	if follow != nil && i < len(raw) && raw[i] == '{' {
		if at := follow.tree[0].slot; at >= 0 {
			s.found[at] = Ref(Object)
		}
		i = s.object(i, 1, &follow.tree[0])
	} else {
		i = s.value(i, 0)
	}
	if i >= 0 {
		if i = s.space(i); i < len(raw) {
			i = s.fail(i, "more after the end of the value")
		}
	}
	if i < 0 {
		if s.deep {
			s.deep = false
			return fmt.Errorf("%w: more than %d levels at byte %d", ErrTooDeep, s.maxDepth, s.off)
		}
		return &SyntaxError{s.off, s.msg}
	}
	d.found, d.asks = s.found, s.asks
	switch n := s.n; {
	case direct:
		d.nodes, d.places = p.nodes.take(n, slabNodes), p.places.take(n, slabNodes)
	case p.once:
		d.nodes, d.places = s.nodes[:n], s.places[:n]
	default:
		d.nodes, d.places = p.nodes.take(n, slabNodes), p.places.take(n, slabNodes)
		copy(d.nodes, s.nodes)
		copy(d.places, s.places)
		if p.largeNodes, p.largePlaces = s.nodes, s.places; len(s.nodes) > maxWork {
			p.largeNodes, p.largePlaces = nil, nil // one huge text must not pin its size for ever
		}
	}
	return nil
}

// maxWork is how many nodes' memory a parser keeps for its passes.
const maxWork = 1 << 14

// scanner is the one pass: a recursive descent over b that adds nodes.
// Every method takes an offset and returns the offset after what it read, or
// -1 after noting what was wrong.
type scanner struct {
	b        []byte
	marks    []uint64 // see marksOf
	nodes    []node   // n of them, and room for others
	places   []place  // as many
	n        int
	follow   *PathSet
	found    []Ref // what its paths lead to
	asks     bool  // some of these are ask
	maxDepth int
	off      int
	msg      string
	deep     bool
}

// rest forgets a text, and memory that it should not keep.
func (s *scanner) rest() {
	s.b, s.nodes, s.places, s.found = nil, nil, nil, nil
	if len(s.marks) > maxWork {
		s.marks = nil
	}
}

// more makes room for further nodes.
func (s *scanner) more() {
	s.nodes = append(s.nodes, make([]node, s.n+8)...)
	s.places = append(s.places, make([]place, s.n+8)...)
}

// past is the first special byte from a place on; the end of the text or beyond: there is
// none.
func (s *scanner) past(i int) int {
	for i |= 63; i+1 < len(s.b); i += 64 {
		if m := s.marks[(i+1)>>6]; m != 0 {
			return i + 1 + bits.TrailingZeros64(m)
		}
	}
	return len(s.b)
}

func (s *scanner) fail(i int, msg string) int {
	s.off, s.msg = i, msg
	return -1
}

func (s *scanner) space(i int) int {
	for i < len(s.b) {
		switch s.b[i] {
		case ' ', '\n', '\t', '\r':
			i++
		default:
			return i
		}
	}
	return i
}

func (s *scanner) value(i, depth int) int {
	if i >= len(s.b) {
		return s.fail(i, "the text ends where a value should stand")
	}
	switch c := s.b[i]; c {
	case '"':
		end := i + 1
		if m := s.marks[uint(end)>>6] >> (uint(end) & 63); m != 0 {
			end += bits.TrailingZeros64(m)
		} else {
			end = s.past(end)
		}
		if end < len(s.b) && s.b[end] == '"' {
			s.leaf(i, uint32(end+1), String)
			return end + 1
		}
		return s.text(i, end)
	case '{':
		return s.object(i, depth+1, nil)
	case '[':
		return s.array(i, depth+1)
	case 't':
		return s.word(i, "true", Bool)
	case 'f':
		return s.word(i, "false", Bool)
	case 'n':
		return s.word(i, "null", Null)
	default:
		if c == '-' || c-'0' < 10 {
			return s.number(i)
		}
		return s.fail(i, fmt.Sprintf("%q where a value should stand", c))
	}
}

// push adds a container.
func (s *scanner) push(start int, k Kind) int {
	at := s.n
	if at >= len(s.nodes) {
		s.more()
	}
	s.n = at + 1
	s.nodes[at] = node{bits: uint8(k)}
	s.places[at] = place{start: uint32(start)}
	return at
}

// leaf adds a value that is no container.
func (s *scanner) leaf(start int, end uint32, k Kind) {
	at := s.n
	if at >= len(s.nodes) {
		s.more()
	}
	s.n = at + 1
	s.nodes[at] = node{next: uint32(at + 1), bits: uint8(k)}
	s.places[at] = place{uint32(start), end}
}

func (s *scanner) word(i int, w string, k Kind) int {
	if len(s.b)-i < len(w) || string(s.b[i:i+len(w)]) != w {
		if rest := s.b[i+1:]; len(rest) == 0 || rest[0] != w[1] { // a word, but none of JSON's
			return s.fail(i, fmt.Sprintf("%q where a value should stand", s.b[i]))
		}
		return s.fail(i, "expected "+w)
	}
	s.leaf(i, uint32(i+len(w)), k)
	return i + len(w)
}

func (s *scanner) number(i int) int {
	j, msg := scanNumber(s.b, i)
	if msg != "" {
		return s.fail(j, msg)
	}
	s.leaf(i, uint32(j), Number)
	return j
}

// scanNumber returns the end of the number that begins at b[i], or where it is
// none and why.
func scanNumber(b []byte, i int) (end int, msg string) {
	j := i
	if b[j] == '-' {
		j++
	}
	switch {
	case j < len(b) && b[j] == '0':
		j++
	case j < len(b) && b[j]-'1' < 9:
		for j++; j < len(b) && b[j]-'0' < 10; j++ {
		}
	default:
		return j, "expected a digit"
	}
	if j < len(b) && b[j] == '.' {
		j++
		if j >= len(b) || b[j]-'0' >= 10 {
			return j, "expected a digit after the point"
		}
		for j++; j < len(b) && b[j]-'0' < 10; j++ {
		}
	}
	if j < len(b) && b[j]|0x20 == 'e' {
		j++
		if j < len(b) && (b[j] == '+' || b[j] == '-') {
			j++
		}
		if j >= len(b) || b[j]-'0' >= 10 {
			return j, "expected a digit in the exponent"
		}
		for j++; j < len(b) && b[j]-'0' < 10; j++ {
		}
	}
	return j, ""
}

// str reads a string from after its opening quote and returns the offset after
// the closing one.
func (s *scanner) str(i int) (end int, esc bool) {
	end, esc, msg := scanString(s.b, i)
	if msg != "" {
		return s.fail(end, msg), false
	}
	return end, esc
}

// scanString returns the end of the string whose text begins at b[i], behind its closing
// quote, and whether it has escapes; or where it is none and why.
func scanString(b []byte, i int) (end int, esc bool, msg string) {
	for {
		for ; i+8 <= len(b); i += 8 {
			if m := special8(binary.LittleEndian.Uint64(b[i:])); m != 0 {
				i += bits.TrailingZeros64(m) >> 3
				break
			}
		}
		if i >= len(b) {
			return i, false, "the text ends inside a string"
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1, esc, ""
		case c == '\\':
			esc = true
			if i+1 >= len(b) {
				return i, false, "the text ends inside a string"
			}
			switch b[i+1] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
				i += 2
			case 'u':
				if i+6 > len(b) || !isHex(b[i+2]) || !isHex(b[i+3]) || !isHex(b[i+4]) || !isHex(b[i+5]) {
					return i, false, `\u without four hexadecimal digits`
				}
				i += 6
			default:
				return i, false, "unknown escape in a string"
			}
		case c < 0x20:
			return i, false, "control character in a string"
		default:
			i++
		}
	}
}

func isHex(c byte) bool { return c-'0' < 10 || (c|0x20)-'a' < 6 }

// special8 marks the bytes of a word that end a run of plain ones in a string, eight at a
// time: the lowest bit that is set belongs to the first quote, backslash or byte below
// 0x20. (A borrow can only mark bytes above the first true one.)
func special8(w uint64) uint64 {
	q, e := w^0x2222222222222222, w^0x5c5c5c5c5c5c5c5c
	m := ((w - 0x2020202020202020) &^ w) | ((q - 0x0101010101010101) &^ q) | ((e - 0x0101010101010101) &^ e)
	return m & 0x8080808080808080
}

// object reads an object. along is the branch of the paths that goes through it; nil:
// none does.
func (s *scanner) object(i, depth int, along *branch) int {
	if depth > s.maxDepth {
		s.deep = true
		return s.fail(i, "")
	}
	self := s.push(i, Object)
	b := s.b
	var seen keysSeen
	if i++; i < len(b) && b[i] <= ' ' {
		i = s.space(i)
	}
	if i < len(b) && b[i] == '}' {
		return s.closed(self, i+1, false)
	}
	for {
		if i >= len(b) || b[i] != '"' {
			return s.fail(i, "expected a key in double quotes")
		}
		key, kesc := i+1, false
		if m := s.marks[uint(key)>>6] >> (uint(key) & 63); m != 0 {
			i = key + bits.TrailingZeros64(m)
		} else {
			i = s.past(key)
		}
		if i < len(b) && b[i] == '"' {
			i++
		} else if i, kesc = s.str(i); i < 0 {
			return -1
		}
		name := b[key : i-1]
		if i < len(b) && b[i] == ':' {
			i++
		} else if i = s.colon(i); i < 0 {
			return -1
		}
		if i < len(b) && b[i] <= ' ' {
			i = s.space(i)
		}
		child := s.n
		if child >= len(s.nodes) {
			s.more()
		}
		nameLen, hash, odd := uint16(min(len(name), longName)), uint8(0), uint8(0)
		if !kesc {
			hash = hashKey(name)
		} else {
			odd, seen.twice = oddName, true
		}
		var to *branch
		if along != nil {
			to = s.below(along, key, name, hash, kesc)
		}
		switch {
		case i < len(b) && b[i] == '"':
			start := i
			if i++; i < len(b) {
				if m := s.marks[uint(i)>>6] >> (uint(i) & 63); m != 0 {
					i += bits.TrailingZeros64(m)
				} else {
					i = s.past(i)
				}
			}
			if i >= len(b) || b[i] != '"' {
				if i = s.text(start, i); i < 0 {
					return -1
				}
				s.nodes[child].call(key, nameLen, hash, odd)
				break
			}
			i++
			s.n = child + 1
			s.places[child] = place{uint32(start), uint32(i)}
			n := &s.nodes[child]
			n.next, n.bits = uint32(child+1), uint8(String)
			n.call(key, nameLen, hash, odd)
			if to != nil && to.kids == 0 {
				s.found[to.slot], to = Ref(child)<<refShift|Ref(String), nil
			}
		case to != nil && to.kids > 0 && i < len(b) && b[i] == '{':
			if i = s.object(i, depth+1, s.enter(to)); i < 0 {
				return -1
			}
			s.nodes[child].call(key, nameLen, hash, odd)
		default:
			if i = s.value(i, depth); i < 0 {
				return -1
			}
			s.nodes[child].call(key, nameLen, hash, odd)
		}
		if to != nil {
			s.note(to, child)
		}
		if !kesc && seen.add(hash) {
			seen.twice = s.repeats(self, child)
		}
		if i < len(b) && b[i] <= ' ' {
			i = s.space(i)
		}
		if i >= len(b) {
			return s.fail(i, "the text ends inside an object")
		}
		if b[i] != ',' {
			break
		}
		if i++; i < len(b) && b[i] <= ' ' {
			i = s.space(i)
		}
	}
	if b[i] != '}' {
		return s.fail(i, "expected a comma or } in an object")
	}
	return s.closed(self, i+1, seen.twice)
}

// call gives a node the name of a member, whose key is at a place. The parts go to the node one by one: a node put
// together first is read back in wider pieces than it was written in, for which the processor waits.
func (n *node) call(key int, length uint16, hash, odd uint8) {
	n.name, n.nameLen, n.hash, n.bits = uint32(key), length, hash, n.bits|odd
}

// keysSeen are the keys of an object, a bit for each by a hash of it: only when two fall
// together are the keys compared, and an object whose keys all differ need not be searched
// to its end for a later one.
type keysSeen struct {
	bits  [4]uint64
	twice bool // some key may be there twice
	asked int  // how many keys have been compared
}

// mostCompared is how many keys of an object are compared with those before them. Of one with so many that
// more would have to be, which takes time that grows with their square, it is not known that they differ.
const mostCompared = 64

// add notes a key by its hash, and says whether it has to be compared with those before it.
func (k *keysSeen) add(hash uint8) (compare bool) {
	bit := uint64(1) << (hash & 63)
	word := &k.bits[hash>>6]
	compare = *word&bit != 0 && !k.twice
	*word |= bit
	if compare {
		k.asked++
		k.twice = k.asked > mostCompared
	}
	return compare && !k.twice
}

// colon goes on behind the colon after a key.
func (s *scanner) colon(i int) int {
	if i = s.space(i); i >= len(s.b) || s.b[i] != ':' {
		return s.fail(i, "expected a colon after the key")
	}
	return i + 1
}

// text reads the rest of a string value from a place on that is no plain byte of it.
func (s *scanner) text(start, i int) int {
	i, esc := s.str(i)
	if i < 0 {
		return -1
	}
	stop := uint32(i)
	if esc {
		stop |= hasEscapes
	}
	s.leaf(start, stop, String)
	return i
}

// enter goes along a branch. Of a repeated key the last one counts.
func (s *scanner) enter(to *branch) *branch {
	if s.found[to.been] != 0 {
		clear(s.found[to.lo:to.hi])
	}
	s.found[to.been] = ask
	return to
}

// closed ends an object that ends before a place.
func (s *scanner) closed(self, end int, twice bool) int {
	s.places[self].end = uint32(end)
	n := &s.nodes[self]
	n.next = uint32(s.n)
	if twice {
		n.bits |= repeats
	}
	return end
}

// below is the branch below another one for a key that stands at a place; nil: there is
// none.
func (s *scanner) below(b *branch, at int, name []byte, hash uint8, escaped bool) *branch {
	tree, n := s.follow.tree, uint(len(name))
	switch {
	case escaped:
		if at := s.follow.escaped(b, name); at > 0 {
			return &tree[at]
		}
	case n-1 < 8 && at+8 <= len(s.b):
		word := binary.LittleEndian.Uint64(s.b[at:]) << (64 - 8*n)
		for k := b.bucket[hash&31]; k != 0; k = tree[k].chain {
			if tree[k].word == word && tree[k].size == uint8(n) {
				return &tree[k]
			}
		}
	default:
		for k := b.bucket[hash&31]; k != 0; k = tree[k].chain {
			if tree[k].hash == hash && tree[k].key == string(name) {
				return &tree[k]
			}
		}
	}
	return nil
}

// note notes the value that a branch leads to.
func (s *scanner) note(b *branch, child int) {
	n := &s.nodes[child]
	k := n.kind()
	f := Ref(child)<<refShift | Ref(k)
	if b.slot >= 0 {
		s.found[b.slot] = f
	}
	if b.kids == 0 || k == Object {
		return
	}
	// The paths go on from what is no object: what counts as false is what they lead to.
	if k == Bool || k == Number || k == String {
		d := doc{raw: s.b, nodes: s.nodes, places: s.places}
		if v := (Value{&d, int32(child), k}); !v.Falsy() {
			f = ask
		}
	} else if k != Null {
		f = ask
	}
	for i := b.lo; i < b.hi; i++ {
		s.found[i] = f
	}
	s.asks = s.asks || f == ask
	s.found[b.been] = ask
}

// repeats says that the key of a member stands earlier in its object.
func (s *scanner) repeats(self, child int) bool {
	n := &s.nodes[child]
	key := n.key(s.b)
	for c := self + 1; c < child; c = int(s.nodes[c].next) {
		m := &s.nodes[c]
		if m.hash == n.hash && m.nameLen == n.nameLen && string(m.key(s.b)) == string(key) {
			return true
		}
	}
	return false
}

func (s *scanner) array(i, depth int) int {
	if depth > s.maxDepth {
		s.deep = true
		return s.fail(i, "")
	}
	self := s.push(i, Array)
	i = s.space(i + 1)
	if i < len(s.b) && s.b[i] == ']' {
		i++
	} else {
		for {
			if i = s.value(i, depth); i < 0 {
				return -1
			}
			i = s.space(i)
			if i >= len(s.b) {
				return s.fail(i, "the text ends inside an array")
			}
			if s.b[i] == ',' {
				i = s.space(i + 1)
				continue
			}
			if s.b[i] != ']' {
				return s.fail(i, "expected a comma or ] in an array")
			}
			i++
			break
		}
	}
	s.places[self].end = uint32(i)
	n := &s.nodes[self]
	n.next = uint32(s.n)
	return i
}
