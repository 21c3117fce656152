package payload

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/jsonval"
)

// dropsEmpty says whether the empty text counts as absent.
func (s *schema) dropsEmpty() bool { return s.Multiple || !s.str && s.Type != TypeDatetime }

// drops says whether the value of a member counts as absent.
func (s *schema) drops(raw []byte, clean bool) bool {
	switch k := jsonval.KindOf(raw); {
	case k == event.Missing:
		return true
	case !clean:
		return false
	case k == event.Null:
		return !s.nullable
	case k == event.String && len(raw) == 2:
		return s.dropsEmpty()
	}
	return false
}

// coerce appends a field's coerced value, and notes violations.
func (s *schema) coerce(r *Resolver, dst, raw []byte, clean bool) []byte {
	if !s.Multiple {
		return s.single(r, dst, raw, clean, s.nullable)
	}
	switch jsonval.KindOf(raw) {
	case event.Array:
	case event.Object:
		s.problem(r, "must be an array but it was an object")
		return append(dst, raw...)
	default:
		dst = append(dst, '[')
		dst = s.item(r, dst, raw, 0, false)
		return append(dst, ']')
	}
	dst = append(dst, '[')
	n := 0
	event.EachElement(raw, func(val []byte) {
		if clean {
			k := jsonval.KindOf(val)
			if k == event.Null || k == event.String && len(val) == 2 && !s.str && s.Type != TypeDatetime {
				return
			}
		}
		if n > 0 {
			dst = append(dst, ',')
		}
		dst = s.item(r, dst, val, n, false)
		n++
	})
	return append(dst, ']')
}

// item appends element n of a Multiple field.
func (s *schema) item(r *Resolver, dst, raw []byte, n int, clean bool) []byte {
	at := len(r.trail)
	r.trail = strconv.AppendInt(append(r.trail, '/'), int64(n), 10)
	dst = s.single(r, dst, raw, clean, false)
	r.trail = r.trail[:at]
	return dst
}

// single appends a value of the field's type.
func (s *schema) single(r *Resolver, dst, raw []byte, clean, null bool) []byte {
	at := len(dst)
	k := jsonval.KindOf(raw)
	var ok bool
	several := null || s.Type == TypeDatetime // more than one type is allowed
	switch {
	case s.is(k, raw) || null && k == event.Null:
		if k == event.Object && s.props != nil {
			return s.object(r, dst, raw, clean)
		}
		if k == event.Number && s.Type == TypeInteger {
			dst = jsonval.AppendNumber(dst, raw)
		} else {
			dst = append(dst, raw...)
		}
	default:
		if k == event.Array && (s.Type != TypeObject || null) {
			if only, one := jsonval.OnlyElement(raw); one {
				// The validator unwraps the array before anything else, but
				// with several types allowed never takes the element as it
				// is: it has to be coerced.
				raw, k = only, jsonval.KindOf(only)
				if !several && s.is(k, raw) {
					ok = true
					dst = append(dst, raw...)
				}
			}
		}
		if !ok {
			dst, ok = s.convert(dst, raw, k, null)
		}
		if !ok {
			wants := s.wants[0]
			if null {
				wants = s.wants[1]
			}
			s.problem(r, "must be ", wants, " but it was ", gotType(k))
			dst = append(dst, raw...)
		}
	}
	s.rulesOf(r, dst[at:], null)
	return dst
}

// scalar appends the coerced form of a value in the simple cases, where it depends on the value alone. ok says
// whether this is such a case, and the value is valid.
func (s *schema) scalar(dst, raw []byte, k event.Kind) (out []byte, ok bool) {
	switch {
	case s.Multiple || s.checked || s.Type == TypeDatetime || s.Type == TypeObject,
		k < event.Bool, k > event.String:
		return dst, false
	case !s.is(k, raw):
		return s.convert(dst, raw, k, s.nullable)
	case s.Type == TypeInteger:
		return jsonval.AppendNumber(dst, raw), true
	}
	return append(dst, raw...), true
}

// is says whether a value has the field's type.
func (s *schema) is(k event.Kind, raw []byte) bool {
	switch s.Type {
	case TypeNumber:
		return k == event.Number
	case TypeInteger:
		return k == event.Number && integral(raw)
	case TypeBoolean:
		return k == event.Bool
	case TypeDatetime:
		return k == event.String || k == event.Number
	case TypeObject:
		return k == event.Object
	case TypeAny:
		return k > event.Null
	}
	return k == event.String
}

// convert coerces a scalar of another type.
func (s *schema) convert(dst, raw []byte, k event.Kind, null bool) ([]byte, bool) {
	switch s.Type {
	case TypeNumber, TypeInteger, TypeBoolean, TypeObject:
	default: // the text types, and Datetime, which is string or else number
		switch k {
		case event.Number:
			dst = append(dst, '"')
			dst = jsonval.AppendNumber(dst, raw)
			return append(dst, '"'), true
		case event.Bool:
			dst = append(dst, '"')
			dst = append(dst, raw...)
			return append(dst, '"'), true
		case event.Null:
			return append(dst, `""`...), true
		}
	}
	switch s.Type {
	case TypeNumber, TypeInteger, TypeDatetime:
		switch k {
		case event.Bool:
			if raw[0] == 't' {
				return append(dst, '1'), true
			}
			return append(dst, '0'), true
		case event.Null:
			return append(dst, '0'), true
		case event.String:
			at := len(dst)
			if out, ok := jsonval.AppendSpelled(dst, raw); ok {
				if s.Type != TypeInteger || integral(out[at:]) {
					return out, true
				}
			}
		}
	case TypeBoolean:
		switch {
		case k == event.Null || k == event.String && string(raw) == `"false"`:
			return append(dst, "false"...), true
		case k == event.String && decodedIs(raw, "true"):
			return append(dst, "true"...), true
		case k == event.String && decodedIs(raw, "false"):
			return append(dst, "false"...), true
		case k == event.Number:
			f, _ := strconv.ParseFloat(string(raw), 64)
			if f == 0 || f == 1 {
				return strconv.AppendBool(dst, f == 1), true
			}
		}
	}
	if null && (k == event.String || k == event.Number || k == event.Bool) && !jsonval.Truthy(k, raw) {
		return append(dst, "null"...), true
	}
	return dst, false
}

// object appends an object with its properties coerced.
func (s *schema) object(r *Resolver, dst, raw []byte, clean bool) []byte {
	dst = append(dst, '{')
	n := len(dst)
	has := func(f *schema) (found bool) {
		event.EachMember(raw, func(k, v []byte) {
			if event.IsQuoted(k, f.Key) {
				found = !f.drops(v, clean)
			}
		})
		return found
	}
	for _, f := range s.needed {
		if !has(f) {
			s.lacks(r, f)
		}
	}
	jsonval.EachUnique(raw, func(key, val []byte) {
		var f *schema
		if bytes.IndexByte(key, '\\') < 0 {
			f = s.byKey[string(key[1:len(key)-1])]
		} else {
			f = s.byKey[jsonval.Text(key)]
		}
		if f == nil && !s.AdditionalProperties || f != nil && f.drops(val, clean) {
			return
		}
		if len(dst) > n {
			dst = append(dst, ',')
		}
		dst = append(append(dst, key...), ':')
		if f == nil {
			dst = append(dst, val...)
			return
		}
		at := len(r.trail)
		r.trail = append(append(r.trail, '/'), f.Key...)
		dst = f.coerce(r, dst, val, clean)
		r.trail = r.trail[:at]
	})
	return append(dst, '}')
}

// rulesOf checks choices, bounds and formats of a coerced value. r may be nil if only the result matters, not the
// messages.
func (s *schema) rulesOf(r *Resolver, v []byte, null bool) (ok bool) {
	ok = true
	fail := func(what ...string) {
		ok = false
		if r != nil {
			s.problem(r, what...)
		}
	}
	k := jsonval.KindOf(v)
	if s.enum != nil && !(null && k == event.Null) &&
		!slices.ContainsFunc(s.enum, func(c []byte) bool { return bytes.Equal(c, v) }) &&
		!slices.ContainsFunc(s.enum, func(c []byte) bool { return jsonval.Same(c, v) }) {
		fail("must be one of: ", s.choices)
	}
	switch {
	case s.Multiple: // as in Segment, only choices reach the elements of an array
	case s.Type == TypeDatetime && k == event.String:
		if !jsonval.IsDateLike(v) {
			fail("must be a valid date-like string but it was not")
		}
	case !s.checked:
	case s.Type == TypeNumber && k == event.Number:
		f, _ := strconv.ParseFloat(string(v), 64)
		if s.Maximum != 0 && f > s.Maximum {
			fail("must be equal to or less than " + jsonval.FormatFloat(s.Maximum))
		}
		if s.Minimum != 0 && f < s.Minimum {
			fail("must be equal to or greater than " + jsonval.FormatFloat(s.Minimum))
		}
	case s.Type == TypeString && k == event.String:
		if s.Minimum != 0 || s.Maximum != 0 {
			text := v[1 : len(v)-1]
			if bytes.IndexByte(text, '\\') >= 0 {
				text = event.AppendUnquoted(nil, v)
			}
			n := utf8.RuneCount(text)
			if s.Maximum != 0 && float64(n) > s.Maximum {
				fail(fmt.Sprintf("must be %s or fewer but it was %s", chars(s.Maximum), chars(float64(n))))
			}
			if s.Minimum != 0 && float64(n) < s.Minimum {
				fail(fmt.Sprintf("must be %s or more but it was %s", chars(s.Minimum), chars(float64(n))))
			}
		}
		if s.Format != "" && !jsonval.HasFormat(s.Format, v) {
			fail("must be a valid " + jsonval.FormatLabel(s.Format) + " string but it was not")
		}
	}
	return ok
}

// lacks notes that a required member is missing.
func (s *schema) lacks(r *Resolver, f *schema) {
	s.problem(r, "is missing the required field '", f.Key, "'")
}

// problem notes what is wrong with the value at hand.
func (s *schema) problem(r *Resolver, what ...string) {
	now := &r.now
	if bytes.Count(now.problems, []byte(endOfProblem)) >= 100 {
		return
	}
	path := r.trail
	if s.Multiple && bytes.Count(path, []byte("/")) > 1 && path[len(path)-1] >= '0' && path[len(path)-1] <= '9' {
		now.problems = append(append(now.problems, "The value at "...), path...)
	} else {
		now.problems = append(now.problems, s.title...)
	}
	now.problems = append(now.problems, ' ')
	for _, text := range what {
		now.problems = append(now.problems, text...)
	}
	now.problems = append(append(now.problems, '.'), endOfProblem...)
}

func integral(raw []byte) bool {
	if jsonval.IsPlainInteger(raw) {
		return true
	}
	f, _ := strconv.ParseFloat(string(raw), 64)
	return f == math.Trunc(f) && !math.IsInf(f, 0)
}

func decodedIs(raw []byte, s string) bool { return event.IsQuoted(raw, s) }

func chars(n float64) string {
	if n == 1 {
		return "1 character"
	}
	return jsonval.FormatFloat(n) + " characters"
}

func capitalize(s string) string {
	c, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return s
	}
	return string(unicode.ToUpper(c)) + s[n:]
}

func humanList(list []string) string {
	switch len(list) {
	case 0:
		return "nothing"
	case 1:
		return list[0]
	case 2:
		return list[0] + " or " + list[1]
	}
	return strings.Join(list[:len(list)-1], ", ") + ", or " + list[len(list)-1]
}

// gotType is what messages call a value of a kind.
func gotType(k event.Kind) string {
	switch k {
	case event.Bool:
		return "a boolean"
	case event.Number:
		return "a number"
	case event.String:
		return "a string"
	case event.Array:
		return "an array"
	case event.Object:
		return "an object"
	}
	return jsonval.KindName(k)
}
