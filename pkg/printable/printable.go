// Package printable makes texts of others harmless to a terminal.
//
// What partners answer, what objects are called and what events hold may carry control
// characters: they move the cursor, change colours and titles, or turn the direction of
// what follows, and so can make a terminal show what was never said. Everything that is
// printed goes through a [Writer], which writes such characters as \u001b: readable, and
// inside of a JSON text the same text.
package printable

import (
	"fmt"
	"io"
	"os"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// clean is the length of the beginning that needs nothing: most texts are all of it.
func clean(s []byte) int {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\n' && c != '\t' || c >= 0x7f {
			return i
		}
	}
	return len(s)
}

// appendText appends a text to out: line ends, tabs and what can be seen as they are, and
// control characters of all kinds as \uXXXX.
func appendText(out, s []byte) []byte {
	for len(s) > 0 {
		if n := clean(s); n > 0 {
			out, s = append(out, s[:n]...), s[n:]
			continue
		}
		r, size := utf8.DecodeRune(s)
		switch {
		case r == utf8.RuneError && size == 1:
			// A byte that is no UTF-8 may still be a control character of a
			// terminal that reads bytes.
			out = append(out, `\ufffd`...)
		case hidden(r) && r > 0xffff:
			high, low := (r-0x10000)>>10+0xd800, (r-0x10000)&0x3ff+0xdc00
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		case hidden(r) || r == '\r' && (len(s) < 2 || s[1] != '\n'):
			out = fmt.Appendf(out, `\u%04x`, r)
		default:
			out = append(out, s[:size]...)
		}
		s = s[size:]
	}
	return out
}

// Text is a text as a [Writer] writes it.
func Text(s string) string {
	if clean([]byte(s)) == len(s) {
		return s
	}
	return string(appendText(nil, []byte(s)))
}

// hidden says that a terminal obeys a character, or that it changes what others look
// like: control characters, those that turn the direction of writing, and those of no
// width, but the two that join letters and emoji.
func hidden(r rune) bool {
	switch r {
	case '\n', '\t', '\r':
		return false
	case '\u200c', '\u200d': // joiners: emoji and some scripts are made with them
		return false
	case '\u2028', '\u2029': // line ends to some terminals
		return true
	}
	return unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Cf, r)
}

// Writer writes texts without control characters. It is safe for concurrent use.
type Writer struct {
	w      io.Writer
	change func(string) string

	mu   sync.Mutex
	rest []byte // the beginning of a character whose end was not written yet
}

// NewWriter returns a Writer to w. change, if not nil, is asked what becomes of what is
// written at once, before it is made printable: it takes secrets out.
func NewWriter(w io.Writer, change func(string) string) *Writer {
	return &Writer{w: w, change: change}
}

// Under is what writers of this kind write to in the end: for what is no text of ours, the
// output of a child, bars, data.
func Under(w io.Writer) io.Writer {
	for {
		p, ok := w.(*Writer)
		if !ok {
			return w
		}
		w = p.w
	}
}

// Columns is how many characters a line has on the terminal that is written to in the end; 0: it is none.
func Columns(w io.Writer) int {
	switch under := Under(w).(type) {
	case interface{ Columns() int }:
		return under.Columns()
	case *os.File:
		if width, _, err := term.GetSize(int(under.Fd())); err == nil {
			return width
		}
	}
	return 0
}

// Write writes a text, or the part of it that ends with a whole character.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(p)
	text := p
	if len(w.rest) > 0 {
		text = append(w.rest, p...)
		w.rest = nil
	}
	if half := unfinished(text); half > 0 {
		w.rest = append(w.rest, text[len(text)-half:]...)
		text = text[:len(text)-half]
	}
	if len(text) == 0 {
		return n, nil
	}
	if w.change != nil {
		text = []byte(w.change(string(text)))
	}
	if clean(text) < len(text) {
		text = appendText(nil, text)
	}
	if _, err := w.w.Write(text); err != nil {
		return 0, err
	}
	return n, nil
}

// String is what was written, if the writer below can tell.
func (w *Writer) String() string {
	if s, ok := w.w.(fmt.Stringer); ok {
		return s.String()
	}
	return ""
}

// unfinished is the length of a character at the end of which only the beginning is
// there.
func unfinished(p []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		if c := p[len(p)-n]; utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRune(p[len(p)-n:]) {
				return n
			}
			return 0
		}
	}
	return 0
}
