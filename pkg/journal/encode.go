package journal

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

// The log's records, in the order in which they were made: a kind, the lane,
// and what the kind says.
//
//	L lane name                          a lane
//	B lane request action time ids       begun
//	E lane request outcome reason except ended
//	S lane verdicts                      settled without a request
//	C lane checkpoint                    mark, counts, pace, as JSON
//	D lane size count                    dead letters written
//
// Integers are varints; lists have their length in front.

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendIDs writes runs of consecutive ordinals with the same place as one
// entry: a batch is mostly that.
func appendIDs(b []byte, ids []DeliveryID) []byte {
	b = binary.AppendUvarint(b, uint64(len(ids)))
	for i := 0; i < len(ids); {
		n := 1
		for i+n < len(ids) && ids[i+n].K == ids[i].K && ids[i+n].Ordinal == ids[i].Ordinal+uint64(n) {
			n++
		}
		b = binary.AppendUvarint(b, ids[i].Ordinal)
		b = binary.AppendUvarint(b, uint64(ids[i].K))
		b = binary.AppendUvarint(b, uint64(n))
		i += n
	}
	return b
}

func appendVerdicts(b []byte, vs []Verdict) []byte {
	b = binary.AppendUvarint(b, uint64(len(vs)))
	for _, v := range vs {
		b = binary.AppendUvarint(b, v.ID.Ordinal)
		b = binary.AppendUvarint(b, uint64(v.ID.K))
		b = append(b, byte(v.Outcome))
		b = appendString(b, v.Reason)
	}
	return b
}

type checkpoint struct {
	Mark   Mark   `json:"mark"`
	Counts Counts `json:"counts"`
	Pace   []byte `json:"pace,omitempty"`
}

func (l *Lane) appendCheckpoint(b []byte) []byte {
	data, err := json.Marshal(checkpoint{l.mark, l.counts, l.pace})
	if err != nil {
		panic(err) // numbers and texts cannot fail
	}
	return appendString(append(b, l.id), string(data))
}

// appendSnapshot writes the whole live state, after which all earlier records
// can go.
func (r *Run) appendSnapshot(b []byte) []byte {
	for _, l := range r.order {
		b = appendString(append(b, 'L', l.id), l.Name)
		b = l.appendCheckpoint(append(b, 'C'))
		b = binary.AppendUvarint(append(b, 'D', l.id), uint64(l.dead.size))
		b = binary.AppendUvarint(b, l.dead.count)
		for id, o := range l.open {
			b = l.appendBegin(append(b, 'B'), id, o.action, o.at, o.ids)
		}
		for _, e := range l.ended {
			// An ended request is written as a begun and ended one under a
			// number that no other has.
			b = l.appendBegin(append(b, 'B'), 0, "", 0, e.ids)
			b = binary.AppendUvarint(append(b, 'E', l.id), 0)
			b = append(b, byte(e.def))
			b = appendVerdicts(appendString(b, e.reason), e.except)
		}
	}
	return b
}

// decoder reads records; its first error stays.
type decoder struct {
	b   []byte
	err error
}

var errShort = errors.New("a record ends too early")

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.err = errShort
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.err = errShort
		d.b = nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.err = errShort
		d.b = nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) string() string {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.err = errShort
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

func (d *decoder) ids() []DeliveryID {
	n := d.uvarint()
	if n > 1<<24 {
		d.err = errShort
		return nil
	}
	ids := make([]DeliveryID, 0, n)
	for uint64(len(ids)) < n && d.err == nil {
		ordinal, k, run := d.uvarint(), d.uvarint(), d.uvarint()
		if run > n-uint64(len(ids)) {
			d.err = errShort
			return nil
		}
		for i := range run {
			ids = append(ids, DeliveryID{ordinal + i, uint32(k)})
		}
	}
	return ids
}

func (d *decoder) verdicts() []Verdict {
	n := d.uvarint()
	var vs []Verdict
	for i := uint64(0); i < n && d.err == nil; i++ {
		v := Verdict{ID: DeliveryID{d.uvarint(), uint32(d.uvarint())}}
		v.Outcome, v.Reason = Outcome(d.byte()), d.string()
		vs = append(vs, v)
	}
	return vs
}

// replay applies one commit's records to the lanes.
func (r *Run) replay(data []byte) error {
	d := &decoder{b: data}
	for len(d.b) > 0 && d.err == nil {
		kind, id := d.byte(), d.byte()
		if kind == 'L' {
			name := d.string()
			if int(id) == len(r.order) {
				l := &Lane{r: r, id: id, Name: name, open: map[uint64]openRequest{}}
				r.lanes[name] = l
				r.order = append(r.order, l)
			} else if int(id) > len(r.order) || r.order[id].Name != name {
				return fmt.Errorf("lane %d is called %q", id, name)
			}
			continue
		}
		if int(id) >= len(r.order) {
			return fmt.Errorf("a record of lane %d, which does not exist", id)
		}
		l := r.order[id]
		switch kind {
		case 'B':
			req := d.uvarint()
			o := openRequest{action: d.string(), at: d.varint()}
			o.ids = d.ids()
			l.open[req] = o
			l.nextID = max(l.nextID, req)
		case 'E':
			req := d.uvarint()
			o, ok := l.open[req]
			if !ok && d.err == nil {
				return fmt.Errorf("request %d ends without having begun", req)
			}
			delete(l.open, req)
			e := ended{ids: o.ids, def: Outcome(d.byte()), reason: d.string()}
			e.except = d.verdicts()
			l.end(e)
		case 'S':
			l.end(ended{except: d.verdicts()})
		case 'C':
			var c checkpoint
			if err := json.Unmarshal([]byte(d.string()), &c); err != nil {
				return fmt.Errorf("a checkpoint cannot be read: %w", err)
			}
			l.mark, l.counts, l.pace = c.Mark, c.Counts, c.Pace
			kept := l.ended[:0]
			for _, e := range l.ended {
				if e.top >= l.mark.Ordinal {
					kept = append(kept, e)
				}
			}
			l.ended = kept
		case 'D':
			l.dead.size, l.dead.count = int64(d.uvarint()), d.uvarint()
		default:
			return fmt.Errorf("a record of the unknown kind %q", kind)
		}
	}
	return d.err
}
