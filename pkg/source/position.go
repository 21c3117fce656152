package source

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Position is a place in a run's input: just after a record. Positions are ordered as records are read; the zero
// Position is before everything.
type Position struct {
	Object  uint32 // entry in the manifest
	Offset  int64  // bytes into the decompressed object
	Element uint32 // events already read of the envelope or row that begins at Offset; 0: none
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

// Place is a Position within a known object.
type Place struct {
	Offset  int64
	Element uint32
}

// MarshalJSON writes a place as a number, or as a list of two.
func (p Place) MarshalJSON() ([]byte, error) {
	if p.Element == 0 {
		return json.Marshal(p.Offset)
	}
	return json.Marshal([2]int64{p.Offset, int64(p.Element)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (p *Place) UnmarshalJSON(data []byte) error {
	var both [2]int64
	if len(data) > 0 && data[0] != '[' {
		data = []byte("[" + string(data) + ",0]")
	}
	if err := json.Unmarshal(data, &both); err != nil {
		return err
	}
	if both[0] < 0 || both[1] < 0 || both[1] > math.MaxUint32 {
		return fmt.Errorf("%s is not a place in an object", data)
	}
	p.Offset, p.Element = both[0], uint32(both[1])
	return nil
}

// Place is the position within its object.
func (p Position) Place() Place { return Place{p.Offset, p.Element} }

// In is the position of a place in an entry.
func (p Place) In(entry int) Position { return Position{uint32(entry), p.Offset, p.Element} }
