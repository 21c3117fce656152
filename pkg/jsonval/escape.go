package jsonval

import "strings"

// AppendQueryEscaped appends a text as [net/url.QueryEscape] writes it.
func AppendQueryEscaped[T string | []byte](dst []byte, text T) []byte {
	return appendEscaped(dst, text, "-_.~", '+')
}

// AppendPathEscaped appends a text as [net/url.PathEscape] writes it.
func AppendPathEscaped[T string | []byte](dst []byte, text T) []byte {
	return appendEscaped(dst, text, "-_.~$&+=:@", 0)
}

// appendEscaped leaves letters, digits and those of kept as they are. space stands for a blank; 0: it is escaped.
func appendEscaped[T string | []byte](dst []byte, text T, kept string, space byte) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(text) {
		switch c := text[i]; {
		case c|0x20 >= 'a' && c|0x20 <= 'z', c >= '0' && c <= '9', strings.IndexByte(kept, c) >= 0:
			dst = append(dst, c)
		case c == ' ' && space != 0:
			dst = append(dst, space)
		default:
			dst = append(dst, '%', digits[c>>4], digits[c&15])
		}
	}
	return dst
}
