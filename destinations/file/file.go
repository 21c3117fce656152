// Package file delivers to files: JSON lines, plain or compressed, rotated by
// size and by age.
//
// A request is one frame of a part file: written, flushed to the disk, and only
// then delivered. So a part that a killed process has left holds whole frames,
// but for a torn one at its end, which the next process cuts off by starting a
// part of its own; parts are never written to again. Parts get their final name
// when they are closed.
package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/filelock"
)

// Settings of a directory.
type Settings struct {
	Path        string        `setting:"path" doc:"Directory that receives the files; it is made." default:"fanfold-out" example:"out"`
	Prefix      string        `setting:"prefix" doc:"Begins every file's name." default:"events"`
	Compression string        `setting:"compression" doc:"Of the files." default:"zstd" choices:"zstd,gzip,none"`
	MaxBytes    int           `setting:"max_bytes" doc:"A file that has grown to this many bytes is closed and the next one begun." default:"134217728"`
	MaxAge      time.Duration `setting:"max_age" doc:"A file that was begun so long ago is closed, like 1h; without it only its size counts. It bounds how long readers of the folder wait, where input is followed." default:"0s"`
}

// New declares the destination.
func New() destination.Destination {
	return destination.Spec[Settings]{
		Info: destination.Info{
			Slug: "file", Name: "File", Summary: "JSON lines in files, compressed and rotated", Docs: "https://jsonlines.org/",
			Minimal:  true,
			Backfill: "Every event is written once, in no order beyond that of its batch.",
		},
		Check: func(s *Settings) []error {
			if s.MaxBytes < 1 {
				return []error{errors.New("setting max_bytes: has to be at least 1")}
			}
			if s.MaxAge != 0 && s.MaxAge < time.Second {
				return []error{errors.New("setting max_age: has to be at least 1s")}
			}
			if filepath.Base(s.Prefix) != s.Prefix {
				return []error{errors.New("setting prefix: is part of a file's name and cannot hold a path")}
			}
			return nil
		},
		Unused: []string{"timeout"}, // a write that has begun cannot be called off
		Local:  func(s *Settings) (destination.Sender, error) { return &sender{s: s}, nil },
	}.Destination()
}

// Plan is common to the destinations that write events as lines.
func Plan() *destination.Plan {
	return &destination.Plan{Local: true, Limits: destination.LaneLimits{Concurrency: destination.Cap{N: 1}},
		Actions: []destination.ActionPlan{{Slug: "write",
			Limits: destination.ActionLimits{BatchEvents: destination.Cap{N: 5000}, BatchBytes: destination.Cap{N: 4 << 20}}}}}
}

// Route writes the event as it was read.
func Route(ev *event.Event, env *destination.Env, out *destination.Deliveries) {
	id := ev.MessageID().Text()
	if id == "" || id == "null" {
		id = env.Fallback
	}
	out.Add(destination.Delivery{Item: destination.Line(ev.Raw()), InsertID: id})
}

type sender struct {
	s *Settings

	mu   sync.Mutex
	f    *os.File
	name string
	size int
	n    int
	born time.Time // of the part
	enc  *zstd.Encoder
}

func (o *sender) Plan() *destination.Plan { return Plan() }

func (o *sender) Route(ev *event.Event, env *destination.Env, out *destination.Deliveries) {
	Route(ev, env, out)
}

// Send writes a batch as one frame and has it on the disk when it returns.
func (o *sender) Send(_ context.Context, _ destination.Transport, b *destination.Batch) ([]destination.Result, error) {
	var lines bytes.Buffer
	for _, d := range b.Deliveries {
		lines.Write(d.Item)
		lines.WriteByte('\n')
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	data, err := o.pack(lines.Bytes())
	if err != nil {
		return nil, err
	}
	if err := o.append(data, b.Now); err != nil {
		err = fmt.Errorf("writing to %s: %w", o.s.Path, err)
		if lasting(err) {
			return destination.Same(destination.Result{Outcome: destination.Retry, Reason: destination.Unauthorized,
				Detail: err.Error()}, len(b.Deliveries)), nil
		}
		return nil, err
	}
	return destination.Same(destination.Result{Outcome: destination.Delivered}, len(b.Deliveries)), nil
}

// lasting says that asking again does not help: somebody has to put the folder, or its
// disk, right, and the lane stops until then.
func lasting(err error) bool {
	for _, e := range []error{
		fs.ErrPermission, syscall.ENOTDIR, syscall.EISDIR, syscall.EROFS, syscall.ENAMETOOLONG, syscall.ELOOP,
		syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (o *sender) pack(lines []byte) ([]byte, error) {
	switch o.s.Compression {
	case "zstd":
		if o.enc == nil {
			enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
			if err != nil {
				return nil, err
			}
			o.enc = enc
		}
		return o.enc.EncodeAll(lines, nil), nil
	case "gzip":
		var buf bytes.Buffer
		z, err := gzip.NewWriterLevel(&buf, gzip.BestSpeed)
		if err != nil {
			return nil, err
		}
		if _, err = z.Write(lines); err == nil {
			err = z.Close()
		}
		return buf.Bytes(), err
	}
	return lines, nil
}

func (o *sender) append(data []byte, now time.Time) error {
	if o.f == nil {
		if err := o.next(); err != nil {
			return err
		}
		o.born = now
	}
	if _, err := o.f.Write(data); err != nil {
		return o.abandon(err)
	}
	if err := o.f.Sync(); err != nil {
		return o.abandon(err)
	}
	if o.size += len(data); o.size >= o.s.MaxBytes {
		return o.close()
	}
	return nil
}

// abandon gives up a part in which the last frame may be torn: it is cut back
// to what was delivered.
func (o *sender) abandon(err error) error {
	cut := o.f.Truncate(int64(o.size))
	return errors.Join(err, cut, o.close())
}

func extension(compression string) string {
	return map[string]string{"zstd": ".jsonl.zst", "gzip": ".jsonl.gz", "none": ".jsonl"}[compression]
}

// next begins a part under a name that no file has. Until it is closed it ends
// in .part, which readers pass over.
func (o *sender) next() error {
	if err := os.MkdirAll(o.s.Path, 0o755); err != nil {
		return err
	}
	if o.n == 0 {
		if err := o.recover(); err != nil {
			return err
		}
	}
	for {
		o.n++
		o.name = filepath.Join(o.s.Path, fmt.Sprintf("%s-%06d%s", o.s.Prefix, o.n, extension(o.s.Compression)))
		if _, err := os.Lstat(o.name); err == nil {
			continue
		}
		f, err := os.OpenFile(o.name+".part", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		if isTaken(f) {
			_ = f.Close() // nothing was written
			continue
		}
		o.f, o.size = f, 0
		return nil
	}
}

// isTaken takes the lock on a new part, so that nobody recovers it while it is written, and says whether somebody has
// done so before. Where there are no locks it is not known.
func isTaken(f *os.File) bool {
	if errors.Is(filelock.Hold(f), filelock.ErrLocked) {
		return true
	}
	ours, err := f.Stat()
	there, gone := os.Lstat(f.Name())
	return err != nil || gone != nil || !os.SameFile(ours, there)
}

// recover finishes the parts that a killed process has left: what is whole in
// them stays, a torn end goes. Those that are being written are somebody else's.
func (o *sender) recover() error {
	left, err := filepath.Glob(filepath.Join(o.s.Path, o.s.Prefix+"-*"+extension(o.s.Compression)+".part"))
	if err != nil {
		return err
	}
	for _, part := range left {
		whole, err := cutTorn(part, o.s.Compression)
		switch {
		case errors.Is(err, errForeign):
			continue
		case err == nil && whole == 0:
			err = os.Remove(part)
		case err == nil:
			err = os.Rename(part, part[:len(part)-len(".part")])
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // somebody else has recovered it
			return err
		}
	}
	return nil
}

// cutTorn cuts off the torn end of a part, and returns how many bytes are left. What this package has not written is
// left as it is, and so is what is being written.
func cutTorn(part, compression string) (whole int64, err error) {
	info, err := os.Lstat(part)
	if err != nil || !info.Mode().IsRegular() {
		return 0, errors.Join(err, errForeign)
	}
	f, err := filelock.Try(part)
	if errors.Is(err, filelock.ErrLocked) {
		return 0, errForeign
	}
	if err != nil { // there are no locks, or it may only be read
		f, err = os.Open(part)
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err = f.Stat()
	if err != nil {
		return 0, err
	}
	whole, err = wholeFrames(f, info.Size(), compression)
	if err != nil || whole == info.Size() {
		return whole, err
	}
	return whole, os.Truncate(part, whole)
}

// Age implements [destination.Aging]: a part that is old enough is closed, whether more comes or not.
// A clock that was set back counts from anew.
func (o *sender) Age(now time.Time) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch age := now.Sub(o.born); {
	case o.f == nil || o.s.MaxAge == 0:
	case age >= o.s.MaxAge:
		return o.close()
	case age < 0:
		o.born = now
	}
	return nil
}

// Close closes the part that is being written.
func (o *sender) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.f == nil {
		return nil
	}
	return o.close()
}

func (o *sender) close() error {
	f := o.f
	o.f = nil
	info, err := f.Stat()
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if o.size == 0 { // nothing could be written: an empty file is none of any compression
		err = os.Remove(o.name + ".part")
	} else {
		err = os.Rename(o.name+".part", o.name)
	}
	if errors.Is(err, fs.ErrNotExist) { // somebody else has recovered it since it was closed
		there, gone := os.Lstat(o.name)
		if o.size == 0 || gone == nil && os.SameFile(info, there) {
			return nil
		}
	}
	return err
}
