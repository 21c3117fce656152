package event

import "bytes"

// What is cut out of an event or put together of its parts is JSON text without an
// index. The functions here walk such text. They check nothing: what they are given
// has been validated, or was written by who asks.

// SkipSpace returns the first place from b[i] on that is no white space.
func SkipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// SkipString returns the end of the string that begins at b[i].
func SkipString(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return len(b)
}

// SkipValue returns the end of the value that begins at b[i].
func SkipValue(b []byte, i int) int {
	if i >= len(b) {
		return len(b)
	}
	switch b[i] {
	case '"':
		return SkipString(b, i)
	case '{', '[':
		depth := 0
		for i < len(b) {
			switch b[i] {
			case '"':
				i = SkipString(b, i)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
			i++
		}
		return len(b)
	}
	for i < len(b) {
		switch b[i] {
		case ',', '}', ']', ' ', '\n', '\t', '\r':
			return i
		}
		i++
	}
	return i
}

// EachMember calls f with every member of an object's text: the key with its
// quotes, and the value.
func EachMember(obj []byte, f func(key, val []byte)) {
	i := SkipSpace(obj, 1)
	for i < len(obj) && obj[i] == '"' {
		k := i
		i = SkipString(obj, i)
		key := obj[k:i]
		i = SkipSpace(obj, i)
		i = SkipSpace(obj, i+1) // the colon
		v := i
		i = SkipValue(obj, i)
		f(key, obj[v:i:i])
		if i = SkipSpace(obj, i); i < len(obj) && obj[i] == ',' {
			i = SkipSpace(obj, i+1)
		}
	}
}

// EachElement calls f with every element of an array's text.
func EachElement(arr []byte, f func(val []byte)) {
	i := SkipSpace(arr, 1)
	for i < len(arr) && arr[i] != ']' {
		v := i
		i = SkipValue(arr, i)
		f(arr[v:i:i])
		if i = SkipSpace(arr, i); i < len(arr) && arr[i] == ',' {
			i = SkipSpace(arr, i+1)
		}
	}
}

// AppendUnquoted appends the text of a JSON string that is given with its quotes.
// A surrogate without its partner becomes U+FFFD.
func AppendUnquoted(dst, quoted []byte) []byte {
	return appendUnescaped(dst, quoted[1:len(quoted)-1])
}

// IsQuoted says that a JSON string, given with its quotes, has a text.
func IsQuoted(quoted []byte, text string) bool {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner) == text
	}
	return equalEscaped(inner, text)
}
