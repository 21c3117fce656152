package filter

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/fanfold/fanfold/pkg/event"
)

// Limits against statements that others wrote.
const (
	maxSource = 64 << 10 // bytes of a statement
	maxDepth  = 200      // nesting of groups, calls and negations
)

// Error says what is wrong with a statement, and where.
type Error struct {
	Column int // in characters, from 1; 0: not at one place
	Msg    string
}

func (e *Error) Error() string {
	if e.Column == 0 {
		return "filter: " + e.Msg
	}
	return fmt.Sprintf("filter: column %d: %s", e.Column, e.Msg)
}

func errorf(col int, format string, args ...any) error {
	return &Error{col, fmt.Sprintf(format, args...)}
}

// Compile compiles a statement. The error is an *Error.
func Compile(src string) (*Filter, error) {
	if len(src) > maxSource {
		return nil, errorf(0, "the statement has %d bytes; at most %d are read", len(src), maxSource)
	}
	toks, err := lex(src)
	if err != nil {
		return nil, err
	}
	if len(toks) == 1 {
		return nil, errorf(0, "the statement is empty")
	}
	p := &parser{toks: toks}
	root, err := p.or(0)
	if err != nil {
		return nil, err
	}
	if t := p.peek(); t.kind != tokEnd {
		if p.i > 0 {
			if b := toks[p.i-1]; b.kind == tokPath && len(b.keys) == 1 && strings.EqualFold(b.keys[0], "not") {
				return nil, errorf(b.col, "write ! for not")
			}
		}
		return nil, unexpected(t, "and, or, or the end")
	}
	if !root.boolean() {
		return nil, errorf(root.col, "a statement has to be true or false; this is a %s", root.describe())
	}
	return &Filter{source: src, root: root, calls: p.calls}, nil
}

// tokKind is the kind of a token.
type tokKind uint8

const (
	tokEnd tokKind = iota
	tokPath
	tokText
	tokNumber
	tokSign // operators, brackets, commas
	tokWord // and or in true false null
)

type token struct {
	kind   tokKind
	s      string   // sign, word, number, or decoded text
	keys   []string // path
	quote  byte     // text: which quotes
	col    int
	before bool // white space in front
	after  bool // white space behind, or the end
}

func (t token) describe() string {
	switch t.kind {
	case tokEnd:
		return "the end"
	case tokPath:
		return strings.Join(t.keys, ".")
	case tokText:
		return fmt.Sprintf("the text %q", t.s)
	}
	return t.s
}

func unexpected(t token, want string) error {
	if t.kind == tokPath && len(t.keys) == 1 {
		switch w := strings.ToLower(t.keys[0]); w {
		case "and", "or", "in", "true", "false", "null":
			return errorf(t.col, "expected %s, found %s; write %s in lower case", want, t.keys[0], w)
		}
	}
	return errorf(t.col, "expected %s, found %s", want, t.describe())
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func keyByte(c byte) bool {
	return c == '_' || c == '-' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

func lex(src string) ([]token, error) {
	var toks []token
	col, counted := 1, 0
	at := func(i int) int { // column of byte i
		col += utf8.RuneCountInString(src[counted:i])
		counted = i
		return col
	}
	for i := 0; i < len(src); {
		c := src[i]
		if isSpace(c) {
			i++
			continue
		}
		t := token{col: at(i), before: i == 0 || isSpace(src[i-1])}
		start := i
		switch {
		case c == '"' || c == '\'':
			t.kind, t.quote = tokText, c
			var b strings.Builder
			for i++; ; i++ {
				if i >= len(src) {
					return nil, errorf(t.col, "this text has no closing %c", c)
				}
				if src[i] == c {
					i++
					break
				}
				// Only a quote can be escaped; other backslashes
				// belong to the text, for patterns.
				if src[i] == '\\' && i+1 < len(src) && (src[i+1] == '"' || src[i+1] == '\'') {
					i++
				}
				b.WriteByte(src[i])
			}
			t.s = b.String()
		case c >= '0' && c <= '9' || (c == '-' || c == '+') && i+1 < len(src) && src[i+1] >= '0' && src[i+1] <= '9':
			for i++; i < len(src); i++ {
				sign := src[i] == '-' || src[i] == '+'
				if sign && src[i-1]|0x20 != 'e' || !sign && src[i] != '.' && !keyByte(src[i]) {
					break
				}
			}
			t.kind, t.s = tokNumber, strings.TrimPrefix(src[start:i], "+")
			if v, err := event.ParseValue([]byte(t.s)); err != nil || v.Kind() != event.Number {
				return nil, errorf(t.col, "%s is not a number", src[start:i])
			}
		case keyByte(c) && c != '-' || c == '\\':
			t.kind = tokPath
			for {
				key, next, err := lexKey(src, i, at)
				if err != nil {
					return nil, err
				}
				t.keys = append(t.keys, key)
				i = next
				if i >= len(src) || src[i] != '.' {
					break
				}
				i++
				if i >= len(src) || !keyByte(src[i]) && src[i] != '\\' {
					return nil, errorf(at(min(i, len(src))), "expected the rest of the field's name after the dot")
				}
			}
			if len(t.keys) == 1 && !strings.Contains(src[start:i], `\`) {
				switch t.keys[0] {
				case "and", "or", "in", "true", "false", "null":
					t.kind, t.s = tokWord, t.keys[0]
				}
			}
		default:
			t.kind = tokSign
			switch {
			case strings.HasPrefix(src[i:], "!="), strings.HasPrefix(src[i:], "<="), strings.HasPrefix(src[i:], ">="):
				t.s = src[i : i+2]
			case strings.HasPrefix(src[i:], "=="):
				return nil, errorf(t.col, "there is no == in FQL; write =")
			case strings.HasPrefix(src[i:], "&&"):
				return nil, errorf(t.col, "there is no && in FQL; write and")
			case strings.HasPrefix(src[i:], "||"):
				return nil, errorf(t.col, "there is no || in FQL; write or")
			case strings.IndexByte("=<>!()[],", c) >= 0:
				t.s = src[i : i+1]
			default:
				r, _ := utf8.DecodeRuneInString(src[i:])
				if strings.ContainsRune("“”„«»‘’‚", r) {
					return nil, errorf(t.col, `%q is no quote here: write "`, r)
				}
				return nil, errorf(t.col, `unexpected %q; in a field's name write \%c`, r, r)
			}
			i += len(t.s)
		}
		t.after = i >= len(src) || isSpace(src[i])
		toks = append(toks, t)
	}
	return append(toks, token{kind: tokEnd, col: at(len(src)), before: true}), nil
}

func lexKey(src string, i int, at func(int) int) (key string, next int, err error) {
	var b strings.Builder
	for i < len(src) {
		if src[i] == '\\' {
			if i+1 >= len(src) {
				return "", 0, errorf(at(i), "a backslash at the end escapes nothing")
			}
			_, size := utf8.DecodeRuneInString(src[i+1:])
			b.WriteString(src[i+1 : i+1+size])
			i += 1 + size
			continue
		}
		if !keyByte(src[i]) {
			break
		}
		b.WriteByte(src[i])
		i++
	}
	return b.String(), i, nil
}

// parser builds the expression tree by recursive descent.
type parser struct {
	toks  []token
	i     int
	calls bool
}

func (p *parser) peek() token { return p.toks[p.i] }

func (p *parser) next() token {
	t := p.toks[p.i]
	if t.kind != tokEnd {
		p.i++
	}
	return t
}

func (p *parser) take(kind tokKind, s string) bool {
	if t := p.peek(); t.kind == kind && t.s == s {
		p.i++
		return true
	}
	return false
}

func (p *parser) or(depth int) (*expr, error)  { return p.chain(depth, opOr, "or", p.and) }
func (p *parser) and(depth int) (*expr, error) { return p.chain(depth, opAnd, "and", p.unary) }

func (p *parser) chain(depth int, o op, word string, next func(int) (*expr, error)) (*expr, error) {
	first, err := next(depth)
	if err != nil {
		return nil, err
	}
	e := first
	for p.take(tokWord, word) {
		arg, err := next(depth)
		if err != nil {
			return nil, err
		}
		if e == first {
			e = &expr{op: o, args: []*expr{first}, col: first.col}
		}
		e.args = append(e.args, arg)
	}
	if e == first {
		return first, nil
	}
	for _, a := range e.args {
		if !a.boolean() {
			return nil, errorf(a.col, "%s joins statements that are true or false; this is a %s", word, a.describe())
		}
	}
	return e, nil
}

func (p *parser) unary(depth int) (*expr, error) {
	if depth > maxDepth {
		return nil, errorf(p.peek().col, "nested more than %d levels deep", maxDepth)
	}
	if t := p.peek(); p.take(tokSign, "!") {
		arg, err := p.unary(depth + 1)
		if err != nil {
			return nil, err
		}
		if !arg.boolean() {
			return nil, errorf(arg.col, "! needs something that is true or false; this is a %s", arg.describe())
		}
		return &expr{op: opNot, args: []*expr{arg}, col: t.col}, nil
	}
	left, err := p.operand(depth)
	if err != nil {
		return nil, err
	}
	t := p.peek()
	var o op
	switch {
	case t.kind == tokWord && t.s == "in":
		o = opIn
	case t.kind == tokSign:
		switch t.s {
		case "=":
			o = opEqual
		case "!=":
			o = opUnequal
		case "<":
			o = opLess
		case "<=":
			o = opLessEqual
		case ">":
			o = opGreater
		case ">=":
			o = opGreaterEqual
		}
	}
	if o == 0 {
		return left, nil
	}
	p.i++
	right, err := p.operand(depth)
	if err != nil {
		return nil, err
	}
	if o == opIn && (right.op == opLiteral || right.boolean() && right.op != opPath) {
		return nil, errorf(right.col, "in needs a list or a field on its right; this is a %s", right.describe())
	}
	if o >= opLess && o <= opGreaterEqual {
		for _, side := range []*expr{left, right} {
			if side.op == opList || side.op == opLiteral && side.lit.kind != number {
				return nil, errorf(side.col, "%s compares numbers; this is a %s", t.s, side.describe())
			}
		}
	}
	return &expr{op: o, args: []*expr{left, right}, col: left.col}, nil
}

func (p *parser) operand(depth int) (*expr, error) {
	if depth > maxDepth {
		return nil, errorf(p.peek().col, "nested more than %d levels deep", maxDepth)
	}
	t := p.next()
	switch t.kind {
	case tokText:
		return &expr{lit: operand{kind: text, raw: []byte(t.s)}, text: t.s, col: t.col}, nil
	case tokNumber:
		v, err := event.ParseValue([]byte(t.s))
		if err != nil {
			return nil, errorf(t.col, "%s is not a number", t.s)
		}
		return &expr{lit: fromEvent(v), col: t.col}, nil
	case tokWord:
		switch t.s {
		case "true", "false":
			return &expr{lit: operand{kind: boolean, b: t.s == "true"}, col: t.col}, nil
		case "null":
			return &expr{col: t.col}, nil
		}
	case tokPath:
		if p.take(tokSign, "(") {
			return p.callOf(t, depth+1)
		}
		return &expr{op: opPath, path: event.Keys(t.keys...), col: t.col}, nil
	case tokSign:
		switch t.s {
		case "(":
			e, err := p.or(depth + 1)
			if err != nil {
				return nil, err
			}
			if !p.take(tokSign, ")") {
				return nil, unexpected(p.peek(), "and, or, or the ) of the group at column "+fmt.Sprint(t.col))
			}
			return e, nil
		case "[":
			e := &expr{op: opList, args: []*expr{}, col: t.col}
			for !p.take(tokSign, "]") {
				if len(e.args) > 0 && !p.take(tokSign, ",") {
					return nil, unexpected(p.peek(), "a comma or ]")
				}
				item, err := p.operand(depth + 1)
				if err != nil {
					return nil, err
				}
				e.args = append(e.args, item)
			}
			return e, nil
		}
	}
	return nil, unexpected(t, "a field, a value or a function")
}

func (p *parser) callOf(name token, depth int) (*expr, error) {
	fn, want, ok := functionNamed(strings.Join(name.keys, "."))
	if !ok {
		return nil, errorf(name.col, "there is no function %s; the functions are contains, match, length, lowercase, "+
			"uppercase, snakecase, kebabcase, titlecase, typeof, bool, string and number", strings.Join(name.keys, "."))
	}
	e := &expr{op: opCall, fn: fn, col: name.col}
	p.calls = true
	for !p.take(tokSign, ")") {
		if len(e.args) > 0 && !p.take(tokSign, ",") {
			return nil, unexpected(p.peek(), "a comma or )")
		}
		arg, err := p.operand(depth)
		if err != nil {
			return nil, err
		}
		e.args = append(e.args, arg)
	}
	if len(e.args) != want {
		return nil, errorf(name.col, "%s takes %d, not %d", name.keys[0], want, len(e.args))
	}
	if fn == fnMatch && e.args[1].op == opLiteral {
		if e.args[1].lit.kind != text {
			return nil, errorf(e.args[1].col, "match needs a pattern in quotes")
		}
		g, err := compileGlob(string(e.args[1].lit.raw))
		if err != nil {
			return nil, errorf(e.args[1].col, "%s", err.(*Error).Msg)
		}
		e.glob = g
	}
	return e, nil
}

// boolean says that the expression can be true or false.
func (e *expr) boolean() bool {
	switch e.op {
	case opLiteral:
		return e.lit.kind == boolean || e.lit.kind == null
	case opList:
		return false
	case opCall:
		return e.fn == fnContains || e.fn == fnMatch || e.fn == fnBool
	}
	return true
}

func (e *expr) describe() string {
	switch e.op {
	case opLiteral:
		return map[kind]string{text: "text", number: "number", boolean: "boolean", null: "null"}[e.lit.kind]
	case opList:
		return "list"
	case opCall:
		return "function's text, list or number"
	}
	return "statement"
}
