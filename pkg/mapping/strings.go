package mapping

import (
	"bytes"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/jsonval"
)

func compileCase(arg *tree, stack []string) node {
	if arg.form != object || !arg.get("operator").truthy() {
		return fault(stack, `requires an object with an "operator" key`)
	}
	if !arg.get("value").truthy() {
		return undefinedNode{}
	}
	operator, _ := arg.get("operator").text()
	return &caseNode{arg: compile(arg.get("value"), push(stack, "value")), operator: operator}
}

type caseNode struct {
	arg      node
	operator string
}

func (n *caseNode) eval(r *Resolver, in event.Value) Result {
	v := n.arg.eval(r, in)
	if v.Kind != event.String || r.err != nil {
		return v
	}
	if n.operator != "lower" && n.operator != "upper" {
		r.failf(`@case: operator should be "lower" or "upper" but it is %q`, n.operator)
		return Result{}
	}
	if bytes.IndexByte(v.Raw, '\\') < 0 && ascii(v.Raw) {
		out := r.Store(v.Raw)
		for i, c := range out {
			if n.operator == "lower" && c >= 'A' && c <= 'Z' || n.operator == "upper" && c >= 'a' && c <= 'z' {
				out[i] = c ^ 0x20
			}
		}
		return Result{Raw: out, Kind: event.String}
	}
	buf := event.AppendQuoted(r.temp(), changeCase(n.operator == "upper", jsonval.Text(v.Raw)))
	v = Result{Raw: r.Store(buf), Kind: event.String}
	r.done(buf)
	return v
}

func (n *caseNode) write(r *Resolver, dst []byte, in event.Value) ([]byte, bool) {
	return writeEval(n, r, dst, in)
}

// changeCase maps by Unicode's full rules, without a language's own.
func changeCase(upper bool, s string) string {
	// A Caser keeps state, so it cannot be shared between goroutines.
	if upper {
		return cases.Upper(language.Und).String(s)
	}
	return cases.Lower(language.Und).String(s)
}

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// maxPattern is Segment's bound on the texts of @replace, in UTF-16 units.
const maxPattern = 10

type replacement struct {
	pattern, with string
	tooLong       bool
}

type replaceNode struct {
	arg          node
	steps        []replacement
	ignore, once bool
	bad          bool // an option has the wrong type: the result is always ""
}

func compileReplace(arg *tree, stack []string) node {
	if arg.form != object || !arg.get("pattern").truthy() {
		return fault(stack, `requires a "pattern" key`)
	}
	if !arg.get("value").truthy() {
		return undefinedNode{}
	}
	n := &replaceNode{arg: compile(arg.get("value"), push(stack, "value"))}
	step := func(pattern, with string, lenient bool) {
		p, ok := arg.get(pattern).text()
		w := ""
		wt := arg.get(with)
		if ok && wt != nil && (wt.form != scalar || wt.kind != event.Null) {
			w, ok = wt.text()
		}
		if !ok {
			n.bad = n.bad || !lenient
			return
		}
		n.steps = append(n.steps, replacement{p, w, units(p) > maxPattern || units(w) > maxPattern})
	}
	step("pattern", "replacement", false)
	if arg.get("pattern2").truthy() {
		step("pattern2", "replacement2", true)
	}
	flag := func(key string, def bool) bool {
		t := arg.get(key)
		if t == nil || t.form == scalar && t.kind == event.Null {
			return def
		}
		if t.form != scalar || t.kind != event.Bool {
			n.bad = true
		}
		return t.truthy()
	}
	n.ignore = flag("ignorecase", false)
	n.once = !flag("global", true)
	return n
}

func (n *replaceNode) eval(r *Resolver, in event.Value) Result { return computed(n, r, in) }

func (n *replaceNode) write(r *Resolver, dst []byte, in event.Value) ([]byte, bool) {
	v := n.arg.eval(r, in)
	if r.err != nil {
		return dst, false
	}
	switch v.Kind {
	case event.String, event.Number, event.Bool:
	default:
		return append(dst, `""`...), true
	}
	if n.bad {
		return append(dst, `""`...), true
	}
	s := jsonval.AppendText(r.temp(), v.Raw)
	for i := range n.steps {
		st := &n.steps[i]
		if st.tooLong {
			r.failf("@replace: patterns and replacements have at most %d characters", maxPattern)
			return dst, false
		}
		out := st.run(r.temp(), s, n.ignore, n.once)
		if len(out) > MaxOutput {
			r.fail(ErrTooLarge)
			return dst, false
		}
		s = append(s[:0], out...)
		r.done(out)
	}
	dst = event.AppendQuoted(dst, s)
	r.done(s)
	return dst, true
}

func (st *replacement) run(dst, s []byte, ignore, once bool) []byte {
	at := 0
	for at <= len(s) {
		i, n := findText(s[at:], st.pattern, ignore)
		if i < 0 {
			break
		}
		dst = append(dst, s[at:at+i]...)
		dst = st.expand(dst, s, at+i, at+i+n)
		at += i + n
		if once || len(dst) > MaxOutput {
			break
		}
	}
	return append(dst, s[at:]...)
}

// expand writes the replacement with JavaScript's codes: $$ is a dollar, $&
// the match, $` what is before it and $' what is after.
func (st *replacement) expand(dst, s []byte, from, to int) []byte {
	w := st.with
	for i := 0; i < len(w); i++ {
		if w[i] == '$' && i+1 < len(w) {
			i++
			switch w[i] {
			case '$':
				dst = append(dst, '$')
				continue
			case '&':
				dst = append(dst, s[from:to]...)
				continue
			case '`':
				dst = append(dst, s[:from]...)
				continue
			case '\'':
				dst = append(dst, s[to:]...)
				continue
			}
			i--
		}
		dst = append(dst, w[i])
	}
	return dst
}

// findText finds a pattern and the length of what it matches.
func findText(s []byte, pattern string, ignore bool) (at, n int) {
	if !ignore {
		return bytes.Index(s, []byte(pattern)), len(pattern)
	}
	for i := 0; i < len(s); {
		if n := foldPrefix(s[i:], pattern); n >= 0 {
			return i, n
		}
		_, size := utf8.DecodeRune(s[i:])
		i += size
	}
	return -1, 0
}

// foldPrefix returns how much of s matches the pattern in any case, or -1.
func foldPrefix(s []byte, pattern string) int {
	n := 0
	for _, p := range pattern {
		if n >= len(s) {
			return -1
		}
		c, size := utf8.DecodeRune(s[n:])
		if c != p && canonical(c) != canonical(p) {
			return -1
		}
		n += size
	}
	return n
}

// canonical is how JavaScript compares characters without regard to case: in
// upper case, unless that would bring one from outside ASCII into it.
func canonical(c rune) rune {
	u := unicode.ToUpper(c)
	if c >= utf8.RuneSelf && u < utf8.RuneSelf {
		return c
	}
	return u
}
