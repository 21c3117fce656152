package redact

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"iter"
	"strings"
	"unicode/utf16"
)

// fromUTF16 decodes UTF-16. It recognises the byte order mark, or that every other byte
// is zero. The first character of the result says which byte order and mark toUTF16 has
// to write.
func fromUTF16(s string) (string, error) {
	if len(s) < 8 || len(s)%2 != 0 {
		return "", errNotPacked
	}
	order, marked := binary.ByteOrder(nil), true
	switch {
	case strings.HasPrefix(s, "\xff\xfe"):
		order = binary.LittleEndian
	case strings.HasPrefix(s, "\xfe\xff"):
		order = binary.BigEndian
	default:
		marked = false
		even, odd := 0, 0
		for i := 0; i < min(len(s), 64); i += 2 {
			if s[i] == 0 {
				even++
			}
			if s[i+1] == 0 {
				odd++
			}
		}
		most := min(len(s), 64) / 2
		switch {
		case odd > most*3/4 && even == 0:
			order = binary.LittleEndian
		case even > most*3/4 && odd == 0:
			order = binary.BigEndian
		default:
			return "", errNotPacked
		}
	}
	units := make([]uint16, len(s)/2)
	for i := range units {
		units[i] = order.Uint16([]byte(s[2*i : 2*i+2]))
	}
	text := string(utf16.Decode(units))
	if !marked { // tells toUTF16 that there was no mark
		head := "\x00L"
		if order == binary.BigEndian {
			head = "\x00B"
		}
		return head + text, nil
	}
	if order == binary.BigEndian {
		return "\x00M" + text[len("\ufeff"):], nil
	}
	return text, nil
}

func toUTF16(s string) string {
	order := binary.ByteOrder(binary.LittleEndian)
	switch {
	case strings.HasPrefix(s, "\x00L"):
		s = s[2:]
	case strings.HasPrefix(s, "\x00B"):
		s, order = s[2:], binary.BigEndian
	case strings.HasPrefix(s, "\x00M"):
		s, order = "\ufeff"+s[2:], binary.BigEndian
	}
	units := utf16.Encode([]rune(s))
	out := make([]byte, 2*len(units))
	for i, u := range units {
		order.PutUint16(out[2*i:], u)
	}
	return string(out)
}

// run is a part of a text that encodes other bytes.
type run struct {
	from, to int
	plain    string
	name     string
	encode   func(string) string
}

// runs yields the parts of a text that may be base64 or hexadecimal digits. The caller
// decides whether the decoded bytes mean anything.
func runs(s string) iter.Seq[run] {
	return func(yield func(run) bool) {
		for from, to := range base64Runs(s) {
			text := s[from:to]
			if r, ok := hexRun(text); ok {
				r.from, r.to = from, to
				if !yield(r) {
					return
				}
				continue
			}
			if isID(text) {
				continue
			}
			flat := text
			if to-from > 60 {
				flat = unwrapped(text)
			}
			// The run may begin with a few characters that belong to something else,
			// such as a slash.
			for skip := 0; skip < 4 && skip < len(flat); skip++ {
				plain, enc, ok := unbase64(flat[skip:])
				if !ok {
					continue
				}
				lead := flat[:skip]
				again := func(p string) string { return wrappedLike(text, lead+enc.EncodeToString([]byte(p))) }
				if !yield(run{from, to, plain, "base64", again}) {
					return
				}
				if skip == 0 {
					break
				}
			}
		}
	}
}

// isID is true for hexadecimal digits in one letter case, perhaps with hyphens: an id
// or a hash. Base64 almost never looks like that.
func isID(s string) bool {
	var upper, lower bool
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9' || c == '-':
		case c >= 'a' && c <= 'f':
			lower = true
		case c >= 'A' && c <= 'F':
			upper = true
		default:
			return false
		}
	}
	return !upper || !lower
}

// hexRun decodes hexadecimal digits, if they encode a text of at least MinSecret
// characters.
func hexRun(s string) (run, bool) {
	if len(s) < 2*MinSecret || len(s)%2 != 0 {
		return run{}, false
	}
	for i := range len(s) {
		if hexDigit(s[i]) > 15 {
			return run{}, false
		}
	}
	data, err := hex.DecodeString(s)
	if err != nil || !IsText(string(data)) {
		return run{}, false
	}
	encode := hex.EncodeToString
	if strings.ToUpper(s) == s {
		encode = func(b []byte) string { return strings.ToUpper(hex.EncodeToString(b)) }
	}
	return run{plain: string(data), name: "hexadecimal", encode: func(p string) string { return encode([]byte(p)) }},
		true
}

// shortestRun is the length from which characters are tried as base64.
const shortestRun = 12

// base64Runs yields the parts of at least shortestRun characters of base64. If lines
// are as long as those of wrapped base64, the next line is joined.
func base64Runs(s string) func(yield func(from, to int) bool) {
	return func(yield func(from, to int) bool) {
		for i := 0; i+shortestRun <= len(s); {
			// Looking backwards from the last required character rules out most words
			// quickly.
			last := i + shortestRun - 1
			for last >= i && traitTable[s[last]]&(wordy|pluses) != 0 {
				last--
			}
			if last >= i {
				i = last + 1
				continue
			}
			start, line := i, i
			for {
				for i < len(s) && traitTable[s[i]]&(wordy|pluses) != 0 {
					i++
				}
				if i-line < 60 || i-line > 78 {
					break
				}
				n := lineEnd(s, i)
				if n == 0 || i+n >= len(s) || !isBase64(s[i+n]) {
					break
				}
				i += n
				line = i
			}
			end := i
			for end < len(s) && s[end] == '=' && end-i < 2 {
				end++
			}
			if !yield(start, end) {
				return
			}
		}
	}
}

// lineEnd is the length of a line end, which may be escaped.
func lineEnd(s string, i int) int {
	for _, e := range []string{"\r\n", "\n", `\r\n`, `\n`} {
		if strings.HasPrefix(s[min(i, len(s)):], e) {
			return len(e)
		}
	}
	return 0
}

var noLines = strings.NewReplacer("\r", "", "\n", "", `\r`, "", `\n`, "")

func unwrapped(s string) string { return noLines.Replace(s) }

// wrappedLike breaks base64 into lines of the same length as in the original.
func wrappedLike(was, now string) string {
	at := strings.IndexAny(was, "\r\n\\")
	if at < 0 {
		return now
	}
	end := was[at : at+lineEnd(was, at)]
	var b strings.Builder
	for len(now) > at {
		b.WriteString(now[:at])
		b.WriteString(end)
		now = now[at:]
	}
	b.WriteString(now)
	return b.String()
}

func isBase64(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '/' ||
		c == '-' || c == '_'
}

// Unbase64 decodes base64 in either alphabet, with or without padding, of MinSecret
// bytes or more. ok is false if the text is not base64.
func Unbase64(s string) (plain string, ok bool) {
	plain, _, ok = unbase64(s)
	return plain, ok
}

// unbase64 decodes base64 of any bytes. ok is false if the text is not base64.
func unbase64(s string) (plain string, enc *base64.Encoding, ok bool) {
	n := len(s)
	for n > 0 && s[n-1] == '=' {
		n--
	}
	padded := n < len(s)
	if n*3/4 < MinSecret || n%4 == 1 || padded && len(s)%4 != 0 { // base64 never has such a length
		return "", nil, false
	}
	var short [64]byte
	out := short[:0]
	if n > len(short)*4/3 {
		out = make([]byte, 0, n*3/4)
	}
	var bits uint32
	urls, others := false, false
	for i := range n {
		v := digits64[s[i]]
		if v > 63 {
			return "", nil, false
		}
		if v >= 62 {
			urls, others = urls || s[i] == '-' || s[i] == '_', others || s[i] == '+' || s[i] == '/'
		}
		bits = bits<<6 | uint32(v)
		switch i & 3 {
		case 1:
			out = append(out, byte(bits>>4))
		case 2:
			out = append(out, byte(bits>>2))
		case 3:
			out = append(out, byte(bits))
		}
	}
	switch {
	case urls && others:
		return "", nil, false
	case padded && urls:
		enc = base64.URLEncoding
	case padded, !urls && len(out)%3 == 0: // the latter needs no padding, but what it becomes may
		enc = base64.StdEncoding
	case urls:
		enc = base64.RawURLEncoding
	default:
		enc = base64.RawStdEncoding
	}
	return string(out), enc, true
}

// digits64 is the value of each base64 digit, in both alphabets; 255 for other bytes.
var digits64 = func() (table [256]byte) {
	for c := range table {
		table[c] = 255
	}
	for v, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		table[c] = byte(v)
	}
	table['-'], table['_'] = 62, 63
	return table
}()
