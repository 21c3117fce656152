package destinations_test

import (
	"math/rand/v2"
	"strings"

	"github.com/fanfold/fanfold/pkg/event"
)

// vary changes the values of an event, and now and then their kinds, and leaves
// its keys as they are. One value in often gets another one, such as values are
// that are treated differently somewhere, or one of more, which are JSON. What is
// no JSON comes back as it is.
func vary(rnd *rand.Rand, raw []byte, often int, more ...string) []byte {
	v, err := event.ParseValue(raw)
	if err != nil {
		return raw
	}
	var out []byte
	var walk func(v event.Value, key string)
	walk = func(v event.Value, key string) {
		switch v.Kind() {
		case event.Object:
			sep := byte('{')
			for k, m := range v.Members() {
				out = append(append(append(out, sep), k.Raw()...), ':')
				walk(m, k.Text())
				sep = ','
			}
			if sep == '{' {
				out = append(out, '{')
			}
			out = append(out, '}')
			return
		case event.Array:
			sep := byte('[')
			for m := range v.Elements() {
				out = append(out, sep)
				walk(m, "")
				sep = ','
			}
			if sep == '[' {
				out = append(out, '[')
			}
			out = append(out, ']')
			return
		}
		if key == "type" && v.Kind() == event.String || rnd.IntN(often) > 0 {
			out = append(out, v.Raw()...)
			return
		}
		pick := func(texts ...string) {
			if len(more) > 0 && rnd.IntN(20) == 0 {
				texts = more
			}
			out = append(out, texts[rnd.IntN(len(texts))]...)
		}
		kind := v.Kind()
		if rnd.IntN(20) == 0 {
			kind = event.Kind(1 + rnd.IntN(4))
		}
		switch kind {
		case event.Null:
			pick("null")
		case event.Bool:
			pick("true", "false")
		case event.Number:
			pick("0", "1", "-1", "12345678901234567890", "0.10", "1e3", "1709251200", "1709251200000", "4.99", "-0")
		default:
			pick(`""`, `"x"`, `"0"`, `"true"`, `"12"`, `"a\"b\u00e9\n"`, `"é"`, `"2024-02-30T10:00:00.000Z"`,
				`"2024-03-01T10:00:00Z"`, `"1999-01-01"`, `"Order Completed"`, `"someone@mail.example"`,
				`"EUR"`, `"https://x.example/?a=b"`, `"`+strings.Repeat("long ", 60)+`"`, `"+49 30 90182057"`, `" "`, `"user"`,
				`"null"`, `"{}"`, `"{\"a\":1}"`, `"[]"`, `"[1]"`)
		}
	}
	walk(v, "")
	return out
}
