package source

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// Shape is a kind of record that is no event yet, such as a line of another
// vendor's export, and the mapping that makes an event of it. Shapes are data that
// the caller brings: this package has none built in.
type Shape struct {
	// Name is what --format calls it.
	Name string
	// All are paths that every record of the shape has, by which it is
	// recognised; None are paths that it never has. A shape without All is
	// used only when it is asked for by name.
	All, None []string
	// Unwrap is the path of the event, or the array of events, inside the record; what
	// it finds may be JSON inside a text. The mapping then sees those; without a
	// mapping they are the events.
	Unwrap string
	// Mapping makes the event; the zero Value stands for none.
	Mapping mapping.Value
	// Mapped says that there is a Mapping.
	Mapped bool
}

// Formats that need no shape.
const (
	formatAuto    = "auto"
	formatSegment = "segment"
	formatTable   = "table" // rows whose columns have the spec's names
)

// choose is how the options want records to be read.
func (o *Options) choose() chooser { return newChooser(o.Format, o.Shapes, o.Columns, o.Separator) }

func newChooser(format string, shapes []Shape, columns []string, comma string) chooser {
	switch format { // other names of a table
	case "csv":
		format = formatTable
	case "tsv":
		if format = formatTable; comma == "" {
			comma = "\t"
		}
	}
	return chooser{format, shapes, columns, comma}
}

// chooser is what decides how records are read.
type chooser struct {
	format  string
	shapes  []Shape
	columns []string
	comma   string // between the cells of a table; "": found out
}

// check says early what is wrong with the choice.
func (c chooser) check() error {
	if len(c.comma) > 1 || c.comma == "\n" || c.comma == `"` {
		return inputf("a separator of cells has to be one character, like ; or a tab, not %q", c.comma)
	}
	if c.format == "" || c.format == formatAuto || c.format == formatSegment || c.format == formatTable {
		return nil
	}
	var names []string
	for _, s := range c.shapes {
		if s.Name == c.format {
			_, err := newConverter(s.Name, c.shapes, nil, c.columns)
			return err
		}
		names = append(names, s.Name)
	}
	slices.Sort(names)
	return inputf("unknown format %q: there are %s",
		c.format, strings.Join(append([]string{formatAuto, formatSegment, formatTable + " (csv, tsv)"}, names...), ", "))
}

// converter turns records of a shape into events. It is not for concurrent use.
type converter struct {
	shape  *Shape
	m      *mapping.Mapping
	unwrap event.Path
	header []byte // the table's first line, as JSON
	names  []string
	comma  byte

	res    mapping.Resolver
	parser event.Parser
	inner  event.Parser // for text inside a record
	arena  []byte
}

// newConverter makes the converter of a shape by its name. header is what the
// table's first line was found to be.
func newConverter(name string, shapes []Shape, header []byte, columns []string) (*converter, error) {
	c := &converter{header: header}
	if header != nil {
		var h tableHeader
		if err := json.Unmarshal(header, &h); err != nil || len(h.Comma) != 1 {
			return nil, errors.New("the kept header of the table is damaged")
		}
		c.names, c.comma = h.Names, h.Comma[0]
	}
	if name == formatTable {
		c.shape = &Shape{Name: formatTable}
		return c, nil
	}
	for i := range shapes {
		if s := &shapes[i]; s.Name == name {
			c.shape = s
			if s.Mapped {
				m, err := mapping.Compile(s.Mapping)
				if err != nil {
					return nil, inputf("the mapping of format %s: %w", name, err)
				}
				c.m = m
			}
			if s.Unwrap != "" {
				c.unwrap = event.CompilePath(s.Unwrap)
			}
			return c, nil
		}
	}
	return nil, fmt.Errorf("unknown format %q", name)
}

// clone makes a converter for another reading.
func (c *converter) clone() *converter {
	if c == nil {
		return nil
	}
	return &converter{shape: c.shape, m: c.m, unwrap: c.unwrap, header: c.header, names: c.names, comma: c.comma}
}

// tableHeader is how a table's columns are kept.
type tableHeader struct {
	Names []string `json:"names"`
	Comma string   `json:"comma"`
	Given bool     `json:"given,omitempty"` // by the user, not by the first line
}

// recognise decides what the object holds by its first megabyte, so that every
// reading of it decides the same. The error is an *InputError: it is not clear what
// the records are.
func (r *reading) recognise() (mode, error) {
	head := bytes.TrimPrefix(r.buf[:min(len(r.buf), headBytes)], bom)
	m := r.detect()
	format := r.choose.format
	if format == "" {
		format = formatAuto
	}
	first := event.SkipSpace(head, 0)
	isTable := first < len(head) && head[first] != '{' && head[first] != '['
	if isTable && (len(r.choose.columns) > 0 || r.choose.comma != "" || format == formatTable) {
		return rows, r.chooseTable(head, format)
	}
	if isTable && format != formatSegment {
		line, _ := firstRow(head[first:])
		if names, _ := headerOf(line, r.choose.comma); len(names) > 1 && utf8.Valid(line) {
			if format != formatAuto || plausibleHeader(names) || r.fitsHeader(names) {
				return rows, r.chooseTable(head, format)
			}
			r.hint = tableHint(head[first:], names, r.choose.comma)
			r.chunk.Hint = r.hint
		}
	}
	r.why = [...]string{
		lines: "JSON lines", bodies: "lines that hold batches of events", documents: "JSON documents",
		array: "one JSON array", envelope: "one JSON document with an array of events in it",
	}[m]
	switch format {
	case formatSegment:
		return m, nil
	case formatAuto:
	default:
		c, err := newConverter(format, r.choose.shapes, nil, nil)
		if err != nil {
			return m, err
		}
		r.convert = c
		r.why += ", read as " + format + " as --format says"
		if m == bodies && c.shape.Unwrap != "" {
			m = lines
		}
		return m, nil
	}
	if m == bodies {
		return m, nil
	}
	for v := range r.firstRecords(head, m) {
		if t := v.Get("type"); slices.ContainsFunc(eventTypes[:], t.IsText) {
			r.why += " of Segment-spec events"
			return m, nil
		}
		if v.Get("dead_letter").Exists() {
			r.why += " of dead letters"
			return m, nil
		}
		fits := fitting(r.choose.shapes, v)
		switch len(fits) {
		case 0:
			continue
		case 1:
			c, err := newConverter(fits[0].Name, r.choose.shapes, nil, nil)
			if err != nil {
				return m, err
			}
			r.convert = c
			r.why += fmt.Sprintf(", recognised as %s by %s", fits[0].Name, strings.Join(fits[0].All, ", "))
			return m, nil
		}
		return m, unsure(r.name, fits)
	}
	return m, nil
}

// tableHint is what to say of lines that are no JSON when they look like a table that
// nobody has said how to read; "": they do not.
func tableHint(text []byte, names []string, sep string) string {
	line, rest, _ := bytes.Cut(text, []byte{'\n'})
	_, comma := headerOf(line, sep)
	second, _, _ := bytes.Cut(rest, []byte{'\n'})
	if len(cells(bytes.TrimRight(second, "\r"), comma)) != len(names) {
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

// fitsHeader says that a line of text is the header of a shape's table.
func (r *reading) fitsHeader(names []string) bool {
	v, err := event.ParseValue(rowJSON(nil, names, names))
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
			if m == lines {
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
				if !yield(v) {
					return
				}
			}
			i = end
		}
	}
}

// fitting returns the shapes that a record has the marks of. A shape whose
// marks another fitting one has too, and more, is left out.
func fitting(shapes []Shape, v event.Value) []*Shape {
	var out []*Shape
	for i := range shapes {
		s := &shapes[i]
		has := func(p string) bool { return v.Find(event.CompilePath(p)).Exists() }
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

// apply makes events of one record that was read. Each is appended with its
// place in the record: element k of n, from 1.
func (c *converter) apply(raw []byte, add func(ev []byte, k, n int)) error {
	c.parser.Reset()
	c.inner.Reset()
	v, err := c.parser.ParseValue(raw)
	if err != nil {
		return err
	}
	if v.Kind() != event.Object {
		return fmt.Errorf("%s: the record is no object", c.shape.Name)
	}
	if c.shape.Unwrap != "" {
		inner := v.Find(c.unwrap)
		if inner.Kind() == event.String {
			// JSON inside a text, as queues and logs carry it.
			if inner, err = c.inner.ParseValue([]byte(inner.Text())); err != nil {
				return fmt.Errorf("%s: the text of %s is no JSON: %w", c.shape.Name, c.shape.Unwrap, err)
			}
		}
		if inner.Kind() == event.Array {
			n, k := inner.Len(), 0
			for el := range inner.Elements() {
				k++
				ev, err := c.one(el)
				if err != nil {
					return err
				}
				add(ev, k, n)
			}
			if n == 0 {
				return fmt.Errorf("%s: %s holds no events", c.shape.Name, c.shape.Unwrap)
			}
			return nil
		} else if inner.Kind() == event.Object {
			v = inner
		} else {
			return fmt.Errorf("%s: the record has no %s", c.shape.Name, c.shape.Unwrap)
		}
	}
	ev, err := c.one(v)
	if err != nil {
		return err
	}
	add(ev, 1, 1)
	return nil
}

func (c *converter) one(v event.Value) ([]byte, error) {
	if c.shape.Name == formatTable && c.m == nil {
		return tableEvent(v)
	}
	if c.m == nil {
		return v.Raw(), nil
	}
	if v.Kind() != event.Object {
		return nil, fmt.Errorf("%s: an event is no object", c.shape.Name)
	}
	if cap(c.arena)-len(c.arena) < 2*len(v.Raw())+256 {
		c.arena = make([]byte, 0, max(256<<10, 4*len(v.Raw())))
	}
	from := len(c.arena)
	out, ok, err := c.m.Append(&c.res, c.arena, v)
	if err != nil || !ok {
		return nil, fmt.Errorf("%s: the mapping makes nothing of the record: %w",
			c.shape.Name, errors.Join(err, errUndefined))
	}
	c.arena = out
	return out[from:len(out):len(out)], nil
}

var errUndefined = errors.New("it is undefined")

// unletter returns the event inside a dead letter.
func unletter(line []byte, p *event.Parser) ([]byte, bool) {
	p.Reset()
	v, err := p.ParseValue(line)
	if err != nil || !v.Get("dead_letter").Exists() {
		return nil, false
	}
	if ev := v.Get("event"); ev.Exists() && v.Get("reason").Exists() {
		return ev.Raw(), true
	}
	if packed := v.Get("event_base64"); packed.Kind() == event.String {
		if raw, err := base64.StdEncoding.DecodeString(packed.Text()); err == nil {
			return raw, true
		}
	}
	return nil, false
}

var deadLetter = []byte(`{"dead_letter":`)

// inherit copies to an event the members of its envelope that hold for all events
// in it.
func inherit(body, el event.Value) []byte {
	raw := el.Raw()
	if el.Kind() != event.Object {
		return raw
	}
	var extra []byte
	for _, key := range [...]string{"sentAt", "context"} {
		if v := body.Get(key); v.Exists() && v.Kind() != event.Null && !el.Get(key).Exists() {
			extra = append(event.AppendQuoted(extra, key), ':')
			extra = append(extra, v.Raw()...)
			extra = append(extra, ',')
		}
	}
	if len(extra) == 0 {
		return raw
	}
	if el.Len() == 0 {
		extra = extra[:len(extra)-1]
	}
	out := make([]byte, 0, len(raw)+len(extra))
	out = append(out, '{')
	out = append(out, extra...)
	return append(out, raw[1:]...)
}

// specNames are the spec's common fields as a table's columns may write them:
// without case and separators.
var specNames = [...]struct{ column, path string }{
	{"anonymousid", "anonymousId"}, {"category", "category"}, {"channel", "channel"}, {"context", "context"},
	{"event", "event"}, {"eventname", "event"}, {"groupid", "groupId"}, {"id", "messageId"},
	{"integrations", "integrations"}, {"messageid", "messageId"}, {"name", "name"},
	{"originaltimestamp", "originalTimestamp"}, {"previousid", "previousId"}, {"properties", "properties"},
	{"receivedat", "receivedAt"}, {"sentat", "sentAt"}, {"timestamp", "timestamp"}, {"traits", "traits"},
	{"type", "type"}, {"userid", "userId"}, {"version", "version"},
}

func specName(column string) string {
	plain := strings.Map(func(c rune) rune {
		switch {
		case c == '_' || c == '-' || c == ' ':
			return -1
		case c >= 'A' && c <= 'Z':
			return c + 'a' - 'A'
		}
		return c
	}, column)
	for _, s := range specNames {
		if s.column == plain {
			return s.path
		}
	}
	return ""
}

// plausibleHeader says that a line of text is the header of a table of events.
func plausibleHeader(names []string) bool {
	known := 0
	for _, n := range names {
		if specName(n) != "" {
			known++
		}
	}
	return known > 0 && !slices.Contains(names, "")
}

// tableEvent makes an event of a row whose columns have the spec's names, dotted
// paths (properties.price), or a first part that is one (context_locale). Other
// columns become properties, or traits of an identify or group call.
func tableEvent(v event.Value) ([]byte, error) {
	t := tableRow{root: map[string]any{}, rest: map[string]any{}}
	for k, val := range v.Members() {
		if val.Kind() != event.Null && !val.IsEmptyText() {
			t.column(k.Text(), val)
		}
	}
	if t.root["type"] == nil {
		if t.root["event"] == nil {
			return nil, errors.New(`the row has neither a "type" nor an "event"`)
		}
		t.root["type"] = "track"
	}
	t.spread()
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(t.root); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(out.Bytes()), nil
}

// tableRow is an event that is made of a row: root are its members, rest the
// columns that are none of the spec's.
type tableRow struct{ root, rest map[string]any }

// set puts a value below the event's members.
func (t *tableRow) set(path []string, val any) {
	at := t.root
	for _, k := range path[:len(path)-1] {
		next, ok := at[k].(map[string]any)
		if !ok {
			next = map[string]any{}
			at[k] = next
		}
		at = next
	}
	at[path[len(path)-1]] = val
}

// column puts one cell where its column's name says.
func (t *tableRow) column(name string, val event.Value) {
	raw := json.RawMessage(val.Raw())
	switch spec := specName(name); {
	case spec == "properties" || spec == "traits" || spec == "context" || spec == "integrations":
		if !t.object(spec, val) {
			t.rest[name] = raw
		}
	case spec == "messageId" && t.root["messageId"] != nil && strings.EqualFold(name, "id"):
		t.rest[name] = raw
	case spec != "":
		t.root[spec] = raw
	case strings.Contains(name, "."):
		t.set(strings.Split(name, "."), raw)
	default:
		first, tail, ok := strings.Cut(name, "_")
		if ok && tail != "" && (first == "context" || first == "properties" || first == "traits") {
			t.set([]string{first, tail}, raw)
		} else {
			t.rest[name] = raw
		}
	}
}

// object takes a cell that holds JSON, as text or as it is.
func (t *tableRow) object(spec string, val event.Value) bool {
	text := val.Raw()
	if val.Kind() == event.String {
		text = []byte(val.Text())
	}
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if d.Decode(&m) != nil {
		return false
	}
	for k, x := range m {
		t.set([]string{spec, k}, x)
	}
	return true
}

// spread makes properties, or traits, of the other columns.
func (t *tableRow) spread() {
	if len(t.rest) == 0 {
		return
	}
	into := "properties"
	if kind, ok := t.root["type"].(json.RawMessage); ok && (string(kind) == `"identify"` || string(kind) == `"group"`) {
		into = "traits"
	}
	m, ok := t.root[into].(map[string]any)
	if !ok {
		m = map[string]any{}
		t.root[into] = m
	}
	for k, x := range t.rest {
		if _, ok := m[k]; !ok {
			m[k] = x
		}
	}
}
