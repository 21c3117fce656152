package match

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/fanfold/fanfold/pkg/cassette/redact"
)

// maxDifferences limits how many differences a report lists.
const maxDifferences = 50

// Difference is one field in which two requests, or two answers, differ.
type Difference struct {
	Path     string `json:"path"`
	Recorded string `json:"recorded"` // absent if the field is not there
	Sent     string `json:"sent"`
}

const absent = "(absent)"

func (d Difference) String() string {
	return d.Path + ": recorded " + d.Recorded + ", sent " + d.Sent
}

// Comparison is what two requests differ in.
type Comparison struct {
	Differences []Difference
	Rules       []string // with which the differences would not matter
	Hard        bool     // true if there is a difference that no rule can allow
}

// differ makes a comparison.
type differ struct {
	m *Matcher
	Comparison
}

// Compare returns the fields in which two requests differ, with the rules of matching
// applied.
func (m *Matcher) Compare(was, now *Request) Comparison {
	d := &differ{m: m}
	if was.Method != now.Method {
		d.Hard = true
		d.add("method", was.Method, now.Method)
	}
	h1, q1 := m.splitURL(was.URL)
	h2, q2 := m.splitURL(now.URL)
	if !sameText(h1, h2) {
		d.paths(h1, h2)
	}
	v1, err1 := url.ParseQuery(q1)
	v2, err2 := url.ParseQuery(q2)
	if err1 != nil || err2 != nil {
		if q1 != q2 {
			d.Hard = true
			d.add("query", q1, q2)
		}
	} else {
		d.query(v1, v2)
	}
	for _, name := range m.fields {
		if a, b := was.Header.Get(name), now.Header.Get(name); !sameText(a, b) {
			d.Hard = true
			d.add("header."+name, a, b)
		}
	}
	d.bodies(was, now)
	return d.Comparison
}

// sameText compares two texts; tokens are equal if they stand for the same secret.
func sameText(a, b string) bool {
	return a == b || string(redact.SameTokens([]byte(a))) == string(redact.SameTokens([]byte(b)))
}

func (d *differ) add(path, was, now string) {
	if len(d.Differences) < maxDifferences {
		d.Differences = append(d.Differences, Difference{path, short(was), short(now)})
	}
}

func (d *differ) rule(rule string, want shape) {
	if want != shapeAny {
		rule += "=" + string(want)
	}
	if !slices.Contains(d.Rules, rule) {
		d.Rules = append(d.Rules, rule)
	}
}

// paths compares the paths of two addresses, segment by segment.
func (d *differ) paths(was, now string) {
	h1, p1, ok1 := cutPath(was)
	h2, p2, ok2 := cutPath(now)
	a, b := strings.Split(p1, "/"), strings.Split(p2, "/")
	if h1 != h2 || !ok1 || !ok2 || len(a) != len(b) {
		d.Hard = true
		d.add("url", was, now)
		return
	}
	for i := range a {
		if sameText(a[i], b[i]) {
			continue
		}
		d.add("path["+strconv.Itoa(i)+"]", a[i], b[i])
		x, _ := url.PathUnescape(a[i])
		y, _ := url.PathUnescape(b[i])
		want := shapeOf(x, y)
		if want == shapeAny && !(redact.HasDigit(x) && redact.HasDigit(y)) {
			d.Hard = true // the segments are words, so it is another resource
		}
		if i > 0 && a[i-1] == b[i-1] && a[i-1] != "" && !strings.ContainsAny(a[i-1], "<>*=~") && !redact.HasDigit(a[i-1]) {
			d.rule("path~/"+a[i-1]+"/*", want)
		} else {
			d.rule("path["+strconv.Itoa(i)+"]", want)
		}
	}
}

func (d *differ) query(a, b url.Values) {
	for _, k := range keysOf(a, b) {
		want, ruled := d.m.query[k]
		if ruled && want == shapeAny || d.m.credential(k) && len(a[k]) > 0 == (len(b[k]) > 0) {
			continue
		}
		if slices.EqualFunc(a[k], b[k], func(x, y string) bool {
			return sameText(x, y) || ruled && want.has(x) &&
				want.has(y)
		}) {
			continue
		}
		d.add("query."+k, orAbsent(a, k), orAbsent(b, k))
		want = shapeAny
		if len(a[k]) == 1 && len(b[k]) == 1 {
			want = shapeOf(a[k][0], b[k][0])
		}
		d.rule("query."+k, want)
	}
}

// keysOf are the keys of two maps, sorted.
func keysOf[M ~map[string]V, V any](a, b M) []string {
	return slices.Compact(slices.Sorted(slices.Values(slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b)))))
}

func orAbsent(v url.Values, k string) string {
	if _, ok := v[k]; !ok {
		return absent
	}
	return strconv.Quote(strings.Join(v[k], ", "))
}

func (d *differ) bodies(was, now *Request) {
	if was.Body == now.Body {
		return
	}
	a, b := parseTree(was.Header.Get("Content-Type"), was.Body), parseTree(now.Header.Get("Content-Type"), now.Body)
	if a.kind != b.kind {
		d.Hard = true
		d.add("body", orNothing(was.Body), orNothing(now.Body))
		return
	}
	d.value(&walker{m: d.m}, a.v, b.v)
}

func orNothing(s string) string {
	if s == "" {
		return absent
	}
	return s
}

// value compares two values at the walker's path.
func (d *differ) value(w *walker, a, b any) {
	if len(d.Differences) >= maxDifferences {
		d.Hard = true
		return
	}
	sa, oka := w.volatile(a)
	sb, okb := w.volatile(b)
	if oka && okb && sa == sb {
		return
	}
	switch x := a.(type) {
	case map[string]any:
		if y, ok := b.(map[string]any); ok {
			d.objects(w, x, y)
			return
		}
	case []any:
		if y, ok := b.([]any); ok {
			d.arrays(w, x, y)
			return
		}
	case json.Number:
		if y, ok := b.(json.Number); ok && number(string(x)) == number(string(y)) {
			return
		}
	case string:
		if y, ok := b.(string); ok {
			d.texts(w, x, y)
			return
		}
	}
	if !reflect.DeepEqual(a, b) {
		d.differs(w, a, b)
	}
}

// differs records a difference, and the rule that would allow it.
func (d *differ) differs(w *walker, a, b any) {
	d.add(pathText(w.path, false), jsonText(a), jsonText(b))
	if len(w.path) == 0 {
		d.Hard = true
		return
	}
	d.rule(pathText(w.path, true), shapeOf(a, b))
}

func (d *differ) texts(w *walker, a, b string) {
	if inner, ok := jsonIn(a); ok {
		if other, ok := jsonIn(b); ok {
			d.value(w, inner, other)
			return
		}
	}
	x, y := w.parts(a), w.parts(b)
	if sameText(x, y) {
		return
	}
	if len(w.path) > 0 && (shapeOf(a, b) != shapeAny || !strings.ContainsAny(a, " \n")) {
		d.differs(w, a, b)
		return
	}
	d.add(pathText(w.path, false), x, y)
	if rules := partRules(x, y); rules != nil {
		for _, r := range rules {
			d.rule(pathText(w.path, true)+"~"+r, shapeAny)
		}
	} else if len(w.path) > 0 {
		d.rule(pathText(w.path, true), shapeAny)
	} else if !redact.IsText(a) || !redact.IsText(b) {
		d.rule(`body~(?s).*`, shapeAny)
	} else {
		d.Hard = true
	}
}

func (d *differ) objects(w *walker, x, y map[string]any) {
	depth := len(w.path)
	defer func() { w.path = w.path[:depth] }()
	if w.nameless() || namesChange(x, y) {
		if w.nameless() && string(w.object(nil, x)) == string(w.object(nil, y)) {
			return
		}
		d.renamed(w, x, y)
		return
	}
	for _, k := range keysOf(x, y) {
		w.path = append(w.path[:depth], k)
		va, ok1 := x[k]
		vb, ok2 := y[k]
		ok1, ok2 = ok1 && !w.dropped(va), ok2 && !w.dropped(vb)
		switch {
		case !ok1 && !ok2:
		case ok1 && ok2:
			d.value(w, va, vb)
		case ok2:
			d.add(pathText(w.path, false), absent, jsonText(vb))
			d.rule(pathText(w.path, true), optionalOr(vb))
		default:
			d.add(pathText(w.path, false), jsonText(va), absent)
			d.rule(pathText(w.path, true), optionalOr(va))
		}
	}
}

func optionalOr(v any) shape {
	if v == nil {
		return shapeOptional
	}
	return shapeAny
}

// namesChange is true if the member names of two objects look like ids, which are
// different in every run.
func namesChange(x, y map[string]any) bool {
	if len(x) != len(y) || len(x) == 0 {
		return false
	}
	for k := range x {
		if _, ok := y[k]; ok || !isIdentifier(k) || !redact.HasDigit(k) {
			return false
		}
	}
	for k := range y {
		if !isIdentifier(k) || !redact.HasDigit(k) {
			return false
		}
	}
	return true
}

// renamed compares objects whose member names may differ. It pairs the members by the
// order of their contents.
func (d *differ) renamed(w *walker, x, y map[string]any) {
	depth := len(w.path)
	if !w.nameless() {
		d.add(pathText(w.path, false)+"{}", strings.Join(slices.Sorted(maps.Keys(x)), ", "),
			strings.Join(slices.Sorted(maps.Keys(y)), ", "))
		d.rule(pathText(w.path, true)+"{}", shapeAny)
	}
	sorted := func(v map[string]any) []string {
		return slices.SortedFunc(maps.Keys(v), func(a, b string) int {
			return strings.Compare(jsonText(v[a]), jsonText(v[b]))
		})
	}
	ks, ls := sorted(x), sorted(y)
	if len(ks) != len(ls) {
		d.Hard = true
		d.add(pathText(w.path, false)+" (members)", strconv.Itoa(len(ks)), strconv.Itoa(len(ls)))
		return
	}
	for i := range ks {
		w.path = append(w.path[:depth], "*")
		d.value(w, x[ks[i]], y[ls[i]])
	}
	w.path = w.path[:depth]
}

func (d *differ) arrays(w *walker, x, y []any) {
	if w.ruled(shapeUnordered) && string(w.array(nil, x)) == string(w.array(nil, y)) {
		return
	}
	if len(x) != len(y) {
		d.add(pathText(w.path, false)+" (elements)", strconv.Itoa(len(x)), strconv.Itoa(len(y)))
		if len(w.path) == 0 {
			d.Hard = true
			return
		}
		d.rule(pathText(w.path, true), shapeAny)
		return
	}
	depth := len(w.path)
	each := func(v []any) (out []string) {
		for n, e := range v {
			w.path = append(w.path[:depth], "["+strconv.Itoa(n)+"]")
			out = append(out, string(w.json(nil, e)))
		}
		w.path = w.path[:depth]
		return out
	}
	a, b := each(x), each(y)
	if slices.Equal(a, b) {
		return
	}
	slices.Sort(a)
	slices.Sort(b)
	if len(x) > 1 && depth > 0 && slices.Equal(a, b) {
		d.add(pathText(w.path, false)+" (order)", jsonText(x), jsonText(y))
		d.rule(pathText(w.path, true), shapeUnordered)
		return
	}
	for n := range x {
		w.path = append(w.path[:depth], "["+strconv.Itoa(n)+"]")
		d.value(w, x[n], y[n])
	}
	w.path = w.path[:depth]
}

func jsonText(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(data)
}

// stamp matches a time in RFC 3339 and in similar formats.
const stamp = `\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(?:[.,]\d+)?(?:Z|[+-]\d{2}:?\d{2})?`

var stampRE = regexp.MustCompile(`^` + stamp + `$`)

var wordRE = regexp.MustCompile(stamp + `|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}` +
	`|[A-Za-z0-9_]+|[^A-Za-z0-9_]+`)

// partRules returns regular expressions for the words in which two texts differ, or nil
// if they differ in more than words with digits.
func partRules(a, b string) (rules []string) {
	x, y := wordRE.FindAllString(a, -1), wordRE.FindAllString(b, -1)
	if len(x) != len(y) || len(x) > 1<<16 {
		return nil
	}
	for i := range x {
		if x[i] == y[i] {
			continue
		}
		class := ""
		switch {
		case redact.IsDigits(x[i]) && redact.IsDigits(y[i]):
			class = `\d+`
		case stampRE.MatchString(x[i]) && stampRE.MatchString(y[i]):
			class = stamp
		case redact.IsUUID(x[i]) && redact.IsUUID(y[i]):
			class = `[0-9a-fA-F-]{36}`
		case redact.HasDigit(x[i]) && redact.HasDigit(y[i]) && redact.IsWord(x[i][0]) && redact.IsWord(y[i][0]):
			class = `\w+`
		default:
			return nil
		}
		before := ""
		for k := i - 1; k >= 0 && k >= i-2 && !redact.HasDigit(x[k]) && x[k] == y[k] && !strings.Contains(x[k], "<"); k-- {
			before = x[k] + before
		}
		if before == "" || !strings.ContainsFunc(before, func(c rune) bool { return c < 0x80 && redact.IsAlnum(byte(c)) }) {
			before = ""
			if class != stamp {
				class = `\b` + class + `\b`
			}
		}
		if r := regexp.QuoteMeta(before) + class; !slices.Contains(rules, r) {
			rules = append(rules, r)
		}
	}
	return rules
}
