package match

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

// tree is a body in the form in which it is compared: objects, arrays and texts, and
// the format they were written in. A body in no known format is one text.
type tree struct {
	kind string // json, lines, form, multipart, xml or text; "" for no body
	v    any
}

// maxTree limits the depth to which a body is parsed.
const maxTree = 200

// parseTree parses a body according to its content type, and to what it looks like.
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

// formTree makes objects of names like a[b], and arrays of repeated names. A value that
// is JSON, or JSON in base64, is parsed as well.
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

// put sets the member a[b][c]. If something else is already there, it sets a member
// with the whole name.
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

// jsonIn parses a text that is a JSON object or array.
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

// multipartTree has a member for each part. Of a file, it holds name, type and content;
// binary content is replaced by a hash. Of other parts, it holds the content.
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
		if text, ok := content.(string); ok && !redact.IsText(text) {
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
	putAll(out, values)
	return out, true
}

// putAll sets members of which some occur several times: these become arrays.
func putAll(out map[string]any, values map[string][]any) {
	for name, list := range values {
		if out[name] = list; len(list) == 1 {
			out[name] = list[0]
		}
	}
}

// xmlTree parses an element that contains others into an object: its attributes, with @
// before their names, and its elements by their local names, or an array if a name
// occurs several times. An element without others becomes a text.
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
	putAll(out, children)
	if text != "" {
		out["#text"] = text
	}
	return out
}

// parseJSON parses one JSON value, or several lines of JSON.
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
