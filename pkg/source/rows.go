package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/fanfold/fanfold/pkg/document"
	"github.com/fanfold/fanfold/pkg/event"
)

// Rows of a table become events by the names of their columns. A column can have the name of a common field of the
// spec, with or without case and separators (userId, user_id, "User ID"); a path (properties.price); or a name
// that a warehouse has flattened, which is unflattened where the spec has the object: context_page_url is
// context.page.url. Names that the spec does not have stay as they are written.

// A tableKind says which call the rows of a table are. The warehouses of Segment and RudderStack have a table for
// each call, and one for each event that is tracked:
// https://segment.com/docs/connections/storage/warehouses/schema/
// https://www.rudderstack.com/docs/destinations/warehouse-destinations/warehouse-schema/
type tableKind string

const (
	eachRow   tableKind = "" // each row says it, in a column "type", or has an "event"
	tracks    tableKind = "tracks"
	pages     tableKind = "pages"
	screens   tableKind = "screens"
	groups    tableKind = "groups"
	aliases   tableKind = "aliases"
	profiles  tableKind = "identifies"
	users     tableKind = "users" // one row a user, whose id is the row's
	undecided tableKind = "?"
)

// tableKinds are those that --format may name.
var tableKinds = [...]tableKind{tracks, pages, screens, groups, aliases, profiles, users}

// call is the event type of the rows.
func (k tableKind) call() string {
	switch k {
	case pages, screens, groups:
		return strings.TrimSuffix(string(k), "s")
	case aliases:
		return "alias"
	case profiles, users:
		return "identify"
	}
	return "track"
}

func isTableKind(name string) bool { return slices.Contains(tableKinds[:], tableKind(name)) }

// tableOf finds out what the rows of a table are: by its columns, or, if those do not decide it, by a name in the
// object's path.
func tableOf(columns []string, object string) tableKind {
	var plain []string
	for _, c := range columns {
		plain = append(plain, plainName(c))
	}
	has := func(names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return slices.Contains(plain, n) })
	}
	person := has("userid", "anonymousid")
	dated := has("receivedat", "sentat", "originaltimestamp", "timestamp")
	if named := kindNamed(object); named != undecided && dated && has("id") && !has("messageid") {
		return named // a warehouse's table, whose column type or event is a trait or a property
	}
	switch {
	case has("type"):
		return eachRow
	case has("event", "eventname", "eventtext"):
		return tracks
	case !dated:
		return undecided // a list of customers is no archive of events, whatever its folder is called
	}
	if k := kindNamed(object); k != undecided {
		return k
	}
	switch {
	case has("previousid"):
		return aliases
	case has("groupid"):
		return groups
	case has("url", "path", "referrer") && person:
		return pages
	case person && !has("name") && has("id", "messageid"):
		return profiles
	case !person && has("id") && has("receivedat"):
		return users
	}
	return undecided
}

// kindNamed finds the name of a table in a path: in the file's name, or in that of the folder right above it, as
// exports do: pages.csv, prod.pages-000.parquet, pages/part-0.csv.gz.
func kindNamed(object string) tableKind {
	dir, file := path.Split(strings.ReplaceAll(strings.ToLower(object), `\`, "/"))
	notLetter := func(r rune) bool { return r < 'a' || r > 'z' }
	for _, part := range [...]string{file, path.Base(dir)} {
		for _, word := range strings.FieldsFunc(part, notLetter) {
			if isTableKind(word) {
				return tableKind(word)
			}
		}
	}
	return undecided
}

// specNames are the spec's common fields as the columns of a table may be named: without case and separators.
var specNames = [...]struct{ column, path string }{
	{"anonymousid", "anonymousId"}, {"category", "category"}, {"channel", "channel"}, {"context", "context"},
	{"event", "event"}, {"eventname", "event"}, {"groupid", "groupId"}, {"id", "messageId"},
	{"integrations", "integrations"}, {"messageid", "messageId"}, {"name", "name"},
	{"originaltimestamp", "originalTimestamp"}, {"previousid", "previousId"}, {"properties", "properties"},
	{"receivedat", "receivedAt"}, {"sentat", "sentAt"}, {"timestamp", "timestamp"}, {"traits", "traits"},
	{"type", "type"}, {"userid", "userId"}, {"version", "version"},
}

// plainName is a column's name without case and separators.
func plainName(column string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '_' || c == '-' || c == ' ':
			return -1
		case c >= 'A' && c <= 'Z':
			return c + 'a' - 'A'
		}
		return c
	}, column)
}

func specName(column string) string {
	plain := plainName(column)
	for _, s := range specNames {
		if s.column == plain {
			return s.path
		}
	}
	return ""
}

// bookkeeping are columns that loading into a warehouse adds; they say nothing about the event. A uuid column
// counts only together with a uuid_ts column.
var bookkeeping = [...]string{"uuid", "uuid_ts", "loaded_at"}

// flattened are members of context that a warehouse writes as one column in snake case. An entry that ends in _ is
// an object whose members follow; "" stands for the name unchanged.
var flattened = [...]struct{ column, path string }{
	{"app_", ""}, {"campaign_", ""}, {"consent_category_preferences_", "consent.categoryPreferences."},
	{"consent_category_preferences", "consent.categoryPreferences"}, {"consent_management", "consentManagement"},
	{"consent_", ""}, {"device_ad_tracking_enabled", "device.adTrackingEnabled"},
	{"device_advertising_id", "device.advertisingId"}, {"device_", ""}, {"group_id", "groupId"}, {"library_", ""},
	{"location_", ""}, {"network_", ""}, {"os_", ""}, {"page_", ""}, {"referrer_", ""},
	{"screen_inner_height", "screen.innerHeight"}, {"screen_inner_width", "screen.innerWidth"}, {"screen_", ""},
	{"session_id", "sessionId"}, {"session_start", "sessionStart"}, {"traits_", ""},
	{"user_agent_data_", "userAgentData."}, {"user_agent", "userAgent"},
}

// reservedTraits are the traits of the spec whose names a warehouse changes:
// https://segment.com/docs/connections/spec/identify/#traits
var reservedTraits = [...]struct{ column, path string }{
	{"address_city", "address.city"}, {"address_country", "address.country"},
	{"address_postal_code", "address.postalCode"}, {"address_state", "address.state"},
	{"address_street", "address.street"}, {"company_employee_count", "company.employee_count"},
	{"company_id", "company.id"}, {"company_industry", "company.industry"}, {"company_name", "company.name"},
	{"company_plan", "company.plan"}, {"created_at", "createdAt"}, {"first_name", "firstName"},
	{"last_name", "lastName"},
}

// traitPath is the path of a trait in the event.
func traitPath(column string) []string {
	for _, t := range reservedTraits {
		if t.column == column {
			return strings.Split(t.path, ".")
		}
	}
	return []string{column}
}

// contextPath is the path of a member of context, given the name after "context_".
func contextPath(column string) []string {
	for _, f := range flattened {
		object := strings.HasSuffix(f.column, "_")
		rest, ok := strings.CutPrefix(column, f.column)
		switch {
		case !ok, object == (rest == ""):
		case !object:
			return strings.Split(f.path, ".")
		case f.column == "traits_":
			return append([]string{"traits"}, traitPath(rest)...)
		case f.path == "":
			return []string{strings.TrimSuffix(f.column, "_"), rest}
		default:
			return append(strings.Split(strings.TrimSuffix(f.path, "."), "."), rest)
		}
	}
	return []string{column}
}

// target is where the cells of a column go.
type target struct {
	kind targetKind
	path []string // in the event; for toOther, the column's name
}

type targetKind uint8

const (
	toMember targetKind = iota // of the event
	toObject                   // a whole object of the event, which a cell may hold as JSON
	toPath
	toOther  // a property or a trait
	toName   // name and category, which are properties or traits in some calls
	toText   // the event name as the user wrote it: it is preferred to the name of its table
	toNobody // bookkeeping, which is dropped
)

// targetOf says where a column of a table goes.
func targetOf(column string, kind tableKind) target {
	spec := specName(column)
	switch {
	case spec == "version" && kind != eachRow, spec == "type" && kind != eachRow,
		spec == "event" && kind != eachRow && kind != tracks:
		return target{toOther, []string{column}}
	case kind == users && column == "id":
		return target{toMember, []string{"userId"}}
	case spec == "properties" || spec == "traits" || spec == "context" || spec == "integrations":
		return target{toObject, []string{spec}}
	case spec == "name" || spec == "category":
		return target{toName, []string{spec}}
	case spec != "":
		return target{toMember, []string{spec}}
	case plainName(column) == "eventtext":
		return target{toText, []string{"event"}}
	case slices.Contains(bookkeeping[:], column):
		return target{toNobody, nil}
	case strings.Contains(column, "."):
		return target{toPath, strings.Split(column, ".")}
	}
	first, tail, ok := strings.Cut(column, "_")
	switch {
	case ok && tail != "" && first == "context":
		return target{toPath, append([]string{"context"}, contextPath(tail)...)}
	case ok && tail != "" && (first == "properties" || first == "traits"):
		return target{toPath, []string{first, tail}}
	}
	return target{toOther, []string{column}}
}

// rowMaker makes events from rows. It is not safe for concurrent use.
type rowMaker struct {
	kind    tableKind
	types   cellTypes
	targets map[string]target // by column, filled as columns occur
	column  []byte
	others  map[tableKind]*rowMaker // for rows of another kind
}

// isUpper says whether a row comes from a warehouse that writes all names in capitals.
func isUpper(v event.Value) bool {
	return v.Get("RECEIVED_AT").Exists() || v.Get("ANONYMOUS_ID").Exists() || v.Get("USER_ID").Exists()
}

// maxColumns bounds how many column names are remembered, because they come from the input.
const maxColumns = 10000

func (m *rowMaker) target(column event.Value, upper bool) (t target, name string) {
	m.column = column.AppendString(m.column[:0])
	if upper {
		m.column = bytes.ToLower(m.column)
	}
	name = string(m.column)
	if known, ok := m.targets[name]; ok {
		return known, name
	}
	t = targetOf(name, m.kind)
	if m.targets == nil {
		m.targets = map[string]target{}
	}
	if len(m.targets) < maxColumns {
		m.targets[name] = t
	}
	return t, name
}

// tableRow is an event that is made from a row: root has its members, rest the columns that are not in the spec.
type tableRow struct {
	root, rest map[string]any
	named      map[string]any // name and category
	text       any            // the event name
}

// another returns the rowMaker for a row whose column type holds no call of the spec, but is a property or a
// trait; nil: the row is not of this kind.
func (m *rowMaker) another(v event.Value) *rowMaker {
	if m.kind != eachRow {
		return nil
	}
	typ := v.Get("type")
	if typ.Kind() != event.String || typ.IsEmptyText() {
		return nil
	}
	text := strings.TrimSpace(typ.Text())
	if slices.ContainsFunc(eventTypes[:], func(call string) bool { return strings.EqualFold(call, text) }) {
		return nil
	}
	columns := slices.DeleteFunc(columnsOf(v), func(c string) bool { return c == "type" })
	kind := tableOf(columns, "")
	if kind == undecided || kind == eachRow {
		return nil
	}
	if m.others[kind] == nil {
		if m.others == nil {
			m.others = map[tableKind]*rowMaker{}
		}
		m.others[kind] = &rowMaker{kind: kind, types: m.types}
	}
	return m.others[kind]
}

// event makes an event from a row.
func (m *rowMaker) event(v event.Value) ([]byte, error) {
	if other := m.another(v); other != nil {
		return other.event(v)
	}
	t := tableRow{root: map[string]any{}, rest: map[string]any{}, named: map[string]any{}}
	upper := isUpper(v)
	for k, val := range v.Members() {
		if val.Kind() == event.Null || val.IsEmptyText() {
			continue
		}
		to, name := m.target(k, upper)
		if name == "uuid" && !v.Get("uuid_ts").Exists() && !v.Get("UUID_TS").Exists() {
			to = target{toOther, []string{name}}
		}
		cell, err := m.types.read(k, val)
		if err != nil {
			return nil, err
		}
		t.put(to, name, val, cell)
	}
	if t.text != nil {
		t.root["event"] = t.text
	}
	switch {
	case t.root["type"] != nil:
	case m.kind != eachRow && m.kind != tracks:
		t.root["type"] = m.kind.call()
	case t.root["event"] == nil:
		return nil, errors.New(`the row has neither a "type" nor an "event"`)
	default:
		t.root["type"] = "track"
	}
	t.spread()
	return document.Encode(t.root)
}

// put stores a cell where its column belongs.
func (t *tableRow) put(to target, name string, val event.Value, cell json.RawMessage) {
	switch to.kind {
	case toNobody:
	case toText:
		t.text = cell
	case toName:
		t.named[to.path[0]] = cell
	case toObject:
		if !t.object(to.path[0], val) {
			t.rest[name] = cell
		}
	case toPath:
		if slices.Contains(to.path, "categoryPreferences") {
			cell = asBoolean(val, cell)
		}
		t.set(to.path, cell)
	case toMember:
		// If two columns are for the same member, the first one that is not empty counts.
		if t.root[to.path[0]] != nil {
			t.rest[name] = cell
			return
		}
		t.root[to.path[0]] = cell
	default:
		t.rest[name] = cell
	}
}

// asBoolean reads a consent as a boolean, whatever the cells of the table are.
func asBoolean(val event.Value, cell json.RawMessage) json.RawMessage {
	switch {
	case val.IsText("true"), val.IsText("TRUE"), val.IsText("t"):
		return json.RawMessage("true")
	case val.IsText("false"), val.IsText("FALSE"), val.IsText("f"):
		return json.RawMessage("false")
	}
	return cell
}

// set stores a value at a path in the event.
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

// object stores a cell that holds an object as JSON, or as text with JSON.
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

// spread makes properties or traits from the other columns. A name and a category are members only of page and
// screen calls.
func (t *tableRow) spread() {
	call, ok := t.root["type"].(string)
	if raw, is := t.root["type"].(json.RawMessage); is && !ok {
		call = strings.ToLower(strings.Trim(string(raw), `"`))
	}
	into, place := "properties", func(column string) []string { return []string{column} }
	if call == "identify" || call == "group" {
		into, place = "traits", traitPath
	}
	for k, x := range t.named {
		if call == "page" || call == "screen" {
			t.root[k] = x
		} else {
			t.rest[k] = x
		}
	}
	given, _ := t.root[into].(map[string]any)
	for k, x := range t.rest {
		if _, ok := given[k]; ok {
			continue // a value in the object that was given whole is preferred
		}
		if raw, ok := x.(json.RawMessage); ok && k == "products" {
			x = asJSON(raw)
		}
		t.set(append([]string{into}, place(k)...), x)
	}
}

// asJSON parses the list of products, which the spec has and a warehouse stores as text.
func asJSON(cell json.RawMessage) json.RawMessage {
	var text string
	if json.Unmarshal(cell, &text) == nil && strings.HasPrefix(text, "[") && json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	return cell
}

// tableNames are the names of tables that --format accepts.
func tableNames() string {
	var kinds []string
	for _, k := range tableKinds {
		kinds = append(kinds, string(k))
	}
	return strings.Join(kinds, ", ")
}

// unclearTable is the error for a table whose rows could be anything.
func unclearTable(object, what string) error {
	return inputf(`%s is %s, but it is not clear how its rows are events: it has neither a column "type" nor "event"; `+
		`say so with --format (%s), --columns or --map`, object, what, tableNames())
}

// numbered adds a number to repeated column names, from the second on, and returns which names were repeated.
func numbered(names []string) (out, twice []string) {
	seen, taken := map[string]int{}, map[string]bool{}
	for _, n := range names {
		taken[n] = true
	}
	out = slices.Clone(names)
	for i, n := range names {
		seen[n]++
		if seen[n] == 1 || n == "" {
			continue
		}
		if seen[n] == 2 {
			twice = append(twice, n)
		}
		for taken[fmt.Sprintf("%s_%d", n, seen[n])] {
			seen[n]++
		}
		out[i] = fmt.Sprintf("%s_%d", n, seen[n])
		taken[out[i]] = true
	}
	return out, twice
}
