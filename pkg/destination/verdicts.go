package destination

import (
	"bytes"
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/event"
)

// Verdicts says how an answer names the items that were refused: by a list of errors, each of which identifies its
// item. It is immutable.
type Verdicts struct {
	list, name, message string
	find                func(b *Batch) finder // nil: see ByPosition
	taken               bool
	accepted            []string
	lists               []refusals // instead of list and name
	count               string
	word                string   // path in an error of a word that says what it is
	passing             []string // words of errors that pass with time
}

// finder returns the indexes of the items that a value in an error names.
type finder func(v event.Value) []int

// refusals is a list of the items that were refused for one reason.
type refusals struct{ path, inItem string }

// ByIndex reads errors that name an item by its index, such as {"errors": [{"index": 3, "message": "…"}]}. It
// takes the path of the list, and the paths in each error of the index, which counts from 0, and of the message;
// the texts at several message paths, separated by blanks, are joined. With "" for the index the errors are members of
// an object, {"errors": {"3": {"message": "…"}}}. An answer that is no success has refused
// the whole request, so the items that no error names are sent again: see [Verdicts.OthersTaken].
func ByIndex(list, index, message string) Verdicts {
	return Verdicts{list: list, name: index, message: message, find: func(b *Batch) finder {
		return func(v event.Value) []int { return indexIn(b, v.Text()) }
	}}
}

// ByID is [ByIndex] for errors that name the item by the value at a path in it, or by its insert id when inItem is
// "". With "." the item itself is that value, and with "*" any of its members is.
func ByID(list, id, message, inItem string) Verdicts {
	return Verdicts{list: list, name: id, message: message, find: func(b *Batch) finder {
		if inItem == "*" {
			items := b.mentioned()
			return func(v event.Value) []int { return items[v.Text()] }
		}
		items := b.named(func(d *Delivery) (name string, ok bool) {
			if inItem == "" {
				return d.InsertID, true
			}
			item, err := d.value()
			return at(item, strings.TrimPrefix(inItem, ".")).Text(), err == nil
		})
		return func(v event.Value) []int { return items[v.Text()] }
	}}
}

// index holds the indexes of items by a name of theirs, which several may have.
type index map[string][]int

// named are the items of a batch by a name; ok is false for an item that has none.
func (b *Batch) named(name func(d *Delivery) (name string, ok bool)) index {
	x := make(index, len(b.Deliveries))
	for i, d := range b.Deliveries {
		if n, ok := name(d); ok {
			x[n] = append(x[n], i)
		}
	}
	return x
}

// mentioned are the items of a batch by the values of their members. A value that has no name in common in all items
// that have it may mean somebody else: it names nobody.
func (b *Batch) mentioned() index {
	x, common := index{}, map[string][]string{} // names, by the value
	for i, d := range b.Deliveries {
		item, err := d.value()
		if err != nil {
			continue
		}
		here := map[string][]string{}
		for k, v := range item.Members() {
			here[v.Text()] = append(here[v.Text()], k.Text())
		}
		for text, names := range here {
			if before := x[text]; len(before) > 0 {
				names = slices.DeleteFunc(common[text], func(name string) bool { return !slices.Contains(names, name) })
			}
			common[text], x[text] = names, append(x[text], i)
		}
	}
	for text, names := range common {
		if len(names) == 0 {
			delete(x, text)
		}
	}
	return x
}

// ByPointer is [ByIndex] for errors that name the item in a path, such as /data/profiles/3/email: the first number
// in it is the index.
func ByPointer(list, pointer, message string) Verdicts {
	return Verdicts{list: list, name: pointer, message: message, find: func(b *Batch) finder {
		return func(v event.Value) []int {
			for part := range strings.FieldsFuncSeq(v.Text(), func(r rune) bool { return strings.ContainsRune("/.[]", r) }) {
				if _, err := strconv.ParseUint(part, 10, 31); err == nil {
					return indexIn(b, part)
				}
			}
			return nil
		}
	}}
}

// ByPosition reads an answer that has one element per item, in the same order, each with a status of its own. It
// takes the path of the list ("" is the answer itself), and the paths in its elements of the status and of the message.
// A status means the same as for a whole answer, also as a text ("201"); true is taken, and false refused. For other
// words see [Verdicts.Accepted].
func ByPosition(list, status, message string) Verdicts {
	return Verdicts{list: list, name: status, message: message}
}

// Accepted is for [ByPosition] of a partner that has words or numbers of its own for a status:
// these say that an item was
// taken. A number from 400 to 599 still means what it does in HTTP, and everything else is a refusal.
func (v Verdicts) Accepted(words ...string) Verdicts { v.accepted = words; return v }

// Sample is what an answer that takes everything holds: a list at a path, and, of [ByPosition], as
// many elements as there
// are items. element is such an element in JSON, or nil for an empty list. ok is false when no list has to be there.
func (v Verdicts) Sample() (path string, element any, ok bool) {
	if v.find != nil || v.lists != nil {
		return v.list, nil, v.find != nil
	}
	element = any(http.StatusOK)
	if len(v.accepted) > 0 {
		element = v.accepted[0]
	}
	if v.name == "" {
		return v.list, element, true
	}
	keys := strings.Split(v.name, ".")
	for _, key := range slices.Backward(keys) {
		element = map[string]any{key: element}
	}
	return v.list, element, true
}

// ByLists reads lists that name refused items, such as {"invalidEmails": ["…"]}: each line is the path of a list and,
// behind "of", the paths in an item of the value that names it ("invalidEmails of email"), in any case; without them it
// is its index. A path that ends in * is an object of such lists. The name of a list, and what the answer says at
// message, are what is wrong. As in [ByIndex], an answer that is no success has refused the whole request.
func ByLists(message string, lists ...string) Verdicts {
	v := Verdicts{message: message}
	for _, line := range lists {
		path, of, _ := strings.Cut(line, " of ")
		v.lists = append(v.lists, refusals{path, of})
	}
	return v
}

// Counted is for [ByLists] of a partner that says at a path how many items it refused. When it names fewer, nobody
// knows what became of the others: they count as refused.
func (v Verdicts) Counted(path string) Verdicts { v.count = path; return v }

// listed returns the results of an answer that names what was refused in lists; nil: it names nothing.
func (v Verdicts) listed(a *Answer, b *Batch) []Result {
	rs, refused := v.others(a, b), 0
	refuse := func(i int, why string) {
		rs[i] = a.Refuse(strings.TrimSuffix(why+": "+v.words(a.JSON), ": "))
		refused++
	}
	for _, l := range v.lists {
		found := map[string]event.Value{l.path: at(a.JSON, l.path)}
		if parent, all := strings.CutSuffix(l.path, ".*"); all {
			clear(found)
			for k, list := range at(a.JSON, parent).Members() {
				found[k.Text()] = list
			}
		}
		var items map[string][]int
		for _, why := range slices.Sorted(maps.Keys(found)) {
			for e := range found[why].Elements() {
				if items == nil {
					items = l.items(b)
				}
				for _, i := range items[strings.ToLower(e.Text())] {
					if rs[i].Outcome != Rejected {
						refuse(i, why)
					}
				}
			}
		}
	}
	if n, _ := at(a.JSON, v.count).Int(); v.count != "" && a.OK() && n > int64(refused) {
		for i := range rs {
			if rs[i].Outcome == Delivered {
				refuse(i, "some of the request was refused, and which is not said")
			}
		}
	}
	if refused == 0 {
		return nil
	}
	return rs
}

// items are the indexes of the items by the names that a list knows them by.
func (l *refusals) items(b *Batch) map[string][]int {
	list := map[string][]int{}
	for i, d := range b.Deliveries {
		if l.inItem == "" {
			list[itoa(i)] = []int{i}
			continue
		}
		item, err := d.value()
		for path := range strings.FieldsSeq(l.inItem) {
			if v := at(item, path); err == nil && v.Exists() {
				name := strings.ToLower(v.Text())
				list[name] = append(list[name], i)
			}
		}
	}
	return list
}

// StatusRule says what answers with a status between From and To mean: Retry or Rejected.
type StatusRule struct {
	From, To int
	Outcome  Outcome
}

// Statuses says what some statuses mean for this action, instead of the default table ([Answer.Verdict]). The
// first rule that covers a status counts. Results for single items ([Declared.Verdicts]) come first. It has to be
// called last.
func (d *Declared) Statuses(rules ...StatusRule) *Declared {
	list := d.results
	d.results = func(a *Answer, b *Batch) []Result {
		if list != nil {
			if rs := list(a, b); rs != nil {
				return rs
			}
		}
		for _, r := range rules {
			if a.Status < r.From || a.Status > r.To {
				continue
			}
			if r.Outcome == Rejected {
				return b.same(a.Refuse(a.Words()))
			}
			reason := Unavailable
			switch a.Status {
			case http.StatusTooManyRequests:
				reason = RateLimited
			case http.StatusConflict, http.StatusLocked, http.StatusTooEarly:
				reason = Conflict
			}
			return b.same(a.RetryIn(reason, a.RetryAfter(b.Now)))
		}
		return nil
	}
	return d
}

func indexIn(b *Batch, text string) []int {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil || int(n) >= len(b.Deliveries) {
		return nil
	}
	return []int{int(n)}
}

// OthersTaken says that the partner has accepted the items that no error names, whatever the status of the answer.
func (v Verdicts) OthersTaken() Verdicts { v.taken = true; return v }

// Again says which errors pass with time, such as that of a record that is locked: those with one of some words at a
// path in them. They are no refusals: their items are sent again.
func (v Verdicts) Again(path string, words ...string) Verdicts {
	v.word, v.passing = path, words
	return v
}

// refused is the result of an item with an error.
func (v Verdicts) refused(status int, e event.Value, detail string) Result {
	r := Result{Outcome: Rejected, Reason: Refused, Status: status, Detail: Cut(detail, 400)}
	if len(v.passing) > 0 && slices.Contains(v.passing, at(e, v.word).Text()) {
		r.Outcome, r.Reason = Retry, Conflict
	}
	return r
}

// read returns the results that an answer lists; nil: it lists nothing, or, in an answer that is no success
// anyhow, something that is not in the request. A success that lists items which are not in the request does not
// count as one: something was refused, and nobody knows what.
func (v Verdicts) read(a *Answer, b *Batch) []Result {
	if !a.OK() && a.Status != http.StatusBadRequest && a.Status != http.StatusUnprocessableEntity {
		return nil
	}
	if v.lists != nil {
		return v.listed(a, b)
	}
	errs := at(a.JSON, v.list)
	keyed := errs.Kind() == event.Object && v.find != nil && v.name == "" // its members' names are the items'
	if (errs.Kind() == event.Array || keyed) && errs.Len() > 0 {
		if rs := v.named(a, errs, b); rs != nil || !a.OK() {
			return rs
		}
	} else if !a.OK() || v.find != nil && (errs.Nullish() || errs.Kind() == event.Array || keyed) {
		return nil
	}
	words := "it does not say of this request's events what became of each: "
	if v.find != nil {
		words = "it is a success with errors of no event of the request: "
	}
	return Same(Result{Outcome: Retry, Reason: Unexpected, Status: a.Status,
		Detail: Cut(words+v.list+" is "+cmp.Or(string(errs.Raw()), "missing"), 400)}, len(b.Deliveries))
}

// others returns what becomes of the items that no error names.
func (v Verdicts) others(a *Answer, b *Batch) []Result {
	if !a.OK() && !v.taken {
		return b.same(Result{Outcome: Retry, Reason: Conflict, Status: a.Status, Detail: "refused together with others"})
	}
	return b.same(a.Took())
}

// named returns the results of a list; nil: the list names something that is not in the request.
func (v Verdicts) named(a *Answer, errs event.Value, b *Batch) []Result {
	if v.find == nil {
		return v.each(a, errs, b)
	}
	rs, find := v.others(a, b), v.find(b)
	for e := errs.Cursor(); e.Next(); {
		name, e := e.Key(), e.Value()
		if errs.Kind() == event.Array {
			name = at(e, v.name)
		}
		meant := find(name)
		if len(meant) == 0 {
			return nil
		}
		for _, i := range meant {
			rs[i] = v.refused(a.Status, e, cmp.Or(v.words(e), string(e.Raw())))
		}
	}
	return rs
}

// each returns the results of a list that has one element per item; nil: it has not.
func (v Verdicts) each(a *Answer, list event.Value, b *Batch) (rs []Result) {
	if list.Len() != len(b.Deliveries) {
		return nil
	}
	for e := range list.Elements() {
		r, ok := v.one(a, at(e, v.name), b.Now)
		if !ok {
			return nil
		}
		switch words := cmp.Or(v.words(e), r.Detail, string(e.Raw())); r.Outcome {
		case Delivered:
		case Rejected:
			reason := r.Reason // such as too_large
			if r = v.refused(r.Status, e, words); r.Outcome == Rejected {
				r.Reason = reason
			}
		default:
			r.Detail = Cut(words, 400)
		}
		rs = append(rs, r)
	}
	return rs
}

// one is what the status of an element means; false: nobody knows.
func (v Verdicts) one(a *Answer, status event.Value, now time.Time) (r Result, ok bool) {
	n, isStatus := status.Int()
	if status.Kind() == event.String {
		k, err := strconv.ParseUint(status.Text(), 10, 31)
		n, isStatus = int64(k), err == nil
	}
	isStatus = isStatus && n >= 100 && n <= 599
	switch {
	case !status.Exists():
		return r, false
	case slices.Contains(v.accepted, status.Text()):
		return Result{Outcome: Delivered, Status: a.Status}, true
	case isStatus && (n >= 400 || len(v.accepted) == 0):
		return (&Answer{Status: int(n)}).Verdict(now), true
	case len(v.accepted) > 0:
	case status.Kind() != event.Bool:
		return r, false
	case status.Bool():
		return Result{Outcome: Delivered, Status: a.Status}, true
	}
	return Result{Outcome: Rejected, Reason: Refused, Status: a.Status}, true
}

// value is what the partner is sent of the delivery. Of an item on two lines that is the second.
func (d *Delivery) value() (event.Value, error) {
	v, err := event.ParseValue(d.Item)
	if line := bytes.IndexByte(d.Item, '\n'); err != nil && line >= 0 {
		return event.ParseValue(d.Item[line+1:])
	}
	return v, err
}

// words is the text of an error.
func (v Verdicts) words(e event.Value) string {
	var out []string
	for path := range strings.FieldsSeq(v.message) {
		if text := at(e, path); !text.Nullish() && !text.IsEmptyText() {
			out = append(out, text.Text())
		}
	}
	return strings.Join(out, ": ")
}

// at is the value at a dotted path.
func at(v event.Value, path string) event.Value {
	if path == "" {
		return v
	}
	return v.Find(event.Keys(strings.Split(path, ".")...))
}
