package event

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
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

	nodes  []node // free part of the current slab: len used, cap all
	slabs  [][]node
	slab   int
	events [][]Event
	docs   [][]doc
	ne, nd int
	once   bool // for one text only: no more memory than that takes
}

const (
	slabNodes = 1 << 14
	slabDocs  = 256
)

// Reset makes the memory of all earlier results available again; they must
// not be used any more.
func (p *Parser) Reset() {
	p.slab, p.ne, p.nd = 0, 0, 0
	p.nodes = nil
	if len(p.slabs) > 0 {
		p.nodes = p.slabs[0][:0]
	}
}

// Parse is [Parse] into the parser's memory.
func (p *Parser) Parse(raw []byte) (*Event, error) {
	nodes, err := p.index(raw)
	if err != nil {
		return nil, err
	}
	if nodes[0].kind() != Object {
		return nil, fmt.Errorf("%w: found %s", ErrNotObject, article(nodes[0].kind()))
	}
	e := p.event()
	e.doc = doc{raw, nodes}
	e.typ, e.top = Other, [topCount]int32{}
	end := nodes[0].next
	for c := uint32(1); c < end; {
		n := &nodes[c]
		i := -1
		key := n.key(raw)
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
			e.top[i] = int32(c)
		}
		c = n.next
	}
	if t := e.TypeValue(); t.kind == String {
		if b, ok := t.Plain(); ok {
			e.typ = typeOf(b)
		} else {
			e.typ = typeOf(t.AppendString(nil))
		}
	}
	return e, nil
}

// ParseValue is [ParseValue] into the parser's memory.
func (p *Parser) ParseValue(raw []byte) (Value, error) {
	nodes, err := p.index(raw)
	if err != nil {
		return Value{}, err
	}
	d := p.doc()
	*d = doc{raw, nodes}
	return Value{doc: d, kind: nodes[0].kind()}, nil
}

func (p *Parser) event() *Event {
	if p.once {
		return new(Event)
	}
	if p.ne>>8 == len(p.events) {
		p.events = append(p.events, make([]Event, slabDocs))
	}
	e := &p.events[p.ne>>8][p.ne&(slabDocs-1)]
	p.ne++
	return e
}

func (p *Parser) doc() *doc {
	if p.once {
		return new(doc)
	}
	if p.nd>>8 == len(p.docs) {
		p.docs = append(p.docs, make([]doc, slabDocs))
	}
	d := &p.docs[p.nd>>8][p.nd&(slabDocs-1)]
	p.nd++
	return d
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

// index validates raw and appends its nodes to the slab.
func (p *Parser) index(raw []byte) ([]node, error) {
	maxBytes, maxDepth := p.Limits.MaxBytes, p.Limits.MaxDepth
	if maxBytes <= 0 {
		maxBytes = defaultBytes
	}
	if maxDepth <= 0 {
		maxDepth = defaultDepth
	}
	if len(raw) > maxBytes || len(raw) > math.MaxUint32/2 {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, len(raw), maxBytes)
	}
	if p.nodes == nil {
		p.grow(len(raw)/12 + 8)
	}
	s := scanner{b: raw, nodes: p.nodes, base: len(p.nodes), maxDepth: maxDepth}
	i := s.space(0)
	i = s.value(i, 0)
	if i >= 0 {
		if i = s.space(i); i < len(raw) {
			i = s.fail(i, "more after the end of the value")
		}
	}
	if i < 0 {
		if cap(s.nodes) != cap(p.nodes) {
			// The failed text outgrew the slab: keep the larger one.
			p.replace(s.nodes[:0])
		}
		if s.deep {
			return nil, fmt.Errorf("%w: more than %d levels at byte %d", ErrTooDeep, maxDepth, s.off)
		}
		return nil, &SyntaxError{s.off, s.msg}
	}
	if cap(s.nodes) == cap(p.nodes) && len(s.nodes) > 0 && &s.nodes[:1][0] == &p.nodes[:1][0] {
		out := s.nodes[s.base:len(s.nodes):len(s.nodes)]
		p.nodes = s.nodes
		if cap(p.nodes)-len(p.nodes) < 64 && !p.once {
			p.grow(0)
		}
		return out, nil
	}
	// append moved this text's nodes to new memory, which holds earlier
	// texts' copies in front; those keep reading their own slab.
	out := s.nodes[s.base:len(s.nodes):len(s.nodes)]
	p.replace(s.nodes)
	return out, nil
}

// grow starts the next slab.
func (p *Parser) grow(need int) {
	if p.nodes != nil {
		p.slab++
	}
	if p.slab == len(p.slabs) {
		n := slabNodes
		if p.once {
			n = need
		}
		p.slabs = append(p.slabs, make([]node, 0, n))
	}
	p.nodes = p.slabs[p.slab][:0]
}

// replace puts memory that append allocated in the place of the current slab.
func (p *Parser) replace(nodes []node) {
	p.slabs[p.slab] = nodes[:0]
	p.nodes = nodes
}

// scanner is the one pass: a recursive descent over b that appends nodes.
// Every method takes an offset and returns the offset after what it read, or
// -1 after noting what was wrong.
type scanner struct {
	b        []byte
	nodes    []node
	base     int
	maxDepth int
	off      int
	msg      string
	deep     bool
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
		end, esc := s.str(i + 1)
		if end < 0 {
			return -1
		}
		n := s.push(i, String)
		s.nodes[n].end = uint32(end)
		if esc {
			s.nodes[n].bits |= escaped
		}
		s.nodes[n].next = uint32(len(s.nodes) - s.base)
		return end
	case '{':
		return s.object(i, depth+1)
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

func (s *scanner) push(start int, k Kind) int {
	s.nodes = append(s.nodes, node{start: uint32(start), bits: uint8(k)})
	return len(s.nodes) - 1
}

func (s *scanner) word(i int, w string, k Kind) int {
	if len(s.b)-i < len(w) || string(s.b[i:i+len(w)]) != w {
		return s.fail(i, "expected "+w)
	}
	n := s.push(i, k)
	s.nodes[n].end = uint32(i + len(w))
	s.nodes[n].next = uint32(len(s.nodes) - s.base)
	return i + len(w)
}

func (s *scanner) number(i int) int {
	b, j := s.b, i
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
		return s.fail(j, "expected a digit")
	}
	if j < len(b) && b[j] == '.' {
		j++
		if j >= len(b) || b[j]-'0' >= 10 {
			return s.fail(j, "expected a digit after the point")
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
			return s.fail(j, "expected a digit in the exponent")
		}
		for j++; j < len(b) && b[j]-'0' < 10; j++ {
		}
	}
	n := s.push(i, Number)
	s.nodes[n].end = uint32(j)
	s.nodes[n].next = uint32(len(s.nodes) - s.base)
	return j
}

// str reads a string from after its opening quote and returns the offset after
// the closing one.
func (s *scanner) str(i int) (end int, esc bool) {
	b := s.b
	for {
		// Eight bytes at a time: a byte that is a quote, a backslash or
		// below 0x20 sets its high bit in one of the three terms. (A
		// borrow can only mark bytes above the first true one, and the
		// lowest mark is what is looked at.)
		for i+8 <= len(b) {
			w := binary.LittleEndian.Uint64(b[i:])
			q, e := w^0x2222222222222222, w^0x5c5c5c5c5c5c5c5c
			m := ((w - 0x2020202020202020) &^ w) | ((q - 0x0101010101010101) &^ q) | ((e - 0x0101010101010101) &^ e)
			if m &= 0x8080808080808080; m != 0 {
				i += bits.TrailingZeros64(m) >> 3
				break
			}
			i += 8
		}
		if i >= len(b) {
			return s.fail(i, "the text ends inside a string"), false
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1, esc
		case c == '\\':
			esc = true
			if i+1 >= len(b) {
				return s.fail(i, "the text ends inside a string"), false
			}
			switch b[i+1] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
				i += 2
			case 'u':
				if i+6 > len(b) || !isHex(b[i+2]) || !isHex(b[i+3]) || !isHex(b[i+4]) || !isHex(b[i+5]) {
					return s.fail(i, `\u without four hexadecimal digits`), false
				}
				i += 6
			default:
				return s.fail(i, "unknown escape in a string"), false
			}
		case c < 0x20:
			return s.fail(i, "control character in a string"), false
		default:
			i++
		}
	}
}

func isHex(c byte) bool { return c-'0' < 10 || (c|0x20)-'a' < 6 }

func (s *scanner) object(i, depth int) int {
	if depth > s.maxDepth {
		s.deep = true
		return s.fail(i, "")
	}
	self := s.push(i, Object)
	// A bit for each key seen, by a hash of it: only when two fall together
	// are the keys compared, and an object whose keys all differ need not be
	// searched to its end for a later one.
	var seen uint64
	dup := false
	i = s.space(i + 1)
	if i < len(s.b) && s.b[i] == '}' {
		i++
	} else {
		for {
			if i >= len(s.b) || s.b[i] != '"' {
				return s.fail(i, "expected a key in double quotes")
			}
			key := i + 1
			end, kesc := s.str(key)
			if end < 0 {
				return -1
			}
			i = end
			if i < len(s.b) && s.b[i] != ':' {
				i = s.space(i)
			}
			if i >= len(s.b) || s.b[i] != ':' {
				return s.fail(i, "expected a colon after the key")
			}
			i++
			if i < len(s.b) && s.b[i] <= ' ' {
				i = s.space(i)
			}
			child := len(s.nodes)
			if i = s.value(i, depth); i < 0 {
				return -1
			}
			n := &s.nodes[child]
			n.name, n.nameLen = uint32(key), uint16(min(end-1-key, longName))
			if kesc {
				n.bits |= oddName
				dup = true
			} else {
				n.hash = hashKey(s.b[key : end-1])
				bit := uint64(1) << ((n.hash + uint8(n.nameLen)*11) & 63)
				if seen&bit != 0 && !dup {
					dup = s.repeats(self, child)
				}
				seen |= bit
			}
			if i < len(s.b) && s.b[i] <= ' ' {
				i = s.space(i)
			}
			if i >= len(s.b) {
				return s.fail(i, "the text ends inside an object")
			}
			if s.b[i] == ',' {
				i++
				if i < len(s.b) && s.b[i] <= ' ' {
					i = s.space(i)
				}
				continue
			}
			if s.b[i] != '}' {
				return s.fail(i, "expected a comma or } in an object")
			}
			i++
			break
		}
	}
	n := &s.nodes[self]
	n.end, n.next = uint32(i), uint32(len(s.nodes)-s.base)
	if dup {
		n.bits |= repeats
	}
	return i
}

// repeats says that the key of a member stands earlier in its object.
func (s *scanner) repeats(self, child int) bool {
	n := &s.nodes[child]
	key := n.key(s.b)
	for c := self + 1; c < child; c = int(s.nodes[c].next) + s.base {
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
	n := &s.nodes[self]
	n.end, n.next = uint32(i), uint32(len(s.nodes)-s.base)
	return i
}
