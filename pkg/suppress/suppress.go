// Package suppress holds lists of people who must not be sent anything: who has asked to
// be forgotten, and whose events still lie in archives.
//
// A list is a text file, plain, gzip or zstd, one id a line: a userId, an anonymousId, an
// e-mail address, or the SHA-256 of a lower-case e-mail address in hex.
//
// Of an id 8 bytes of a hash are kept, so that ten million ids take 80 MiB. Whoever is in a list is always found.
// Somebody else is taken for them when the 8 bytes are the same: with ten million ids in the lists and a thousand
// million people in the archive, the chance is one in 1,800 that this happens to anybody at all, and what happens is
// that they are sent nothing. Twice the memory would buy only that.
package suppress

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/maphash"
	"io"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/fanfold/fanfold/pkg/event"
)

const (
	// MostIDs bounds the ids of all lists: half a gigabyte of memory.
	MostIDs = 64 << 20
	mostID  = 4 << 10 // bytes of a line
)

// Set are the people of some lists. It is not changed once it is made; many goroutines
// may ask it. A nil Set has nobody in it.
type Set struct {
	seed   maphash.Seed
	ids    [][]uint64 // by their upper 16 bits: they grow without being copied as a whole; each sorted
	n      int
	emails bool // some are hashes of e-mail addresses
}

// Read reads lists. name and line stand in errors; what a line holds never does.
func Read(lists map[string]io.Reader) (*Set, error) {
	s := &Set{seed: maphash.MakeSeed(), ids: make([][]uint64, 1<<16)}
	for name, r := range lists {
		if err := s.read(r); err != nil {
			return nil, fmt.Errorf("suppression list %s: %w", name, err)
		}
	}
	s.index()
	return s, nil
}

// read adds a list.
func (s *Set) read(r io.Reader) error {
	in := bufio.NewReaderSize(r, 64<<10)
	start, err := in.Peek(4)
	if err != nil && err != io.EOF {
		return err
	}
	switch {
	case bytes.HasPrefix(start, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(in)
		if err != nil {
			return err
		}
		in = bufio.NewReaderSize(z, 64<<10)
	case bytes.HasPrefix(start, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
		if err != nil {
			return err
		}
		defer z.Close()
		in = bufio.NewReaderSize(z, 64<<10)
	}
	for line := 1; ; line++ {
		text, err := in.ReadSlice('\n')
		if err == bufio.ErrBufferFull || len(text) > mostID {
			return fmt.Errorf("line %d is longer than %d bytes: it has to be one id a line", line, mostID)
		}
		if err != nil && err != io.EOF {
			return fmt.Errorf("line %d: %w", line, err)
		}
		if line == 1 {
			text = bytes.TrimPrefix(text, []byte("\ufeff"))
		}
		if bytes.IndexByte(text, 0) >= 0 {
			return fmt.Errorf("line %d is no text: it has to be UTF-8, one id a line", line)
		}
		if id := bytes.TrimSpace(text); len(id) > 0 {
			s.add(id)
		}
		if s.n > MostIDs {
			return fmt.Errorf("the lists have more than %d ids", MostIDs)
		}
		if err == io.EOF {
			return nil
		}
	}
}

func (s *Set) add(id []byte) {
	s.keep(id)
	switch {
	case isHash(id):
		s.emails = true
		s.keep(bytes.ToLower(id))
	case bytes.IndexByte(id, '@') > 0:
		s.emails = true
		s.keep(hashOf(id))
	}
}

func (s *Set) keep(id []byte) {
	h := maphash.Bytes(s.seed, id)
	s.ids[h>>48] = append(s.ids[h>>48], h)
	s.n++
}

// isHash says that an id looks like a SHA-256 in hex.
func isHash(id []byte) bool {
	if len(id) != hex.EncodedLen(sha256.Size) {
		return false
	}
	_, err := hex.Decode(make([]byte, sha256.Size), id)
	return err == nil
}

// hashOf is the SHA-256 of a lower-case e-mail address, in hex.
func hashOf(email []byte) []byte {
	sum := sha256.Sum256(bytes.ToLower(bytes.TrimSpace(email)))
	return hex.AppendEncode(nil, sum[:])
}

func (s *Set) index() {
	s.n = 0
	for i, ids := range s.ids {
		slices.Sort(ids)
		s.ids[i] = slices.Compact(ids)
		s.n += len(s.ids[i])
	}
}

// Len is how many ids the set has.
func (s *Set) Len() int {
	if s == nil {
		return 0
	}
	return s.n
}

// Has says that an event is of somebody in the set: by userId, anonymousId, previousId,
// or an e-mail address among traits and properties.
func (s *Set) Has(ev *event.Event) bool {
	if s.Len() == 0 {
		return false
	}
	root := ev.Root()
	for _, v := range [...]event.Value{ev.UserID(), ev.AnonymousID()} {
		if s.hasID(v) {
			return true
		}
	}
	if ev.Type() == event.Alias && s.hasID(root.Get("previousId")) {
		return true
	}
	if !s.emails {
		return false
	}
	context := root.Get("context")
	for _, object := range [...]event.Value{
		root.Get("traits"), context.Get("traits"), root.Get("properties"), root.Get("properties").Get("traits"),
	} {
		if object.Kind() != event.Object {
			continue
		}
		if v := object.Get("email"); v.Kind() == event.String && v.Size() <= mostID && s.has(hashOf(v.AppendString(nil))) {
			return true
		}
	}
	return false
}

// hasID looks for an id, which may be an e-mail address.
func (s *Set) hasID(v event.Value) bool {
	if v.Nullish() || v.Size() > mostID {
		return false
	}
	id, ok := v.Plain()
	if !ok {
		id = v.AppendString(nil)
	}
	if v.Kind() != event.String {
		id = v.Raw()
	}
	id = bytes.TrimSpace(id)
	return len(id) > 0 && (s.has(id) || s.emails && bytes.IndexByte(id, '@') > 0 && s.has(hashOf(id)))
}

func (s *Set) has(id []byte) bool {
	h := maphash.Bytes(s.seed, id)
	_, found := slices.BinarySearch(s.ids[h>>48], h)
	return found
}
