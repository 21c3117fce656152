package body

import (
	"bytes"
	"strings"

	"github.com/fanfold/fanfold/pkg/event"
)

// What is here is text that is no JSON: rows of a table, and markup. It is a whole body, or an item of Framed or Lines.

// textual is text with values in it.
type textual struct {
	parts []piece
	// escape appends a value's text, which has none of [noText].
	escape func(dst, text []byte) []byte
	around bool // it stands around items: it may be empty
	gaps   bool // a value that is missing leaves nothing in its place; otherwise there is then no text
}

func (textual) isNode() {}

// noText are the characters of values that are not written: line ends are blanks, and the zero, which ends a text
// elsewhere and separates the parts of a batch key, is left out.
const noText = "\r\n\x00"

// Row is a line of comma-separated values (RFC 4180), with sep between them: a value that is missing is an empty cell,
// and without any value there is no row. A list or an object is its JSON. The table's first line is the open of
// [Framed]; a line end in a value is written as a blank, so that a row is one line, and no line begins with "--", as
// the line does that ends the part of an upload.
func Row(sep string, cells ...Value) Node {
	n := textual{gaps: true, escape: func(dst, text []byte) []byte {
		if bytes.IndexByte(text, '"') < 0 && !bytes.Contains(text, []byte(sep)) &&
			bytes.Equal(bytes.TrimSpace(text), text) && !bytes.HasPrefix(text, []byte("--")) {
			return append(dst, text...)
		}
		dst = append(dst, '"')
		for _, c := range text {
			if c == '"' {
				dst = append(dst, c)
			}
			dst = append(dst, c)
		}
		return append(dst, '"')
	}}
	for i, cell := range cells {
		if i > 0 {
			n.parts = append(n.parts, piece{text: sep})
		}
		n.parts = append(n.parts, piece{value: &cell})
	}
	return n
}

// Markup is XML or HTML with values in it, as in [Format]: <email>{email}</email>. A value is escaped, so that it
// stands for itself in an element and in a quoted attribute; what no document of XML may hold is left out. Without one
// of its values there is no text.
func Markup(text string) Node {
	return textual{parts: Format(text).parts, escape: func(dst, text []byte) []byte {
		for _, r := range string(text) {
			switch {
			case r == '&':
				dst = append(dst, "&amp;"...)
			case r == '<':
				dst = append(dst, "&lt;"...)
			case r == '>':
				dst = append(dst, "&gt;"...)
			case r == '"':
				dst = append(dst, "&#34;"...)
			case r == '\'':
				dst = append(dst, "&#39;"...)
			case r < ' ' && r != '\t' || r == 0xFFFE || r == 0xFFFF:
			default:
				dst = append(dst, string(r)...)
			}
		}
		return dst
	}}
}

// Verbatim is the text of a value as it is, such as one that a function has made of it ([Value.As]): whoever makes it
// escapes what has to be. Line ends are blanks. An empty text is none.
func Verbatim(v Value) Node {
	return textual{parts: []piece{{value: &v}}, escape: unescaped}
}

// Plain is [Markup] of a format in which nothing has to be escaped: its values are as they are, so they have to be such
// that cannot end what they stand in, such as one of some choices.
func Plain(text string) Node {
	return textual{parts: Format(text).parts, escape: unescaped}
}

func unescaped(dst, text []byte) []byte { return append(dst, text...) }

// IsText says that a body is text, and no JSON.
func IsText(n Node) bool {
	_, is := n.(textual)
	return is
}

// write appends the text. value gets the ith piece's value; false: it is missing.
func (n *textual) write(w *writing, value func(i int, it *item) bool) bool {
	from, some := len(w.buf), false
	for i := range n.parts {
		if n.parts[i].value == nil {
			w.buf = append(w.buf, n.parts[i].text...)
			continue
		}
		var it item
		if !value(i, &it) || it.kind() == event.Null {
			if !n.gaps {
				w.cut(from)
				return false
			}
			continue
		}
		some = true
		text := w.textOf(&it)
		if bytes.ContainsAny(text, noText) {
			at := len(w.tmp)
			for _, c := range text {
				switch c {
				case '\r', '\n':
					w.tmp = append(w.tmp, ' ')
				case 0:
				default:
					w.tmp = append(w.tmp, c)
				}
			}
			text = w.tmp[at:]
		}
		w.buf = n.escape(w.buf, text)
	}
	if n.gaps && !some {
		w.cut(from)
		return false
	}
	return n.around || len(w.buf) > from
}

// textOp writes a textual.
type textOp struct {
	textual
	pieces []pieceOp
}

func (o *textOp) put(w *writing) bool {
	return o.write(w, func(i int, it *item) bool { return o.pieces[i].value.find(w, it) })
}

// text checks a body, or an item, that is text.
func (c *checker) text(n *textual) {
	for _, p := range n.parts {
		switch {
		case p.value == nil && strings.ContainsAny(p.text, "\r\n") && c.items != nil:
			c.failf("an item has no line end: %q", p.text)
		case p.value != nil && p.value.src == fromSetting && p.value.at[0] == c.scope.Stamp:
			c.failf("the setting %s is the stamp, which is written as it is", p.value.at[0])
		case p.value != nil:
			c.value(p.value)
		}
	}
}
