package payload

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/mapping"
	"github.com/fanfold/fanfold/pkg/refcase"
)

// fieldJSON is a field definition as the reference cases write it.
type fieldJSON struct {
	Label                string          `json:"label"`
	Type                 string          `json:"type"`
	Multiple             bool            `json:"multiple"`
	AllowNull            bool            `json:"allowNull"`
	AdditionalProperties bool            `json:"additionalProperties"`
	Format               string          `json:"format"`
	Minimum              float64         `json:"minimum"`
	Maximum              float64         `json:"maximum"`
	Required             json.RawMessage `json:"required"`
	Choices              []any           `json:"choices"`
	Properties           json.RawMessage `json:"properties"`
	Default              any             `json:"default"`
}

func fieldsOf(t *testing.T, src json.RawMessage) []Field {
	t.Helper()
	doc, err := event.ParseValue(src)
	if err != nil {
		t.Fatal(err)
	}
	fields := []Field{}
	for k, v := range doc.Members() {
		var j fieldJSON
		if err := json.Unmarshal(v.Raw(), &j); err != nil {
			t.Fatal(err)
		}
		f := Field{Key: k.Text(), Label: j.Label, Multiple: j.Multiple, AllowNull: j.AllowNull, Format: j.Format,
			AdditionalProperties: j.AdditionalProperties, Minimum: j.Minimum, Maximum: j.Maximum}
		for ty := TypeString; ty <= TypeObject; ty++ {
			if ty.String() == j.Type {
				f.Type = ty
			}
		}
		if f.Type.String() != j.Type {
			t.Fatalf("type %q", j.Type)
		}
		if j.Default != nil {
			f.Default = mapping.Literal(j.Default)
		}
		for _, c := range j.Choices {
			if o, ok := c.(map[string]any); ok {
				c = o["value"]
			}
			if s, ok := c.(string); ok {
				f.Choices = append(f.Choices, s)
			} else {
				b, _ := json.Marshal(c)
				f.Choices = append(f.Choices, string(b))
			}
		}
		if j.Properties != nil {
			f.Properties = fieldsOf(t, j.Properties)
		}
		if len(j.Required) > 0 && json.Unmarshal(j.Required, &f.Required) != nil {
			var cond struct {
				Match      string `json:"match"`
				Conditions []struct {
					FieldKey string `json:"fieldKey"`
					Operator string `json:"operator"`
					Value    any    `json:"value"`
				} `json:"conditions"`
			}
			if err := json.Unmarshal(j.Required, &cond); err != nil {
				t.Fatal(err)
			}
			f.RequiredIf = &Condition{All: cond.Match != "any"}
			for _, c := range cond.Conditions {
				test := Test{Field: c.FieldKey, Not: c.Operator == "is_not"}
				if c.Value != nil {
					test.Value = mapping.Literal(c.Value)
				}
				f.RequiredIf.Tests = append(f.RequiredIf.Tests, test)
			}
		}
		fields = append(fields, f)
	}
	return fields
}

type validationCase struct {
	Name     string          `json:"name"`
	Fields   json.RawMessage `json:"fields"`
	Mapping  json.RawMessage `json:"mapping"`
	Event    json.RawMessage `json:"event"`
	Expected json.RawMessage `json:"expected"`
	Error    string          `json:"error"`
	Batch    *struct {
		Expected json.RawMessage `json:"expected"`
		Error    string          `json:"error"`
	} `json:"batch"`
}

func runValidationCases(t *testing.T, cases []validationCase) {
	passed := 0
	for i, c := range cases {
		ok := t.Run(fmt.Sprintf("%d %s", i, c.Name), func(t *testing.T) {
			fields := fieldsOf(t, c.Fields)
			m, err := mapping.Parse(c.Mapping)
			if err != nil {
				t.Fatal(err)
			}
			in, err := event.ParseValue(c.Event)
			if err != nil {
				t.Fatal(err)
			}
			run := func(want json.RawMessage, wantErr string, opts ...Option) {
				t.Helper()
				p, err := Compile(fields, m, opts...)
				if err != nil {
					t.Fatal(err)
				}
				var r Resolver
				for range 2 { // a used resolver must behave like a fresh one
					got, err := p.Run(&r, in)
					if wantErr != "" {
						if err == nil {
							t.Fatalf("%s %s\nwant error %q, got %s", c.Fields, c.Mapping, wantErr, got.AppendJSON(nil))
						}
						var invalid *InvalidError
						if !errors.As(err, &invalid) {
							t.Fatalf("error %T: %v", err, err)
						}
						if err.Error() != wantErr {
							t.Errorf("error text:\nwant %s\ngot  %s", wantErr, err)
						}
						continue
					}
					if err != nil {
						t.Fatalf("%s %s: %v\nwant %s", c.Fields, c.Mapping, err, want)
					}
					if err := refcase.Same(want, got.AppendJSON(nil)); err != nil {
						t.Fatalf("%s %s: %v", c.Fields, c.Mapping, err)
					}
				}
			}
			run(c.Expected, c.Error)
			if c.Batch != nil {
				run(c.Batch.Expected, c.Batch.Error, Batch())
			} else {
				run(c.Expected, c.Error, Batch())
			}
		})
		if ok {
			passed++
		}
	}
	t.Logf("%d of %d cases passed", passed, len(cases))
}

func TestReferenceValidation(t *testing.T) {
	var cases []validationCase
	if err := refcase.Load(refcase.Shared("validation-cases.json"), &cases); errors.Is(err, os.ErrNotExist) {
		t.Skip("the reference cases ../shared/segment/validation-cases.json are not there")
	} else if err != nil {
		t.Fatal(err)
	}
	runValidationCases(t, cases)
}

func TestFields(t *testing.T) {
	var cases []validationCase
	if err := refcase.Load(filepath.Join("testdata", "fields.json"), &cases); err != nil {
		t.Fatal(err)
	}
	runValidationCases(t, cases)
}
