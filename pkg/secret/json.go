package secret

import (
	"bytes"
	"encoding/json"
)

// JSON returns a JSON document in which every text is what redact makes of it, names of
// members, too. It stays JSON, whatever the secrets are. What is no JSON is redacted as
// a text.
func JSON(doc []byte, redact func(string) string) []byte {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return []byte(redact(string(doc)))
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if e.Encode(texts(v, redact)) != nil { // what was decoded can be encoded
		return []byte(redact(string(doc)))
	}
	return bytes.TrimSpace(out.Bytes())
}

func texts(v any, redact func(string) string) any {
	switch v := v.(type) {
	case string:
		return redact(v)
	case json.Number: // a secret may be one
		if s := redact(v.String()); s != v.String() {
			return s
		}
	case []any:
		for i := range v {
			v[i] = texts(v[i], redact)
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, member := range v {
			out[redact(k)] = texts(member, redact)
		}
		return out
	}
	return v
}
