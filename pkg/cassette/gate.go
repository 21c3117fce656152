package cassette

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Leak is a secret that was found where none may be.
type Leak struct {
	// Interaction is its number, from 0; -1: the sidecar, or the file as a
	// whole.
	Interaction int    `json:"interaction"`
	Path        string `json:"path"` // response.body $.user.token
	Kind        string `json:"kind"` // secret API_KEY, jwt, email
	Masked      string `json:"masked"`
}

// Personal tells whether it is about a person, and no credential.
func (l Leak) Personal() bool {
	kind, _, _ := strings.Cut(l.Kind, " ")
	return kind == "email" || kind == "phone" || kind == "hashed"
}

func (l Leak) String() string {
	where := "interaction " + strconv.Itoa(l.Interaction) + ", "
	if l.Interaction < 0 {
		where = ""
	}
	return fmt.Sprintf("%s%s: %s, %s", where, l.Path, l.Kind, l.Masked)
}

// LeakError is what keeps a cassette from being written.
type LeakError struct {
	Path  string
	Leaks []Leak
}

func (e *LeakError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s was not written, it would hold secrets:", e.Path)
	for n, l := range e.Leaks {
		if n == 10 {
			fmt.Fprintf(&b, "\n  and %d more", len(e.Leaks)-n)
			break
		}
		fmt.Fprintf(&b, "\n  %s", l)
	}
	return b.String()
}

// mask shows so much of a secret that its owner knows it.
func mask(s string) string {
	if len(s) < 12 {
		return strings.Repeat("*", len(s))
	}
	return s[:2] + strings.Repeat("*", 6) + s[len(s)-2:] + fmt.Sprintf(" (%d characters)", len(s))
}

// Scan looks for secrets in a cassette and its sidecar as they are written. It
// knows nothing of how the redactor takes texts apart: it looks through flat
// text, in every encoding.
func (r *Redactor) Scan(c *Cassette) ([]Leak, error) {
	data, err := c.encode()
	if err != nil {
		return nil, err
	}
	var meta []byte
	if c.HasMeta {
		if meta, err = readBounded(metaPath(c.Path)); err != nil {
			return nil, err
		}
	}
	return r.scan(c, data, meta), nil
}

func (r *Redactor) scan(c *Cassette, data, meta []byte) []Leak {
	var leaks []Leak
	for n, i := range c.Interactions {
		leaks = append(leaks, r.scanInteraction(n, i)...)
	}
	// The files as a whole: whatever is in them and in none of the places
	// above. Patterns have been looked for, where lines are not folded.
	if kind, hit := r.exact(string(data)); kind != "" && len(leaks) == 0 {
		leaks = append(leaks, Leak{-1, "the file", kind, mask(hit)})
	}
	for line := range strings.Lines(string(meta)) {
		if kind, hit := r.find(strings.TrimSpace(line), 0); kind != "" {
			name, _, _ := strings.Cut(strings.TrimSpace(line), ":")
			leaks = append(leaks, Leak{-1, "the sidecar, " + mask40(name), kind, mask(hit)})
		}
	}
	return leaks
}

func mask40(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

func (r *Redactor) scanInteraction(n int, i *Interaction) (leaks []Leak) {
	look := func(path, s string) {
		if kind, hit := r.find(s, 0); kind != "" {
			leaks = append(leaks, Leak{n, path + r.within(s), kind, mask(hit)})
		}
	}
	headers := func(side string, h http.Header) {
		for name, values := range h {
			secret := secretHeader(http.CanonicalHeaderKey(name))
			for _, v := range values {
				if secret != "" && secret != "email" && secret != "phone" && secret != "hashed" && !tokenRE.MatchString(v) && !r.isExample(v) && len(v) >= 4 {
					leaks = append(leaks, Leak{n, side + ".header." + name, secret, mask(v)})
				} else {
					look(side+".header."+name, v)
				}
			}
		}
	}
	look("request.url", i.Request.URL)
	headers("request", i.Request.Headers)
	look("request.body", i.Request.Body)
	for key, values := range i.Request.Form {
		look("request.form", key)
		for _, v := range values {
			look("request.form."+key, key+"="+v)
		}
	}
	headers("response", i.Response.Headers)
	look("response.status", i.Response.Status)
	look("response.body", i.Response.Body)
	return leaks
}

// within is the place in a JSON text, as well as it can be told.
func (r *Redactor) within(s string) string {
	var v any
	if json.Unmarshal([]byte(s), &v) != nil {
		return ""
	}
	var walk func(path string, v any) string
	walk = func(path string, v any) string {
		switch v := v.(type) {
		case map[string]any:
			for k, e := range v {
				if text, ok := e.(string); ok {
					quoted, err := json.Marshal(map[string]string{k: text})
					if kind, _ := r.find(string(quoted), 0); err == nil && kind != "" {
						return path + "." + k
					}
				} else if p := walk(path+"."+k, e); p != "" {
					return p
				}
			}
		case []any:
			for n, e := range v {
				if p := walk(path+"["+strconv.Itoa(n)+"]", e); p != "" {
					return p
				}
			}
		case string:
			if kind, _ := r.find(v, 0); kind != "" {
				return path
			}
		}
		return ""
	}
	if p := walk("$", v); p != "" {
		return " " + p
	}
	return ""
}

// exact finds one of the run's own secrets.
func (r *Redactor) exact(s string) (kind, hit string) {
	for i := range r.secrets {
		f := &r.secrets[i]
		if strings.Contains(s, f.text) && !strings.Contains(f.with, f.text) {
			return "the value of " + f.name, f.text
		}
	}
	return "", ""
}

// isExample tells whether a value stands for a secret, or is part of what does.
func (r *Redactor) isExample(s string) bool {
	for i := range r.secrets {
		if with := r.secrets[i].with; s == with || len(s) >= minSecret && strings.Contains(with, s) {
			return true
		}
	}
	return false
}

// find looks for a secret in flat text: as it is, and with each encoding in it
// undone.
func (r *Redactor) find(s string, depth int) (kind, hit string) {
	if len(s) < 4 || depth > maxDepth {
		return "", ""
	}
	if kind, hit = r.exact(s); kind != "" {
		return kind, hit
	}
	for i := range patterns {
		p := &patterns[i]
		if !p.possible(s) {
			continue
		}
		for _, m := range p.re.FindAllStringSubmatch(s, -1) {
			if v := m[p.group]; !harmless(p.kind, v) && !r.isExample(v) {
				return p.kind, v
			}
		}
	}
	if strings.ContainsAny(s, "=:") {
		for kind, at := range pairs(s) {
			v := s[at.from:at.to]
			if len(v) < minSecret && kind != "password" || kind == "email" || kind == "phone" || kind == "hashed" && !isHash(v) { // by their patterns
				continue
			}
			if !tokenRE.MatchString(v) && !r.isExample(v) && v != "null" && v != "true" && v != "false" {
				return kind, v
			}
		}
	}
	if plain, ok := gunzip(s); ok {
		if kind, hit = r.find(plain, depth+1); kind != "" {
			return kind + " in gzip", hit
		}
	}
	if strings.Contains(s, "%") {
		if plain, err := url.QueryUnescape(s); err == nil && plain != s {
			if kind, hit = r.find(plain, depth+1); kind != "" {
				return kind, hit
			}
		}
	}
	if strings.Contains(s, `\`) {
		if plain := unescape(s); plain != s {
			if kind, hit = r.find(plain, depth+1); kind != "" {
				return kind, hit
			}
		}
	}
	for from, to := range base64Runs(s) {
		if plain, _, ok := unbase64(s[from:to]); ok {
			if kind, hit = r.find(plain, depth+1); kind != "" {
				return kind + " in base64", hit
			}
		}
	}
	return "", ""
}

// unescape undoes the escapes of JSON wherever they are.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch s[i] {
		case 'u':
			if i+4 < len(s) {
				if n, err := strconv.ParseUint(s[i+1:i+5], 16, 16); err == nil {
					b.WriteRune(rune(n))
					i += 4
					continue
				}
			}
			b.WriteString(`\u`)
		case 'n', 'r', 't', 'b', 'f':
			b.WriteByte(' ')
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}
