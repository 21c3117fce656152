package journal

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/source"
)

// DeadLetter is a delivery, or a bad record, that was given up, with everything that is needed to understand it
// and to send it again.
type DeadLetter struct {
	Raw         []byte // the event as read
	Destination string // "" for a bad record
	Type        string // of the destination: its slug
	Action      string
	Step        int
	K           uint32
	Reason      string
	Detail      string // the partner's message, redacted and shortened
	Status      int    // HTTP status; 0: none
	Attempts    int
	First, Last time.Time // time of the first and the last attempt
	Position    source.Position
	Object      string
	Offset      int64
	Line        int64
	Ordinal     uint64
	InsertID    string
	Valid       bool // Raw is known to be JSON
}

// AppendJSON writes the letter as one line of JSON.
func (d *DeadLetter) AppendJSON(b []byte, run string) []byte {
	text := func(key, value string) {
		if value != "" {
			b = append(b, `,"`...)
			b = append(b, key...)
			b = append(b, `":`...)
			b = event.AppendQuoted(b, value)
		}
	}
	num := func(key string, n int64) {
		b = append(b, `,"`...)
		b = append(b, key...)
		b = append(b, `":`...)
		b = strconv.AppendInt(b, n, 10)
	}
	b = append(b, `{"dead_letter":1`...)
	text("run", run)
	text("destination", d.Destination)
	text("type", d.Type)
	text("action", d.Action)
	if d.Destination != "" {
		num("step", int64(d.Step))
		num("k", int64(d.K))
	}
	text("reason", d.Reason)
	text("detail", d.Detail)
	if d.Status != 0 {
		num("status", int64(d.Status))
	}
	if d.Destination != "" {
		num("attempts", int64(d.Attempts))
	}
	if !d.First.IsZero() {
		text("first", d.First.UTC().Format(time.RFC3339Nano))
		text("last", d.Last.UTC().Format(time.RFC3339Nano))
	}
	text("position", d.Position.String())
	text("object", d.Object)
	num("offset", d.Offset)
	if d.Line > 0 {
		num("line", d.Line)
	}
	num("ordinal", int64(d.Ordinal))
	text("insert_id", d.InsertID)
	if bytes.IndexByte(d.Raw, '\n') < 0 && (d.Valid || event.Valid(d.Raw) == nil) {
		b = append(b, `,"event":`...)
		b = append(b, bytes.TrimSpace(d.Raw)...)
	} else {
		b = append(b, `,"event_base64":"`...)
		b = base64.StdEncoding.AppendEncode(b, d.Raw)
		b = append(b, '"')
	}
	return append(b, "}\n"...)
}

// LetterFile is a file of a lane's dead letters: all of a run, or, in a run that goes on for weeks, those of one
// day. The folder of a day may be removed when its letters are not needed any more: the run continues, and still
// counts them as rejected.
type LetterFile struct {
	Lane string
	Day  string // in UTC, like 2024-05-31; "": the file is not for one day
}

// Path is where the file is in a run's folder.
func (f LetterFile) Path(dir string) string {
	return filepath.Join(dir, deadName, f.Day, FileName(f.Lane)+letterSuffix)
}

const (
	deadName     = "dead"
	letterSuffix = ".jsonl.zst"
)

// Letters lists the existing files of a lane's dead letters in a run's folder, oldest first.
func Letters(dir, lane string) (paths []string, err error) {
	days, err := letterDays(dir)
	for _, day := range append([]string{""}, days...) {
		path := LetterFile{lane, day}.Path(dir)
		switch info, wrong := os.Stat(path); {
		case wrong == nil && info.Size() > 0:
			paths = append(paths, path)
		case wrong != nil && !errors.Is(wrong, fs.ErrNotExist):
			err = errors.Join(err, wrong)
		}
	}
	return paths, err
}

// letterDays lists the days that have a folder of dead letters, oldest first.
func letterDays(dir string) (days []string, err error) {
	entries, err := os.ReadDir(filepath.Join(dir, deadName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if _, wrong := time.Parse(time.DateOnly, e.Name()); wrong == nil && e.IsDir() {
			days = append(days, e.Name())
		}
	}
	return days, err
}

// deadFile is what the journal knows about a lane's dead letters: one or more zstd frames for each commit.
type deadFile struct {
	days  []deadDay // in the order in which they were begun
	lines []letters // not yet committed
}

// deadDay is one file of dead letters, with the length that the journal has committed. If the file is longer, its
// end was being written during a crash, and is cut off.
type deadDay struct {
	day   string // "": the file is not of a day
	size  int64
	count uint64
}

// of returns the file of a day; nil: nothing was ever written to it.
func (f *deadFile) of(day string) *deadDay {
	for i := range f.days {
		if f.days[i].day == day {
			return &f.days[i]
		}
	}
	return nil
}

// set stores the state of a file.
func (f *deadFile) set(d deadDay) {
	if old := f.of(d.day); old != nil {
		*old = d
		return
	}
	f.days = append(f.days, d)
}

// count is the number of letters in all files.
func (f *deadFile) count() (n uint64) {
	for _, d := range f.days {
		n += d.count
	}
	return n
}

// letters are dead letters that are not yet on the disk.
type letters struct {
	text   []byte
	n      int
	packed bool // text is a compressed frame
}

// packFrom is the length in bytes from which letters are compressed by their own lane, so that the commits of
// other lanes do not wait for it.
const packFrom = 64 << 10

// newPacker is called through sync.OnceValue, because most runs have no dead letters.
func newPacker() *zstd.Encoder {
	enc, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(1<<20),
		zstd.WithEncoderCRC(true)) // so that damage is found
	if err != nil {
		panic(err) // the options are constant
	}
	return enc
}

// lettersOf encodes dead letters. That is the expensive part, so it is done before the journal is locked.
func (l *Lane) lettersOf(dead []DeadLetter) letters {
	if len(dead) == 0 {
		return letters{}
	}
	size := 0
	for i := range dead {
		size += len(dead[i].Raw) + len(dead[i].Detail) + 400
	}
	text, run := make([]byte, 0, size), filepath.Base(l.r.Dir)
	for i := range dead {
		d := &dead[i]
		if l.r.opt.Redact != nil {
			d.Detail = l.r.opt.Redact(d.Detail)
		}
		text = d.AppendJSON(text, run)
	}
	if len(text) < packFrom {
		return letters{text: text, n: len(dead)}
	}
	return letters{text: l.r.packer().EncodeAll(text, nil), n: len(dead), packed: true}
}

// CheckDeadLetters reads the lane's dead letters, and returns a *DamagedError if there are fewer or more than were
// written.
func (l *Lane) CheckDeadLetters() error {
	l.r.mu.Lock()
	days := slices.Clone(l.dead.days)
	l.r.mu.Unlock()
	for _, d := range days {
		if d.count == 0 {
			continue
		}
		path := LetterFile{l.Name, d.day}.Path(l.r.Dir)
		got, err := countLetters(path)
		if err != nil || got != d.count {
			err = fmt.Errorf("of the %d dead letters in %s %d can be read: %w", d.count, path, got, cmp.Or(err, errCount))
			return &DamagedError{l.r.Dir, err}
		}
	}
	return nil
}

var errCount = errors.New("they are not those that were written")

func countLetters(path string) (n uint64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	dec, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(1<<30))
	if err != nil {
		return 0, err
	}
	defer dec.Close()
	buf := make([]byte, 64<<10)
	for {
		k, err := dec.Read(buf)
		n += uint64(bytes.Count(buf[:k], []byte("\n")))
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// pack compresses dead letters into one or more frames.
func pack(lines []letters, packer func() *zstd.Encoder) []byte {
	var out, plain []byte
	flush := func() {
		if len(plain) > 0 {
			out = packer().EncodeAll(plain, out)
			plain = plain[:0]
		}
	}
	for _, l := range lines {
		if l.packed {
			flush()
			out = append(out, l.text...)
		} else {
			plain = append(plain, l.text...)
		}
	}
	flush()
	return out
}
