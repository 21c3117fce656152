package workspace

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/secret"
	"github.com/fanfold/fanfold/pkg/setting"
)

// Where data resides must never become another place on the way: tools say it by words, by switches, by addresses
// and by codes, and what is not understood is written so that `config check` refuses it.

// regionWords are what tools call a setting that says so.
var regionWords = []string{"region", "residency", "instance", "endpoint", "datacenter", "datacentre", "cluster", "host",
	"server", "location", "apibase"}

// placeNames are what tools call a place, as words behind one another.
var placeNames = []struct{ place, names string }{
	{"us", "us, usa, usdc, united states, north america"},
	{"eu", "eu, eudc, europe, european union, european"},
	{"au", "au, audc, australia"},
	{"in", "in, ind, india"},
	{"global", "global"},
}

// isRegion says that a setting tells where data resides: by a few words, or, called as such settings are, by a name or
// an address of its own.
func isRegion(f setting.Field) bool {
	free := f.Transport && !f.Secret || len(f.Choices) > 0
	return slices.Contains(f.Choices, "eu") || free && slices.Contains(regionWords, fold(f.Key))
}

// wordsOf are the words of a text, in lower case: eu-west-1 and euWest1 are eu, west.
func wordsOf(s string) []string {
	var b strings.Builder
	lower := false
	for _, r := range s {
		if lower && unicode.IsUpper(r) {
			b.WriteByte(' ')
		}
		lower = unicode.IsLower(r)
		b.WriteRune(unicode.ToLower(r))
	}
	return strings.FieldsFunc(b.String(), func(r rune) bool { return !unicode.IsLetter(r) })
}

// placesOf are the places that words speak of.
func placesOf(words []string) (places []string) {
	text := " " + strings.Join(words, " ") + " "
	for _, p := range placeNames {
		for name := range strings.SplitSeq(p.names, ", ") {
			if strings.Contains(text, " "+name+" ") {
				places = append(places, p.place)
				break
			}
		}
	}
	return places
}

// regionOf is the choice of a setting that a value of another tool's stands for, which is the value itself where that
// is not understood; an address of somebody's own is. A switch says by its name where data resides when it is on.
func regionOf(spec destination.Destination, f setting.Field, key string, value any) any {
	var words []string
	switch v := value.(type) {
	case bool:
		places := placesOf(wordsOf(key))
		if len(places) != 1 || choiceOf(f, places[0]) == "" {
			return value
		}
		if !v {
			return f.Default
		}
		return choiceOf(f, places[0])
	case string:
		if at := slices.IndexFunc(f.Choices, func(c string) bool { return strings.EqualFold(c, v) }); at >= 0 {
			return f.Choices[at]
		}
		if word := strings.ToLower(v); word == "standard" || word == "default" {
			return f.Default
		}
		words = wordsOf(v)
		if isAddress(v) {
			u, _ := url.Parse(v)
			labels := strings.Split(u.Hostname(), ".")
			at := len(labels) - 2
			if at < 0 || u.User != nil || !slices.Contains(brands(spec), plain(labels[at])) {
				return value // of the user's own
			}
			words = wordsOf(strings.Join(append(labels[:at:at], labels[at+1]), " "))
			if !slices.ContainsFunc(words, func(w string) bool { return !slices.Contains(ordinary, w) }) {
				return f.Default
			}
		}
	default:
		return value
	}
	if places := placesOf(words); len(places) == 1 && choiceOf(f, places[0]) != "" {
		return choiceOf(f, places[0])
	}
	return value
}

// ordinary are words in the name of a partner's host that say nothing about where it is.
var ordinary = []string{"api", "app", "www", "i", "iam", "com", "io", "net", "org"}

// brands are a partner's names as they stand in the names of its hosts.
func brands(spec destination.Destination) []string {
	return []string{plain(spec.Info.Slug), plain(spec.Info.Name)}
}

// choiceOf is the choice of a setting that stands for a place, if any.
func choiceOf(f setting.Field, place string) string {
	if slices.Contains(f.Choices, place) {
		return place
	}
	if at := slices.Index(f.Places, place); at >= 0 {
		return f.Choices[at]
	}
	return ""
}

func isAddress(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != ""
}

// asText is a value as a text: itself, or JSON.
func asText(v any) string {
	if text, ok := v.(string); ok {
		return text
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

// gather finds the settings that a destination's are here. The same name goes before one that is near. Two that say
// where data resides and differ are none that `config check` takes.
func gather(d *Destination, spec destination.Destination) (given map[string]any, lost []remark) {
	given = map[string]any{}
	from := map[string]string{}
	for _, near := range []bool{false, true} {
		for _, s := range d.Settings {
			f, ok := fieldFor(spec.Settings, s.Key)
			switch {
			case !holds(s.Value) || near != (!ok || fold(f.Key) != fold(s.Key)):
				continue
			case !ok:
				lost = append(lost, remark{"not carried over: the setting " + s.Key, weighty(s.Key)})
				continue
			}
			value := s.Value
			switch {
			case refers(value): // who can write into a workspace must not have commands run, or files sent, by its export
				lost = append(lost, remark{fmt.Sprintf("not carried over: the setting %s, whose value names a place where to "+
					"look (env:, file:, exec:, …), as the user's own do alone", s.Key), true})
				if value = unfit; !isRegion(f) {
					continue
				}
			case perEvent.MatchString(asText(value)):
				lost = append(lost, remark{fmt.Sprintf("not carried over: the setting %s, which each event says for itself: %s",
					s.Key, cut(asText(value))), true})
				if !isRegion(f) {
					continue
				}
			case isRegion(f) && len(f.Choices) > 0:
				value = regionOf(spec, f, s.Key, s.Value)
			}
			have, twice := given[f.Key]
			switch {
			case !twice:
				given[f.Key], from[f.Key] = value, s.Key
			case isRegion(f) && asText(have) != asText(value):
				given[f.Key] = asText(have) + " or " + asText(value)
				lost = append(lost, remark{fmt.Sprintf("the settings %s and %s differ in where data resides", from[f.Key], s.Key),
					true})
			default:
				lost = append(lost, remark{fmt.Sprintf("not carried over: the setting %s, since %s is there", s.Key,
					from[f.Key]), weighty(s.Key)})
			}
		}
	}
	return given, lost
}

// unfit is a value that no setting takes that says where data resides.
const unfit = "TO BE MENDED"

// refers says that a text in a value would be taken for a reference to another.
func refers(v any) bool {
	switch v := v.(type) {
	case string:
		_, _, ok := secret.Reference(v)
		return ok
	case []any:
		return slices.ContainsFunc(v, refers)
	case map[string]any:
		for _, one := range v {
			if refers(one) {
				return true
			}
		}
	}
	return false
}

// fieldFor is the setting that another tool calls key: by the same words, as the only one
// that ends with them, as the one that tells the region where the key speaks of one, or as
// the only one that is required, tells where, or has choices, all of whose words the key has.
func fieldFor(s setting.Schema, key string) (setting.Field, bool) {
	for _, f := range s.Fields {
		if fold(f.Key) == fold(key) {
			return f, true
		}
	}
	word, words := fold(key), wordsOf(key)
	for _, fits := range []func(setting.Field) bool{
		func(f setting.Field) bool { return len(word) >= 3 && strings.HasSuffix(fold(f.Key), word) },
		func(f setting.Field) bool {
			return isRegion(f) && slices.ContainsFunc(regionWords, func(w string) bool { return strings.HasSuffix(word, w) })
		},
		func(f setting.Field) bool { return isRegion(f) && strings.Contains(word, "residen") },
		func(f setting.Field) bool { return f.Required && strings.HasSuffix(word, fold(f.Key)) },
		func(f setting.Field) bool { return len(f.Choices) > 0 && strings.HasSuffix(word, fold(f.Key)) },
		func(f setting.Field) bool {
			return f.Required && !slices.ContainsFunc(wordsOf(f.Key), func(w string) bool { return !slices.Contains(words, w) })
		},
		func(f setting.Field) bool {
			return slices.Contains(regionWords, fold(f.Key)) && strings.HasSuffix(word, fold(f.Key))
		},
	} {
		var near []setting.Field
		for _, f := range s.Fields {
			if fits(f) {
				near = append(near, f)
			}
		}
		if len(near) == 1 {
			return near[0], true
		}
	}
	return setting.Field{}, false
}
