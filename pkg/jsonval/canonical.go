package jsonval

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/fanfold/fanfold/pkg/event"
)

// EachUnique calls f with the members of an object; a repeated key has its last value in its first place, as JSON.parse
// has it.
func EachUnique(obj []byte, f func(key, val []byte)) {
	n := 0
	var seen map[string]int
	event.EachMember(obj, func(key, _ []byte) { n++ })
	if n < 2 {
		event.EachMember(obj, f)
		return
	}
	type pair struct{ key, val []byte }
	var buf [32]pair
	pairs := buf[:0]
	if n > len(buf) {
		seen = make(map[string]int, n)
	}
	event.EachMember(obj, func(key, val []byte) {
		var name []byte
		if bytes.IndexByte(key, '\\') >= 0 {
			name = []byte(Text(key))
		} else {
			name = key[1 : len(key)-1]
		}
		if seen != nil {
			if i, ok := seen[string(name)]; ok {
				pairs[i].val = val
				return
			}
			seen[string(name)] = len(pairs)
		} else {
			for i := range pairs {
				if event.IsQuoted(pairs[i].key, string(name)) {
					pairs[i].val = val
					return
				}
			}
		}
		pairs = append(pairs, pair{key, val})
	})
	for _, p := range pairs {
		f(p.key, p.val)
	}
}

// OnlyElement is the element of an array that has one.
func OnlyElement(arr []byte) (only []byte, ok bool) {
	n := 0
	event.EachElement(arr, func(v []byte) { only = v; n++ })
	return only, n == 1
}

// Same compares two values as documents.
func Same(a, b []byte) bool {
	if ta, tb := KindOf(a) == event.String, KindOf(b) == event.String; ta != tb {
		return false
	} else if ta && bytes.IndexByte(a, '\\') < 0 && bytes.IndexByte(b, '\\') < 0 {
		return bytes.Equal(a, b)
	}
	return bytes.Equal(AppendCanonical(nil, a), AppendCanonical(nil, b))
}

// AppendCanonical appends a value as JSON.stringify(JSON.parse(value)) would print it: no spaces,
// numbers and escapes in
// JavaScript's form, keys that are array indices first and in order, repeated keys once, [Undefined] members left out.
// Integers keep all their digits.
func AppendCanonical(dst, raw []byte) []byte {
	switch KindOf(raw) {
	case event.Missing:
		return append(dst, "null"...)
	case event.String:
		return AppendCanonicalText(dst, raw)
	case event.Number:
		if at := len(dst); !IsPlainInteger(raw) {
			if dst = AppendNumber(dst, raw); dst[len(dst)-1] == 'y' {
				dst = append(dst[:at], "null"...) // an infinity has no JSON
			}
			return dst
		}
		return append(dst, raw...)
	case event.Array:
		dst = append(dst, '[')
		start := len(dst)
		event.EachElement(raw, func(val []byte) {
			if len(dst) > start {
				dst = append(dst, ',')
			}
			dst = AppendCanonical(dst, val)
		})
		return append(dst, ']')
	case event.Object:
		type member struct {
			key, val []byte
			index    int64
		}
		var ms []member
		indexed := false
		EachUnique(raw, func(key, val []byte) {
			if KindOf(val) == event.Missing {
				return
			}
			m := member{key, val, arrayIndex(key)}
			indexed = indexed || m.index >= 0
			ms = append(ms, m)
		})
		if indexed {
			slices.SortStableFunc(ms, func(a, b member) int {
				switch {
				case a.index >= 0 && b.index >= 0:
					return int(a.index - b.index)
				case a.index >= 0:
					return -1
				case b.index >= 0:
					return 1
				}
				return 0
			})
		}
		dst = append(dst, '{')
		for i, m := range ms {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(AppendCanonicalText(dst, m.key), ':')
			dst = AppendCanonical(dst, m.val)
		}
		return append(dst, '}')
	}
	return append(dst, raw...)
}

// arrayIndex returns the index that a key is to JavaScript, or -1.
func arrayIndex(key []byte) int64 {
	s := key[1 : len(key)-1]
	if len(s) == 0 || len(s) > 10 || !IsPlainInteger(s) || s[0] == '-' || s[0] == '0' && len(s) > 1 {
		return -1
	}
	n, _ := strconv.ParseInt(string(s), 10, 64)
	if n >= 1<<32-1 {
		return -1
	}
	return n
}
