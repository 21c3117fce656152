package source

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Position is a place in a run's input: just after a record. Positions are
// ordered as records are read; the zero Position stands before everything.
type Position struct {
	Object  uint32 // entry in the manifest
	Offset  int64  // bytes into the decompressed object
	Element uint32 // what was read of the envelope, or the row, that begins at Offset; 0: nothing
}

// Compare orders positions.
func (p Position) Compare(q Position) int {
	return cmp.Or(cmp.Compare(p.Object, q.Object), cmp.Compare(p.Offset, q.Offset), cmp.Compare(p.Element, q.Element))
}

// String writes the position as object:offset:element.
func (p Position) String() string {
	return strconv.FormatUint(uint64(p.Object), 10) + ":" + strconv.FormatInt(p.Offset, 10) + ":" +
		strconv.FormatUint(uint64(p.Element), 10)
}

// ParsePosition reads what String writes.
func ParsePosition(s string) (Position, error) {
	parts := strings.Split(s, ":")
	if len(parts) == 3 {
		object, err1 := strconv.ParseUint(parts[0], 10, 32)
		offset, err2 := strconv.ParseInt(parts[1], 10, 64)
		element, err3 := strconv.ParseUint(parts[2], 10, 32)
		if err1 == nil && err2 == nil && err3 == nil && offset >= 0 {
			return Position{uint32(object), offset, uint32(element)}, nil
		}
	}
	return Position{}, fmt.Errorf("%q is not a position (object:offset:element)", s)
}
