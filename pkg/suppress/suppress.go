// Package suppress holds lists of people who must not be sent anything: who has asked to
// be forgotten, and whose events still lie in archives.
//
// A list is a text file, plain, gzip or zstd, one id a line: a userId, an anonymousId, an
// e-mail address, or the SHA-256 of a lower-case e-mail address in hex. A line may stand in double quotes. Columns
// are refused: a list that nobody is found in would be worse than none.
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
	"unicode"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/text/unicode/norm"

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

// Read reads lists; without one the Set is nil. name and line stand in errors; what a line holds never does.
func Read(lists map[string]io.Reader) (*Set, error) {
	if len(lists) == 0 {
		return nil, nil
	}
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
		id := trim(text)
		switch quoted := len(id) > 2 && id[0] == '"' && id[len(id)-1] == '"'; {
		case quoted && bytes.IndexByte(id[1:len(id)-1], '"') < 0:
			id = trim(id[1 : len(id)-1])
		case bytes.ContainsAny(id, ",;\t{"):
			return fmt.Errorf("line %d has more than an id: it has to be one id a line, and one with a comma in it in "+
				"double quotes", line)
		}
		if len(id) > 0 {
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

// trim takes away what nobody sees.
func trim(id []byte) []byte {
	return bytes.TrimFunc(id, func(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' || r == '\u200b' })
}

func (s *Set) add(id []byte) {
	id = norm.NFC.Bytes(id)
	s.keep(canonical(id))
	switch {
	case isHash(id):
		s.emails = true
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

// canonical is an id in the one form of those that are the same: hashes and UUIDs have no capitals.
func canonical(id []byte) []byte {
	if isHash(id) || len(id) == 36 && id[8] == '-' && id[13] == '-' && id[18] == '-' && id[23] == '-' {
		return bytes.ToLower(id)
	}
	return id
}

// hashOf is the SHA-256 of a lower-case e-mail address, in hex.
func hashOf(email []byte) []byte {
	sum := sha256.Sum256(bytes.ToLower(trim(email)))
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

// Has says that an event is of somebody in the set: by userId, anonymousId or previousId, by the ids among traits
// and those that context knows (externalIds), or by an e-mail address: of whatever is called one, at any depth.
func (s *Set) Has(ev *event.Event) bool {
	if s.Len() == 0 {
		return false
	}
	root := ev.Root()
	if s.hasID(ev.UserID()) || s.hasID(ev.AnonymousID()) || s.hasID(root.Get("previousId")) {
		return true
	}
	context := root.Get("context")
	for el := range context.Get("externalIds").Elements() {
		if s.hasID(el.Get("id")) {
			return true
		}
	}
	people := [...]event.Value{root.Get("traits"), context.Get("traits"), context}
	if t := ev.Type(); t == event.Group {
		people[0] = event.Value{} // of a company
	}
	for _, who := range people {
		if s.hasID(who.Get("userId")) || s.hasID(who.Get("anonymousId")) {
			return true
		}
	}
	return s.emails && s.hasEmail(root, false)
}

// hasEmail looks for an address in whatever is called one.
func (s *Set) hasEmail(v event.Value, named bool) bool {
	switch v.Kind() {
	case event.String:
		if !named || v.Size() > mostID {
			return false
		}
		text := v.AppendString(nil)
		if from, to := bytes.IndexByte(text, '<'), bytes.IndexByte(text, '>'); from >= 0 && to > from {
			text = text[from+1 : to] // Ann <ann@shop.example>
		}
		return s.hasText(text)
	case event.Array:
		for el := range v.Elements() {
			if s.hasEmail(el, named) {
				return true
			}
		}
	case event.Object:
		for k, member := range v.Members() {
			if s.hasEmail(member, named || isEmailName(k)) {
				return true
			}
		}
	}
	return false
}

// isEmailName says that a member holds an address by its name: email, emailAddress, "E-Mail", billing_email.
func isEmailName(key event.Value) bool {
	name, ok := key.Plain()
	if !ok {
		name = key.AppendString(nil)
	}
	for i := 0; i+4 <= len(name); i++ {
		if bytes.EqualFold(name[i:i+4], []byte("mail")) {
			return true
		}
	}
	return false
}

// hasID looks for an id, which may be an e-mail address.
func (s *Set) hasID(v event.Value) bool {
	if v.Nullish() || v.Size() > mostID || v.Kind() == event.Object || v.Kind() == event.Array {
		return false
	}
	if v.Kind() != event.String {
		return s.hasText(v.Raw())
	}
	id, ok := v.Plain()
	if !ok {
		id = v.AppendString(nil)
	}
	return s.hasText(id)
}

// hasText looks for an id, an address or the hash of one, however it is written.
func (s *Set) hasText(id []byte) bool {
	if id = trim(id); len(id) == 0 {
		return false
	}
	isEmail := s.emails && bytes.IndexByte(id, '@') > 0
	if s.has(canonical(id)) || isEmail && s.has(hashOf(id)) {
		return true
	}
	one := norm.NFC.Bytes(id)
	return !bytes.Equal(one, id) && (s.has(canonical(one)) || isEmail && s.has(hashOf(one)))
}

func (s *Set) has(id []byte) bool {
	h := maphash.Bytes(s.seed, id)
	_, found := slices.BinarySearch(s.ids[h>>48], h)
	return found
}
