package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"maps"
	"slices"
	"strconv"
)

// A commit's data is a checksum of four bytes, the version of what follows, and records,
// in the order in which they were made: a kind, the lane's number, and what the kind says.
//
//	L lane name                          a lane
//	B lane request action time size ids  begun; size: bytes, doubled, and one more if sent again
//	E lane request outcome reason except ended
//	S lane verdicts                      settled without a request
//	C lane checkpoint                    mark, counts, pace, as JSON
//	D lane day size count                dead letters written; day: of the file, or ""
//	F lane                               what is known above the mark is forgotten
//	W lane wholes                        instead: ordinal, outcome, reason, deliveries, doubted
//
// Integers are varints; lists have their length in front. In version 1, which is told by
// the letter of a kind in the place of the version, a lane's number is one byte. In both
// version 1 and 2 a request has no size, and a checkpoint does not say which requests it
// has counted: there the checkpoint's own numbers hold. Version 3 has no F. Before version 5
// all the dead letters of a lane are in one file, and D has no day. Before version 6 there is no W, and
// a delivery does not say how many there are of its event.
const recordsVersion = 6

// seal makes a commit's data from records.
func seal(records ...[]byte) []byte {
	size := 5
	for _, r := range records {
		size += len(r)
	}
	data := make([]byte, 5, size)
	data[4] = recordsVersion
	for _, r := range records {
		data = append(data, r...)
	}
	binary.LittleEndian.PutUint32(data, crc32.Checksum(data[4:], castagnoli))
	return data
}

// unseal returns the records of a commit's data, and their version.
func unseal(data []byte) (records []byte, version byte, err error) {
	if len(data) < 4 || crc32.Checksum(data[4:], castagnoli) != binary.LittleEndian.Uint32(data) {
		return nil, 0, errChecksum
	}
	records = data[4:]
	switch {
	case len(records) == 0 || records[0] >= 'A' && records[0] <= 'Z':
		return records, 1, nil
	case records[0] >= 2 && records[0] <= recordsVersion:
		return records[1:], records[0], nil
	}
	return nil, 0, errVersion(records[0])
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// versioned is the text of a row outside the commits: "2 " and JSON. In version 1 it was the JSON alone.
func versioned(text []byte) []byte { return append([]byte("2 "), text...) }

func unversioned(row []byte) ([]byte, error) {
	version, text, ok := bytes.Cut(row, []byte(" "))
	if _, err := strconv.Atoi(string(version)); !ok || err != nil {
		return row, nil
	}
	if string(version) != "2" {
		return nil, errVersion(string(version))
	}
	return text, nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// idRun is deliveries of consecutive events that are alike in everything else. A batch consists mostly of such runs,
// in memory as in the database.
type idRun struct {
	first DeliveryID
	n     uint32
}

// idRuns are the deliveries of a request, in their order.
type idRuns []idRun

func runsOf(ids []DeliveryID) idRuns {
	n := 0
	for i := range ids {
		if i == 0 || !ids[i].follows(ids[i-1]) {
			n++
		}
	}
	rs := make(idRuns, 0, n)
	for i, id := range ids {
		if i > 0 && id.follows(ids[i-1]) {
			rs[len(rs)-1].n++
		} else {
			rs = append(rs, idRun{id, 1})
		}
	}
	return rs
}

func (id DeliveryID) follows(other DeliveryID) bool {
	other.Ordinal++
	return id == other
}

func (rs idRuns) all() iter.Seq[DeliveryID] {
	return func(yield func(DeliveryID) bool) {
		for _, r := range rs {
			for i := range uint64(r.n) {
				if id := r.first; !yield(DeliveryID{id.Ordinal + i, id.K, id.Of}) {
					return
				}
			}
		}
	}
}

func (rs idRuns) count() (n int) {
	for _, r := range rs {
		n += int(r.n)
	}
	return n
}

// top is the highest ordinal.
func (rs idRuns) top() (top uint64) {
	for _, r := range rs {
		top = max(top, r.first.Ordinal+uint64(r.n)-1)
	}
	return top
}

func appendIDs(b []byte, rs idRuns) []byte {
	b = binary.AppendUvarint(b, uint64(rs.count()))
	for _, r := range rs {
		b = binary.AppendUvarint(b, r.first.Ordinal)
		b = binary.AppendUvarint(b, uint64(r.first.K))
		b = binary.AppendUvarint(b, uint64(r.first.Of))
		b = binary.AppendUvarint(b, uint64(r.n))
	}
	return b
}

func appendVerdicts(b []byte, vs []Verdict) []byte {
	b = binary.AppendUvarint(b, uint64(len(vs)))
	for _, v := range vs {
		b = binary.AppendUvarint(b, v.ID.Ordinal)
		b = binary.AppendUvarint(b, uint64(v.ID.K))
		b = binary.AppendUvarint(b, uint64(v.ID.Of))
		b = append(b, byte(v.Outcome))
		b = appendString(b, v.Reason)
	}
	return b
}

type checkpoint struct {
	Mark   Mark   `json:"mark"`
	Counts Counts `json:"counts"`
	Pace   []byte `json:"pace,omitempty"`
	Last   uint64 `json:"last,omitempty"` // request that is counted
}

// head writes the beginning of a record of the lane.
func (l *Lane) head(b []byte, kind byte) []byte {
	return binary.AppendUvarint(append(b, kind), uint64(l.id))
}

func (l *Lane) appendLane(b []byte) []byte { return appendString(l.head(b, 'L'), l.Name) }

func (l *Lane) appendCheckpoint(b []byte) []byte {
	data, err := json.Marshal(checkpoint{l.mark, l.total(), l.pace, l.nextID})
	if err != nil {
		panic(err) // numbers and texts cannot fail
	}
	return appendString(l.head(b, 'C'), string(data))
}

func (l *Lane) appendDead(b []byte, d deadDay) []byte {
	b = binary.AppendUvarint(appendString(l.head(b, 'D'), d.day), uint64(d.size))
	return binary.AppendUvarint(b, d.count)
}

func (l *Lane) appendBegin(b []byte, id uint64, o openRequest) []byte {
	b = binary.AppendUvarint(l.head(b, 'B'), id)
	b = appendString(b, o.action)
	b = binary.AppendVarint(b, o.at)
	size := o.size << 1
	if o.again {
		size++
	}
	b = binary.AppendUvarint(b, size)
	return appendIDs(b, o.ids)
}

func (l *Lane) appendEnd(b []byte, id uint64, e ended) []byte {
	b = binary.AppendUvarint(l.head(b, 'E'), id)
	b = append(b, byte(e.def))
	return appendVerdicts(appendString(b, e.reason), e.except)
}

// appendWholes writes what is known about whole events, if anything, after another record.
func (l *Lane) appendWholes(b []byte) []byte {
	if len(l.wholes) == 0 {
		return b
	}
	b = binary.AppendUvarint(l.head(b, 'W'), uint64(len(l.wholes)))
	for _, ordinal := range slices.Sorted(maps.Keys(l.wholes)) {
		w := l.wholes[ordinal]
		b = appendString(append(binary.AppendUvarint(b, ordinal), byte(w.Outcome)), w.Reason)
		b = binary.AppendUvarint(b, uint64(w.Deliveries))
		if w.Doubted {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	return b
}

// appendSnapshot writes the whole live state, so that all earlier records can be dropped.
func (r *Run) appendSnapshot(b []byte) []byte {
	for _, l := range r.order {
		b = l.appendCheckpoint(l.appendLane(b))
		for _, d := range l.dead.days {
			b = l.appendDead(b, d)
		}
		b = l.appendWholes(b)
		for _, e := range l.ended {
			// An ended request is written as a request that begins and ends under a number that no other request
			// has. It begins when it did: the pace that is saved may not know it yet, see State.Begun.
			b = l.appendEnd(l.appendBegin(b, 0, e.openRequest), 0, e)
		}
		for id, o := range l.open {
			b = l.appendBegin(b, id, o)
		}
	}
	return b
}

// decoder reads records. It keeps its first error.
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

func (d *decoder) uvarint() uint64 { return number(d, binary.Uvarint) }

func (d *decoder) varint() int64 { return number(d, binary.Varint) }

// number reads a signed or an unsigned number.
func number[T int64 | uint64](d *decoder, read func([]byte) (T, int)) T {
	v, n := read(d.b)
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

func (d *decoder) ids(version byte) idRuns {
	n := d.uvarint()
	if n > 1<<22 {
		d.err = errShort
		return nil
	}
	var rs idRuns
	for n > 0 && d.err == nil {
		id := DeliveryID{d.uvarint(), uint32(d.uvarint()), d.of(version)}
		run := d.uvarint()
		if run == 0 || run > n || id.Ordinal+run < run {
			d.err = errShort
			return nil
		}
		n -= run
		rs = append(rs, idRun{id, uint32(run)})
	}
	return rs
}

// of reads how many deliveries an event has.
func (d *decoder) of(version byte) uint32 {
	if version < 6 {
		return 0
	}
	return uint32(d.uvarint())
}

// wholes reads the events that were settled under another configuration.
func (d *decoder) wholes() map[uint64]Whole {
	n := d.uvarint()
	of := map[uint64]Whole{}
	for i := uint64(0); i < n && d.err == nil; i++ {
		ordinal := d.uvarint()
		w := Whole{Outcome: Outcome(d.byte()), Reason: d.string(), Deliveries: uint32(d.uvarint())}
		w.Doubted = d.byte() == 1
		of[ordinal] = w
	}
	return of
}

func (d *decoder) verdicts(version byte) []Verdict {
	n := d.uvarint()
	var vs []Verdict
	for i := uint64(0); i < n && d.err == nil; i++ {
		v := Verdict{ID: DeliveryID{d.uvarint(), uint32(d.uvarint()), d.of(version)}}
		v.Outcome, v.Reason = Outcome(d.byte()), d.string()
		vs = append(vs, v)
	}
	return vs
}

// replay applies one commit's records to the lanes.
func (r *Run) replay(data []byte) error {
	records, version, err := unseal(data)
	if err != nil {
		return err
	}
	d := &decoder{b: records}
	for len(d.b) > 0 && d.err == nil {
		kind := d.byte()
		id := uint64(0)
		if version == 1 {
			id = uint64(d.byte())
		} else {
			id = d.uvarint()
		}
		if d.err != nil {
			break
		}
		if kind == 'L' {
			if err := r.replayLane(id, d.string(), version); err != nil {
				return err
			}
			continue
		}
		if id >= uint64(len(r.order)) {
			return fmt.Errorf("a record of lane %d, which does not exist", id)
		}
		if err := r.order[id].replay(kind, d, version); err != nil {
			return err
		}
	}
	return d.err
}

func (r *Run) replayLane(id uint64, name string, version byte) error {
	switch n := uint64(len(r.order)); {
	case id == n:
		r.newLane(name)
	case id < n && r.order[id].Name == name:
	case version == 1 && n == 256:
		return errors.New("it has more than 255 destinations, " +
			"which the version of fanfold that wrote it could not tell apart")
	default:
		return fmt.Errorf("lane %d is called %q", id, name)
	}
	return nil
}

// replay applies a record of the lane.
func (l *Lane) replay(kind byte, d *decoder, version byte) error {
	switch kind {
	case 'B':
		req := d.uvarint()
		o := openRequest{action: d.string(), at: d.varint()}
		if version > 2 {
			size := d.uvarint()
			o.size, o.again = size>>1, size&1 == 1
		}
		o.ids = d.ids(version)
		l.open[req] = o
		l.began(o)
		if version > 2 && req > l.nextID { // otherwise the checkpoint has counted it
			l.sent.add(o)
		}
		l.nextID = max(l.nextID, req)
	case 'E':
		req := d.uvarint()
		o, ok := l.open[req]
		if !ok && d.err == nil {
			return fmt.Errorf("request %d ends without having begun", req)
		}
		delete(l.open, req)
		e := ended{openRequest: o, def: Outcome(d.byte()), reason: d.string()}
		e.except = d.verdicts(version)
		l.end(e)
	case 'S':
		l.end(ended{except: d.verdicts(version)})
	case 'C':
		var c checkpoint
		if err := json.Unmarshal([]byte(d.string()), &c); err != nil {
			return fmt.Errorf("a checkpoint cannot be read: %w", err)
		}
		l.mark, l.counts, l.pace = c.Mark, c.Counts, c.Pace
		l.sent = sent{c.Counts.Requests, c.Counts.Retries, c.Counts.Bytes}
		l.nextID = max(l.nextID, c.Last)
		l.forget()
	case 'F':
		l.ended, l.open, l.wholes = nil, map[uint64]openRequest{}, nil
	case 'W':
		l.wholes = d.wholes()
	case 'D':
		var file deadDay
		if version > 4 {
			file.day = d.string()
		}
		file.size, file.count = int64(d.uvarint()), d.uvarint()
		l.dead.set(file)
	default:
		return fmt.Errorf("a record of the unknown kind %q", kind)
	}
	return nil
}
