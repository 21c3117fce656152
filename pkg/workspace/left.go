package workspace

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// walk shows every object to see, the outer ones first. Where see has taken one, what is inside of it is see's affair.
// It says whether anything was taken; what is not, beside something that is, is left, and said.
func (r *reader) walk(v any, see func(object) bool, depth int) (taken bool) {
	loose := map[string][]any{}
	look := func(key string, one any) {
		if r.walk(one, see, depth+1) {
			taken = true
		} else {
			loose[key] = append(loose[key], one)
		}
	}
	switch v := v.(type) {
	case []any:
		if depth <= maxDepth {
			for _, one := range v {
				look("", one)
			}
		}
	case map[string]any:
		if depth > maxDepth || see(v) {
			return depth <= maxDepth
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			look(key, v[key])
		}
	}
	if taken {
		for _, key := range slices.Sorted(maps.Keys(loose)) {
			for _, one := range loose[key] {
				r.leave(key, one)
			}
		}
	}
	return taken
}

// leave notes an object that nothing is made of, or a list of such. One without a name is as many as it holds. Single
// values beside what is taken say nothing.
func (r *reader) leave(kind string, v any) {
	switch v := v.(type) {
	case []any:
		for _, one := range v {
			r.leave(kind, one)
		}
	case map[string]any:
		if last := kind[strings.LastIndex(kind, ".")+1:]; fold(last) == "pagination" || !holds(v) {
			return
		}
		of, label := labelOf(kind, v)
		var single []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			switch deep := nested(v[key]); {
			case label != "":
			case deep && strings.Count(kind, ".") < maxDepth:
				r.leave(strings.TrimPrefix(strings.TrimPrefix(kind+"."+key, "."), "data."), v[key])
			case holds(v[key]):
				single = append(single, key)
			}
		}
		if label = cmp.Or(label, strings.Join(single, ", ")); label != "" {
			r.left[of] = append(r.left[of], label)
		}
	}
}

// nested says that an object is in a value.
func nested(v any) bool {
	list, _ := v.([]any)
	_, is := v.(map[string]any)
	return is || slices.ContainsFunc(list, nested)
}

// holds says that there is anything in a value but pages of lists that are empty.
func holds(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case string:
		return v != ""
	case []any:
		return slices.ContainsFunc(v, holds)
	case map[string]any:
		for key, one := range v {
			if fold(key) != "pagination" && holds(one) {
				return true
			}
		}
		return false
	}
	return true
}

// labelOf is what an object is, as far as can be seen, and its name, if it has one.
func labelOf(kind string, o object) (of, label string) {
	if values := o.object("values"); values != nil && o.text("type") != "" { // a resource
		kind, o = o.text("type"), object{"name": cmp.Or(values.text("name"), o.text("address"))}
	}
	return cmp.Or(kind, "the export"), cmp.Or(o.text("name"), o.text("title"), o.text("id"))
}

// maxLabels and maxKinds bound how many names stand in a line, and how many lines there are.
const maxLabels, maxKinds = 5, 50

// listed are lines of labels by their kind.
func listed(all map[string][]string, why string) (lines []string) {
	for n, kind := range slices.Sorted(maps.Keys(all)) {
		labels, more := all[kind], ""
		if n == maxKinds {
			return append(lines, fmt.Sprintf("%d more kinds of objects: %s", len(all)-n, why))
		}
		if len(labels) > maxLabels {
			labels, more = labels[:maxLabels], fmt.Sprintf(" and %d more", len(labels)-maxLabels)
		}
		lines = append(lines, cut(fmt.Sprintf("%s (%s%s): %s", kind, strings.Join(labels, ", "), more, why)))
	}
	return lines
}

// rest are the members of an object that is taken that nothing is made of, beside those that are known, and ids and
// times, which say nothing. What is taken of them, see takes.
func (r *reader) rest(o object, see func(object) bool, known ...string) (keys []string) {
	for _, key := range slices.Sorted(maps.Keys(o)) {
		plain := func(suffix string) bool {
			_, isText := o[key].(string)
			return isText && strings.HasSuffix(fold(key), suffix)
		}
		switch {
		case slices.ContainsFunc(known, func(k string) bool { return fold(k) == fold(key) }), plain("id"), plain("at"):
		case !holds(o[key]) || o[key] == false:
		case see != nil && r.walk(o[key], see, 1):
		default:
			keys = append(keys, key)
		}
	}
	return keys
}

// lost are notes of what is not carried over.
func lost(keys []string) (notes []string) {
	for _, key := range keys {
		notes = append(notes, "not carried over: its "+key)
	}
	return notes
}

// pages are those of a list: which are there, and which others they speak of.
type pages struct{ here, next, before map[string]int }

// page notes the page of a list that an answer is.
func (r *reader) page(o object) {
	p := o.object("pagination")
	if p == nil {
		return
	}
	for _, kind := range []string{"destinations", "filters", "sources", "subscriptions"} {
		if o.get(kind) == nil {
			continue
		}
		if r.pages[kind] == nil {
			r.pages[kind] = &pages{map[string]int{}, map[string]int{}, map[string]int{}}
		}
		for key, of := range map[string]map[string]int{"current": r.pages[kind].here, "next": r.pages[kind].next,
			"previous": r.pages[kind].before} {
			if page := p.text(key); page != "" {
				of[page]++
			}
		}
	}
}

// missing are the pages that others speak of and that are not there, as often as these do: lists of several
// destinations have pages of the same names.
func (p *pages) missing(kind string) (lines []string) {
	for _, page := range slices.Sorted(maps.Keys(p.next)) {
		if p.next[page] > p.here[page] {
			lines = append(lines, fmt.Sprintf("%s: the export lacks the next page of them (pagination.next is %s): "+
				"ask for it, and put it behind the others", kind, page))
		}
	}
	for _, page := range slices.Sorted(maps.Keys(p.before)) {
		if p.before[page] > p.here[page] {
			lines = append(lines, fmt.Sprintf("%s: the export lacks the page before one of them (pagination.previous is %s): "+
				"ask for it, and put it with the others", kind, page))
		}
	}
	return lines
}
