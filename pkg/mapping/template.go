package mapping

import (
	"bytes"
	"strings"

	"github.com/fanfold/fanfold/pkg/event"
)

// templateNode is a template known when the mapping is compiled.
type templateNode struct{ pieces []piece }

// piece is text, already escaped for JSON, or a path.
type piece struct {
	text []byte
	path event.Path
	is   bool // a path
}

// compileTemplate compiles a template. The triple braces of a template are
// filled first and what comes out is read again for double braces, so only a
// template without any can be cut up beforehand.
func compileTemplate(s string) node {
	if _, _, _, ok := placeholder(s, 0, 3); ok {
		return &dynamicTemplateNode{&literalNode{result{raw: event.AppendQuoted(nil, s), kind: event.String}}}
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
		n.pieces = append(n.pieces, piece{path: event.CompileTemplatePath(strings.TrimFunc(body, jsSpace)), is: true})
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

func (n *templateNode) eval(r *Resolver, in event.Value) result { return computed(n, r, in) }

func (n *templateNode) write(r *Resolver, dst []byte, in event.Value) ([]byte, bool) {
	dst = append(dst, '"')
	for i := range n.pieces {
		p := &n.pieces[i]
		if !p.is {
			dst = append(dst, p.text...)
			continue
		}
		v := in.Lookup(p.path)
		switch v.Kind() {
		case event.String:
			raw := v.Raw() // escaped for JSON already
			dst = append(dst, raw[1:len(raw)-1]...)
		case event.Number:
			dst = appendNumber(dst, v.Raw())
		case event.Bool:
			dst = append(dst, v.Raw()...)
		case event.Object:
			dst = append(dst, "[object Object]"...)
		case event.Array:
			buf := appendJSText(r.temp(), v.Raw())
			dst = appendEscaped(dst, buf)
			r.done(buf)
		}
		if len(dst) > maxOutput {
			r.fail(errTooLarge)
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

func (n *dynamicTemplateNode) eval(r *Resolver, in event.Value) result { return computed(n, r, in) }

func (n *dynamicTemplateNode) write(r *Resolver, dst []byte, in event.Value) ([]byte, bool) {
	t, ok := textArgument(r, in, "@template", n.arg)
	if !ok {
		return dst, false
	}
	for braces := 3; braces >= 2; braces-- {
		if t, ok = render(t, braces, in); !ok {
			r.fail(errTooLarge)
			return dst, false
		}
	}
	return event.AppendQuoted(dst, t), true
}

func render(t string, braces int, in event.Value) (string, bool) {
	var out bytes.Buffer
	at := 0
	for {
		start, end, body, ok := placeholder(t, at, braces)
		if !ok {
			out.WriteString(t[at:])
			return out.String(), true
		}
		out.WriteString(t[at:start])
		v := in.Lookup(event.CompileTemplatePath(strings.TrimFunc(body, jsSpace)))
		if v.Exists() {
			out.Write(appendJSText(nil, v.Raw()))
		}
		if out.Len() > maxOutput {
			return "", false
		}
		at = end
	}
}
