package mapping

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/fanfold/fanfold/pkg/event"
)

// The directives beyond Segment's: what destinations there do in code. Their
// arguments are objects (but for @first) whose unknown keys are refused.

var timeFormats = []string{"iso", "rfc3339", "seconds", "millis", "micros", "nanos", "fraction", "date", "datetime", "day"}

var normalForms = []string{"email", "email_dotless", "phone", "phone_digits", "name", 
	"city", "state", "zip", "country", "gender", "birthdate", "text"}

var keyCases = []string{"snake", "camel", "pascal", "title", "kebab", "lower"}

// ownDirective returns our own directives.
func ownDirective(name string) (directiveSpec, bool) {
	anything := (*checker).any
	value := need("value", anything)
	switch name {
	case "@first":
		return directiveSpec{(*checker).elements, compileFirst}, true
	case "@text":
		return own(valueOf(writeText), value)
	case "@number":
		return own(compileNumber, value, may("as", oneOf("number", "integer", "cents")))
	case "@boolean":
		return own(valueOf(writeBool), value)
	case "@time":
		return own(compileTime, value, need("format", oneOf(timeFormats...)))
	case "@hash":
		return own(compileHash(true), value, may("as", oneOf(normalForms...)), may("country", anything))
	case "@normalize":
		return own(compileHash(false), value, need("as", oneOf(normalForms...)), may("country", anything))
	case "@join":
		return own(compileJoin, need("values", (*checker).elements), may("separator", (*checker).text))
	case "@lookup":
		return own(
			compileLookup,
			value,
			need("table", (*checker).object),
			may("ignorecase", (*checker).boolean),
			may("else", anything),
		)
	case "@keys":
		return own(compileKeys, value, need("case", oneOf(keyCases...)), may("deep", (*checker).boolean))
	case "@rename":
		return own(compileRename, value, need("keys", checkNames))
	case "@pick", "@omit":
		return own(compilePick(name == "@omit"), value, need("keys", checkTexts))
	case "@compact":
		return own(valueOf(writeCompact), value)
	case "@after":
		return own(compileAfter, value, need("prefix", (*checker).text))
	case "@unless":
		return own(compileUnless, value, may("equals", anything), may("prefix", (*checker).text))
	case "@values":
		return own(valueOf(writeValues), value)
	case "@pairs":
		return own(valueOf(writePairs), value)
	case "@members":
		return own(compileMembers, value, need("prefix", (*checker).text), may("open", (*checker).boolean))
	case "@described":
		return own(compileDescribed, value, may("open", (*checker).boolean))
	case "@cut":
		return own(compileCut, value, need("bytes", (*checker).integer), may("more", (*checker).text))
	case "@limit":
		return own(compileLimit, value, need("items", (*checker).integer), may("more", (*checker).text))
	}
	return directiveSpec{}, false
}

func own(f func(arg *tree, stack []string) node, opts ...option) (directiveSpec, bool) {
	checkArg := strictOptions(opts...)
	return directiveSpec{checkArg, func(arg *tree, stack []string) node {
		// Inside arrays nothing has been checked yet.
		c := checker{}
		if !checkArg(&c, arg, stack) {
			return &errorNode{&SyntaxError{c.problems}}
		}
		return f(arg, stack)
	}}, true
}

func checkTexts(c *checker, t *tree, stack []string) bool {
	if !c.array(t, stack) {
		return false
	}
	for _, v := range t.vals {
		if !c.text(v, stack) {
			return false
		}
	}
	return true
}

func checkNames(c *checker, t *tree, stack []string) bool {
	if !c.object(t, stack) {
		return false
	}
	for i, v := range t.vals {
		if !c.text(v, push(stack, t.keys[i])) {
			return false
		}
	}
	return true
}

type writeFunc = func(r *Resolver, dst []byte, v result, in event.Value) ([]byte, bool)

// valueOf compiles a directive that has a value and no other options.
func valueOf(f writeFunc) func(*tree, []string) node {
	return func(arg *tree, stack []string) node { return onValue(arg, stack, f) }
}

func onValue(arg *tree, stack []string, f writeFunc) *applyNode {
	return &applyNode{arg: compile(arg.get("value"), push(stack, "value")), f: f}
}

func textOption(arg *tree, key string) string {
	s, _ := arg.get(key).text()
	return s
}

// wordOption is textOption for a choice of words, which are taken in any case.
func wordOption(arg *tree, key string) string { return strings.ToLower(textOption(arg, key)) }

func compileFirst(arg *tree, stack []string) node {
	if arg.form != array {
		return fault(stack, "expected array, got %s", arg.jsType())
	}
	n := &firstNode{}
	for i, v := range arg.vals {
		n.vals = append(n.vals, compile(v, push(stack, strconv.Itoa(i))))
	}
	return n
}

// appendPlain appends a scalar's text, or a container's JSON.
func appendPlain(dst []byte, v result) []byte {
	switch v.kind {
	case event.Array, event.Object:
		return appendCanonical(dst, v.raw)
	}
	return appendJSText(dst, v.raw)
}

func writeText(r *Resolver, dst []byte, v result, _ event.Value) ([]byte, bool) {
	switch v.kind {
	case event.Missing, event.Null:
		return dst, false
	case event.String:
		return append(dst, v.raw...), true
	}
	buf := appendPlain(r.temp(), v)
	dst = event.AppendQuoted(dst, buf)
	r.done(buf)
	return dst, true
}

// numberOf appends the number that a value is.
func numberOf(dst []byte, k event.Kind, raw []byte) ([]byte, bool) {
	at := len(dst)
	switch k {
	case event.Number:
		return append(dst, raw...), true
	case event.Bool:
		if raw[0] == 't' {
			return append(dst, '1'), true
		}
		return append(dst, '0'), true
	case event.String:
		text := trimJS(event.AppendUnquoted(nil, raw))
		if len(text) == 0 {
			return dst, false
		}
		dst, ok := appendJSNumber(dst, text)
		if !ok || dst[len(dst)-1] == 'l' { // null stands for an infinity
			return dst[:at], false
		}
		return dst, true
	}
	return dst, false
}

func compileNumber(arg *tree, stack []string) node {
	as := wordOption(arg, "as")
	return onValue(arg, stack, func(_ *Resolver, dst []byte, v result, _ event.Value) ([]byte, bool) {
		at := len(dst)
		dst, ok := numberOf(dst, v.kind, v.raw)
		if !ok || as == "" || as == "number" || as == "integer" && plainInteger(dst[at:]) {
			return dst, ok
		}
		f, err := strconv.ParseFloat(string(dst[at:]), 64)
		if err != nil {
			return dst[:at], false
		}
		if as == "integer" {
			f = math.Trunc(f)
		} else if f = math.Round(f * 100); math.IsInf(f, 0) {
			return dst[:at], false
		}
		return event.AppendFloatJS(dst[:at], f+0), true // + 0 makes -0 a 0
	})
}

// boolOf appends the boolean that a value is.
func boolOf(dst []byte, k event.Kind, raw []byte) ([]byte, bool) {
	yes := false
	switch k {
	case event.Bool:
		return append(dst, raw...), true
	case event.Number:
		f, _ := strconv.ParseFloat(string(raw), 64)
		if f != 0 && f != 1 {
			return dst, false
		}
		yes = f == 1
	case event.String:
		switch strings.ToLower(strings.TrimSpace(decodeText(raw))) {
		case "true", "yes", "1":
			yes = true
		case "false", "no", "0":
		default:
			return dst, false
		}
	default:
		return dst, false
	}
	return strconv.AppendBool(dst, yes), true
}

func writeBool(_ *Resolver, dst []byte, v result, _ event.Value) ([]byte, bool) {
	return boolOf(dst, v.kind, v.raw)
}

func compileTime(arg *tree, stack []string) node {
	format := wordOption(arg, "format")
	return onValue(arg, stack, func(r *Resolver, dst []byte, v result, _ event.Value) ([]byte, bool) {
		t, ok := timeOf(r, v)
		if !ok {
			return dst, false
		}
		return appendTime(dst, t, format)
	})
}

func timeOf(r *Resolver, v result) (time.Time, bool) {
	if v.ev.Exists() {
		return event.ParseTime(v.ev)
	}
	if v.kind == event.String {
		buf := event.AppendUnquoted(r.temp(), v.raw)
		defer r.done(buf)
		return event.ParseTimeText(buf)
	}
	return event.ParseTime(v.value(r))
}

// appendTime writes a time as a JSON value. Years beyond four digits have no
// text form that partners read.
func appendTime(dst []byte, t time.Time, format string) ([]byte, bool) {
	t = t.UTC()
	layout := ""
	switch format {
	case "seconds":
		return strconv.AppendInt(dst, t.Unix(), 10), true
	case "millis":
		return strconv.AppendInt(dst, t.UnixMilli(), 10), true
	case "micros":
		return strconv.AppendInt(dst, t.UnixMicro(), 10), true
	case "nanos":
		if y := t.Year(); y < 1678 || y > 2261 {
			return dst, false
		}
		return strconv.AppendInt(dst, t.UnixNano(), 10), true
	case "fraction":
		dst = strconv.AppendInt(dst, t.Unix(), 10)
		if t.Unix() < 0 && t.Nanosecond() != 0 {
			return dst, true // the fraction would point the other way
		}
		if ms := t.UnixMilli() % 1000; ms > 0 {
			dst = append(dst, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
			dst = bytes.TrimRight(dst, "0")
		}
		return dst, true
	case "iso":
		layout = "2006-01-02T15:04:05.000Z"
	case "rfc3339":
		layout = "2006-01-02T15:04:05Z"
	case "date":
		layout = "2006-01-02"
	case "datetime":
		layout = "2006-01-02 15:04:05"
	case "day":
		layout = "20060102"
	}
	if y := t.Year(); y < 0 || y > 9999 {
		return dst, false
	}
	dst = append(dst, '"')
	dst = t.AppendFormat(dst, layout)
	return append(dst, '"'), true
}

// AppendTime appends t as a JSON value in one of the formats of [Time], for Go
// code that builds bodies itself. It reports false when the format cannot hold
// the time.
func AppendTime(dst []byte, t time.Time, format string) ([]byte, bool) {
	if !slices.Contains(timeFormats, format) {
		return dst, false
	}
	return appendTime(dst, t, format)
}

func compileHash(hash bool) func(*tree, []string) node {
	return func(arg *tree, stack []string) node {
		as := wordOption(arg, "as")
		var country node = undefinedNode{}
		if c := arg.get("country"); c != nil {
			country = compile(c, push(stack, "country"))
		}
		n := onValue(arg, stack, func(r *Resolver, dst []byte, v result, in event.Value) ([]byte, bool) {
			where := ""
			if c := country.eval(r, in); c.kind == event.String {
				where = decodeText(c.raw)
			}
			one := func(dst []byte, v result) ([]byte, bool) {
				switch v.kind {
				case event.String, event.Number, event.Bool:
				default:
					return dst, false
				}
				text := appendJSText(r.temp(), v.raw)
				defer r.done(text)
				if hash && IsHashed(text) {
					return event.AppendQuoted(dst, bytes.ToLower(text)), true
				}
				out := AppendNormal(r.temp(), as, text, where)
				defer r.done(out)
				if len(out) == 0 {
					return dst, false
				}
				if hash {
					return AppendHash(dst, out), true
				}
				return event.AppendQuoted(dst, out), true
			}
			if v.kind != event.Array {
				return one(dst, v)
			}
			at := len(dst)
			dst = append(dst, '[')
			any := false
			event.EachElement(v.raw, func(raw []byte) {
				before := len(dst)
				if any {
					dst = append(dst, ',')
				}
				var ok bool
				if dst, ok = one(dst, result{raw: raw, kind: kindOf(raw)}); !ok {
					dst = dst[:before]
				}
				any = any || ok
			})
			if !any {
				return dst[:at], false
			}
			return append(dst, ']'), true
		})
		return n
	}
}

// IsHashed reports whether text is a SHA-256 in hex already.
func IsHashed(text []byte) bool {
	if len(text) != 2*sha256.Size {
		return false
	}
	for _, c := range text {
		if !isHex(c) {
			return false
		}
	}
	return true
}

// AppendHash appends the SHA-256 of text in hex as a JSON string.
func AppendHash(dst, text []byte) []byte {
	sum := sha256.Sum256(text)
	dst = append(dst, '"')
	dst = hex.AppendEncode(dst, sum[:])
	return append(dst, '"')
}

func compileJoin(arg *tree, stack []string) node {
	n := &joinNode{separator: []byte(textOption(arg, "separator"))}
	for i, v := range arg.get("values").vals {
		n.vals = append(n.vals, compile(v, append(push(stack, "values"), strconv.Itoa(i))))
	}
	return n
}

type joinNode struct {
	vals      []node
	separator []byte
}

func (n *joinNode) eval(r *Resolver, in event.Value) result { return computed(n, r, in) }

func (n *joinNode) write(r *Resolver, dst []byte, in event.Value) ([]byte, bool) {
	out := r.temp()
	add := func(v result) {
		if isEmpty(v) {
			return
		}
		at := len(out)
		if at > 0 {
			out = append(out, n.separator...)
		}
		before := len(out)
		if out = appendPlain(out, v); len(out) == before {
			out = out[:at]
		}
	}
	for _, c := range n.vals {
		v := c.eval(r, in)
		if r.err != nil {
			break
		}
		if v.kind == event.Array {
			event.EachElement(v.raw, func(raw []byte) { add(result{raw: raw, kind: kindOf(raw)}) })
		} else {
			add(v)
		}
		if len(out) > maxOutput {
			r.fail(errTooLarge)
			break
		}
	}
	ok := len(out) > 0 && r.err == nil
	if ok {
		dst = event.AppendQuoted(dst, out)
	}
	r.done(out)
	return dst, ok
}

func compileLookup(arg *tree, stack []string) node {
	n := &lookupNode{
		arg:   compile(arg.get("value"), push(stack, "value")),
		table: map[string]node{},
		els:   undefinedNode{},
		fold:  arg.get("ignorecase").truthy(),
	}
	table := arg.get("table")
	for i, k := range table.keys {
		if n.fold {
			k = strings.ToLower(k)
		}
		n.table[k] = compile(table.vals[i], append(push(stack, "table"), k))
	}
	if e := arg.get("else"); e != nil {
		n.els = compile(e, push(stack, "else"))
	}
	return n
}

type lookupNode struct {
	arg   node
	table map[string]node
	els   node
	fold  bool
}

func (n *lookupNode) choose(r *Resolver, in event.Value) node {
	v := n.arg.eval(r, in)
	if r.err != nil {
		return undefinedNode{}
	}
	switch v.kind {
	case event.String, event.Number, event.Bool:
		buf := appendJSText(r.temp(), v.raw)
		defer r.done(buf)
		if n.fold {
			buf = bytes.ToLower(buf)
		}
		if c, ok := n.table[string(buf)]; ok {
			return c
		}
	}
	return n.els
}

func (n *lookupNode) eval(r *Resolver, in event.Value) result { return n.choose(r, in).eval(r, in) }
func (n *lookupNode) write(r *Resolver, dst []byte, in event.Value) ([]byte, bool) {
	return n.choose(r, in).write(r, dst, in)
}

// rewrite appends an object with other keys. f returns the new key, or false
// to leave the member out. Of members that end up with the same key the last
// one's value stays, in the first one's place.
func rewrite(r *Resolver, dst, obj []byte, f func(key string) (string, bool), val func(dst, raw []byte) []byte) []byte {
	from := len(r.merged)
	at := map[string]int{}
	event.EachMember(obj, func(key, raw []byte) {
		k, ok := f(decodeText(key))
		if !ok {
			return
		}
		if i, dup := at[k]; dup {
			r.merged[i].val = raw
			return
		}
		at[k] = len(r.merged)
		r.merged = append(r.merged, entry{event.AppendQuoted(nil, k), raw})
	})
	dst = append(dst, '{')
	end := len(r.merged)
	for i := from; i < end; i++ {
		if i > from {
			dst = append(dst, ',')
		}
		dst = append(append(dst, r.merged[i].key...), ':')
		dst = val(dst, r.merged[i].val)
	}
	r.merged = r.merged[:from]
	return append(dst, '}')
}

func verbatim(dst, raw []byte) []byte { return append(dst, raw...) }

func compileKeys(arg *tree, stack []string) node {
	style, deep := wordOption(arg, "case"), arg.get("deep").truthy()
	return onValue(arg, stack, func(r *Resolver, dst []byte, v result, _ event.Value) ([]byte, bool) {
		if v.kind == event.Missing {
			return dst, false
		}
		name := func(key string) (string, bool) { return KeyName(style, key), true }
		var walk func(dst, raw []byte, top bool) []byte
		walk = func(dst, raw []byte, top bool) []byte {
			switch k := kindOf(raw); {
			case k == event.Object && (top || deep):
				return rewrite(r, dst, raw, name, func(dst, raw []byte) []byte { return walk(dst, raw, false) })
			case k == event.Array && deep:
				dst = append(dst, '[')
				start := len(dst)
				event.EachElement(raw, func(e []byte) {
					if len(dst) > start {
						dst = append(dst, ',')
					}
					dst = walk(dst, e, false)
				})
				return append(dst, ']')
			}
			return append(dst, raw...)
		}
		return walk(dst, v.raw, true), true
	})
}

// KeyName writes a key in one of the cases of [KeyCase]. A key that has no
// letter or digit stays as it is.
func KeyName(style, key string) string {
	words := splitWords(key)
	if len(words) == 0 {
		return key
	}
	upperFirst := func(w string) string {
		c, n := utf8.DecodeRuneInString(w)
		return string(unicode.ToUpper(c)) + w[n:]
	}
	sep := ""
	switch style {
	case "snake":
		sep = "_"
	case "kebab":
		sep = "-"
	case "title", "lower":
		sep = " "
	}
	for i, w := range words {
		w = strings.ToLower(w)
		if style == "title" || style == "pascal" || style == "camel" && i > 0 {
			w = upperFirst(w)
		}
		words[i] = w
	}
	return strings.Join(words, sep)
}

// splitWords cuts a key where its words begin: at anything that is neither
// letter nor digit, before an upper-case letter after a lower-case one or a
// digit, and before the last capital of a run that a lower-case letter
// follows (HTTPServer is HTTP, Server).
func splitWords(key string) []string {
	var words []string
	rs := []rune(key)
	from := -1
	flush := func(to int) {
		if from >= 0 && to > from {
			words = append(words, string(rs[from:to]))
		}
		from = -1
	}
	for i, c := range rs {
		if !unicode.IsLetter(c) && !unicode.IsDigit(c) {
			flush(i)
			continue
		}
		if from >= 0 && unicode.IsUpper(c) {
			prev := rs[i-1]
			if !unicode.IsUpper(prev) || i+1 < len(rs) && unicode.IsLower(rs[i+1]) {
				flush(i)
			}
		}
		if from < 0 {
			from = i
		}
	}
	flush(len(rs))
	return words
}

func compileRename(arg *tree, stack []string) node {
	names := map[string]string{}
	keys := arg.get("keys")
	for i, k := range keys.keys {
		names[k], _ = keys.vals[i].text()
	}
	return onObject(arg, stack, func(key string) (string, bool) {
		if n, ok := names[key]; ok {
			return n, true
		}
		return key, true
	})
}

func compilePick(omit bool) func(*tree, []string) node {
	return func(arg *tree, stack []string) node {
		keys := map[string]bool{}
		var prefixes []string
		for _, v := range arg.get("keys").vals {
			s, _ := v.text()
			if begin, ok := strings.CutSuffix(s, "*"); ok {
				prefixes = append(prefixes, begin)
			}
			keys[s] = true
		}
		named := func(key string) bool {
			return keys[key] || slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(key, p) })
		}
		return onObject(arg, stack, func(key string) (string, bool) { return key, named(key) != omit })
	}
}

// onObject rewrites the keys of an object and leaves other values alone.
func onObject(arg *tree, stack []string, f func(key string) (string, bool)) node {
	return onValue(arg, stack, func(r *Resolver, dst []byte, v result, _ event.Value) ([]byte, bool) {
		if v.kind == event.Object {
			return rewrite(r, dst, v.raw, f, verbatim), true
		}
		return append(dst, v.raw...), v.kind != event.Missing
	})
}

func writeCompact(_ *Resolver, dst []byte, v result, _ event.Value) ([]byte, bool) {
	return appendCompact(dst, v.raw)
}

// appendCompact appends a value without its empty parts, or nothing when
// nothing is left of it.
func appendCompact(dst, raw []byte) ([]byte, bool) {
	at := len(dst)
	switch kindOf(raw) {
	case event.Missing, event.Null:
		return dst, false
	case event.String:
		if len(raw) == 2 {
			return dst, false
		}
	case event.Object:
		dst = append(dst, '{')
		start := len(dst)
		event.EachMember(raw, func(key, val []byte) {
			before := len(dst)
			if before > start {
				dst = append(dst, ',')
			}
			var ok bool
			if dst, ok = appendCompact(append(append(dst, key...), ':'), val); !ok {
				dst = dst[:before]
			}
		})
		if len(dst) == start {
			return dst[:at], false
		}
		return append(dst, '}'), true
	case event.Array:
		dst = append(dst, '[')
		start := len(dst)
		event.EachElement(raw, func(val []byte) {
			before := len(dst)
			if before > start {
				dst = append(dst, ',')
			}
			var ok bool
			if dst, ok = appendCompact(dst, val); !ok {
				dst = dst[:before]
			}
		})
		if len(dst) == start {
			return dst[:at], false
		}
		return append(dst, ']'), true
	}
	return append(dst, raw...), true
}

func compileCut(arg *tree, stack []string) node {
	limit, more := number(string(arg.get("bytes").raw)), textOption(arg, "more")
	return onValue(arg, stack, func(r *Resolver, dst []byte, v result, _ event.Value) ([]byte, bool) {
		if v.kind == event.Missing {
			return dst, false
		}
		if v.kind != event.String || len(v.raw)-2 <= limit {
			return append(dst, v.raw...), true
		}
		text := event.AppendUnquoted(r.temp(), v.raw)
		defer r.done(text)
		if len(text) <= limit {
			return append(dst, v.raw...), true
		}
		return event.AppendQuoted(dst, CutText(text, limit, more)), true
	})
}

// CutText returns at most limit bytes of text, cut between characters, as
// [Cut] does.
func CutText(text []byte, limit int, more string) []byte {
	if len(text) <= limit {
		return text
	}
	clip := func(b []byte, n int) []byte {
		n = max(n, 0)
		for n > 0 && n < len(b) && !utf8.RuneStart(b[n]) {
			n--
		}
		return b[:min(n, len(b))]
	}
	if more == "" {
		return clip(text, limit)
	}
	// The note's own length depends on the count in it, so cut until both fit.
	room := limit
	for {
		kept := clip(text, room)
		note := strings.ReplaceAll(more, "{n}", strconv.Itoa(utf8.RuneCount(text)-utf8.RuneCount(kept)))
		if len(kept)+len(note) <= limit {
			return append(bytes.Clone(kept), note...)
		}
		if len(kept) == 0 {
			return clip(text, limit) // there is no room for the note at all
		}
		room = min(limit-len(note), len(kept)-1)
	}
}

func compileLimit(arg *tree, stack []string) node {
	limit, more := number(string(arg.get("items").raw)), textOption(arg, "more")
	return onValue(arg, stack, func(_ *Resolver, dst []byte, v result, _ event.Value) ([]byte, bool) {
		switch v.kind {
		case event.Missing:
			return dst, false
		case event.Array:
			total := 0
			event.EachElement(v.raw, func([]byte) { total++ })
			keep := min(total, limit)
			if total > limit && more != "" && limit > 0 {
				keep = limit - 1
			}
			dst = append(dst, '[')
			i := 0
			event.EachElement(v.raw, func(e []byte) {
				if i < keep {
					if i > 0 {
						dst = append(dst, ',')
					}
					dst = append(dst, e...)
				}
				i++
			})
			if keep < total && more != "" && limit > 0 {
				if keep > 0 {
					dst = append(dst, ',')
				}
				dst = event.AppendQuoted(dst, strings.ReplaceAll(more, "{n}", strconv.Itoa(total-keep)))
			}
			return append(dst, ']'), true
		case event.Object:
			dst = append(dst, '{')
			i := 0
			event.EachMember(v.raw, func(key, val []byte) {
				if i < limit {
					if i > 0 {
						dst = append(dst, ',')
					}
					dst = append(append(append(dst, key...), ':'), val...)
				}
				i++
			})
			return append(dst, '}'), true
		}
		return append(dst, v.raw...), true
	})
}
