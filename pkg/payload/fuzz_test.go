package payload

import (
	"bytes"
	"testing"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// FuzzFields: the same for coercion and validation.
func FuzzFields(f *testing.F) {
	for _, s := range []string{
		`{"s":"x","n":"1.5","i":[7],"b":"true","d":"2024-05-06","o":{"a":1,"z":null},"m":["a",null,` +
			`""],"l":[{"a":null},[1]],"c":"a"}`,
		`{"s":[[1]],"n":" 0x10 ","i":1.5,"d":["x"],"o":[],"m":{},"l":"","c":null}`,
		`{"s":"\ud800","n":1e999,"d":"May 6, 2024 10:00 PM (now) GMT+2","m":"","o":{"a":"","a":2}}`} {
		f.Add([]byte(s))
	}
	in := func(ts ...Field) (fs []Field) {
		for _, t := range ts {
			t.Default = mapping.Path("$." + t.Key)
			fs = append(fs, t)
		}
		return fs
	}
	fields := in(
		Field{Key: "s", Type: TypeString, Minimum: 1, Maximum: 5, AllowNull: true},
		Field{Key: "n", Type: TypeNumber, Minimum: -5},
		Field{Key: "i", Type: TypeInteger, AllowNull: true},
		Field{
			Key:        "b",
			Type:       TypeBoolean,
			RequiredIf: &Condition{Tests: []Test{{Field: "s", Value: mapping.Literal("x")}, {Field: "o.a"}}},
		},
		Field{Key: "d", Type: TypeDatetime},
		Field{
			Key:                  "o",
			Type:                 TypeObject,
			AdditionalProperties: true,
			Properties:           []Field{{Key: "a", Type: TypeText, Required: true}},
		},
		Field{
			Key:      "m",
			Type:     TypeString,
			Multiple: true,
		},
		Field{Key: "l", Type: TypeObject, Multiple: true, Properties: []Field{{Key: "a", Type: TypeNumber}}},
		Field{
			Key:      "c",
			Type:     TypeString,
			Choices:  []string{"a", "b"},
			Required: true,
		},
		Field{Key: "u", Type: TypeString, Format: "uri"},
	)
	programs := make([]*Program, 2)
	for i, opts := range [][]Option{nil, {Batch()}} {
		p, err := Compile(fields, mapping.Value{}, opts...)
		if err != nil {
			f.Fatal(err)
		}
		programs[i] = p
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		in, err := event.ParseValue(payload)
		if err != nil {
			return
		}
		for _, p := range programs {
			var r Resolver
			out, err := p.Run(&r, in)
			if err != nil {
				continue
			}
			got := out.AppendJSON(nil)
			if e := event.Valid(got); e != nil {
				t.Fatalf("%s gives %q: %v", payload, got, e)
			}
			for key, raw := range out.All() {
				if v := out.Get(key); !bytes.Equal(v.Raw(), raw) {
					t.Fatalf("%s of %s is %q and %q", key, got, v.Raw(), raw)
				}
			}
			if again, err := p.Run(&r, in); err != nil || !bytes.Equal(again.AppendJSON(nil), got) {
				t.Fatalf("%s, then %v %v", got, again, err)
			}
		}
	})
}
