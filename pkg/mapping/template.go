package mapping

import (
	"strings"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/jsonval"
)

// templateNode is a template known when the mapping is compiled.
type templateNode struct{ pieces []piece }

// piece is text, already escaped for JSON, or a path.
type piece struct {
	text []byte
	path event.Path
	is   bool // a path
	slot int  // of a path, see scope; 0: unbound
}

// compileTemplate compiles a template. The triple braces of a template are
// filled first and what comes out is read again for double braces, so only a
// template without any can be cut up beforehand.
func compileTemplate(s string) node {
	if _, _, _, ok := placeholder(s, 0, 3); ok {
		return &dynamicTemplateNode{&literalNode{Result{Raw: event.AppendQuoted(nil, s), Kind: event.String}}}
	}
	n := &templateNode{}
	text := func(t string) {
		if t != "" {
			q := event.AppendQuoted(nil, t)
			n.pieces = append(n.pieces, piece{text: q[1 : len(q)-1]})
		}
	}
	at := 0
	for {
		start, end, body, ok := placeholder(s, at, 2)
		if !ok {
			text(s[at:])
			break
		}
		text(s[at:start])
		n.pieces = append(n.pieces, piece{path: event.CompileTemplatePath(strings.TrimFunc(body, jsonval.IsSpace)), is: true})
		at = end
	}
	return n
}

// placeholder finds the first placeholder in s from at on: so many braces, a
// body of anything but a closing brace, as many closing braces.
func placeholder(s string, at, braces int) (start, end int, body string, ok bool) {
	open, shut := "{{{"[:braces], "}}}"[:braces]
	next := -1 // the next closing brace, found once for many opening ones
	for {
		i := strings.Index(s[at:], open)
		if i < 0 {
			return 0, 0, "", false
		}
		start = at + i
		from := start + braces
		if next < from {
			j := strings.IndexByte(s[from:], '}')
			if j < 0 {
				return 0, 0, "", false
			}
			next = from + j
		}
		if next > from && strings.HasPrefix(s[next:], shut) {
			return start, next + braces, s[from:next], true
		}
		at = start + 1
	}
}

func (n *templateNode) eval(r *Resolver, in event.Value) Result { return computed(n, r, in) }

func (n *templateNode) write(r *Resolver, dst []byte, in event.Value) ([]byte, bool) {
	if !in.Exists() {
		in = emptyObject
	}
	dst = append(dst, '"')
	for i := range n.pieces {
		p := &n.pieces[i]
		if !p.is {
			dst = append(dst, p.text...)
			continue
		}
		var v event.Value
		if p.slot > 0 {
			v = r.Refs.At(p.slot - 1)
		} else {
			v = in.Lookup(p.path)
		}
		switch v.Kind() {
		case event.String:
			raw := v.Raw() // escaped for JSON already
			dst = append(dst, raw[1:len(raw)-1]...)
		case event.Number:
			dst = jsonval.AppendNumber(dst, v.Raw())
		case event.Bool:
			dst = append(dst, v.Raw()...)
		case event.Object:
			dst = append(dst, "[object Object]"...)
		case event.Array:
			buf := jsonval.AppendText(r.temp(), v.Raw())
			dst = appendEscaped(dst, buf)
			r.done(buf)
		}
		if len(dst) > MaxOutput {
			r.fail(ErrTooLarge)
			return dst, false
		}
	}
	return append(dst, '"'), true
}

// appendEscaped appends text as it stands inside a JSON string.
func appendEscaped(dst, text []byte) []byte {
	at := len(dst)
	dst = event.AppendQuoted(dst, text)
	copy(dst[at:], dst[at+1:len(dst)-1])
	return dst[:len(dst)-2]
}

// dynamicTemplateNode is a template that is itself computed, or has triple
// braces.
type dynamicTemplateNode struct{ arg node }

func (n *dynamicTemplateNode) eval(r *Resolver, in event.Value) Result { return computed(n, r, in) }

func (n *dynamicTemplateNode) write(r *Resolver, dst []byte, in event.Value) ([]byte, bool) {
	v := n.arg.eval(r, in)
	if r.err != nil {
		return dst, false
	}
	if v.Kind != event.String {
		r.failf("@template: expected string, got %s", jsonval.KindName(v.Kind))
		return dst, false
	}
	if !in.Exists() {
		in = emptyObject
	}
	// The text is rendered as it stands between the quotes of a JSON string, in
	// which braces are never escaped, so that half a surrogate pair survives.
	t := jsonval.AppendCanonicalText(nil, v.Raw)
	t = t[1 : len(t)-1]
	for braces := 3; braces >= 2; braces-- {
		var ok bool
		if t, ok = render(t, braces, in); !ok {
			r.fail(ErrTooLarge)
			return dst, false
		}
	}
	dst = append(dst, '"')
	dst = append(dst, t...)
	return append(dst, '"'), true
}

func render(t []byte, braces int, in event.Value) ([]byte, bool) {
	s := string(t)
	out := make([]byte, 0, len(t))
	at := 0
	for {
		start, end, body, ok := placeholder(s, at, braces)
		if !ok {
			return append(out, s[at:]...), true
		}
		out = append(out, s[at:start]...)
		body = jsonval.Text([]byte(`"` + body + `"`))
		v := in.Lookup(event.CompileTemplatePath(strings.TrimFunc(body, jsonval.IsSpace)))
		if v.Kind() == event.String {
			q := jsonval.AppendCanonicalText(nil, v.Raw())
			out = append(out, q[1:len(q)-1]...)
		} else if v.Exists() {
			out = appendEscaped(out, jsonval.AppendText(nil, v.Raw()))
		}
		if len(out) > MaxOutput {
			return nil, false
		}
		at = end
	}
}
