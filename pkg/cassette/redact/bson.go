package redact

import (
	"encoding/binary"
	"strconv"
	"strings"
	"unicode/utf8"
)

// bsonWalk goes through BSON documents (https://bsonspec.org/spec.html). Each document
// begins with its length in bytes, so that its content has to be written before the
// length is known.
type bsonWalk struct {
	s     string
	edit  binaryEdit // nil: only checks the format
	named int        // number of texts with a name
}

// walkBSON is [walkBinary] for BSON.
func walkBSON(s string, edit binaryEdit) (out string, ok bool) {
	if len(s) < MinSecret || s[len(s)-1] != 0 || int(binary.LittleEndian.Uint32([]byte(s[:4]))) > len(s) {
		return "", false
	}
	w := bsonWalk{s: s}
	for at := 0; at < len(s); {
		if _, at, ok = w.document(at, "", false, 0); !ok {
			return "", false
		}
	}
	if w.named == 0 {
		return "", false
	}
	if edit == nil {
		return "", true
	}
	w.edit = edit
	var b strings.Builder
	for at := 0; at < len(s); {
		var one string
		one, at, _ = w.document(at, "", false, 0)
		b.WriteString(one)
	}
	return b.String(), true
}

// int32At reads a length. It returns -1 if there is none.
func (w *bsonWalk) int32At(at int) int {
	if at+4 > len(w.s) {
		return -1
	}
	return int(int32(binary.LittleEndian.Uint32([]byte(w.s[at : at+4]))))
}

// document goes over the document at an index. The elements of an array are handled
// under the array's name.
func (w *bsonWalk) document(at int, name string, array bool, depth int) (out string, next int, ok bool) {
	n := w.int32At(at)
	if n < 5 || n > len(w.s)-at || w.s[at+n-1] != 0 || depth > maxNested {
		return "", 0, false
	}
	end := at + n - 1
	var b strings.Builder
	for at += 4; at < end; {
		kind := w.s[at]
		length := strings.IndexByte(w.s[at+1:end], 0)
		if length < 0 || !utf8.ValidString(w.s[at+1:at+1+length]) {
			return "", 0, false
		}
		head := w.s[at : at+length+2]
		under := name
		if !array {
			under = head[1 : len(head)-1]
		}
		var one string
		if one, at, ok = w.value(kind, at+len(head), under, depth); !ok || at > end {
			return "", 0, false
		}
		if w.edit != nil {
			if kind == bsonInt32 && len(one) == 8 { // the replacement needs more than 32 bits
				kind = bsonInt64
			}
			b.WriteByte(kind)
			if array {
				b.WriteString(head[1:]) // a number
			} else {
				b.WriteString(w.edit("", under, false) + "\x00")
			}
			b.WriteString(one)
		}
	}
	if w.edit == nil {
		return "", end + 1, true
	}
	out = string(binary.LittleEndian.AppendUint32(nil, uint32(b.Len()+5))) + b.String() + "\x00"
	return out, end + 1, true
}

// Whole numbers.
const (
	bsonInt32 = 0x10
	bsonInt64 = 0x12
)

// bsonSizes are the sizes in bytes of kinds of value that always have the same size.
var bsonSizes = map[byte]int{0x01: 8, 0x06: 0, 0x07: 12, 0x08: 1, 0x09: 8, 0x0a: 0, bsonInt32: 4, 0x11: 8, bsonInt64: 8,
	0x13: 16, 0x7f: 0, 0xff: 0}

// value goes over the value at an index.
func (w *bsonWalk) value(kind byte, at int, name string, depth int) (out string, next int, ok bool) {
	switch kind {
	case 0x03, 0x04:
		return w.document(at, name, kind == 0x04, depth+1)
	case 0x02, 0x0d, 0x0e: // a text, JavaScript code, or a symbol
		n := w.int32At(at)
		if n < 1 || n > len(w.s)-at-4 || w.s[at+4+n-1] != 0 || !utf8.ValidString(w.s[at+4:at+4+n-1]) {
			return "", 0, false
		}
		w.named++
		text := w.s[at+4 : at+4+n-1]
		if w.edit != nil {
			text = w.edit(name, text, false)
			out = string(binary.LittleEndian.AppendUint32(nil, uint32(len(text)+1))) + text + "\x00"
		}
		return out, at + 4 + n, true
	case 0x05: // bytes, with their subtype
		n := w.int32At(at)
		if n < 0 || n > len(w.s)-at-5 {
			return "", 0, false
		}
		data := w.s[at+5 : at+5+n]
		if w.edit != nil {
			data = w.edit(name, data, false)
			out = string(binary.LittleEndian.AppendUint32(nil, uint32(len(data)))) + w.s[at+4:at+5] + data
		}
		return out, at + 5 + n, true
	case 0x0b: // a regular expression and its options
		next = at
		for range 2 {
			n := strings.IndexByte(w.s[min(next, len(w.s)):], 0)
			if n < 0 {
				return "", 0, false
			}
			next += n + 1
		}
		return w.s[at:next], next, true
	}
	size, known := bsonSizes[kind]
	if !known || size > len(w.s)-at {
		return "", 0, false
	}
	out = w.s[at : at+size]
	if w.edit != nil && (kind == bsonInt32 || kind == bsonInt64) {
		out = w.integer(kind, out, name)
	}
	return out, at + size, true
}

// integer redacts a whole number of 32 or 64 bits. Its replacement always has 64.
func (w *bsonWalk) integer(kind byte, data, name string) string {
	v := int64(int32(binary.LittleEndian.Uint32([]byte(data[:4]))))
	if kind == bsonInt64 {
		v = int64(binary.LittleEndian.Uint64([]byte(data)))
	}
	was := strconv.FormatInt(v, 10)
	now := w.edit(name, was, true)
	number, err := strconv.ParseUint(now, 10, 63)
	if now == was || err != nil {
		return data
	}
	return string(binary.LittleEndian.AppendUint64(nil, number))
}
