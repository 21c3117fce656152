package source

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A minimal reader and writer of Thrift's compact protocol: it splits a struct into fields and joins them again
// without knowing what all of them mean:
// https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md

const (
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftI16    = 4
	thriftI32    = 5
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
)

// thriftDepth bounds how deep structs and lists may be nested.
const thriftDepth = 32

var errThrift = errors.New("the metadata is damaged")

// member is one field of a struct. Its value is kept in encoded form; for a boolean the kind is the value.
type member struct {
	id   int64
	kind byte
	raw  []byte
}

// number is the value of an integer.
func (m member) number() int64 { n, _ := binary.Varint(m.raw); return n }

func integer(id int64, kind byte, n int64) member {
	return member{id, kind, binary.AppendVarint(nil, n)}
}

// splitStruct splits a struct into fields, and returns its length.
func splitStruct(b []byte) (fields []member, n int, err error) {
	last := int64(0)
	for n < len(b) {
		head := b[n]
		n++
		if head == 0 {
			return fields, n, nil
		}
		id := last + int64(head>>4)
		if head>>4 == 0 {
			var k int
			if id, k = binary.Varint(b[n:]); k <= 0 {
				return nil, 0, errThrift
			}
			n += k
		}
		size, err := skipThrift(b[n:], head&15, true, 0)
		if err != nil {
			return nil, 0, err
		}
		fields = append(fields, member{id, head & 15, b[n : n+size : n+size]})
		n += size
		last = id
	}
	return nil, 0, errThrift
}

// splitList splits a list into elements.
func splitList(b []byte) (kind byte, elements [][]byte, err error) {
	kind, count, n, err := listHead(b)
	if err != nil {
		return 0, nil, err
	}
	for range count {
		size, err := skipThrift(b[n:], kind, false, 0)
		if err != nil {
			return 0, nil, err
		}
		elements = append(elements, b[n:n+size:n+size])
		n += size
	}
	return kind, elements, nil
}

func listHead(b []byte) (kind byte, count, n int, err error) {
	if len(b) == 0 {
		return 0, 0, 0, errThrift
	}
	kind, count, n = b[0]&15, int(b[0]>>4), 1
	if count == 15 {
		size, k := binary.Uvarint(b[1:])
		if k <= 0 || size > uint64(len(b)) { // an element takes at least one byte
			return 0, 0, 0, errThrift
		}
		count, n = int(size), 1+k
	}
	return kind, count, n, nil
}

// skipThrift returns how many bytes a value takes. A boolean that is a field takes none.
func skipThrift(b []byte, kind byte, field bool, depth int) (int, error) {
	return new(thriftSkip).value(b, kind, field, depth)
}

// skipStruct returns how many bytes a struct takes.
func skipStruct(b []byte, depth int) (int, error) { return new(thriftSkip).fields(b, depth) }

// The most elements that all lists of a value have: each takes one byte at least, and a reader makes room for all of
// them, for a struct some hundred bytes.
const (
	mostThriftStructs  = 1 << 19
	mostThriftElements = 8 << 20
)

// thriftSkip passes over a value, and counts what it is made of.
type thriftSkip struct{ structs, elements int }

func (s *thriftSkip) count(kinds []byte, n int) error {
	for _, kind := range kinds {
		if kind == thriftStruct {
			s.structs += n
		} else {
			s.elements += n
		}
	}
	if s.structs > mostThriftStructs || s.elements > mostThriftElements {
		return fmt.Errorf("the metadata has more than %d parts, the most that is read", mostThriftStructs)
	}
	return nil
}

func (s *thriftSkip) value(b []byte, kind byte, field bool, depth int) (int, error) {
	if depth > thriftDepth {
		return 0, errThrift
	}
	n := 0
	switch kind {
	case thriftTrue, thriftFalse:
		if !field {
			n = 1
		}
	case thriftByte:
		n = 1
	case thriftI16, thriftI32, thriftI64:
		if _, n = binary.Varint(b); n <= 0 {
			return 0, errThrift
		}
	case thriftDouble:
		n = 8
	case thriftBinary:
		size, k := binary.Uvarint(b)
		if k <= 0 || size > uint64(len(b)) {
			return 0, errThrift
		}
		n = k + int(size)
	case thriftList, thriftSet:
		element, count, k, err := listHead(b)
		if err != nil {
			return 0, err
		}
		return s.many(b, k, count, []byte{element}, depth)
	case thriftMap:
		count, k := binary.Uvarint(b)
		if k <= 0 || count > uint64(len(b)) || count > 0 && k >= len(b) {
			return 0, errThrift
		}
		if count == 0 {
			return k, nil
		}
		return s.many(b, k+1, int(count), []byte{b[k] >> 4, b[k] & 15}, depth)
	case thriftStruct:
		return s.fields(b, depth)
	default:
		return 0, errThrift
	}
	if n > len(b) {
		return 0, errThrift
	}
	return n, nil
}

// many skips count times values of some kinds, beginning at n.
func (s *thriftSkip) many(b []byte, n, count int, kinds []byte, depth int) (int, error) {
	if err := s.count(kinds, count); err != nil {
		return 0, err
	}
	for range count {
		for _, kind := range kinds {
			size, err := s.value(b[n:], kind, false, depth+1)
			if err != nil {
				return 0, err
			}
			n += size
		}
	}
	return n, nil
}

func (s *thriftSkip) fields(b []byte, depth int) (int, error) {
	n := 0
	for n < len(b) {
		head := b[n]
		n++
		if head == 0 {
			return n, nil
		}
		if head>>4 == 0 {
			_, k := binary.Varint(b[n:])
			if k <= 0 {
				return 0, errThrift
			}
			n += k
		}
		size, err := s.value(b[n:], head&15, true, depth+1)
		if err != nil {
			return 0, err
		}
		n += size
	}
	return 0, errThrift
}

// appendStruct writes fields, which must be in order.
func appendStruct(fields []member) (dst []byte) {
	last := int64(0)
	for _, f := range fields {
		if delta := f.id - last; delta > 0 && delta < 16 {
			dst = append(dst, byte(delta)<<4|f.kind)
		} else {
			dst = binary.AppendVarint(append(dst, f.kind), f.id)
		}
		dst = append(dst, f.raw...)
		last = f.id
	}
	return append(dst, 0)
}

func appendList(dst []byte, kind byte, elements [][]byte) []byte {
	if len(elements) < 15 {
		dst = append(dst, byte(len(elements))<<4|kind)
	} else {
		dst = binary.AppendUvarint(append(dst, 0xf0|kind), uint64(len(elements)))
	}
	for _, e := range elements {
		dst = append(dst, e...)
	}
	return dst
}

// keep returns those members of a struct that have some ids, in order, and adds the needed ones that are missing.
func keep(fields, needed []member, ids ...int64) []member {
	var out []member
	for _, id := range ids {
		found := false
		for _, f := range fields {
			if f.id == id {
				out, found = append(out, f), true
				break
			}
		}
		for _, f := range needed {
			if !found && f.id == id {
				out = append(out, f)
			}
		}
	}
	return out
}

// find returns the member with an id.
func find(fields []member, id int64) (member, bool) {
	for _, f := range fields {
		if f.id == id {
			return f, true
		}
	}
	return member{}, false
}
