package transform

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/fanfold/fanfold/pkg/source"
)

// ErrIndex says that the index of what has been seen failed: nothing can be
// decided any more, for no event.
var ErrIndex = errors.New("the index of repeated events")

// ErrNotOpen says that a pipeline that drops repeats was used before
// [Pipeline.Open].
var ErrNotOpen = errors.New("the index of repeated events is not open")

// Open opens the index files of steps that drop repeats, in a folder that
// belongs to the run. begun says that the run has passed events before, so that
// the files have to be there: with new ones, repeats of those events would go out.
// Otherwise they are made when they are not there. It must be called before the
// first Apply of a pipeline that is Ordered, and does nothing for others.
func (p *Pipeline) Open(dir string, begun bool) error {
	for i, s := range p.indexed() {
		x, err := openIndex(filepath.Join(dir, fmt.Sprintf("repeats-%d.idx", i+1)), begun)
		if err != nil {
			return errors.Join(err, p.Close())
		}
		s.index = x
	}
	return nil
}

// Sync makes everything that Apply has decided durable. It must return before
// a checkpoint may pass the positions that were offered until it was called.
func (p *Pipeline) Sync() error {
	var errs []error
	for _, s := range p.indexed() {
		if s.index != nil {
			errs = append(errs, s.index.sync())
		}
	}
	return errors.Join(errs...)
}

// Close closes the index files after a last Sync.
func (p *Pipeline) Close() error {
	var errs []error
	for _, s := range p.indexed() {
		if s.index != nil {
			errs = append(errs, s.index.close())
			s.index = nil
		}
	}
	return errors.Join(errs...)
}

// index remembers for each key the position where it was first seen: a hash
// table on disk of pages of slots, written in place, so that memory does not
// grow with the number of keys. A key's page is told by the first bits of its
// digest; a full page spills into the next one, and the table doubles before
// that becomes usual. BenchmarkRepeats has what a table of SQLite costs instead:
// eleven times as much.
//
// A crash can lose slots that were not synced yet, which are those of
// positions beyond the checkpoint: they are read again and written again. It
// cannot make a wrong slot, because a slot never straddles a disk sector.
type index struct {
	mu    sync.Mutex
	name  string
	f     *os.File
	bits  uint // 1<<bits pages
	count uint64
	page  [pageSize]byte
	err   error // once broken, always broken
}

const (
	pageSize  = 4096
	slotSize  = 32 // 16 bytes of digest, 16 of position
	slots     = pageSize / slotSize
	firstBits = 4
	magic     = "fanfold repeats 1\n"
	maxFill   = slots * 3 / 4 // mean slots used in a page before the table doubles
)

func openIndex(name string, begun bool) (*index, error) {
	flags := os.O_RDWR | os.O_CREATE
	if begun {
		flags = os.O_RDWR
	}
	f, err := os.OpenFile(name, flags, 0o600)
	if begun && errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s is not there any more: start the run with --fresh", ErrIndex, name)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIndex, err)
	}
	x := &index{name: name, f: f}
	st, err := f.Stat()
	if err == nil && st.Size() == 0 && !begun {
		x.bits = firstBits
		err = x.create(f)
	} else if err == nil {
		err = x.load(st.Size())
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%w: %s: %w", ErrIndex, name, err)
	}
	return x, nil
}

// create lays out an empty table. The header goes last: a file without one is
// refused.
func (x *index) create(f *os.File) error {
	if err := f.Truncate(pageSize + pageSize<<x.bits); err != nil {
		return err
	}
	return x.writeHeader(f)
}

func (x *index) writeHeader(f *os.File) error {
	var h [64]byte
	copy(h[:], magic)
	h[32] = byte(x.bits)
	binary.LittleEndian.PutUint64(h[40:], x.count)
	binary.LittleEndian.PutUint32(h[60:], crc32.ChecksumIEEE(h[:60]))
	_, err := f.WriteAt(h[:], 0)
	return err
}

func (x *index) load(size int64) error {
	var h [64]byte
	if _, err := x.f.ReadAt(h[:], 0); err != nil {
		return fmt.Errorf("the file has lost its beginning; start the run with --fresh: %w", err)
	}
	x.bits = uint(h[32])
	if string(h[:len(magic)]) != magic || binary.LittleEndian.Uint32(h[60:]) != crc32.ChecksumIEEE(h[:60]) ||
		x.bits < firstBits || x.bits > 40 || size != pageSize+pageSize<<x.bits {
		return errors.New("the file is damaged; remove it and start the run with --fresh")
	}
	// After a crash the count is an older, lower one, or nothing at all. The table
	// doubles then when keys spill too far, which counts anew.
	x.count = binary.LittleEndian.Uint64(h[40:])
	return nil
}

// first returns the first position known for a key, having noted at when it
// is the first or an earlier one.
func (x *index) first(digest [32]byte, at source.Position) (source.Position, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err != nil {
		return at, x.err
	}
	first, err := x.find(digest, at)
	if err != nil {
		x.err = fmt.Errorf("%w: %s: %w", ErrIndex, x.name, err)
		return at, x.err
	}
	return first, nil
}

func (x *index) find(digest [32]byte, at source.Position) (source.Position, error) {
	key := digest[:16]
	key[0] |= 0x80 // an empty slot begins with a zero
	for full := x.count >= maxFill<<x.bits; ; full = true {
		if full {
			if err := x.double(); err != nil {
				return at, err
			}
		}
		first, found, err := x.place(key, at, maxSpill)
		if found || err != nil {
			return first, err
		}
	}
}

// maxSpill is how many pages from its own on a key may stand: at a mean of maxFill slots a
// page, hardly one spills over two.
const maxSpill = 8

// place returns the first position known for a key, having noted at in one of some pages
// from its own on, when it is the first or an earlier one. It is not found when all of
// them are full of others.
func (x *index) place(key []byte, at source.Position, most uint64) (first source.Position, found bool, err error) {
	pages := uint64(1) << x.bits
	p := x.home(key)
	for range min(pages, most) {
		off := pageSize + int64(p)*pageSize
		if _, err := x.f.ReadAt(x.page[:], off); err != nil {
			return at, false, err
		}
		want := binary.LittleEndian.Uint64(key)
		for i := 0; i < pageSize; i += slotSize {
			slot := x.page[i : i+slotSize]
			if slot[0] == 0 {
				x.count++
				return at, true, x.put(off+int64(i), slot, key, at)
			}
			if binary.LittleEndian.Uint64(slot) != want || string(slot[8:16]) != string(key[8:]) {
				continue
			}
			known := position(slot)
			if known.Compare(at) <= 0 {
				return known, true, nil
			}
			return at, true, x.put(off+int64(i), slot, key, at)
		}
		p = (p + 1) % pages
	}
	return at, false, nil
}

// home is the page where a key belongs.
func (x *index) home(key []byte) uint64 { return binary.BigEndian.Uint64(key[8:]) >> (64 - x.bits) }

func (x *index) put(off int64, slot, key []byte, at source.Position) error {
	copy(slot, key[:16])
	binary.LittleEndian.PutUint32(slot[16:], at.Object)
	binary.LittleEndian.PutUint32(slot[20:], at.Element)
	binary.LittleEndian.PutUint64(slot[24:], uint64(at.Offset))
	_, err := x.f.WriteAt(slot, off)
	return err
}

func position(slot []byte) source.Position {
	return source.Position{
		Object:  binary.LittleEndian.Uint32(slot[16:]),
		Element: binary.LittleEndian.Uint32(slot[20:]),
		Offset:  int64(binary.LittleEndian.Uint64(slot[24:])),
	}
}

// double moves everything into a table of twice the pages. What is on page p
// goes to pages 2p and 2p+1, so both files are walked once from front to back;
// only slots that had spilled are put in one by one at the end. The new file
// takes the old one's name when it is complete and durable.
func (x *index) double() error {
	name := x.name + ".new"
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	next := &index{name: x.name, f: f, bits: x.bits + 1}
	if err := next.fill(x); err != nil {
		f.Close()
		return errors.Join(err, os.Remove(name))
	}
	if err := os.Rename(name, x.name); err != nil {
		f.Close()
		return err
	}
	if err := syncDir(filepath.Dir(x.name)); err != nil {
		f.Close()
		return err
	}
	x.f.Close()
	x.f, x.bits, x.count = f, next.bits, next.count
	return nil
}

func (x *index) fill(old *index) error {
	if err := x.create(x.f); err != nil {
		return err
	}
	var spilled [][slotSize]byte
	var out [2 * pageSize]byte
	for p := range uint64(1) << old.bits {
		if _, err := old.f.ReadAt(old.page[:], pageSize+int64(p)*pageSize); err != nil {
			return err
		}
		clear(out[:])
		var used [2]int
		for i := 0; i < pageSize; i += slotSize {
			slot := old.page[i : i+slotSize]
			if slot[0] == 0 {
				continue
			}
			half := x.home(slot[:16]) - 2*p
			if half > 1 || used[half] == slots {
				spilled = append(spilled, [slotSize]byte(slot))
				continue
			}
			copy(out[int(half)*pageSize+used[half]*slotSize:], slot)
			used[half]++
			x.count++
		}
		if used[0]+used[1] > 0 {
			if _, err := x.f.WriteAt(out[:], pageSize+int64(2*p)*pageSize); err != nil {
				return err
			}
		}
	}
	for _, slot := range spilled {
		// All of it is half full at most, so there is room somewhere.
		if _, _, err := x.place(slot[:16], position(slot[:]), 1<<x.bits); err != nil {
			return err
		}
	}
	if err := x.writeHeader(x.f); err != nil {
		return err
	}
	return x.f.Sync()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (x *index) sync() error {
	for {
		x.mu.Lock()
		f, err := x.f, x.err
		if err == nil {
			err = x.writeHeader(f)
		}
		x.mu.Unlock()
		if err == nil {
			// Outside the lock: events go on while the disk works.
			err = f.Sync()
		}
		x.mu.Lock()
		replaced := x.f != f
		x.mu.Unlock()
		if err == nil {
			return nil
		}
		if !replaced { // else the table doubled meanwhile, which synced it
			return fmt.Errorf("%w: %s: %w", ErrIndex, x.name, err)
		}
	}
}

func (x *index) close() error {
	err := x.sync()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.err = ErrNotOpen
	return errors.Join(err, x.f.Close())
}
