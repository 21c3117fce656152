package redact

import (
	"cmp"
	"encoding/binary"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A body may be objects in a binary format, in which the length of each text is written
// before it: MessagePack (https://github.com/msgpack/msgpack/blob/master/spec.md), CBOR
// (RFC 8949) and BSON (bson.go). Texts and whole numbers are redacted by the names of
// their members, as in JSON, and their lengths are adjusted.

// binaryEdit is called with each text in an object, and with the digits of each whole
// number. name is the name of its member. It returns the replacement.
type binaryEdit func(name, text string, number bool) string

// binaryForm is one of the two formats, MessagePack or CBOR.
type binaryForm struct {
	name string
	// head reads the head of the value at an index: its kind, its length or count, and
	// the index behind the head.
	head func(s string, at int) (kind byte, n, next int)
	// text writes a text, or bytes, with the length before it.
	text func(b *strings.Builder, kind byte, s string)
	// integer reads a scalar that is a whole number. ok is false if it is anything
	// else.
	integer func(scalar string) (v int64, ok bool)
	// wide is the first byte of an unsigned whole number of 64 bits.
	wide byte
}

// maxNested limits how deep nested objects are parsed.
const maxNested = 200

// The kinds of value that a head can announce.
const (
	binaryNone   = iota // unknown
	binaryScalar        // n bytes that are a number or the like
	binaryText
	binaryBytes // bytes that may hold a text
	binaryArray
	binaryMap
	binaryTag // one value follows
)

func binaryForms() [2]binaryForm {
	return [2]binaryForm{{"MessagePack", packHead, packText, packInteger, 0xcf},
		{"CBOR", cborHead, cborText, cborInteger, 0x1b}}
}

// binaryWalk goes through a text in one of the formats.
type binaryWalk struct {
	form  binaryForm
	s     string
	edit  binaryEdit
	out   strings.Builder
	dry   bool // only checks the format, and calls no edit
	named int  // number of members with a name
}

// walkBinary is ok if the whole text is one object in one of the formats, or several.
// Without edit it only checks that.
func walkBinary(s string, edit binaryEdit) (out, form string, ok bool) {
	if out, ok = walkBSON(s, edit); ok {
		return out, "BSON", true
	}
	if len(s) < MinSecret || s[0] < 0x80 || s[0] >= 0xc0 && s[0] < 0xd8 || s[0] >= 0xe0 { // no object begins so
		return "", "", false
	}
	for _, form := range binaryForms() {
		if kind, _, _ := form.head(s, 0); kind != binaryMap && kind != binaryArray && kind != binaryTag {
			continue
		}
		seen := binaryWalk{form: form, s: s, dry: true}
		if !seen.all() || seen.named == 0 {
			continue // never call edit for data that turns out to be something else
		}
		if edit == nil {
			return "", form.name, true
		}
		w := binaryWalk{form: form, s: s, edit: edit}
		ok := w.all()
		return w.out.String(), form.name, ok
	}
	return "", "", false
}

func (w *binaryWalk) all() bool {
	at := 0
	for at < len(w.s) {
		next, ok := w.value(at, "", 0)
		if !ok {
			return false
		}
		at = next
	}
	return true
}

// value goes over the value at an index.
func (w *binaryWalk) value(at int, name string, depth int) (next int, ok bool) {
	kind, n, next := w.form.head(w.s, at)
	if kind == binaryNone || n < 0 || depth > maxNested || next > len(w.s) {
		return 0, false
	}
	switch kind {
	case binaryScalar, binaryText, binaryBytes:
		if n > len(w.s)-next || kind == binaryText && !utf8.ValidString(w.s[next:next+n]) {
			return 0, false
		}
		text, now := w.s[next:next+n], ""
		if w.dry {
			return next + n, true
		}
		whole := w.s[at : next+n]
		v, number := int64(0), false
		if kind == binaryScalar {
			v, number = w.form.integer(whole)
			text = strconv.FormatInt(v, 10)
		}
		if kind != binaryScalar || number {
			now = w.edit(name, text, number)
		}
		switch large, err := strconv.ParseUint(now, 10, 64); {
		case kind == binaryScalar && !number, now == text, number && err != nil:
			w.out.WriteString(whole)
		case number:
			w.out.WriteByte(w.form.wide)
			w.out.Write(binary.BigEndian.AppendUint64(nil, large))
		default:
			w.form.text(&w.out, kind, now)
		}
		return next + n, true
	}
	if !w.dry {
		w.out.WriteString(w.s[at:next])
	}
	if kind == binaryTag {
		return w.value(next, name, depth+1)
	}
	if n > len(w.s)-next { // each element takes at least a byte
		return 0, false
	}
	for range n {
		member := name
		if kind == binaryMap {
			key, length, from := w.form.head(w.s, next)
			if key == binaryText && length >= 0 && from <= len(w.s) && length <= len(w.s)-from {
				member = w.s[from : from+length]
				w.named++
			}
			if next, ok = w.value(next, "", depth+1); !ok {
				return 0, false
			}
		}
		if next, ok = w.value(next, member, depth+1); !ok {
			return 0, false
		}
	}
	return next, true
}

// isBinary is true if a text is in one of the binary formats.
func isBinary(s string) bool {
	_, _, ok := walkBinary(s, nil)
	return ok
}

// binary redacts a text in one of the binary formats. ok is false if the text is in
// none.
func (r *Redactor) binary(s string, depth int) (now string, ok bool) {
	now, _, ok = walkBinary(s, func(name, text string, number bool) string {
		if number {
			kind := r.keyKind(last(name))
			if r.pathSecret("body", []string{name}) {
				kind = "custom"
			}
			if instead, is := r.numberFor(kind, text); is {
				return instead
			}
			return text
		}
		if r.pathSecret("body", []string{name}) {
			return r.whole("custom", text)
		}
		if kind := r.kindOf(name, text); kind != "" {
			return r.member(kind, text, depth+1)
		}
		return r.text(text, depth+1)
	})
	return now, ok
}

// findBinary looks for a secret in a text in one of the binary formats. ok is false if
// the text is in none.
func (r *Redactor) findBinary(s string, depth int) (kind, hit string, ok bool) {
	_, form, ok := walkBinary(s, func(name, text string, number bool) string {
		switch announced := r.kindOf(name, text); {
		case kind != "":
		case number:
			if r.numberIsSecret(announced, text) {
				kind, hit = cmp.Or(announced, "secret"), text
			}
		case announced == "" || stays(announced, text) || r.settled(text):
			kind, hit = r.find(text, depth+1)
		default:
			kind, hit = announced, text
		}
		return text
	})
	if kind != "" {
		kind += " in " + form
	}
	return kind, hit, ok
}

// bigEndian reads a number of size bytes. It returns -1 if the number is too large.
func bigEndian(s string, at, size int) (n, next int) {
	if at+size > len(s) {
		return -1, at
	}
	var v uint64
	for _, c := range []byte(s[at : at+size]) {
		v = v<<8 | uint64(c)
	}
	if v > math.MaxInt32 {
		return -1, at
	}
	return int(v), at + size
}

// packHead is the head of MessagePack.
func packHead(s string, at int) (kind byte, n, next int) {
	if at >= len(s) {
		return binaryNone, 0, at
	}
	c := s[at]
	at++
	switch {
	case c <= 0x7f, c >= 0xe0, c == 0xc0, c == 0xc2, c == 0xc3:
		return binaryScalar, 0, at
	case c <= 0x8f:
		return binaryMap, int(c & 0x0f), at
	case c <= 0x9f:
		return binaryArray, int(c & 0x0f), at
	case c <= 0xbf:
		return binaryText, int(c & 0x1f), at
	case c >= 0xc4 && c <= 0xc6:
		n, at = bigEndian(s, at, 1<<(c-0xc4))
		return binaryBytes, n, at
	case c >= 0xc7 && c <= 0xc9: // the type of an extension comes after its length
		n, at = bigEndian(s, at, 1<<(c-0xc7))
		return binaryScalar, n + 1, at
	case c >= 0xca && c <= 0xd3:
		return binaryScalar, [...]int{4, 8, 1, 2, 4, 8, 1, 2, 4, 8}[c-0xca], at
	case c >= 0xd4 && c <= 0xd8:
		return binaryScalar, 1 + 1<<(c-0xd4), at
	case c >= 0xd9 && c <= 0xdb:
		n, at = bigEndian(s, at, 1<<(c-0xd9))
		return binaryText, n, at
	case c == 0xdc || c == 0xdd:
		n, at = bigEndian(s, at, 2<<(c-0xdc))
		return binaryArray, n, at
	case c == 0xde || c == 0xdf:
		n, at = bigEndian(s, at, 2<<(c-0xde))
		return binaryMap, n, at
	}
	return binaryNone, 0, at
}

// packInteger reads whole numbers of MessagePack.
func packInteger(s string) (int64, bool) {
	switch c := s[0]; {
	case c <= 0x7f:
		return int64(c), true
	case c >= 0xe0:
		return int64(int8(c)), true
	case c >= 0xcc && c <= 0xcf:
		return unsigned(s[1:])
	case c >= 0xd0 && c <= 0xd3:
		v, ok := unsigned(s[1:])
		shift := 64 - 8*(len(s)-1)
		return v << shift >> shift, ok
	}
	return 0, false
}

// unsigned reads a number of up to eight bytes, unless it is larger than [math.MaxInt64].
func unsigned(s string) (v int64, ok bool) {
	for _, c := range []byte(s) {
		v = v<<8 | int64(c)
	}
	return v, len(s) < 8 || v >= 0
}

func packText(b *strings.Builder, kind byte, s string) {
	if kind == binaryBytes {
		writeText(b, s, 0, 0, 0xc4)
		return
	}
	writeText(b, s, 32, 0xa0, 0xd9)
}

// writeText writes a text with its length before it: if it has less than few bytes, in the byte small; otherwise
// in one, two or four bytes, behind large, large+1 or large+2.
func writeText(b *strings.Builder, s string, few int, small, large byte) {
	switch n := len(s); {
	case n < few:
		b.WriteByte(small | byte(n))
	case n < 1<<8:
		b.Write([]byte{large, byte(n)})
	case n < 1<<16:
		b.Write(binary.BigEndian.AppendUint16([]byte{large + 1}, uint16(n)))
	default:
		b.Write(binary.BigEndian.AppendUint32([]byte{large + 2}, uint32(n)))
	}
	b.WriteString(s)
}

// cborHead is the head of CBOR. Values of indefinite length are not read.
func cborHead(s string, at int) (kind byte, n, next int) {
	if at >= len(s) {
		return binaryNone, 0, at
	}
	major, low := s[at]>>5, s[at]&0x1f
	at++
	n = int(low)
	switch {
	case low >= 28:
		return binaryNone, 0, at
	case low >= 24:
		size := 1 << (low - 24)
		if major == 7 || major < 2 { // their value does not matter
			return binaryScalar, size, at
		}
		n, at = bigEndian(s, at, size)
	case major == 7 || major < 2:
		return binaryScalar, 0, at
	}
	return [...]byte{2: binaryBytes, 3: binaryText, 4: binaryArray, 5: binaryMap, 6: binaryTag}[major], n, at
}

// cborInteger reads whole numbers of CBOR.
func cborInteger(s string) (v int64, ok bool) {
	if s[0]>>5 > 1 {
		return 0, false
	}
	v, ok = int64(s[0]&0x1f), true
	if len(s) > 1 {
		v, ok = unsigned(s[1:])
	}
	if s[0]>>5 == 1 {
		v = -1 - v
	}
	return v, ok
}

func cborText(b *strings.Builder, kind byte, s string) {
	major := byte(3 << 5)
	if kind == binaryBytes {
		major = 2 << 5
	}
	writeText(b, s, 24, major, major|24)
}
