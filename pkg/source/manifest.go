package source

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Manifest is the ordered list of a run's objects. It may grow at its end while a listing goes on. It is safe for
// concurrent use.
//
// It is compressed to about 40 bytes per object, so that millions of keys fit into memory.
type Manifest struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced when the manifest grows
	packed  [][]byte      // rowsPerPack objects each
	objects []Object      // the objects after packed
	bytes   int64
	done    bool
	err     error

	recent   []Object // the pack that was last read
	recentAt int
	enc      *zstd.Encoder
	dec      *zstd.Decoder
	scratch  []byte // used by pack
	packing  []byte
}

const rowsPerPack = 1024

// Len returns the number of objects so far.
func (m *Manifest) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.len()
}

func (m *Manifest) len() int { return len(m.packed)*rowsPerPack + len(m.objects) }

// At returns entry i; the zero Object when there is none.
func (m *Manifest) At(i int) Object {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at(i)
}

func (m *Manifest) at(i int) Object {
	if i < 0 || i >= m.len() {
		return Object{}
	}
	pack := i / rowsPerPack
	if pack >= len(m.packed) {
		return m.objects[i-len(m.packed)*rowsPerPack]
	}
	if m.recent == nil || m.recentAt != pack {
		m.recent, m.recentAt = m.unpack(m.packed[pack]), pack
	}
	return m.recent[i%rowsPerPack]
}

// Objects returns all entries so far.
func (m *Manifest) Objects() []Object {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]Object, 0, m.len())
	for _, p := range m.packed {
		out = append(out, m.unpack(p)...)
	}
	return append(out, m.objects...)
}

// Bytes returns the sum of the objects' sizes.
func (m *Manifest) Bytes() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.bytes
}

// Done says whether the manifest is complete.
func (m *Manifest) Done() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.done
}

// Wait waits until the manifest is complete, and returns the error of the listing.
func (m *Manifest) Wait(ctx context.Context) error {
	for {
		m.mu.Lock()
		done, err, changed := m.done, m.err, m.wake()
		m.mu.Unlock()
		if done {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// wait says whether there is an entry i. While the manifest may still grow, it waits.
func (m *Manifest) wait(ctx context.Context, i int) (bool, error) {
	for {
		m.mu.Lock()
		n, done, err, changed := m.len(), m.done, m.err, m.wake()
		m.mu.Unlock()
		switch {
		case i < n:
			return true, nil
		case done:
			return false, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

func (m *Manifest) wake() chan struct{} {
	if m.changed == nil {
		m.changed = make(chan struct{})
	}
	return m.changed
}

func (m *Manifest) add(objects []Object) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, o := range objects {
		m.bytes += o.length()
		m.objects = append(m.objects, o)
		if len(m.objects) == 2*rowsPerPack {
			m.packed = append(m.packed, m.pack(m.objects[:rowsPerPack]))
			m.objects = append(make([]Object, 0, 2*rowsPerPack), m.objects[rowsPerPack:]...)
		}
	}
	close(m.wake())
	m.changed = make(chan struct{})
}

func (m *Manifest) finish(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done, m.err = true, err
	close(m.wake())
	m.changed = make(chan struct{})
}

// pack encodes rows. Of each name it stores only the part that differs from the previous name.
func (m *Manifest) pack(rows []Object) []byte {
	b := m.scratch[:0]
	// Etags are random, so they are stored after the rest, uncompressed.
	tags := make([]byte, 0, 17*len(rows))
	before := ""
	for _, o := range rows {
		n := 0
		for n < len(before) && n < len(o.Name) && before[n] == o.Name[n] {
			n++
		}
		before = o.Name
		b = binary.AppendUvarint(b, uint64(n))
		b = binary.AppendUvarint(b, uint64(len(o.Name)-n))
		b = append(b, o.Name[n:]...)
		b = binary.AppendUvarint(b, uint64(o.Size))
		b = binary.AppendUvarint(b, uint64(o.From))
		b = binary.AppendUvarint(b, uint64(o.Start))
		b = binary.AppendUvarint(b, uint64(o.After))
		b = binary.AppendUvarint(b, uint64(o.Skip))
		b = binary.AppendUvarint(b, uint64(o.Begin.Offset))
		b = binary.AppendUvarint(b, uint64(o.Begin.Element))
		b = append(b, byte(o.Open), byte(len(o.Head)))
		b = append(b, o.Head...)
		if o.ModTime.IsZero() {
			b = append(b, 0)
		} else {
			b = append(b, 1)
			b = binary.AppendVarint(b, o.ModTime.UnixNano())
		}
		if raw, ok := appendHex(tags, o.Fingerprint); ok {
			b = binary.AppendUvarint(b, uint64(len(o.Fingerprint)/2)<<1|1)
			tags = raw
		} else {
			b = binary.AppendUvarint(b, uint64(len(o.Fingerprint))<<1)
			tags = append(tags, o.Fingerprint...)
		}
	}
	m.scratch = b
	if m.enc == nil {
		enc, err := zstd.NewWriter(nil,
			zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(256<<10))
		if err != nil {
			panic(err) // the options are constants
		}
		m.enc = enc
	}
	m.packing = m.enc.EncodeAll(b, m.packing[:0])
	out := make([]byte, 0, binary.MaxVarintLen32+len(m.packing)+len(tags))
	out = binary.AppendUvarint(out, uint64(len(m.packing)))
	return append(append(out, m.packing...), tags...)
}

// appendHex appends the bytes of a lower-case hex text.
func appendHex(dst []byte, text string) ([]byte, bool) {
	if len(text) == 0 || len(text)%2 != 0 {
		return dst, false
	}
	from := len(dst)
	for i := 0; i < len(text); i += 2 {
		var v byte
		for _, c := range []byte(text[i : i+2]) {
			switch {
			case c >= '0' && c <= '9':
				v = v<<4 | (c - '0')
			case c >= 'a' && c <= 'f':
				v = v<<4 | (c - 'a' + 10)
			default:
				return dst[:from], false
			}
		}
		dst = append(dst, v)
	}
	return dst, true
}

func (m *Manifest) unpack(packed []byte) []Object {
	if m.dec == nil {
		dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
		if err != nil {
			panic(err) // the options are constants
		}
		m.dec = dec
	}
	size, n := binary.Uvarint(packed)
	tags := packed[n+int(size):]
	b, err := m.dec.DecodeAll(packed[n:n+int(size)], nil)
	if err != nil {
		panic(errors.Join(errors.New("source: a manifest's own memory is damaged"), err))
	}
	uvarint := func() uint64 {
		v, n := binary.Uvarint(b)
		b = b[n:]
		return v
	}
	out := make([]Object, 0, rowsPerPack)
	before := ""
	for len(b) > 0 {
		var o Object
		shared := uvarint()
		n := uvarint()
		o.Name = before[:shared] + string(b[:n])
		b = b[n:]
		before = o.Name
		o.Size = int64(uvarint())
		o.From = int(uvarint())
		o.Start = int64(uvarint())
		o.After = uint32(uvarint())
		o.Skip = int64(uvarint())
		o.Begin = Place{int64(uvarint()), uint32(uvarint())}
		o.Open = Openness(b[0])
		o.Head = string(b[2 : 2+int(b[1])])
		b = b[2+len(o.Head):]
		dated := b[0] == 1
		b = b[1:]
		if dated {
			v, n := binary.Varint(b)
			b = b[n:]
			o.ModTime = time.Unix(0, v).UTC()
		}
		k := uvarint()
		if raw := tags[:k>>1]; k&1 == 1 {
			o.Fingerprint = hex.EncodeToString(raw)
		} else {
			o.Fingerprint = string(raw)
		}
		tags = tags[k>>1:]
		out = append(out, o)
	}
	return out
}
