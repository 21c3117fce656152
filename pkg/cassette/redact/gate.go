package redact

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/fanfold/fanfold/pkg/printable"
)

// Leak is a secret in a place that should have none.
type Leak struct {
	// Interaction is the number of the interaction, from 0; -1: the sidecar, or the
	// file as a whole.
	Interaction int    `json:"interaction"`
	Path        string `json:"path"` // response.body $.user.token
	Kind        string `json:"kind"` // secret API_KEY, jwt, email
	Masked      string `json:"masked"`
}

// unsearched begins the kind of a leak that stands for data which could not be
// searched.
const unsearched = "not searched"

// Unsearched is true if nothing was found, but the data could not be searched.
func (l Leak) Unsearched() bool { return strings.HasPrefix(l.Kind, unsearched) }

// Personal is true if the leak is personal data and not a credential.
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

// LeakError is returned when leaks prevent a cassette from being written.
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

// mask shows just enough of a secret for its owner to recognise it.
func mask(s string) string {
	if len(s) < 12 {
		return strings.Repeat("*", len(s))
	}
	head, tail := strings.ToValidUTF8(s[:2], "*"), strings.ToValidUTF8(s[len(s)-2:], "*")
	return printable.Text(head) + strings.Repeat("*", 6) + printable.Text(tail) + fmt.Sprintf(" (%d characters)", len(s))
}

// ScanFiles searches the text of a cassette and of its sidecar, and appends to the
// leaks of the interactions.
func (r *Redactor) ScanFiles(leaks []Leak, data, meta []byte) []Leak {
	leaks = r.elsewhere(leaks, data)
	for line := range strings.Lines(string(meta)) {
		if kind, hit := r.find(strings.TrimSpace(line), 0); kind != "" {
			name, _, _ := strings.Cut(strings.TrimSpace(line), ":")
			leaks = append(leaks, Leak{-1, "the sidecar" + r.safe(", ", name), kind, mask(hit)})
		}
	}
	return leaks
}

// elsewhere searches the whole text of a file in which nothing was found for known values, in case they stand outside
// of the places that were searched. Patterns are searched for in these only, where lines are not folded.
func (r *Redactor) elsewhere(leaks []Leak, data []byte) []Leak {
	if found := r.known.find(string(data)); len(found) > 0 && len(leaks) == 0 {
		leaks = append(leaks, Leak{-1, "the file", found[0].kind, mask(string(data[found[0].from:found[0].to]))})
	}
	return leaks
}

// safe returns sep and the name of a place. It is "" if the name itself may be a
// secret.
func (r *Redactor) safe(sep, name string) string {
	if name == "" || len(name) > 64 || strings.ContainsAny(name, " #") || strings.Contains(name, "://") {
		return ""
	}
	if kind, _ := r.find(name, 0); kind != "" || entropy(name) > 4 || HasDigit(name) && len(name) > 24 {
		return ""
	}
	return sep + printable.Text(name)
}

// Scan searches interaction number n for secrets that were not replaced.
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

// settled is true for values that are no leak whatever announces them: the replacements of secrets, what the user
// allows, and what is too short.
func (r *Redactor) settled(v string) bool {
	return len(v) < 4 || replaced(v) || IsToken(v) || r.isExample(v) || r.allowed(v)
}

// bare returns the secret that a header should not hold any more; "" if there is none.
// kind is what the header's name announces.
func (r *Redactor) bare(kind, name, v string) string {
	plain := func(s string) bool {
		s = strings.Trim(strings.TrimSpace(s), `"`)
		return !r.settled(s) && !noSecret(s)
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
		if scheme, rest, ok := strings.Cut(v, " "); ok && saysName(scheme) {
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

// within is the path to the secret in a JSON text; "" if it cannot be found.
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

// find searches a flat text for a secret: the text itself, and all encodings in it.
func (r *Redactor) find(s string, depth int) (kind, hit string) {
	if len(s) < 4 || depth > maxDepth {
		return "", ""
	}
	r.effort.add(len(s))
	var ok bool
	if kind, hit, ok = r.findBinary(s, depth); ok {
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
		if layer <= 1 { // nobody encodes within two layers of escapes
			kind, hit = r.findEncoded(v.text, depth)
		}
		return s, kind == ""
	})
	return kind, hit
}

// findBeside searches JSON for values whose name is not directly before them, but in
// another member of the object, or above the array or object that holds them.
func (r *Redactor) findBeside(s string) (kind, hit string) {
	trimmed := strings.TrimLeft(s, " \t\r\n")
	if r.quick || trimmed == "" || trimmed[0] != '{' && trimmed[0] != '[' || !validJSON(s) {
		return "", ""
	}
	w := jsonWalk{r: r, s: s, beside: func(told, value string) {
		if kind == "" && !stays(told, value) && !r.settled(value) {
			kind, hit = told, value
		}
	}}
	w.walk()
	return kind, hit
}

// findColumns searches for tables in the texts of JSON.
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
				if !stays(m.kind, value) && !r.settled(value) {
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

// findEncoded searches the parts of a text that may encode other bytes.
func (r *Redactor) findEncoded(s string, depth int) (kind, hit string) {
	for e := range runs(s) {
		r.effort.add(len(e.plain))
		if IsText(e.plain) || isBinary(e.plain) || r.packed(e.plain) {
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
