package filter

import (
	"fmt"
	"slices"
	"strings"
)

// Difference is a place where Segment's trigger parser reads a statement
// differently from FQL as documented, which is what fanfold follows.
type Difference struct {
	Column int // in characters, from 1
	Msg    string
	word   string // of a doubt: the field
}

func (d Difference) String() string { return fmt.Sprintf("column %d: %s", d.Column, d.Msg) }

// Differences lists what Segment's lossy trigger parser would make of a valid
// statement where that is something else than what the documentation says, in
// the order of the statement. The plain forms that nearly all triggers are
// made of have none.
func Differences(src string) []Difference {
	if _, err := Compile(src); err != nil {
		return nil
	}
	toks, err := lex(src)
	if err != nil {
		return nil
	}
	d := &differ{toks: toks}
	d.level(0, len(toks)-1, 0)
	slices.SortStableFunc(d.found, func(a, b Difference) int { return a.Column - b.Column })
	return slices.Compact(d.found)
}

type differ struct {
	toks  []token
	found []Difference
}

func (d *differ) add(t token, format string, args ...any) {
	d.found = append(d.found, Difference{Column: t.col, Msg: fmt.Sprintf(format, args...)})
}

// level looks at the tokens of one group.
func (d *differ) level(from, to, depth int) {
	ands, ors, last := 0, 0, token{}
	for i := from; i < to; {
		t := d.toks[i]
		switch {
		case t.kind == tokWord && (t.s == "and" || t.s == "or"):
			if t.s == "and" {
				ands++
			} else {
				ors++
			}
			last = t
			i++
		case t.kind == tokSign && t.s == "(":
			end := d.closing(i)
			if depth > 0 {
				d.add(t, "the trigger parser cannot nest parentheses; the group ends at the first )")
			}
			d.level(i+1, end, depth+1)
			i = end + 1
		case t.kind == tokSign && t.s == "!":
			if n := d.toks[i+1]; n.kind != tokPath || !d.isCall(i+1) {
				d.add(t, "the trigger parser ignores a ! that does not stand before contains or match")
			} else if !t.after && n.before {
				d.add(t, "the trigger parser refuses white space after !")
			}
			i++
		default:
			i = d.condition(i, to, depth)
		}
	}
	if ands > 0 && ors > 0 {
		d.add(last, "the trigger parser knows no precedence: the last operator of a level (here %s) joins all of its "+
			"conditions", last.s)
	}
}

// closing returns the index of the bracket that closes the one at i.
func (d *differ) closing(i int) int {
	depth := 0
	for ; i < len(d.toks); i++ {
		if d.toks[i].kind == tokSign {
			switch d.toks[i].s {
			case "(", "[":
				depth++
			case ")", "]":
				if depth--; depth == 0 {
					return i
				}
			}
		}
	}
	return len(d.toks) - 1
}

func (d *differ) isCall(i int) bool {
	return d.toks[i].kind == tokPath && d.toks[i+1].kind == tokSign && d.toks[i+1].s == "("
}

// condition looks at one comparison or call and returns where it ends.
func (d *differ) condition(i, to, depth int) int {
	t := d.toks[i]
	if d.isCall(i) {
		return d.call(i, depth)
	}
	if t.kind != tokPath {
		d.add(t, "the trigger parser knows a field only on the left of an operator")
		for i < to && !(d.toks[i].kind == tokWord && (d.toks[i].s == "and" || d.toks[i].s == "or")) {
			if s := d.toks[i].s; d.toks[i].kind == tokSign && (s == "[" || s == "(") {
				i = d.closing(i)
			}
			i++
		}
		return max(i, 1)
	}
	d.field(t)
	o := d.toks[i+1]
	isOp := o.kind == tokSign && slices.Contains([]string{"=", "!=", "<", "<=", ">", ">="}, o.s)
	if !isOp {
		if o.kind == tokWord && o.s == "in" {
			d.add(o, "the trigger parser does not know in")
			i++
			if d.toks[i+1].kind == tokSign {
				return d.closing(i+1) + 1
			}
			return i + 2
		}
		d.add(t, "the trigger parser needs an operator after %s", t.describe())
		return i + 1
	}
	if !o.before && slices.Contains([]string{"<", ">", "<=", ">="}, o.s) {
		d.add(o, "the trigger parser refuses %s right behind a name; put a space before it", o.s)
	}
	if len(o.s) == 2 && !o.after {
		d.add(o, "the trigger parser needs white space after %s", o.s)
	}
	v := d.toks[i+2]
	switch {
	case v.kind == tokText && v.quote == '\'':
		d.add(
			v,
			"the trigger parser keeps single quotes as part of the text, so that it never matches; write double quotes",
		)
	case v.kind == tokText && strings.ContainsAny(v.s, `"'`):
		d.add(v, "the trigger parser knows no escaped quotes")
	case v.kind == tokText && (o.s != "=" && o.s != "!="):
		d.add(v, "the trigger parser reads this text as a number")
	case v.kind == tokNumber && o.s == "!=":
		d.add(o, "in the trigger parser != with a number is false for a field that is missing or no number")
	case v.kind == tokNumber && strings.ContainsAny(v.s, "eE"):
		d.add(v, "the trigger parser knows no exponents")
	case v.kind == tokWord && v.s == "null" && len(t.keys) == 1 && (t.keys[0] == "event" || t.keys[0] == "type"):
		d.add(v, `the trigger parser compares %s with the text "null"`, t.keys[0])
	case v.kind == tokWord && (v.s == "true" || v.s == "false") && len(t.keys) == 1 &&
		slices.Contains([]string{"event", "type", "name"}, t.keys[0]):
		d.add(v, "the trigger parser compares %s with the text %q", t.keys[0], v.s)
	case v.kind == tokPath:
		d.add(v, "the trigger parser reads this field's name as a text")
		if d.isCall(i + 2) {
			return d.closing(i+3) + 1
		}
	case v.kind == tokSign:
		d.add(v, "the trigger parser does not know lists or groups as values")
		return d.closing(i+2) + 1
	}
	return i + 3
}

func (d *differ) call(i, depth int) int {
	t := d.toks[i]
	end := d.closing(i + 1)
	if depth > 0 {
		d.add(t, "in the trigger parser a function inside parentheses ends the group, and the rest moves out of it")
	}
	name := strings.Join(t.keys, ".")
	if name != "contains" && name != "match" {
		d.add(t, "the trigger parser does not know %s", name)
		if n := d.toks[end+1]; n.kind == tokSign && n.s != ")" || n.kind == tokWord && n.s == "in" {
			end += 2
			if d.toks[end].kind == tokSign || d.isCall(end) {
				end = d.closing(end)
			}
		}
		return end + 1
	}
	field, arg := d.toks[i+2], d.toks[min(i+4, end)]
	if field.kind != tokPath || d.isCall(i+2) {
		d.add(field, "the trigger parser takes only a field as the first argument of %s", name)
		return end + 1
	}
	d.field(field)
	if len(field.keys) == 1 && field.keys[0] == "type" {
		d.add(field, "the trigger parser ignores %s on type", name)
	}
	negated := i > 0 && d.toks[i-1].kind == tokSign && d.toks[i-1].s == "!"
	switch {
	case arg.kind != tokText:
		d.add(arg, "the trigger parser takes only a text as the second argument of %s", name)
	case arg.quote == '\'':
		d.add(arg, "the trigger parser keeps single quotes as part of the text; write double quotes")
	case name == "match" && !plainPattern(arg.s):
		d.add(
			arg,
			`the trigger parser knows only "prefix*" and "*suffix"; any other pattern is read as a suffix without `+
				`its first character`,
		)
	}
	if negated {
		d.add(d.toks[i-1], "in the trigger parser !%s is false for a field that is missing or no text", name)
	}
	return end + 1
}

func plainPattern(p string) bool {
	inner := strings.TrimSuffix(p, "*")
	if inner == p {
		if inner = strings.TrimPrefix(p, "*"); inner == p {
			return false
		}
	}
	return !strings.ContainsAny(inner, `*?[]\`)
}

// field looks at the name on the left of an operator.
func (d *differ) field(t token) {
	switch t.keys[0] {
	case "type", "event", "name", "userId":
		if len(t.keys) > 1 {
			d.add(t, "the trigger parser does not look into %s", t.keys[0])
		}
	case "properties", "traits", "context":
		if len(t.keys) == 1 {
			d.add(t, "the trigger parser looks for a member called %s, not at the whole object", t.keys[0])
		}
		for _, k := range t.keys[1:] {
			if k == "null" || k == "and" || k == "or" {
				d.add(t, "the trigger parser reads the key %s as a keyword", k)
			}
			if strings.ContainsRune(k, '.') {
				d.add(t, "the trigger parser cannot reach keys with dots")
			}
			if k != "" && k[0] >= '0' && k[0] <= '9' || strings.HasPrefix(k, "-") {
				d.add(
					t,
					"the trigger parser does not take a key that begins with a digit or a dash; escape the first "+
						"character",
				)
			}
		}
	default:
		d.add(
			t,
			"the trigger parser ignores conditions on %s: it knows type, event, name, userId, properties, traits and "+
				"context",
			t.keys[0],
		)
	}
}

// Written compiles a statement that somebody has written for this tool. Beside what [Compile] refuses it refuses a
// comparison of a field with a word that is not in quotes and that no event has for a field's name: event = Order would
// hold for whatever has no event. The error is an *Error.
func Written(src string) (*Filter, error) {
	f, err := Compile(src)
	if err != nil {
		return nil, err
	}
	for _, d := range f.Doubts() {
		if !slices.Contains(commonFields, d.word) {
			return nil, &Error{d.Column,
				fmt.Sprintf("%s would be a field of the event; put it in quotes if it is a text: \"%s\"",
					d.word, d.word)}
		}
	}
	return f, nil
}

// commonFields are those that events have at their root.
var commonFields = []string{"type", "event", "name", "category", "userId", "anonymousId", "groupId", "previousId",
	"messageId",
	"timestamp", "sentAt", "receivedAt", "originalTimestamp", "channel", "version", "writeKey", "projectId"}

// Doubts lists comparisons that hold for hardly any event, though they are valid: of
// a field with a word that is not in quotes, which is a field, too.
func (f *Filter) Doubts() []Difference {
	if f == nil {
		return nil
	}
	var found []Difference
	f.root.doubts(&found)
	return found
}

func (e *expr) doubts(found *[]Difference) {
	if (e.op == opEqual || e.op == opUnequal) && e.args[0].op == opPath && e.args[1].op == opPath {
		if steps := e.args[1].path.Steps(); len(steps) == 1 {
			*found = append(*found, Difference{e.args[1].col,
				fmt.Sprintf("%s is a field of the event here; a text stands in quotes: \"%s\"", steps[0], steps[0]), steps[0]})
		}
	}
	for _, a := range e.args {
		a.doubts(found)
	}
}
