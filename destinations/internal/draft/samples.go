package main

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/fanfold/fanfold/pkg/eval"
	"github.com/fanfold/fanfold/pkg/event"
)

// sample is a request that was observed, and what the action was given for it.
type sample struct {
	payload  map[string]any // what the mapping makes of the event
	settings map[string]any
	method   string
	url      *url.URL
	headers  map[string]string
	body     any
}

// samples are the requests that were observed of a shape, each of an event by itself.
func (d *definition) samples(s shape) (list []sample) {
	_, rest, _ := strings.Cut(s.Request, ".")
	name, number, _ := strings.Cut(rest, "#")
	n, err := strconv.Atoi(number)
	if err != nil {
		return nil
	}
	if known, ok := d.taken[s.Request]; ok {
		return known
	}
	for _, r := range d.rows {
		if r.Action != name || r.Event == nil || n >= len(r.Requests) {
			continue
		}
		q := r.Requests[n]
		u, err := url.Parse(q.URL)
		if err != nil {
			continue
		}
		one := sample{payload: payloadOf(r), settings: r.Settings, method: q.Method, url: u, headers: q.Headers}
		if json.Unmarshal(q.Body, &one.body) != nil {
			one.body = nil
		}
		list = append(list, one)
	}
	d.taken[s.Request] = list
	return list
}

// payloadOf is what a row's mapping makes of its event; nil: nothing.
func payloadOf(r row) (payload map[string]any) {
	run, err := eval.Mapping(r.Mapping)
	if err != nil {
		return nil
	}
	v, err := event.ParseValue(r.Event)
	if err != nil {
		return nil
	}
	out, err := run(nil, v)
	if err != nil || json.Unmarshal(out, &payload) != nil {
		return nil
	}
	return payload
}

// at is the value at the names in a path below v.
func at(v any, names []string) any {
	for _, n := range names {
		switch of := v.(type) {
		case map[string]any:
			v = of[n]
		case []any:
			i, err := strconv.Atoi(strings.Trim(n, "[]"))
			if err != nil || i >= len(of) {
				return nil
			}
			v = of[i]
		default:
			return nil
		}
	}
	return v
}

// written is a scalar as it stands in an address or a header.
func written(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, v != ""
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// setting is the key of the setting that has a value in all rows. Short values may be coincidences: they have to be
// asked for by whole.
func (d *definition) setting(value string) string {
	if value == "" {
		return ""
	}
	for _, k := range d.Settings {
		if v, ok := written(d.values[k]); ok && v == value {
			return k
		}
	}
	return ""
}

// named puts the names of settings into a text where their values stand, as "{settings.key}".
func (d *definition) named(s string) string {
	keys := slices.SortedFunc(maps.Keys(d.values), func(a, b string) int {
		x, _ := written(d.values[a])
		y, _ := written(d.values[b])
		if len(x) != len(y) {
			return len(y) - len(x)
		}
		return strings.Compare(a, b)
	})
	for _, k := range keys {
		if v, ok := d.values[k].(string); ok && len(v) >= 3 && slices.Contains(d.Settings, k) {
			s = strings.ReplaceAll(s, v, "{settings."+snake(k)+"}")
		}
	}
	return s
}

// fieldOf is the path of the field, or the member of one, that had a value in all samples; "": none had, or it
// may be chance.
func fieldOf(list []sample, value func(sample) string) string {
	seen := map[string]bool{}
	var paths []string
	for i, s := range list {
		want := value(s)
		seen[want] = true
		var here []string
		leaves("", s.payload, func(path string, v any) {
			if got, ok := written(v); ok && got == want {
				here = append(here, path)
			}
		})
		slices.Sort(here)
		if i == 0 {
			paths = here
		} else {
			paths = slices.DeleteFunc(paths, func(p string) bool { return !slices.Contains(here, p) })
		}
	}
	if len(paths) == 0 || len(seen) == 1 && !strings.ContainsAny(value(list[0]), "0123456789@") {
		return ""
	}
	return paths[0]
}

func leaves(path string, v any, f func(path string, v any)) {
	m, ok := v.(map[string]any)
	if !ok {
		f(path, v)
		return
	}
	for k, x := range m {
		leaves(strings.TrimPrefix(path+"."+k, "."), x, f)
	}
}

// address splits a request's address into the part above the path, and the path, with the names of settings and
// fields in them. What signs the request, and the query of a GET, is left out: see auth and body.
func (d *definition) address(s shape) (base, path string) {
	if len(s.URLs) == 0 {
		return "", "/"
	}
	u, err := url.Parse(s.URLs[0])
	if err != nil {
		return "", "/"
	}
	if u.Host == "" { // a setting is the address, or begins it
		first, rest, _ := strings.Cut(s.URLs[0], "/")
		if k := d.setting(first); k != "" {
			return "{settings." + snake(k) + "}", d.path(s, "/"+rest, u.RawQuery)
		}
		return "", "/"
	}
	whole := u.Scheme + "://" + u.Host
	for _, k := range d.Settings {
		own, _ := d.values[k].(string)
		if strings.HasPrefix(own, whole) && strings.HasPrefix(s.URLs[0], own) {
			return "{settings." + snake(k) + "}", d.path(s, strings.TrimPrefix(u.EscapedPath(), strings.TrimPrefix(own, whole)),
				u.RawQuery)
		}
	}
	return d.named(whole), d.path(s, u.EscapedPath(), u.RawQuery)
}

// inGo is an address with names of settings in it, as Go has it.
func inGo(address string) string {
	var parts []string
	for i, p := range strings.Split(address, "{settings.") {
		if i > 0 {
			var name string
			name, p, _ = strings.Cut(p, "}")
			parts = append(parts, "s."+camel(name))
		}
		if p != "" {
			parts = append(parts, strconv.Quote(p))
		}
	}
	return cmp.Or(strings.Join(parts, " + "), `""`)
}

// path has names for what differs in it.
func (d *definition) path(s shape, path, query string) string {
	list := d.samples(s)
	parts := strings.Split(path, "/")
	for i, p := range parts {
		plain, err := url.PathUnescape(p)
		if err != nil {
			continue
		}
		segment := func(x sample) string {
			if all := strings.Split(x.url.Path, "/"); i < len(all) {
				return all[i]
			}
			return ""
		}
		k := d.setting(plain)
		switch f := fieldOf(list, segment); {
		case p == "":
		case k != "":
			parts[i] = "{settings." + snake(k) + "}"
		case f != "":
			parts[i] = "{" + f + "}"
		default:
			parts[i] = d.named(p)
		}
	}
	path = "/" + strings.TrimPrefix(strings.Join(parts, "/"), "/")
	if s.Method == http.MethodGet || query == "" {
		return path
	}
	var kept []string
	for one := range strings.SplitSeq(query, "&") {
		k, v, _ := strings.Cut(one, "=")
		plain, err := url.QueryUnescape(v)
		if err != nil {
			plain = v
		}
		switch key := d.setting(plain); {
		case key != "" && secretName.MatchString(key):
		case key != "":
			kept = append(kept, k+"={settings."+snake(key)+"}")
		default:
			f := fieldOf(list, func(x sample) string { return x.url.Query().Get(k) })
			if f != "" {
				one = k + "={" + f + "}"
			}
			kept = append(kept, one)
		}
	}
	if len(kept) > 0 {
		path += "?" + strings.Join(kept, "&")
	}
	return path
}

// grantedToken is what stands for a token that is not the user's to give, in the rows.
const grantedToken = "test-access-token"

// auth is how the observed requests were signed: settings in the Authorization header, in other headers and in
// the query.
func (d *definition) auth() string {
	var parts []string
	add := func(part string) {
		if !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	for _, s := range d.all() {
		if len(parts) == 0 && s.Headers["authorization"] != "" {
			add(d.authorization(s.Headers["authorization"]))
		}
		for _, name := range slices.Sorted(maps.Keys(s.Headers)) {
			if k := d.setting(s.Headers[name]); k != "" && secretName.MatchString(k) && name != "authorization" {
				add("HeaderAuth(" + strconv.Quote(http.CanonicalHeaderKey(name)) + ", s." + camel(k) + ")")
			}
		}
		if len(s.URLs) > 0 {
			if u, err := url.Parse(s.URLs[0]); err == nil {
				for _, name := range slices.Sorted(maps.Keys(u.Query())) {
					if k := d.setting(u.Query().Get(name)); k != "" && secretName.MatchString(k) {
						add("QueryAuth(" + strconv.Quote(name) + ", s." + camel(k) + ")")
					}
				}
			}
		}
	}
	if len(parts) == 0 {
		return ""
	}
	how := "destination." + parts[0]
	for _, p := range parts[1:] {
		how += ".\nAnd(destination." + p + ")"
	}
	return how
}

// authorization is a header of this name.
func (d *definition) authorization(header string) string {
	of := func(value string) string {
		if k := d.setting(value); k != "" {
			return "s." + camel(k)
		}
		if value == grantedToken {
			return "s.AccessToken"
		}
		return strconv.Quote(value)
	}
	kind, value, ok := strings.Cut(header, " ")
	switch {
	case !ok:
		return `HeaderAuth("Authorization", ` + of(header) + ")"
	case kind == "Bearer":
		return "Bearer(" + of(value) + ")"
	case kind == "Basic":
		if plain, err := base64.StdEncoding.DecodeString(value); err == nil {
			user, password, _ := strings.Cut(string(plain), ":")
			return "Basic(" + of(user) + ", " + of(password) + ")"
		}
	}
	return `HeaderAuth("Authorization", ` + strconv.Quote(kind+" ") + "+" + of(value) + ")"
}

// usual are headers of any client.
var usual = []string{"authorization", "content-type", "content-length", "user-agent", "host", "connection",
	"accept-encoding"}

// headers are the further headers of a request, in Go, by their names.
func (d *definition) headers(s shape) map[string]string {
	out := map[string]string{}
	list := d.samples(s)
	for name, value := range s.Headers {
		k := d.setting(value)
		switch {
		case slices.Contains(usual, name) || value == "*/*" || k != "" && secretName.MatchString(k):
			continue
		case k != "":
			out[name] = "body.Setting(" + strconv.Quote(snake(k)) + ")"
			continue
		}
		if f := fieldOf(list, func(x sample) string { return x.headers[name] }); f != "" {
			out[name] = "body.From(" + strconv.Quote(f) + ")"
		} else if with := d.named(value); with != value {
			out[name] = "body.Format(" + strconv.Quote(with) + ")"
		} else if !slices.ContainsFunc(list, func(x sample) bool { return x.headers[name] != value }) {
			out[name] = "body.Const(" + strconv.Quote(value) + ")"
		}
	}
	return out
}

// all are the observed shapes, in the order of the actions.
func (d *definition) all() (list []shape) {
	for _, a := range d.Actions {
		list = append(list, d.shapes[a.Action]...)
	}
	return list
}

// everywhere are the headers that every observed request has, as Spec.Headers takes them.
func (d *definition) everywhere() map[string]string {
	var common map[string]string
	for _, s := range d.all() {
		own := d.headers(s)
		if common == nil {
			common = own
		}
		maps.DeleteFunc(common, func(k, v string) bool { return own[k] != v || strings.Contains(v, "body.From(") })
	}
	return common
}

// always says that a setting had a value in all rows.
func (d *definition) always(key string) bool {
	return !slices.ContainsFunc(d.rows, func(r row) bool {
		_, ok := written(r.Settings[key])
		return !ok && len(r.Settings) > 0
	})
}
