package source

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/fanfold/fanfold/pkg/event"
)

// recognise decides from the first megabyte what the object contains, so that every reading decides the same. An
// *InputError means that it is unclear what the records are.
func (r *reading) recognise() (mode, error) {
	head := bytes.TrimPrefix(r.buf[:min(len(r.buf), headBytes)], bom)
	m := r.detect()
	format := r.choose.format
	if format == "" {
		format = formatAuto
	}
	first := event.SkipSpace(head, 0)
	if isTable := first < len(head) && head[first] != '{' && head[first] != '['; isTable {
		if is, err := r.table(head, first, format); is || err != nil {
			return rows, err
		}
	}
	r.why = [...]string{
		lines: "JSON lines", bodies: "lines that hold batches of events", documents: "JSON documents",
		array: "one JSON array", envelope: "one JSON document with an array of events in it",
	}[m]
	var outer []string // path to the records, for messages
	if r.choose.unwrap != "" {
		outer = []string{unwrapped}
		r.why += ", unwrapped by --unwrap " + r.choose.unwrap
	}
	switch format {
	case formatSegment:
		if outer == nil {
			return m, nil
		}
	case formatAuto:
		return m, r.recogniseRecords(head, m, outer)
	default:
		outer = append(outer, format)
		r.why += ", read as " + format + " as --format says"
	}
	c, err := newConverter(outer, r.choose, nil)
	if err != nil {
		return m, err
	}
	r.convert = c
	if m == bodies && c.unwrap != nil {
		m = lines
	}
	return m, nil
}

// recogniseRecords finds out from the first records what they are.
func (r *reading) recogniseRecords(head []byte, m mode, outer []string) error {
	f := &finder{choose: r.choose, object: r.name}
	for v := range r.firstRecords(head, m) {
		if f.look(v, outer) {
			break
		}
	}
	if f.err != nil {
		return f.err
	}
	if f.why != "" {
		r.why += f.why
	}
	if f.chain == nil {
		f.chain = outer
	}
	if f.chain == nil {
		r.foreign = f.hint
		r.chunk.Foreign = f.hint
		return nil
	}
	c, err := newConverter(f.chain, r.choose, nil)
	r.convert = c
	return err
}

// finder finds out what records are.
type finder struct {
	choose chooser
	object string

	chain []string // the shapes, from outer to inner; nil: the records are events as they are
	why   string
	hint  string // the most similar shape, if the records are no events
	err   error
}

// mostShapes bounds how deep records may be nested in other records.
const mostShapes = 6

// look examines a record inside others, and says whether it decides the matter.
func (f *finder) look(v event.Value, outer []string) bool {
	if len(outer) >= mostShapes {
		return false
	}
	if len(outer) > 0 {
		c, err := newConverter(outer[len(outer)-1:], f.choose, nil)
		if err != nil {
			f.err = err
			return true
		}
		if c.unwrap == nil || c.m != nil || c.rows != nil {
			return false
		}
		if len(outer) == 1 || f.chain != nil {
			f.chain = slices.Clone(outer)
		}
		decided := false
		c.unwrap.each(v, func(inner event.Value, err error) {
			decided = decided || err == nil && f.one(inner, outer)
		})
		return decided
	}
	return f.one(v, outer)
}

// one examines a record itself.
func (f *finder) one(v event.Value, outer []string) bool {
	if t := v.Get("type"); slices.ContainsFunc(eventTypes[:], func(name string) bool {
		return t.Kind() == event.String && strings.EqualFold(strings.TrimSpace(t.Text()), name)
	}) {
		if flat := snakeCased(v); flat {
			f.found(outer, formatTable, "; their members are named as a warehouse names columns")
			return true
		}
		f.why += " of Segment-spec events"
		return true
	}
	if v.Get("dead_letter").Exists() {
		f.why += " of dead letters"
		return true
	}
	fits := fitting(f.choose.shapes, v)
	switch {
	case len(fits) > 1:
		f.err = unsure(f.object, fits)
		return true
	case len(fits) == 1:
		s := fits[0]
		f.found(outer, s.Name, fmt.Sprintf(", recognised as %s by %s", s.Name, strings.Join(s.All, ", ")))
		if s.wraps() {
			f.look(v, append(slices.Clone(outer), s.Name))
		}
		return true
	}
	if isRow(v) {
		if kind := tableOf(columnsOf(v), f.object); kind != undecided {
			name := string(kind)
			if kind == eachRow {
				name = formatTable
			}
			f.found(outer, name, ", read as rows of a table of "+name)
			return true
		}
	}
	switch {
	case f.hint != "":
	case isRow(v):
		f.hint = "it is a row of a table: say of which with --format (" + tableNames() + ")"
	default:
		f.hint = nearest(f.choose.shapes, v)
	}
	return false
}

func (f *finder) found(outer []string, name, why string) {
	f.chain = append(slices.Clone(outer), name)
	f.why += why
}

func columnsOf(v event.Value) (names []string) {
	for k := range v.Members() {
		names = append(names, k.Text())
	}
	return names
}

// snakeCased says whether the members of a record are named as a warehouse names columns.
func snakeCased(v event.Value) bool {
	for _, camel := range [...]string{"userId", "anonymousId", "messageId", "originalTimestamp", "receivedAt", "sentAt"} {
		if v.Get(camel).Exists() {
			return false
		}
	}
	for _, snake := range [...]string{
		"user_id", "anonymous_id", "message_id", "original_timestamp", "received_at", "sent_at",
	} {
		if v.Get(snake).Exists() {
			return true
		}
	}
	return false
}

// isRow says whether a record has the names of a warehouse's columns.
func isRow(v event.Value) bool {
	has := func(names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool {
			return v.Get(n).Exists() || v.Get(strings.ToUpper(n)).Exists()
		})
	}
	return has("user_id", "anonymous_id", "id", "message_id") &&
		has("received_at", "original_timestamp", "sent_at", "message_id", "anonymous_id")
}

// nearest says which shape a record resembles most, and where in it events may be.
func nearest(shapes []Shape, v event.Value) string {
	for k, member := range v.Members() {
		if inner := member; member.Kind() == event.Object && isEvent(inner) {
			return fmt.Sprintf("its %s is one: --unwrap %[1]s reads that", k.Text())
		}
		if member.Kind() == event.String && member.Size() > 2 && member.Size() < headBytes {
			b := bytes.TrimSpace(member.AppendString(nil))
			if len(b) > 0 && b[0] == '{' {
				if inner, err := event.ParseValue(b); err == nil && isEvent(inner) {
					return fmt.Sprintf("the text of its %s is one: --unwrap %[1]s reads that", k.Text())
				}
			}
		}
	}
	var best *Shape
	var lacks []string
	most := 1
	for i := range shapes {
		s := &shapes[i]
		var missing []string
		for _, mark := range s.All {
			if !v.Find(event.CompilePath(mark)).Exists() {
				missing = append(missing, mark)
			}
		}
		if has := len(s.All) - len(missing); has > most || best != nil && has == most && len(missing) < len(lacks) {
			best, lacks, most = s, missing, has
		}
	}
	const own = "say how its records are events with --map FILE (help shapes)"
	if best == nil || len(lacks) == 0 {
		return own
	}
	return fmt.Sprintf("it comes nearest to %s, but has no %s: --format %s reads it so, or %s", best.Name,
		strings.Join(lacks, " and no "), best.Name, own)
}

// isEvent says whether a value has the type of a call in the spec.
func isEvent(v event.Value) bool {
	return v.Kind() == event.Object && slices.ContainsFunc(eventTypes[:], v.Get("type").IsText)
}

// tableHint is the advice for lines that are not JSON but look like a table whose format was not given; "": they
// do not.
func tableHint(text []byte, names []string, sep string) string {
	line, rest, _ := bytes.Cut(text, []byte{'\n'})
	_, comma := headerOf(line, sep)
	second, _, _ := bytes.Cut(rest, []byte{'\n'})
	if len(cells(bytes.TrimRight(second, "\r"), comma, false)) != len(names) {
		return ""
	}
	for _, n := range names {
		isName := func(r rune) bool {
			return r == '_' || r == '-' || r == '.' || r == ' ' || r == '$' || unicode.IsLetter(r) || unicode.IsDigit(r)
		}
		if n == "" || len(n) > 64 || !unicode.IsLetter([]rune(n)[0]) ||
			strings.ContainsFunc(n, func(r rune) bool { return !isName(r) }) {
			return ""
		}
	}
	shown := strings.Join(names[:min(len(names), 4)], ", ")
	if len(names) > 4 {
		shown += ", …"
	}
	return fmt.Sprintf("it looks like a table (%s) without a column of events: say how its rows are events with "+
		"--map FILE, or with --format table and --columns", shown)
}

// eventTypes are the calls of the spec.
var eventTypes = [...]string{"track", "identify", "page", "screen", "group", "alias"}

func unsure(name string, fits []*Shape) error {
	var names []string
	for _, s := range fits {
		names = append(names, s.Name)
	}
	return inputf("%s: its records could be %s: say which with --format", name, strings.Join(names, " or "))
}

// fitsHeader says whether a line of text is the header of a shape's table.
func (r *reading) fitsHeader(names []string) bool {
	v, err := event.ParseValue(rowJSON(names, names))
	return err == nil && len(fitting(r.choose.shapes, v)) > 0
}

// firstRecords yields the first complete records of the head.
func (r *reading) firstRecords(head []byte, m mode) func(func(event.Value) bool) {
	return func(yield func(event.Value) bool) {
		i := 0
		if m == array {
			i = event.SkipSpace(head, 0) + 1
		}
		if m == envelope {
			name := envelopeIn(head[event.SkipSpace(head, 0):])
			at := bytes.Index(head, []byte(`"`+name+`"`))
			if open := bytes.IndexByte(head[at+1:], '['); at >= 0 && open >= 0 {
				i = at + 1 + open + 1
			}
		}
		for range 20 {
			for i < len(head) && (head[i] <= ' ' || head[i] == ',') {
				i++
			}
			end, ok := scanValue(head, i)
			if m == lines || m == bodies {
				if n := bytes.IndexByte(head[i:], '\n'); n >= 0 {
					end, ok = i+n, true
				} else {
					end, ok = len(head), true
				}
			}
			if !ok || end <= i {
				return
			}
			if v, err := event.ParseValue(head[i:end]); err == nil && v.Kind() == event.Object {
				if m == bodies {
					for el := range isEnvelope(v).Elements() {
						if el.Kind() == event.Object && !yield(el) {
							return
						}
					}
				} else if !yield(v) {
					return
				}
			}
			i = end
		}
	}
}

// fitting returns the shapes that match a record. A shape is left out if another matching one requires the same
// paths and more.
func fitting(shapes []Shape, v event.Value) []*Shape {
	var out []*Shape
	capitals := isCapital(v)
	for i := range shapes {
		s := &shapes[i]
		has := func(p string) bool {
			if capitals && s.Mapping != nil {
				p = strings.ToUpper(p)
			}
			return v.Find(event.CompilePath(p)).Exists()
		}
		if len(s.All) == 0 || slices.ContainsFunc(s.None, has) {
			continue
		}
		if !slices.ContainsFunc(s.All, func(p string) bool { return !has(p) }) {
			out = append(out, s)
		}
	}
	return slices.DeleteFunc(out, func(s *Shape) bool {
		return slices.ContainsFunc(out, func(o *Shape) bool {
			return o != nil && len(o.All) > len(s.All) &&
				!slices.ContainsFunc(s.All, func(p string) bool { return !slices.Contains(o.All, p) })
		})
	})
}

// table decides whether, and how, an object that does not begin with a bracket is a table.
func (r *reading) table(head []byte, first int, format string) (is bool, err error) {
	if s := r.columnsOf(head[first:], format); s != nil {
		return true, r.chooseColumnsOf(s, format)
	}
	if len(r.choose.columns) > 0 || r.choose.comma != "" || format == formatTable || isTableKind(format) {
		return true, r.chooseTable(head, format)
	}
	if format == formatSegment {
		return false, nil
	}
	line, _ := firstRow(head[first:])
	names, _ := headerOf(line, r.choose.comma)
	if len(names) < 2 || !utf8.Valid(line) && r.choose.encoding != "" {
		return false, nil
	}
	if format != formatAuto || plausibleHeader(names) || r.fitsHeader(names) {
		return true, r.chooseTable(head, format)
	}
	r.hint = tableHint(head[first:], names, r.choose.comma)
	r.chunk.Hint = r.hint
	return false, nil
}

// columnsOf finds the shape whose columns a table without a header has.
func (r *reading) columnsOf(text []byte, format string) *Shape {
	line, _, _ := bytes.Cut(text, []byte{'\n'})
	values := cells(bytes.TrimRight(line, "\r"), '\t', true)
	for i := range r.choose.shapes {
		s := &r.choose.shapes[i]
		named := format == s.Name
		if len(s.Columns) == 0 || !named && format != formatAuto {
			continue
		}
		if named {
			return s
		}
		// Older writers have fewer columns, newer ones more.
		if len(values) < len(s.Columns)*4/5 || len(values) > len(s.Columns)*6/5 {
			continue
		}
		if !slices.ContainsFunc(s.Filled, func(name string) bool {
			at := slices.Index(s.Columns, name)
			return at < 0 || at >= len(values) || values[at] == ""
		}) {
			return s
		}
	}
	return nil
}

// plausibleHeader says whether a line of text may be the header of a table of events.
func plausibleHeader(names []string) bool {
	known := 0
	for _, n := range names {
		if specName(n) != "" {
			known++
		}
	}
	return known > 0 && !slices.Contains(names, "")
}
