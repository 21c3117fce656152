package source

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// Shape is a kind of record that is not yet an event, such as a line of another vendor's export, and the mapping
// that makes an event from it. The caller provides shapes as data: this package has none built in.
type Shape struct {
	// Name is the shape's name in --format.
	Name string
	// All are paths that every record of the shape has, and None are paths that it never has: by these it is
	// recognised. A shape without All is used only if it is named explicitly.
	All, None []string
	// Unwrap is the path of the event or events inside the record. It leads through members, all elements of
	// arrays, all members where it has *, and texts that contain JSON. The mapping is applied to what it finds;
	// without a mapping, these are events, or records of another shape.
	Unwrap string
	// Rows says that what is unwrapped is a row of a table.
	Rows bool
	// Columns names the columns of a table of this shape that has no header and no quotes, with cells separated by
	// tabs, as a database or a pipeline writes it. It is recognised by its first row: about as many cells, and
	// none of those in Filled empty.
	Columns, Filled []string
	// Mapping gives the mapping that makes the event; nil: there is none. It is called when an object is read in this
	// shape, by several goroutines at once.
	Mapping func() (mapping.Value, error)
}

// wraps says whether the shape only tells where the records are, not what they are.
func (s *Shape) wraps() bool { return s.Unwrap != "" && s.Mapping == nil && !s.Rows }

// Formats that need no shape.
const (
	formatAuto    = "auto"
	formatSegment = "segment"
	formatTable   = "table" // rows whose columns have the spec's names
	unwrapped     = "unwrap"
)

// choose returns how the options want records to be read.
func (o *Options) choose() chooser {
	return newChooser(chooser{format: o.Format, shapes: o.Shapes, columns: o.Columns, comma: o.Separator,
		types: o.Types, order: o.DateOrder, unwrap: o.Unwrap, encoding: o.Encoding, max: o.MaxRecord})
}

// newChooser replaces other names of a table by the standard one.
func newChooser(c chooser) chooser {
	switch c.format {
	case "csv":
		c.format = formatTable
	case "tsv":
		if c.format = formatTable; c.comma == "" {
			c.comma = "\t"
		}
	}
	return c
}

// chooser holds the options that decide how records are read.
type chooser struct {
	format   string
	shapes   []Shape
	columns  []string
	comma    string // between the cells of a table; "": detect it
	types    []string
	order    event.DateOrder // how times in cells are read
	unwrap   string
	encoding string
	max      int
}

// check finds mistakes in the options early.
func (c chooser) check() error {
	if len(c.comma) > 1 || c.comma == "\n" || c.comma == `"` {
		return inputf("a separator of cells has to be one character, like ; or a tab, not %q", c.comma)
	}
	if _, err := readCellTypes(c.types, c.order); err != nil {
		return err
	}
	if _, err := newUnwrapper(c.unwrap, c.max); err != nil {
		return err
	}
	if _, err := decoderOf(c.encoding); err != nil {
		return err
	}
	if c.format == "" || c.format == formatAuto || c.format == formatSegment || c.format == formatTable ||
		isTableKind(c.format) {
		return nil
	}
	var names []string
	for _, s := range c.shapes {
		if s.Name == c.format {
			_, err := newConverter([]string{s.Name}, c, nil)
			return err
		}
		names = append(names, s.Name)
	}
	slices.Sort(names)
	for _, k := range tableKinds {
		names = append(names, string(k))
	}
	return inputf("unknown format %q: there are %s",
		c.format, strings.Join(append([]string{formatAuto, formatSegment, formatTable + " (csv, tsv)"}, names...), ", "))
}

// converter turns records of a shape into events. It is not safe for concurrent use.
type converter struct {
	chain  []string // the names of its shape and of the shapes inside it
	name   string
	unwrap *unwrapper // nil: the record itself is converted
	m      *mapping.Mapping
	rows   *rowMaker  // makes events from rows
	next   *converter // for what was unwrapped; nil: that is an event
	header []byte     // the table's first line, as JSON
	table  tableHeader
	// builtIn says that records are recognised by their shape. Not so for the user's own mapping, which is applied
	// to every record.
	builtIn bool
	cells   bool // the records are rows of a table, though the mapping is written for JSON records

	res    mapping.Resolver
	parser event.Parser
	arena  []byte
}

// chained separates the names of nested shapes.
const chained = "+"

// newConverter makes the converter for nested shapes, from outer to inner, given by name. header is the table's
// first line, as it was recognised.
func newConverter(chain []string, o chooser, header []byte) (*converter, error) {
	c := &converter{chain: chain, name: chain[0], header: header}
	if header != nil {
		if err := json.Unmarshal(header, &c.table); err != nil || len(c.table.Comma) != 1 {
			return nil, errors.New("the kept header of the table is damaged")
		}
	}
	if err := c.compile(o); err != nil {
		return nil, err
	}
	c.cells = header != nil && c.builtIn
	if len(chain) > 1 {
		if c.m != nil || c.rows != nil {
			return nil, fmt.Errorf("nothing lies inside records of format %s", c.name)
		}
		next, err := newConverter(chain[1:], o, nil)
		if err != nil {
			return nil, err
		}
		c.next = next
	}
	return c, nil
}

// compile prepares the shape with this name.
func (c *converter) compile(o chooser) (err error) {
	types, err := readCellTypes(o.types, o.order)
	if err != nil {
		return err
	}
	switch {
	case c.name == unwrapped:
		c.unwrap, err = newUnwrapper(o.unwrap, o.max)
		return err
	case c.name == formatTable:
		c.rows = &rowMaker{kind: c.table.Kind, types: types}
		return nil
	case isTableKind(c.name):
		c.rows = &rowMaker{kind: tableKind(c.name), types: types}
		return nil
	case c.name == formatSegment:
		return nil
	}
	for i := range o.shapes {
		s := &o.shapes[i]
		if s.Name != c.name {
			continue
		}
		c.builtIn = len(s.All) > 0
		if s.Mapping != nil {
			var m mapping.Value
			if m, err = s.Mapping(); err == nil {
				c.m, err = mapping.Compile(m)
			}
			if err != nil {
				return inputf("the mapping of format %s: %w", c.name, err)
			}
		}
		if s.Rows {
			c.rows = &rowMaker{types: types}
		}
		c.unwrap, err = newUnwrapper(s.Unwrap, o.max)
		return err
	}
	return fmt.Errorf("unknown format %q", c.name)
}

// clone makes a converter for another reading.
func (c *converter) clone() *converter {
	if c == nil {
		return nil
	}
	out := &converter{chain: c.chain, name: c.name, unwrap: c.unwrap.clone(), m: c.m, next: c.next.clone(),
		header: c.header, table: c.table, builtIn: c.builtIn, cells: c.cells}
	if c.rows != nil {
		out.rows = &rowMaker{kind: c.rows.kind, types: c.rows.types}
	}
	return out
}

// tableHeader is the stored form of a table's columns.
type tableHeader struct {
	Names []string  `json:"names"`
	Read  []string  `json:"read,omitempty"` // the names in the first line, where some stand twice
	Comma string    `json:"comma"`
	Given bool      `json:"given,omitempty"` // by the user or the shape, not by the first line
	Kind  tableKind `json:"kind,omitempty"`
	Plain bool      `json:"plain,omitempty"` // a quote is a character like any other
}

// converted is one of the events in a record, or the reason why it is none.
type converted struct {
	event []byte
	err   error
}

// apply appends the events of one record as it was read.
func (c *converter) apply(raw []byte, to []converted) []converted {
	c.parser.Reset()
	v, err := c.parser.ParseValue(raw)
	capitals := err == nil && c.builtIn && c.m != nil && isCapital(v)
	if err == nil && (c.cells || capitals) && v.Kind() == event.Object {
		v, err = c.parser.ParseValue(fromCells(v, capitals))
	}
	switch {
	case err != nil:
		return append(to, converted{err: err})
	case v.Kind() != event.Object:
		return append(to, converted{err: fmt.Errorf("%s: the record is no object", c.name)})
	case c.unwrap == nil:
		return c.inner(v, to)
	}
	before := len(to)
	c.unwrap.each(v, func(v event.Value, err error) {
		if err != nil {
			to = append(to, converted{err: fmt.Errorf("%s: %w", c.name, err)})
			return
		}
		to = c.inner(v, to)
	})
	if len(to) == before {
		to = append(to, converted{err: fmt.Errorf("%s: %s holds no events", c.name, c.unwrap.path())})
	}
	return to
}

// inner appends the events inside the record, or of the record itself.
func (c *converter) inner(v event.Value, to []converted) []converted {
	if c.next != nil {
		return c.next.apply(v.Raw(), to)
	}
	ev, err := c.one(v)
	return append(to, converted{ev, err})
}

func (c *converter) one(v event.Value) ([]byte, error) {
	if c.rows != nil {
		return c.rows.event(v)
	}
	if c.m == nil {
		return v.Raw(), nil
	}
	if cap(c.arena)-len(c.arena) < 2*len(v.Raw())+256 {
		c.arena = make([]byte, 0, max(256<<10, 4*len(v.Raw())))
	}
	from := len(c.arena)
	out, ok, err := c.m.Append(&c.res, c.arena, v)
	if err != nil || !ok {
		return nil, fmt.Errorf("%s: the mapping makes nothing of the record: %w",
			c.name, errors.Join(err, errUndefined))
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

// commonKeys are the members of an envelope that apply to all events in it:
// https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/#batch
var commonKeys = [...]string{"context", "integrations", "receivedAt", "sentAt"}

// inherit adds to an event what its envelope says about all events in it. The event's own values are preferred,
// for context and integrations member by member. If there is nothing to inherit, changed is false and raw is the
// event unchanged.
func inherit(body, el event.Value) (raw []byte, changed bool) {
	raw = el.Raw()
	if el.Kind() != event.Object {
		return raw, false
	}
	var extra []byte
	var merged [len(commonKeys)][]byte
	for i, key := range commonKeys {
		given, own := body.Get(key), el.Get(key)
		switch {
		case given.Nullish():
		case own.Nullish():
			extra = append(append(append(event.AppendQuoted(extra, key), ':'), given.Raw()...), ',')
			merged[i] = []byte{} // a null in the event does not count as a value
		case own.Kind() == event.Object && given.Kind() == event.Object:
			merged[i] = mergeMembers(given, own)
		}
	}
	if len(extra) == 0 && !slices.ContainsFunc(merged[:], func(b []byte) bool { return len(b) > 0 }) {
		return raw, false
	}
	out := append(make([]byte, 0, len(raw)+len(extra)+2), '{')
	out = append(out, extra...)
	for k, v := range el.Members() {
		value := v.Raw()
		if i := slices.IndexFunc(commonKeys[:], k.IsText); i >= 0 && merged[i] != nil {
			if value = merged[i]; len(value) == 0 {
				continue
			}
		}
		out = append(append(append(append(out, k.Raw()...), ':'), value...), ',')
	}
	out[len(out)-1] = '}'
	return out, true
}

// mergeMembers is an object with the members of both objects; where both have one, that of own counts. nil: own
// has all members already.
func mergeMembers(given, own event.Value) (out []byte) {
	for k, v := range given.Members() {
		if mine := own.Get(k.Text()); mine.Exists() || v.Nullish() {
			continue
		}
		if out == nil {
			out = append(out, '{')
		}
		out = append(append(append(append(out, k.Raw()...), ':'), v.Raw()...), ',')
	}
	if out == nil {
		return nil
	}
	for k, v := range own.Members() {
		out = append(append(append(append(out, k.Raw()...), ':'), v.Raw()...), ',')
	}
	out[len(out)-1] = '}'
	return out
}
