package cassette

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"strings"

	"github.com/fanfold/fanfold/pkg/cassette/redact"
)

// tree is a body as it is compared: objects, arrays and texts, whatever it was
// written in, and what that was. Text that is none of it is one text.
type tree struct {
	kind string // json, lines, form, multipart, xml, text; "" for no body
	v    any
}

// maxTree bounds how deep a body is taken apart.
const maxTree = 200

// parseTree takes a body apart by its type, and by what it looks like.
func parseTree(contentType, s string) tree {
	if s == "" {
		return tree{}
	}
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		media = ""
	}
	head := strings.TrimLeft(s, "\ufeff \t\r\n")
	if strings.HasPrefix(head, "{") || strings.HasPrefix(head, "[") || strings.Contains(media, "json") {
		if values, ok := parseJSON(strings.TrimPrefix(s, "\ufeff")); ok {
			if len(values) > 1 {
				return tree{"lines", values}
			}
			return tree{"json", values[0]}
		}
	}
	switch {
	case media == "application/x-www-form-urlencoded":
		if values, err := url.ParseQuery(s); err == nil {
			return tree{"form", formTree(values)}
		}
	case strings.HasPrefix(media, "multipart/") && params["boundary"] != "":
		if v, ok := multipartTree(s, params["boundary"]); ok {
			return tree{"multipart", v}
		}
	case strings.HasPrefix(head, "<") && (strings.Contains(media, "xml") || strings.HasPrefix(head, "<?xml")):
		if v, ok := xmlTree(s); ok {
			return tree{"xml", v}
		}
	}
	return tree{"text", s}
}

// formTree has an object for names like a[b], and an array for repeated ones. A value
// that is JSON, or base64 of it, is taken apart.
func formTree(values url.Values) any {
	out := map[string]any{}
	for name, list := range values {
		var v any = fieldTree(list[0])
		if len(list) > 1 || strings.HasSuffix(name, "[]") {
			all := make([]any, len(list))
			for i, one := range list {
				all[i] = fieldTree(one)
			}
			v = all
		}
		put(out, strings.TrimSuffix(name, "[]"), v)
	}
	return out
}

// put sets a member at a[b][c]; where that is something else already, by the whole
// name.
func put(at map[string]any, name string, v any) {
	whole, root := name, at
	for {
		open := strings.IndexByte(name, '[')
		if open <= 0 || !strings.HasSuffix(name, "]") {
			break
		}
		head, rest := name[:open], name[open+1:]
		end := strings.IndexByte(rest, ']')
		inner, ok := at[head].(map[string]any)
		if at[head] != nil && !ok || end <= 0 {
			root[whole] = v
			return
		}
		if inner == nil {
			inner = map[string]any{}
			at[head] = inner
		}
		at, name = inner, rest[:end]+rest[end+1:]
	}
	if at[name] != nil {
		root[whole] = v
		return
	}
	at[name] = v
}

func fieldTree(s string) any {
	if v, ok := jsonIn(s); ok {
		return v
	}
	if plain, ok := redact.Unbase64(s); ok {
		if v, ok := jsonIn(plain); ok {
			return v
		}
	}
	return s
}

// jsonIn reads a text that is an object or array of JSON.
func jsonIn(s string) (any, bool) {
	if len(s) < 2 || s[0] != '{' && s[0] != '[' || s[len(s)-1] != '}' && s[len(s)-1] != ']' {
		return nil, false
	}
	values, ok := parseJSON(s)
	if !ok || len(values) != 1 {
		return nil, false
	}
	return values[0], true
}

// multipartTree has a member for every part: its content, or, of a file, its name,
// type and content, which is a sum where it is no text.
func multipartTree(s, boundary string) (any, bool) {
	mr := multipart.NewReader(strings.NewReader(s), boundary)
	values := map[string][]any{}
	for {
		part, err := mr.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, false
		}
		data, err := io.ReadAll(part)
		if err != nil {
			return nil, false
		}
		content := parseTree(part.Header.Get("Content-Type"), string(data)).v
		if text, ok := content.(string); ok && !isPlainText(text) {
			sum := sha256.Sum256(data)
			content = fmt.Sprintf("%d bytes, sha256 %s", len(data), hex.EncodeToString(sum[:8]))
		}
		if content == nil {
			content = ""
		}
		if part.FileName() != "" {
			content = map[string]any{"filename": part.FileName(), "type": part.Header.Get("Content-Type"), "content": content}
		}
		values[part.FormName()] = append(values[part.FormName()], content)
	}
	out := map[string]any{}
	for name, list := range values {
		if len(list) == 1 {
			out[name] = list[0]
		} else {
			out[name] = list
		}
	}
	return out, true
}

// xmlTree has an object for an element with others in it: its attributes with @
// before their names, the elements by their local names, several of a name as an
// array; and a text for one that holds nothing else.
func xmlTree(s string) (any, bool) {
	dec := xml.NewDecoder(strings.NewReader(s))
	dec.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	for {
		tok, err := dec.Token()
		if err != nil {
			return nil, false
		}
		if start, ok := tok.(xml.StartElement); ok {
			v, ok := xmlElement(dec, start, 0)
			if !ok {
				return nil, false
			}
			return map[string]any{start.Name.Local: v}, true
		}
	}
}

func xmlElement(dec *xml.Decoder, start xml.StartElement, depth int) (any, bool) {
	if depth > maxTree {
		return nil, false
	}
	out := map[string]any{}
	for _, a := range start.Attr {
		if a.Name.Space != "xmlns" && a.Name.Local != "xmlns" {
			out["@"+a.Name.Local] = a.Value
		}
	}
	var text strings.Builder
	children := map[string][]any{}
	for {
		tok, err := dec.Token()
		if err != nil {
			return nil, false
		}
		switch t := tok.(type) {
		case xml.StartElement:
			v, ok := xmlElement(dec, t, depth+1)
			if !ok {
				return nil, false
			}
			children[t.Name.Local] = append(children[t.Name.Local], v)
		case xml.CharData:
			text.Write(t)
		case xml.EndElement:
			return xmlValue(out, children, strings.TrimSpace(text.String())), true
		}
	}
}

func xmlValue(out map[string]any, children map[string][]any, text string) any {
	if len(out) == 0 && len(children) == 0 {
		return text
	}
	for name, list := range children {
		if len(list) == 1 {
			out[name] = list[0]
		} else {
			out[name] = list
		}
	}
	if text != "" {
		out["#text"] = text
	}
	return out
}

// parseJSON reads one JSON value, or lines of them.
func parseJSON(s string) (values []any, ok bool) {
	dec := json.NewDecoder(strings.NewReader(s))
	dec.UseNumber()
	for {
		var v any
		switch err := dec.Decode(&v); err {
		case nil:
			values = append(values, v)
		case io.EOF:
			return values, len(values) > 0
		default:
			return nil, false
		}
	}
}
