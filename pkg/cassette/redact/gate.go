package redact

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
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

// unsearched begins the kind of what nobody has looked into.
const unsearched = "not searched"

// Unsearched tells whether it is only that nobody has looked there.
func (l Leak) Unsearched() bool { return strings.HasPrefix(l.Kind, unsearched) }

// Personal tells whether it is about a person, and no credential.
func (l Leak) Personal() bool {
	kind, _, _ := strings.Cut(l.Kind, " ")
	return personal(kind)
}

func (l Leak) String() string {
	where := "interaction " + strconv.Itoa(l.Interaction) + ", "
	if l.Interaction < 0 {
		where = ""
	}
	if l.Unsearched() {
		return fmt.Sprintf("%s%s: %s", where, l.Path, l.Kind)
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
	head, tail := strings.ToValidUTF8(s[:2], "*"), strings.ToValidUTF8(s[len(s)-2:], "*")
	return printableOnly(head) + strings.Repeat("*", 6) + printableOnly(tail) + fmt.Sprintf(" (%d characters)", len(s))
}

// printableOnly has a star in place of what a terminal would not show.
func printableOnly(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c >= 0x80 && c < 0xa0 {
			return '*'
		}
		return c
	}, s)
}

// ScanFiles adds to the leaks of all interactions what else is in the text of a cassette
// and of its sidecar.
func (r *Redactor) ScanFiles(leaks []Leak, data, meta []byte) []Leak {
	// The files as a whole: whatever is in them and in none of the places
	// above. Patterns have been looked for, where lines are not folded.
	if found := r.known.find(string(data)); len(found) > 0 && len(leaks) == 0 {
		leaks = append(leaks, Leak{-1, "the file", found[0].kind, mask(string(data[found[0].from:found[0].to]))})
	}
	for line := range strings.Lines(string(meta)) {
		if kind, hit := r.find(strings.TrimSpace(line), 0); kind != "" {
			name, _, _ := strings.Cut(strings.TrimSpace(line), ":")
			leaks = append(leaks, Leak{-1, "the sidecar" + r.safe(", ", name), kind, mask(hit)})
		}
	}
	return leaks
}

// safe is the name of a place, behind sep; nothing where the name itself may be
// what was found.
func (r *Redactor) safe(sep, name string) string {
	if name == "" || len(name) > 64 || strings.ContainsAny(name, " #") || strings.Contains(name, "://") {
		return ""
	}
	if kind, _ := r.find(name, 0); kind != "" || entropy(name) > 4 || hasDigit(name) && len(name) > 24 {
		return ""
	}
	return sep + printableOnly(name)
}

// Scan looks for what is left of secrets in an interaction, of which n is the number.
func (r *Redactor) Scan(n int, i *Interaction) (leaks []Leak) {
	r = r.counting()
	look := func(path, s string) {
		if kind, hit := r.find(s, 0); kind != "" {
			leaks = append(leaks, Leak{n, path + r.within(s), kind, mask(hit)})
		}
	}
	headers := func(side string, h http.Header) {
		for name, values := range h {
			secret := secretHeader(http.CanonicalHeaderKey(name))
			place := side + ".header" + r.safe(".", name)
			for _, v := range values {
				if hit := r.bare(secret, http.CanonicalHeaderKey(name), v); hit != "" {
					leaks = append(leaks, Leak{n, place, cmp.Or(secret, "token"), mask(hit)})
				} else {
					look(place, v)
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
			look("request.form"+r.safe(".", key), key+"="+v)
		}
	}
	headers("response", i.Response.Headers)
	look("response.status", i.Response.Status)
	look("response.body", i.Response.Body)
	return leaks
}

// bare is the part of a header that its name says is a secret and that stands
// there; "" when there is none.
func (r *Redactor) bare(kind, name, v string) string {
	plain := func(s string) bool {
		s = strings.Trim(strings.TrimSpace(s), `"`)
		return len(s) >= 4 && !tokenRE.MatchString(s) && !IsToken(s) && !r.isExample(s) && !r.allowed(s)
	}
	switch kind {
	case "", "email", "phone", "hashed":
		for from, to := range protocolSecrets(name, v) {
			if plain(v[from:to]) {
				return v[from:to]
			}
		}
		return ""
	case "authorization":
		if _, rest, ok := strings.Cut(v, " "); ok {
			v = rest
		}
	case "cookie":
		for _, one := range cookies(v, strings.HasPrefix(name, "Set-")) {
			for k, p := range strings.Split(one, ";") {
				name, value, ok := strings.Cut(p, "=")
				if k > 0 && cookieAttributes[strings.ToLower(strings.TrimSpace(name))] || !ok {
					continue
				}
				if plain(value) {
					return value
				}
			}
		}
		return ""
	}
	if plain(v) {
		return v
	}
	return ""
}

// within is the place in a JSON text, as well as it can be told.
func (r *Redactor) within(s string) string {
	var v any
	if json.Unmarshal([]byte(s), &v) != nil {
		return ""
	}
	if p := r.withinValue("$", v); p != "" {
		return " " + p
	}
	return ""
}

func (r *Redactor) withinValue(path string, v any) string {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			at := path + r.safe(".", k)
			if text, ok := e.(string); ok {
				quoted, err := json.Marshal(map[string]string{k: text})
				if kind, _ := r.find(string(quoted), 0); err == nil && kind != "" {
					return at
				}
			} else if p := r.withinValue(at, e); p != "" {
				return p
			}
		}
	case []any:
		for n, e := range v {
			if p := r.withinValue(path+"["+strconv.Itoa(n)+"]", e); p != "" {
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

// find looks for a secret in flat text: as it is, and with each encoding in it
// undone.
func (r *Redactor) find(s string, depth int) (kind, hit string) {
	if len(s) < 4 || depth > maxDepth {
		return "", ""
	}
	r.effort.add(len(s))
	if kind, hit, ok := r.findBinary(s, depth); ok {
		return kind, hit
	}
	switch plain, p, err := r.unpacked(s); {
	case errors.Is(err, errLarge):
		return unsearched + ", as it is too large unpacked (" + p.name + ")", ""
	case err == nil:
		if kind, hit = r.find(plain, depth+1); kind != "" {
			return kind + " in " + p.name, hit
		}
	}
	if kind, hit = r.findColumns(s); kind != "" {
		return kind, hit
	}
	if kind, hit = r.findBeside(s); kind != "" {
		return kind, hit
	}
	eachView(s, func(v view, layer int) (string, bool) {
		for _, m := range r.matchesIn(&v) {
			value := v.text[m.from:m.to]
			if m.exact || !stays(m.kind, value) {
				kind, hit = m.kind, value
				return s, false
			}
		}
		if layer <= 1 { // an encoding within two layers of escapes is nobody's
			kind, hit = r.findEncoded(v.text, depth)
		}
		return s, kind == ""
	})
	return kind, hit
}

// findBeside looks into JSON for values that stand beside their names, wherever in an
// object, or in an array or an object below them.
func (r *Redactor) findBeside(s string) (kind, hit string) {
	trimmed := strings.TrimLeft(s, " \t\r\n")
	if r.quick || trimmed == "" || trimmed[0] != '{' && trimmed[0] != '[' || !validJSON(s) {
		return "", ""
	}
	w := jsonWalk{r: r, s: s, beside: func(told, value string) {
		if kind == "" && len(value) >= 4 && !stays(told, value) && !tokenRE.MatchString(value) && !IsToken(value) &&
			!r.isExample(value) && !r.allowed(value) {
			kind, hit = told, value
		}
	}}
	w.walk()
	return kind, hit
}

// findColumns looks into the texts of JSON that may have lines of values below names.
func (r *Redactor) findColumns(s string) (kind, hit string) {
	if s[0] != '{' && s[0] != '[' || !strings.Contains(s, `\n`) {
		return "", ""
	}
	for i := strings.IndexByte(s, '"'); i >= 0 && i < len(s); {
		end := stringEnd(s, i)
		var text string
		if strings.Contains(s[i:end], `\n`) && json.Unmarshal([]byte(s[i:end]), &text) == nil {
			for _, m := range r.columns(text, nil) {
				value := text[m.from:m.to]
				if !stays(m.kind, value) && !IsToken(value) && !r.allowed(value) && !r.isExample(value) {
					return m.kind, value
				}
			}
		}
		next := strings.IndexByte(s[end:], '"')
		if next < 0 {
			break
		}
		i = end + next
	}
	return "", ""
}

// findEncoded looks into what may stand for other bytes.
func (r *Redactor) findEncoded(s string, depth int) (kind, hit string) {
	for e := range runs(s) {
		r.effort.add(len(e.plain))
		if printable([]byte(e.plain)) || isBinary(e.plain) || r.packed(e.plain) {
			kind, hit = r.find(e.plain, depth+1)
		} else if found := r.inBytes(e.plain); len(found) > 0 {
			kind, hit = found[0].kind, e.plain[found[0].from:found[0].to]
		}
		if kind != "" {
			return kind + " in " + e.name, hit
		}
	}
	return "", ""
}
