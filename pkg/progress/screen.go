package progress

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// Screen is a terminal with bars at its bottom: what anybody writes to it meanwhile
// appears above them. It is safe for concurrent use.
type Screen struct {
	w    io.Writer
	size func() (width, height int)

	mu   sync.Mutex
	bars []string
	rest []byte // of a line whose end is not written yet
}

// Terminal is a file as a [Screen], when it is a terminal, and the file otherwise.
func Terminal(f *os.File) io.Writer {
	fd := int(f.Fd())
	if !term.IsTerminal(fd) {
		return f
	}
	return &Screen{w: f, size: func() (int, int) {
		width, height, err := term.GetSize(fd)
		if err != nil {
			return 80, 24
		}
		return max(width, 40), max(height, 4)
	}}
}

// Under is the terminal itself.
func (s *Screen) Under() io.Writer { return s.w }

// Columns is how many characters a line has.
func (s *Screen) Columns() int {
	width, _ := s.size()
	return width
}

// up goes back to the first line of the bars.
func (s *Screen) up() string {
	if len(s.bars) == 0 {
		return "\r"
	}
	return fmt.Sprintf("\r\x1b[%dA", len(s.bars))
}

// The rest of the screen is erased, too: the terminal itself writes a ^C there.
const eraseLine, eraseBelow = "\x1b[K", "\x1b[J"

// draw shows lines as the bars, in place of those that are there.
func (s *Screen) draw(lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.up()
	for _, l := range lines {
		text += eraseLine + l + "\r\n"
	}
	s.bars = lines
	_, _ = io.WriteString(s.w, text+eraseBelow) // there is nobody to tell
}

// leave ends the bars: they stay as they are, and what is written from now on is below.
func (s *Screen) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = s.w.Write(s.rest)
	s.bars, s.rest = nil, nil
}

func (s *Screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.bars) == 0 {
		return s.w.Write(p)
	}
	s.rest = append(s.rest, p...)
	end := bytes.LastIndexByte(s.rest, '\n') + 1
	if end == 0 {
		return len(p), nil
	}
	text := s.up() + eraseBelow + string(s.rest[:end])
	for _, l := range s.bars {
		text += l + "\r\n"
	}
	s.rest = s.rest[end:]
	_, err := io.WriteString(s.w, text)
	return len(p), err
}
