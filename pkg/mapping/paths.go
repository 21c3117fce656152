package mapping

import "strings"

// Paths is the value at the first of several paths that is neither undefined
// nor null; at the last one whatever stands there. It is the chain of If that
// Segment's defaults are full of.
func Paths(paths ...string) Value {
	v := Path(paths[len(paths)-1])
	for i := len(paths) - 2; i >= 0; i-- {
		v = If(Path(paths[i]), Path(paths[i]), v)
	}
	return v
}

// Lines are members of a mapping, each as "key = value". A value is the first of some paths of the event, such as
// traits.phone, context.traits.phone; or a document: "a text", "Viewed {{name}}", true, {}. A key with a dot is a
// member of a member. Lines panics for a line that is none.
func Lines(lines ...string) map[string]Value {
	out := map[string]Value{}
	for _, line := range lines {
		key, text, ok := strings.Cut(line, " = ")
		if !ok {
			panic("mapping: " + line + ` is not "key = value"`)
		}
		var v Value
		if text != "true" && text != "false" && text[0]|0x20 >= 'a' && text[0]|0x20 <= 'z' {
			v = Paths(strings.Split("$."+strings.ReplaceAll(text, ", ", ",$."), ",")...)
		} else if v = Doc(text); strings.Contains(text, "{{") {
			text, _ := v.t.text()
			v = Template(text)
		}
		if top, member, nested := strings.Cut(key, "."); nested {
			of := &tree{form: object}
			if have, ok := out[top]; ok {
				*of = *have.t
			}
			of.set(member, v.t)
			key, v = top, Value{of}
		}
		out[key] = v
	}
	return out
}
