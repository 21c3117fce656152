package source

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/xxh3"
)

// write copies the stream to segments. It is the only writer.
func (s *Spool) write(in io.Reader, check *spooled) {
	defer close(s.stopped)
	err := s.copy(in, check)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
	case err == nil:
		last := s.last()
		err = replaceJSON(s.o.Disk, filepath.Join(s.dir, "complete"), completeMark{s.written, last.Broken, last.Cut})
		s.complete = err == nil
	}
	if err != nil && s.err == nil {
		s.err = err
	}
	s.cond.Broadcast()
}

// spoolWriter copies a stream to segments.
type spoolWriter struct {
	*Spool
	raw   *faultReader
	src   io.Reader // raw, after decompression
	free  io.Closer // the decompressor; nil: none that has to be closed
	parts chan part
	enc   *zstd.Encoder
	out   File   // the open segment
	buf   []byte // read, but not in a frame yet
}

// part is the result of one Read of the stream.
type part struct {
	data []byte
	err  error
}

func (s *Spool) copy(in io.Reader, check *spooled) (err error) {
	w := &spoolWriter{Spool: s, raw: s.raw(in), parts: make(chan part, 4)}
	src, codec, err := decompress(bufio.NewReaderSize(w.raw, 256<<10))
	if err != nil {
		if w.raw.fatal() != nil {
			return fmt.Errorf("reading %s: %w", s.o.Name, w.raw.fatal())
		}
		return inputf("%s: the %s stream cannot be read: %w", s.o.Name, codec, err)
	}
	if c, ok := src.(io.Closer); ok && codec != "" {
		w.free = c
	}
	reads := false
	defer func() {
		if !reads {
			w.release()
		}
	}()
	src, _ = untar(src, codec != "")
	w.src = inUTF8(src, s.o.Encoding)
	w.enc, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	defer func() {
		if w.out != nil {
			err = errors.Join(err, w.out.Close())
		}
	}()
	another, ended, err := w.meet(check)
	if ended || err != nil {
		return err
	}
	reads = true
	go w.read()
	if another {
		if ended, err := w.follow(); ended || err != nil {
			return err
		}
	}
	for {
		p, ok, err := w.next()
		if err != nil {
			return err
		}
		if !ok {
			return nil
		}
		w.buf = append(w.buf, p.data...)
		if ended, err := w.take(p.err); ended || err != nil {
			return err
		}
	}
}

// release frees the decompressor.
func (w *spoolWriter) release() {
	if w.free != nil {
		_ = w.free.Close() // a decoder's Close only frees memory
	}
}

// read reads the stream in its own goroutine. So data is written at once if nothing more has arrived, and in whole
// frames otherwise.
func (w *spoolWriter) read() {
	defer w.release() // nobody else may, while it reads
	for {
		p := part{data: make([]byte, 256<<10)}
		n, err := w.src.Read(p.data)
		p.data, p.err = p.data[:n], err
		select {
		case w.parts <- p:
		case <-w.quit:
			return
		}
		if err != nil {
			return
		}
	}
}

// next returns the next data that was read. While there is none, earlier data is written. ok is false when the
// spool was closed.
func (w *spoolWriter) next() (p part, ok bool, err error) {
	if len(w.buf) > 0 && w.owed() == 0 {
		select {
		case p = <-w.parts:
			return p, true, nil
		default:
		}
		if err := w.frame(len(w.buf)); err != nil {
			return p, false, err
		}
	}
	select {
	case p = <-w.parts:
		return p, true, nil
	case <-w.quit:
		return p, false, nil
	}
}

// frame writes the first n bytes of buf as a frame.
func (w *spoolWriter) frame(n int) (err error) {
	if w.out, err = w.append(w.out, w.enc, w.buf[:n]); err != nil {
		return err
	}
	w.buf = append(w.buf[:0], w.buf[n:]...)
	return nil
}

// take writes from buf what is due, depending on how the last Read ended.
func (w *spoolWriter) take(end error) (ended bool, err error) {
	owed := w.owed()
	for ; owed > 0 && len(w.buf) >= owed; owed = w.owed() {
		if err := w.frame(owed); err != nil {
			return true, err
		}
	}
	if end == io.EOF && w.raw.fatal() != nil {
		end = w.raw.fatal() // the decoder took the failure for the end
	}
	switch {
	case end == nil && owed > 0:
		return false, nil
	case owed > 0 && w.raw.fatal() == nil:
		return true, &ChangedError{Object: w.o.Name, What: "it is shorter than what was read of it before"}
	case end != nil && end != io.EOF:
		return true, w.breaks(end, owed)
	}
	for len(w.buf) >= frameBytes || end == io.EOF && len(w.buf) > 0 {
		if err := w.frame(min(len(w.buf), frameBytes)); err != nil {
			return true, err
		}
	}
	if end == io.EOF {
		return true, w.enough()
	}
	return false, nil
}

// breaks keeps what can be read of a stream that breaks off, and how it breaks off.
func (w *spoolWriter) breaks(end error, owed int) error {
	if len(w.buf) > 0 && owed == 0 {
		if err := w.frame(len(w.buf)); err != nil {
			return err
		}
	}
	if w.raw.fatal() != nil {
		return fmt.Errorf("reading %s: %w", w.o.Name, w.raw.fatal())
	}
	w.mu.Lock()
	w.last().Broken = end.Error()
	w.mu.Unlock()
	return w.enough()
}

// enough refuses a stream that has fewer bytes than it is known to have. The end of a broken one counts as a byte.
func (s *Spool) enough() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.written+1 < s.least {
		return changedf(s.o.Name, "it ends after %d bytes, and %d were read before: all of it has to be given "+
			"again", s.written, s.least)
	}
	return nil
}

// append writes one frame and makes it available to the readings. It waits while the spool has used up its disk
// space.
func (s *Spool) append(out File, enc *zstd.Encoder, data []byte) (File, error) {
	f, fresh, err := s.admit(out != nil, data)
	if err != nil {
		return out, err
	}
	path := filepath.Join(s.dir, fmt.Sprintf("segment-%016x.zst", f.start))
	if fresh {
		if out != nil {
			if err := out.Close(); err != nil {
				return nil, fmt.Errorf("spooling %s: %w", s.o.Name, err)
			}
		}
		if out, err = s.o.Disk.Create(path, os.O_TRUNC|os.O_WRONLY); err != nil {
			return nil, fmt.Errorf("spooling %s: %w", s.o.Name, err)
		}
	} else {
		path = out.Name()
		info, err := out.Stat()
		if err != nil {
			return out, fmt.Errorf("spooling %s: %w", s.o.Name, err)
		}
		f.at = info.Size()
	}
	packed := enc.EncodeAll(data, make([]byte, frameHeader, frameHeader+len(data)/3))
	f.path, f.size = path, int32(len(packed)-frameHeader)
	f.header(packed)
	if _, err := out.Write(packed); err != nil {
		return out, fmt.Errorf("spooling %s: %w", s.o.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if fresh {
		s.segments = append(s.segments, segment{path: path, start: f.start})
	}
	seg := &s.segments[len(s.segments)-1]
	seg.size = f.at + int64(len(packed))
	f.at += frameHeader
	s.frames = append(s.frames, f)
	s.written += int64(len(data))
	s.lines += int64(bytes.Count(data, []byte{'\n'}))
	seg.end = s.written
	s.disk += int64(len(packed))
	s.cond.Broadcast()
	return out, nil
}

// admit waits for space for a frame, and returns its place in the stream and whether it begins a new segment. open
// says that a segment is open.
func (s *Spool) admit(open bool, data []byte) (f frame, fresh bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.disk >= s.o.Cap && !s.closed {
		s.full = true
		s.cond.Wait()
	}
	s.full = false
	if s.closed {
		return f, false, errStopped
	}
	s.sum.Write(data)
	f = frame{start: s.written, bytes: int32(len(data)), lines: s.lines, sum: s.sum.Sum64()}
	if want, ok := s.known[f.end()]; ok && want != f.sum {
		return f, false, changedf(s.o.Name, "its first %d bytes were read before, and are others now", f.end())
	}
	if s.stale != nil {
		if err := s.dropStale(); err != nil {
			return f, false, fmt.Errorf("spooling %s: %w", s.o.Name, err)
		}
	}
	n := len(s.segments)
	return f, !open || n > 0 && s.segments[n-1].size >= s.o.SegmentBytes, nil
}

// header writes what comes before a frame.
func (f frame) header(b []byte) {
	binary.LittleEndian.PutUint32(b, frameMagic)
	binary.LittleEndian.PutUint32(b[4:], frameHeader-8)
	binary.LittleEndian.PutUint64(b[8:], uint64(f.start))
	binary.LittleEndian.PutUint32(b[16:], uint32(f.bytes))
	binary.LittleEndian.PutUint32(b[20:], uint32(f.size))
	binary.LittleEndian.PutUint64(b[24:], uint64(f.lines))
	binary.LittleEndian.PutUint64(b[32:], f.sum)
	binary.LittleEndian.PutUint64(b[40:], xxh3.Hash(b[8:40]))
}
