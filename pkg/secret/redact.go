package secret

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/fanfold/fanfold/pkg/escape"
)

// maxLayers bounds how many escapings within escapings are undone.
const maxLayers = 6

// span is a stretch of a text, in bytes.
type span struct{ from, to int }

// Redact replaces every secret in a text by Mask, also the beginning of one that was cut
// off there.
func (s *Set) Redact(t string) string { return s.Replace(t, func(string) string { return Mask }) }

// Replace replaces every stretch of a text in which Redact finds secrets by what with makes of it.
func (s *Set) Replace(t string, with func(stretch string) string) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.known) == 0 || len(t) < keyLen {
		return t
	}
	var found []span
	for level, n := pieces(t), 0; level != nil && n < maxLayers; level, n = decode(level), n+1 {
		found = s.exact.find(found, t, level)
		found = s.loose.find(found, t, fold(level))
	}
	for _, cut := range cutsOf(t) {
		found = s.begun(found, t[:cut])
	}
	if len(found) == 0 {
		return t
	}
	return masked(t, found, with)
}

// masked replaces stretches, which may overlap.
func masked(t string, found []span, with func(string) string) string {
	slices.SortFunc(found, func(a, b span) int { return a.from - b.from })
	var b strings.Builder
	at := 0
	for i := 0; i < len(found); {
		from, to := found[i].from, found[i].to
		for i++; i < len(found) && found[i].from <= to; i++ {
			to = max(to, found[i].to)
		}
		b.WriteString(t[at:from])
		b.WriteString(with(t[from:to]))
		at = to
	}
	b.WriteString(t[at:])
	return b.String()
}

// cutsOf are the places where a text was cut off.
func cutsOf(t string) (cuts []int) {
	for at := 0; ; {
		i := strings.Index(t[at:], Ellipsis)
		if i < 0 {
			return cuts
		}
		cuts = append(cuts, at+i)
		at += i + len(Ellipsis)
	}
}

// find adds the stretches in which forms stand.
func (x *index) find(found []span, t string, p []piece) []span {
	if len(x.byKey) == 0 {
		return found
	}
	for i := 0; i+Shortest <= len(p); i++ {
		for _, f := range x.at(p[i:]) {
			if !begins(p[i:], f.text) {
				continue
			}
			at := span{int(p[i].from), int(p[i+len(f.text)-1].to)}
			if f.packed {
				at = around(t, at)
			}
			found = append(found, at)
			break // the longest of those that begin here
		}
	}
	return found
}

func begins(p []piece, text string) bool {
	if len(p) < len(text) {
		return false
	}
	for i := range len(text) {
		if p[i].b != text[i] {
			return false
		}
	}
	return true
}

// around is a stretch with the rest of the base64 in which it stands.
func around(t string, s span) span {
	packed := func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("+/-_", c) >= 0
	}
	for s.from > 0 && packed(t[s.from-1]) {
		s.from--
	}
	for s.to < len(t) && packed(t[s.to]) {
		s.to++
	}
	for s.to < len(t) && t[s.to] == '=' {
		s.to++
	}
	return s
}

// begun adds the beginnings of secrets that end where a text was cut off, which may be
// in the middle of an escape.
func (s *Set) begun(found []span, t string) []span {
	const room = 6 * maxLayers / 2 // bytes that one byte of a secret may take
	from := max(0, len(t)-room*max(s.exact.longest, s.loose.longest))
	level := pieces(t)[from:]
	for n := 0; level != nil && n < maxLayers; n++ {
		for {
			found = s.exact.begun(found, level, len(t))
			found = s.loose.begun(found, fold(level), len(t))
			half := halfEscape(level)
			if half == 0 {
				break
			}
			level = level[:len(level)-half]
		}
		level = decode(level)
	}
	return found
}

// begun adds the longest beginning of a form at the end of p.
func (x *index) begun(found []span, p []piece, cut int) []span {
	for i := max(0, len(p)-x.longest); i+keyLen <= len(p); i++ {
		for _, f := range x.at(p[i:]) {
			n := len(p) - i
			if n < len(f.text) && n >= f.part && begins(p[i:], f.text[:n]) {
				return append(found, span{int(p[i].from), cut})
			}
		}
	}
	return found
}

// halfEscape is the length of an escape, or a character, that was cut off at the end.
func halfEscape(p []piece) int {
	for n := 1; n <= min(escape.LongestEntity, len(p)); n++ {
		tail := text(p[len(p)-n:])
		if utf8.RuneStart(tail[0]) && !utf8.FullRuneInString(tail) {
			return n
		}
		if strings.IndexByte(escape.Signs, tail[0]) < 0 {
			continue
		}
		if halfEscapes.MatchString(tail) {
			return n
		}
		return 0
	}
	return 0
}

var halfEscapes = regexp.MustCompile(`^(%[0-9A-Fa-f]?|\\(u[0-9A-Fa-f]{0,3}|x[0-9A-Fa-f]?)?|&(#?[0-9A-Za-z]*)?)$`)

// piece is a byte of a text as it reads when escapes are undone, and where in the text
// it stands.
type piece struct {
	b        byte
	from, to int32
}

func pieces(t string) []piece {
	out := make([]piece, len(t))
	for i := range len(t) {
		out[i] = piece{t[i], int32(i), int32(i) + 1}
	}
	return out
}

func text(p []piece) string {
	out := make([]byte, len(p))
	for i := range p {
		out[i] = p[i].b
	}
	return string(out)
}

// fold leaves out white space, characters that nobody sees, + (a blank in forms) and \ (in
// front of what some languages escape), and the case of letters.
func fold(p []piece) []piece {
	out := make([]piece, 0, len(p))
	for i := 0; i < len(p); i++ {
		switch b := p[i].b; {
		case b <= ' ' || b == '+' || b == '\\' || b == 0x7f:
		case b >= 'A' && b <= 'Z':
			out = append(out, piece{b + 'a' - 'A', p[i].from, p[i].to})
		case b < utf8.RuneSelf:
			out = append(out, p[i])
		default:
			n := min(utf8.UTFMax, len(p)-i)
			r, size := utf8.DecodeRuneInString(text(p[i : i+n]))
			if size == 1 || unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) {
				if size == 1 {
					out = append(out, p[i])
				}
				i += size - 1
				continue
			}
			for _, b := range []byte(string(unicode.ToLower(r))) {
				out = append(out, piece{b, p[i].from, p[i+size-1].to})
			}
			i += size - 1
		}
	}
	return out
}

// decode undoes one layer of escapes. It returns nil when there is none.
func decode(p []piece) []piece {
	t := text(p)
	if !strings.ContainsAny(t, escape.Signs) {
		return nil
	}
	out := make([]piece, 0, len(p))
	changed := false
	var buf [utf8.UTFMax]byte
	for i := 0; i < len(p); {
		plain, n := buf[:0], 0
		if strings.IndexByte(escape.Signs, t[i]) >= 0 {
			plain, n = escape.Undo(plain, t, i)
		}
		if n == 0 {
			out = append(out, p[i])
			i++
			continue
		}
		changed = true
		for _, b := range plain {
			out = append(out, piece{b, p[i].from, p[i+n-1].to})
		}
		i += n
	}
	if !changed {
		return nil
	}
	return out
}
