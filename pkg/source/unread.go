package source

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/fanfold/fanfold/pkg/event"
)

// ReadError is an object that could not be read to its end, although that may be possible later.
type ReadError struct {
	Object string
	Err    error
	Alone  bool // the objects after it were read anyway
}

func (e *ReadError) Error() string {
	rest := "what follows it was not read"
	if e.Alone {
		rest = "what follows it was read without it"
	}
	return fmt.Sprintf("reading %s: %v; %s", e.Object, e.Err, rest)
}

// Unwrap returns why.
func (e *ReadError) Unwrap() error { return e.Err }

// LostError is an object that some lanes have read further than it can be read now. The objects after it keep
// their positions, so a lane that has not come that far cannot continue.
type LostError struct {
	Entry int      // of the manifest
	End   Position // end of the entry: a lane at this position needs nothing of it; zero: not known
	Err   error
}

func (e *LostError) Error() string { return e.Err.Error() }

// Unwrap returns why it cannot be read.
func (e *LostError) Unwrap() error { return e.Err }

// mostVoided bounds how many objects one process skips: if there are more, the cause is more likely the disk or
// the network than the objects.
const mostVoided = 1000

// ends are the entries of a manifest that are read only up to a place. They are safe for concurrent use.
type ends struct {
	mu    sync.Mutex
	of    map[int]Place
	added int
}

func (v *ends) at(i int) (Place, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	at, is := v.of[i]
	return at, is
}

func (v *ends) set(i int, at Place) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.of == nil {
		v.of = map[int]Place{}
	}
	v.of[i] = at
	v.added++
}

func (v *ends) full() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.added >= mostVoided
}

func (s *Input) read(ctx context.Context, after Position, pass Pass, yield func(*Chunk) bool) error {
	counts := pass == First
	before := int64(0) // bytes of the earlier objects
	for i := 0; counts && i < int(after.Object); i++ {
		before += s.manifest.At(i).length()
	}
	for i := int(after.Object); ; i++ {
		if counts {
			s.passed.Store(before)
			s.leads.Store(int64(i))
		}
		ok, err := s.manifest.wait(ctx, i)
		switch {
		case ctx.Err() != nil:
			return nil
		case !ok && counts:
			s.mu.Lock()
			defer s.mu.Unlock()
			return errors.Join(append([]error{err}, s.unreadable...)...)
		case !ok:
			return nil // the first reading reports what is missing from the manifest
		}
		obj := s.manifest.At(i)
		before += obj.length()
		from := Position{Object: uint32(i)}
		if i == int(after.Object) {
			from = after
		}
		see, give := &seeing{entry: i}, yield
		if counts {
			give = see.through(s, yield)
		}
		at, err := s.readTo(ctx, obj, from, pass, give, &see.held)
		if err == nil && counts && ctx.Err() == nil {
			err = s.hasEnded(at, see)
		}
		if err != nil && counts && s.o.Voided != nil && isOwn(obj.Name, err) && !s.void.full() {
			err = s.voidIt(i, obj, at, err)
		}
		switch {
		case err == nil:
		case errors.Is(err, errStopped) || ctx.Err() != nil:
			return nil
		case errors.As(err, new(*ChangedError)), errors.As(err, new(*InputError)), errors.As(err, new(*LostError)):
			return err
		default:
			return &ReadError{Object: obj.Name, Err: err}
		}
	}
}

// seeing is what the first reading notes about how an object ends.
type seeing struct {
	entry int
	some  bool           // records were read
	held  bool           // it ends in an incomplete record
	first Position       // before the incomplete record
	bad   map[Reason]int // bad records from there on; nil: none
}

// through wraps yield, so that every record is seen.
func (e *seeing) through(s *Input, yield func(*Chunk) bool) func(*Chunk) bool {
	return func(c *Chunk) bool {
		if len(c.Records) > 0 && isBarren(c, e.entry) && s.o.NotedBarren != nil {
			if err := s.o.NotedBarren(e.entry); err != nil {
				s.fail(err)
			}
		}
		before := c.Start
		e.some = e.some || len(c.Records) > 0
		for i := range c.Records {
			e.see(&c.Records[i], before)
			before = c.Records[i].End
		}
		return yield(c)
	}
}

// see examines a record. After a truncated record, further ones may be parts of it.
func (e *seeing) see(rec *Record, before Position) {
	reason := Reason("")
	switch {
	case rec.Err != nil:
		reason = rec.Err.Reason
	case rec.Tail && event.Valid(rec.Raw) != nil:
		reason = Truncated
	}
	switch {
	case reason == "":
		e.bad = nil
	case e.bad != nil:
		e.bad[reason]++
	case reason == Truncated:
		e.first, e.bad = before, map[Reason]int{reason: 1}
	}
}

// hasEnded notes how an object has ended.
func (s *Input) hasEnded(at Position, see *seeing) error {
	if at == s.o.Ended && at != (Position{}) {
		return nil // the reading that has read it noted that
	}
	tail := Tail{see.first.Place(), CutOff, see.bad}
	switch {
	case see.held:
		tail = Tail{Place: at.Place(), Kind: HeldOff}
		s.holds(s.manifest.At(see.entry).Name)
	case at.Place() == (Place{}):
		tail.Kind = Nothing
	case see.bad == nil:
		tail = Tail{Place: at.Place(), Kind: Whole}
	}
	_, known := s.o.Tails[see.entry]
	again := known && !see.some && !see.held // an earlier process has read its end, and said how that is
	if !again && (tail.Kind != Whole || s.manifest.At(see.entry).Open != Closed) {
		s.local.endsIn(see.entry, tail)
		if s.o.NotedTail != nil {
			if err := s.o.NotedTail(see.entry, tail); err != nil {
				return err
			}
		}
	}
	if s.o.NotedEnd == nil || !see.held && at == s.manifest.At(see.entry).Begin.In(see.entry) {
		return nil // without a record in it, the lanes stay at the end of what is before it
	}
	return s.o.NotedEnd(at)
}

// hasRead says whether the first reading is past an entry. If it is not, the entry is examined again soon.
func (s *Input) hasRead(entry int) bool {
	is := int64(entry) < s.leads.Load()
	if !is {
		s.early.Store(true)
	}
	return is
}

// holds notes a file that may end in the middle of a record.
func (s *Input) holds(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.held, name) {
		s.held = append(s.held, name)
	}
}

// Held are the files that may end in the middle of a record, which was not read. Of followed input these are the ones
// that are so now.
func (s *Input) Held() []string {
	s.mu.Lock()
	held := slices.Clone(s.held)
	partial := slices.Sorted(maps.Keys(s.partial))
	s.mu.Unlock()
	if s.o.Follow == nil {
		return held
	}
	return s.local.ending(partial)
}

// unfinished notes whether a followed file has something behind its last line end.
func (s *Input) unfinished(name string, is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.partial == nil {
		s.partial = map[string]bool{}
	}
	if delete(s.partial, name); is {
		s.partial[name] = true
	}
}

// isBarren says whether the first chunk of an entry is all there is, and only reports that the object is damaged.
func isBarren(c *Chunk, entry int) bool {
	return c.Start == (Position{Object: uint32(entry)}) && len(c.Records) == 1 && c.Records[0].Err != nil &&
		c.Records[0].Err.Reason == Truncated && c.Records[0].Raw == nil
}

// mostMoves is how often a file is looked for again while nothing of it can be read.
const mostMoves = 3

// readTo reads an object to its end, or to the place where reading has to stop, and returns how far it came.
func (s *Input) readTo(
	ctx context.Context, obj Object, from Position, pass Pass, yield func(*Chunk) bool, held *bool,
) (at Position, err error) {
	if begin := obj.Begin.In(int(from.Object)); from.Compare(begin) < 0 {
		from = begin
	}
	at = from
	if from == s.o.Ended && from != (Position{}) {
		return at, nil
	}
	upTo, cut := s.void.at(int(from.Object))
	end := upTo.In(int(from.Object))
	if cut && end.Compare(from) <= 0 {
		return at, nil
	}
	reached := false
	each := func(c *Chunk) bool {
		if cut {
			n := len(c.Records)
			for n > 0 && c.Records[n-1].End.Compare(end) > 0 {
				n--
			}
			if n < len(c.Records) {
				if c.Records = c.Records[:n]; n > 0 {
					c.End = c.Records[n-1].End
				}
			}
			reached = n == 0 || c.End == end
			if n == 0 {
				return false
			}
		}
		at = c.End
		return yield(c) && !reached
	}
	for tries := 0; ; tries++ {
		before := at
		*held, err = s.readObject(ctx, obj, before, pass, each)
		if at != before {
			tries = 0
		}
		// A log may be moved, or copied and emptied, while it is read.
		if !errors.As(err, new(*ChangedError)) || tries >= mostMoves || !s.local.isThere(int(from.Object)) {
			break
		}
	}
	if reached && errors.Is(err, errStopped) {
		err = nil
	}
	return at, err
}

// isOwn says whether an error of reading comes only from the object itself, so that other objects may still be
// readable.
func isOwn(name string, err error) bool {
	var input *InputError
	switch {
	case errors.Is(err, errStopped), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	case errors.As(err, new(*ChangedError)):
		return true
	case errors.As(err, &input):
		return !input.All
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOMEM):
		return false
	}
	return !isRemote(name) // in a store, the network may be the cause
}

// voidIt makes an entry end at a place, for every reading.
func (s *Input) voidIt(i int, obj Object, at Position, why error) error {
	place := at.Place()
	if begin := obj.Begin.In(i); at.Compare(begin) <= 0 {
		place = Place{} // nothing of it was read
	}
	if err := s.o.Voided(i, place, why); err != nil {
		return err
	}
	s.void.set(i, place)
	local := s.local.end(i, obj, place)
	if !errors.As(why, new(*ChangedError)) && !errors.As(why, new(*InputError)) {
		why = &ReadError{Object: obj.Name, Err: why, Alone: true}
	}
	s.fail(why)
	if !local {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.unread.add(obj, place)
	}
	return nil
}

// unread are the objects that could not be read to their end, by name. Local files are not among them, because
// they are identified by their bytes: see chain.
type unread map[string]leftOver

// leftOver is an object of which the part after a place was not read: it is read when that becomes possible.
type leftOver struct {
	obj    Object
	at     Place
	entry  int  // in the manifest; only for files
	barren bool // it is damaged from the start
}

// Everything is the place after everything that an object has.
var Everything = Place{Offset: math.MaxInt64}

// leftOf returns what is left of an object that was read up to a place.
func leftOf(obj Object, at Place) (l leftOver, is bool) {
	if at == (Place{}) {
		at = obj.Begin
	}
	return leftOver{obj: obj, at: at}, at != Everything
}

func (u *unread) add(obj Object, at Place) {
	if *u == nil {
		*u = unread{}
	}
	if l, is := leftOf(obj, at); is {
		(*u)[obj.Name] = l
	}
}

func (u *unread) barren(name string) {
	l := (*u)[name]
	l.barren = true
	(*u)[name] = l
}

func (u *unread) drop(name string) {
	if *u != nil {
		delete(*u, name)
	}
}

// rest decides what to read of an object that was found, and which may be one that could not be read before: all
// of it if it is new or nothing of the old one was read; the rest of it if it is the same object. If it still
// cannot be read, or if it differs from one that was partly read, that is an error.
func (s *Input) rest(ctx context.Context, found Object) (Object, bool) {
	s.mu.Lock()
	u, is := s.unread[found.Name]
	s.mu.Unlock()
	if !is {
		return found, true
	}
	if found.Fingerprint != u.obj.Fingerprint || found.Size != u.obj.Size {
		if u.at != (Place{}) {
			s.fail(changed(u.obj, found.Size))
			return found, false
		}
	} else if found.Begin = u.at; true {
		if err := s.probe(ctx, found); err != nil {
			if !u.barren { // a barren one is counted among the bad records already
				s.fail(err)
			}
			return found, false
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unread.drop(found.Name)
	if u.barren {
		s.local.completes(map[Reason]int{Truncated: 1})
	}
	return found, true
}

// errBarren is an object that is damaged from the start.
var errBarren = errors.New("it is damaged")

// probe says why an object cannot be read; nil: at least its beginning can.
func (s *Input) probe(ctx context.Context, obj Object) error {
	from := Position{Object: uint32(s.manifest.Len())}
	barren := false
	_, err := s.readObject(ctx, obj, from, Again, func(c *Chunk) bool {
		barren = isBarren(c, int(from.Object))
		return false
	})
	switch {
	case barren:
		return errBarren
	case err == nil, errors.Is(err, errStopped):
		return nil
	case errors.As(err, new(*ChangedError)), errors.As(err, new(*InputError)):
		return err
	}
	return &ReadError{Object: obj.Name, Err: err, Alone: true}
}

// isReplaced says whether an object of a store is another one than the one of its name that could not be read.
func (s *Input) isReplaced(o Object) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, is := s.unread[o.Name]
	return is && u.at == u.obj.Begin && u.obj.Fingerprint != o.Fingerprint
}

// wasUnread says whether an object with this name was not read, or not completely.
func (s *Input) wasUnread(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, is := s.unread[name]
	return is
}

// isRemote says whether an object is in a store.
func isRemote(name string) bool { return strings.Contains(name, "://") }

// End makes an entry end at a place. The owner of the manifest calls it before anything is read.
func (s *Input) End(entry int, at Place) {
	s.void.set(entry, at)
	s.local.end(entry, s.manifest.At(entry), at)
}

// Lost says why the object of an entry cannot be read from a place on, or has changed; nil: neither.
func (s *Input) Lost(ctx context.Context, entry int, from Place) error {
	obj := s.manifest.At(entry)
	_, err := s.readObject(ctx, obj, from.In(entry), Again, func(*Chunk) bool { return false })
	if err == nil || errors.Is(err, errStopped) {
		return nil
	}
	return err
}
