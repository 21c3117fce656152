package mapping

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/refcase"
)

// mappingCase is one case in the form of Segment's reference cases.
type mappingCase struct {
	Name      string          `json:"name"`
	Mapping   json.RawMessage `json:"mapping"`
	Payload   json.RawMessage `json:"payload"`
	Expected  json.RawMessage `json:"expected"`
	Undefined bool            `json:"expected_undefined"`
	Error     string          `json:"error"`
}

// resolveTwice compiles and runs a mapping twice, with a fresh and with a used
// resolver, and checks that both give the same bytes and leave the event alone.
func resolveTwice(src, payload []byte) (out []byte, defined bool, err error) {
	v, err := Parse(src)
	if err != nil {
		return nil, false, err
	}
	m, err := Compile(v)
	if err != nil {
		return nil, false, err
	}
	in, err := event.ParseValue(payload)
	if err != nil {
		return nil, false, err
	}
	before := bytes.Clone(payload)
	var r Resolver
	out, defined, err = m.Append(&r, nil, in)
	again, defined2, err2 := m.Append(&r, []byte("x"), in)
	if !bytes.Equal(append([]byte("x"), out...), again) || defined != defined2 || fmt.Sprint(err) != fmt.Sprint(err2) {
		return nil, false, fmt.Errorf(
			"resolved twice: %q %v %v, then %q %v %v",
			out,
			defined,
			err,
			again,
			defined2,
			err2,
		)
	}
	if !bytes.Equal(before, payload) {
		return nil, false, fmt.Errorf("the event was changed to %s", payload)
	}
	return out, defined, err
}

func runMappingCases(t *testing.T, cases []mappingCase) {
	passed := 0
	for i, c := range cases {
		ok := t.Run(fmt.Sprintf("%d %s", i, c.Name), func(t *testing.T) {
			if c.Payload == nil {
				c.Payload = json.RawMessage("{}")
			}
			out, defined, err := resolveTwice(c.Mapping, c.Payload)
			switch {
			case c.Error != "":
				if err == nil {
					t.Fatalf("%s\nwant error %q, got %s", c.Mapping, c.Error, out)
				}
			case err != nil:
				t.Fatalf("%s: %v", c.Mapping, err)
			case c.Undefined:
				if defined {
					t.Fatalf("%s\nwant undefined, got %s", c.Mapping, out)
				}
			case !defined:
				t.Fatalf("%s\nwant %s, got undefined", c.Mapping, c.Expected)
			default:
				if err := refcase.Same(c.Expected, out); err != nil {
					t.Fatalf("%s on %s: %v", c.Mapping, c.Payload, err)
				}
			}
		})
		if ok {
			passed++
		}
	}
	t.Logf("%d of %d cases passed", passed, len(cases))
}

func TestReferenceMappings(t *testing.T) {
	var cases []mappingCase
	if err := refcase.Load(refcase.Shared("mapping-cases.json"), &cases); errors.Is(err, os.ErrNotExist) {
		t.Skip("the reference cases ../shared/segment/mapping-cases.json are not there")
	} else if err != nil {
		t.Fatal(err)
	}
	runMappingCases(t, cases)
}

// TestMappings runs the repository's own copy: representative reference cases
// and random mappings, with what Segment's implementation made of them.
func TestMappings(t *testing.T) {
	var file struct {
		Payloads []json.RawMessage
		Cases    []struct {
			mappingCase
			On int
		}
	}
	if err := refcase.Load(filepath.Join("testdata", "mappings.json"), &file); err != nil {
		t.Fatal(err)
	}
	cases := make([]mappingCase, len(file.Cases))
	for i, c := range file.Cases {
		cases[i] = c.mappingCase
		cases[i].Payload = file.Payloads[c.On]
	}
	runMappingCases(t, cases)
}
