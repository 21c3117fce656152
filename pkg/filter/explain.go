package filter

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/fanfold/fanfold/pkg/event"
)

// Term is a part of a statement, and what it came to for one object.
type Term struct {
	Text  string `json:"text"` // as it could be written
	Holds bool   `json:"holds"`
	// Why says, of a condition that fails, what was found instead.
	Why   string `json:"why,omitempty"`
	Terms []Term `json:"terms,omitempty"` // of and, or, !
}

// Explain takes the statement apart: each part of it with whether it holds for v, as [Filter.Match]
// finds it. The nil Filter explains nothing and holds.
func (f *Filter) Explain(v event.Value) Term {
	if f == nil {
		return Term{Holds: true}
	}
	return f.root.explain(v, new(scratch))
}

// Failed are the conditions because of which a statement does not hold: those of an "and" that fail,
// all of an "or". None: it holds.
func (t Term) Failed() (list []Term) {
	switch {
	case t.Holds:
		return nil
	case len(t.Terms) == 0 || strings.HasPrefix(t.Text, "!"):
		return []Term{t}
	}
	for _, inner := range t.Terms {
		list = append(list, inner.Failed()...)
	}
	return list
}

// Conditions are the parts of a statement that all have to hold, as statements of their own: one, for
// a statement that is no "and". The nil Filter has none.
func (f *Filter) Conditions() (list []*Filter) {
	if f == nil {
		return nil
	}
	parts := []*expr{f.root}
	if f.root.op == opAnd {
		parts = f.root.args
	}
	for _, e := range parts {
		list = append(list, &Filter{source: e.form(), root: e, calls: f.calls})
	}
	return list
}

func (e *expr) explain(v event.Value, s *scratch) Term {
	t := Term{Text: e.form(), Holds: e.truth(v, s)}
	switch e.op {
	case opAnd, opOr, opNot:
		for _, a := range e.args {
			t.Terms = append(t.Terms, a.explain(v, s))
		}
		if e.op == opNot && !t.Holds {
			t.Why = "what stands behind the ! holds"
		}
	default:
		if !t.Holds {
			t.Why = e.why(v, s)
		}
	}
	return t
}

// why says of a condition that fails what its fields hold.
func (e *expr) why(v event.Value, s *scratch) string {
	var found []string
	seen := map[string]bool{}
	var walk func(x *expr)
	walk = func(x *expr) {
		if x.op == opPath && !seen[x.form()] {
			seen[x.form()] = true
			found = append(found, holdsText(x, v))
		}
		for _, a := range x.args {
			walk(a)
		}
	}
	walk(e)
	why := strings.Join(found, ", ")
	if len(e.args) == 2 && e.args[0].op == opPath {
		why += e.nearly(v, s)
	}
	return why
}

// nearly says why a comparison fails that looks as if it should hold.
func (e *expr) nearly(v event.Value, s *scratch) string {
	a, b := e.args[0].eval(v, s), e.args[1].eval(v, s)
	switch {
	case a.kind == null && e.op != opUnequal:
		return elsewhere(e.args[0], v)
	case e.op == opEqual && a.kind == text && b.kind == text:
		return differs(string(a.decoded(s)), string(b.decoded(s)))
	case e.op == opEqual && a.kind != b.kind && b.kind != null:
		return fmt.Sprintf(", which is a %s and never equals a %s", typeNames[a.kind], typeNames[b.kind])
	case e.op >= opLess && e.op <= opGreaterEqual && a.kind != number:
		return fmt.Sprintf(", which is a %s and no number", typeNames[a.kind])
	case e.op == opIn && a.kind == text && b.list != nil:
		for i := range b.len() {
			if one := b.at(i, v, s); one.kind == text {
				if d := differs(string(a.decoded(s)), string(one.decoded(s))); d != "" {
					return d + " from " + quote(string(one.decoded(s)))
				}
			}
		}
	case e.op == opCall && a.kind != text:
		return fmt.Sprintf(", which is a %s and no text", typeNames[a.kind])
	}
	return ""
}

// differs says in what small thing two texts differ; "": in more than that.
func differs(a, b string) string {
	switch fold := strings.EqualFold; {
	case a == b:
		return ""
	case strings.TrimSpace(a) == strings.TrimSpace(b):
		return ", differs in white space"
	case fold(strings.TrimSpace(a), strings.TrimSpace(b)):
		return ", differs in case"
	case fold(plainWord(a), plainWord(b)) && plainWord(a) != "":
		return ", differs in spaces, dashes or underscores"
	}
	return ""
}

// plainWord is a text without what stands between its words.
func plainWord(s string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '_' || r == '-' {
			return -1
		}
		return r
	}, s)
}

// homes are where members of events usually are.
var homes = [...][]string{{}, {"properties"}, {"traits"}, {"context"}, {"context", "traits"}}

// elsewhere says where a field is that is not where it was looked for; "": nowhere near.
func elsewhere(path *expr, v event.Value) string {
	steps := path.path.Steps()
	last := steps[len(steps)-1]
	at := v
	for _, step := range steps[:len(steps)-1] {
		at = at.Get(step)
	}
	for k := range at.Members() {
		if name := k.Text(); name != last && differs(name, last) != "" {
			return fmt.Sprintf("; there is %s", pathText(append(append([]string{}, steps[:len(steps)-1]...), name)))
		}
	}
	for _, home := range homes {
		in := v
		for _, step := range home {
			in = in.Get(step)
		}
		if in.Kind() == event.Object && in.Get(last).Exists() {
			return fmt.Sprintf("; there is %s", pathText(append(append([]string{}, home...), last)))
		}
	}
	return ""
}

// mostShown is how much of a value is shown, in bytes.
const mostShown = 80

// holdsText says what a field holds.
func holdsText(path *expr, v event.Value) string {
	got := v.Find(path.path)
	switch got.Kind() {
	case event.Missing:
		return path.form() + " is missing"
	case event.Object:
		return path.form() + " is an object"
	case event.String:
		return path.form() + " is " + quote(got.Text())
	}
	raw := string(got.Raw())
	if len(raw) > mostShown {
		raw = cut(raw) + "…"
	}
	return path.form() + " is " + raw
}

func cut(s string) string {
	n := mostShown
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// quote writes a text as a statement has it.
func quote(s string) string {
	more := ""
	if len(s) > mostShown {
		s, more = cut(s), "…"
	}
	if strings.Contains(s, `"`) && !strings.Contains(s, "'") {
		return "'" + s + "'" + more
	}
	return `"` + strings.ReplaceAll(s, `"`, `\"`) + `"` + more
}

func pathText(steps []string) string {
	var b strings.Builder
	for i, step := range steps {
		if i > 0 {
			b.WriteByte('.')
		}
		for j := 0; j < len(step); {
			_, size := utf8.DecodeRuneInString(step[j:])
			c := step[j]
			if !keyByte(c) || j == 0 && (c == '-' || '0' <= c && c <= '9' || len(steps) == 1 && isWord(step)) {
				b.WriteByte('\\')
			}
			b.WriteString(step[j : j+size])
			j += size
		}
	}
	return b.String()
}

// isWord says that a key is also a word of the language.
func isWord(key string) bool {
	switch key {
	case "and", "or", "in", "true", "false", "null":
		return true
	}
	return false
}

var signs = map[op]string{opEqual: "=", opUnequal: "!=", opLess: "<", opLessEqual: "<=", opGreater: ">",
	opGreaterEqual: ">=", opIn: "in", opAnd: "and", opOr: "or"}

// form writes an expression as a statement, on one line.
func (e *expr) form() string {
	switch e.op {
	case opLiteral:
		return e.lit.written()
	case opPath:
		return pathText(e.path.Steps())
	case opList:
		return "[" + joined(e.args, ", ", 0) + "]"
	case opNot:
		return "!" + e.args[0].inside(opNot)
	case opAnd, opOr:
		return joined(e.args, " "+signs[e.op]+" ", e.op)
	case opCall:
		return functionName(e.fn) + "(" + joined(e.args, ", ", 0) + ")"
	}
	return e.args[0].inside(e.op) + " " + signs[e.op] + " " + e.args[1].inside(e.op)
}

func joined(args []*expr, sep string, in op) string {
	var parts []string
	for _, a := range args {
		parts = append(parts, a.inside(in))
	}
	return strings.Join(parts, sep)
}

// inside is the text of an expression as a part of another, in brackets where it needs them.
func (e *expr) inside(of op) string {
	joins := e.op == opAnd || e.op == opOr
	compares := e.op >= opEqual && e.op <= opIn
	if joins && of != opLiteral && !(of == opOr && e.op == opAnd) || compares && of >= opNot {
		return "(" + e.form() + ")"
	}
	return e.form()
}

func (o *operand) written() string {
	switch o.kind {
	case boolean:
		return fmt.Sprint(o.b)
	case number:
		return string(o.raw)
	case text:
		return quote(string(o.raw))
	}
	return "null"
}

// functionNames are those of the language.
var functionNames = [...]string{"contains", "match", "length", "lowercase", "uppercase", "snakecase", "kebabcase",
	"titlecase", "typeof", "bool", "string", "number"}

func functionName(f function) string {
	for _, name := range functionNames {
		if known, _, ok := functionNamed(name); ok && known == f {
			return name
		}
	}
	return "?"
}
