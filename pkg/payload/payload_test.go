package payload

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/mapping"
)

func TestPayload(t *testing.T) {
	fields := []Field{
		{Key: "id", Default: mapping.Path("$.userId"), Required: true},
		{Key: "n", Type: TypeNumber, Default: mapping.Path("$.n")},
		{Key: "o", Type: TypeObject, Default: mapping.Path("$.o")},
		{Key: "t", Default: mapping.Template("<{{userId}}>")},
	}
	p, err := Compile(fields, mapping.Value{})
	if err != nil {
		t.Fatal(err)
	}
	in, err := event.ParseValue([]byte(`{"userId":"u\u0031","n":"5","o":{"a":[1.0]}}`))
	if err != nil {
		t.Fatal(err)
	}
	var r Resolver
	pl, err := p.Run(&r, in)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(pl.AppendJSON([]byte("x"))),
		`x{"id":"u\u0031","n":5,"o":{"a":[1.0]},"t":"<u\u0031>"}`; got != want {
		t.Errorf("want %s, got %s", want, got)
	}
	if pl.Text("id") != "u1" || pl.Text("n") != "5" || pl.Text("t") != "<u1>" || pl.Text("none") != "" {
		t.Error("Text")
	}
	if string(pl.Raw("o")) != `{"a":[1.0]}` || pl.Raw("none") != nil || !pl.Has("o") || pl.Has("none") ||
		pl.Len() != 4 {
		t.Error("Raw, Has or Len")
	}
	if v := pl.Get("o").Get("a").Index(0); string(v.Raw()) != "1.0" {
		t.Errorf("Get gives %s", v.Raw())
	}
	if pl.Get("none").Exists() {
		t.Error("a field that is not there exists")
	}
	var keys []string
	for k := range pl.Keys() {
		keys = append(keys, k)
	}
	if fmt.Sprint(keys) != "[id n o t]" {
		t.Error(keys)
	}
	if _, err := p.Run(&r, event.Value{}); err == nil ||
		err.Error() != "The root value is missing the required field 'id'." {
		t.Errorf("got %v", err)
	}
	if array, _ := event.ParseValue([]byte("[]")); true {
		if _, err := p.Run(&r, array); !errors.Is(err, mapping.ErrNotObject) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := Compile([]Field{{Key: "a"}, {Key: "a"}}, mapping.Value{}); err == nil {
		t.Error("two fields of one name compile")
	}
	if _, err := Compile([]Field{{Key: "a", Type: TypeNumber, Choices: []string{"x"}}}, mapping.Value{}); err == nil {
		t.Error("a choice of the wrong type compiles")
	}
}

// An empty text at the root is dropped wherever it comes from, but in batches.
func TestEmptyTexts(t *testing.T) {
	fields := []Field{
		{Key: "a", Default: mapping.Path("$.a")},
		{Key: "t", Default: mapping.Template("{{x}}")},
		{Key: "u", Default: mapping.Upper(mapping.Path("$.a"))},
		{Key: "z", Default: mapping.Template("z{{x}}")},
	}
	in, err := event.ParseValue([]byte(`{"a":""}`))
	if err != nil {
		t.Fatal(err)
	}
	var r Resolver
	for _, c := range []struct {
		want string
		opts []Option
	}{{`{"z":"z"}`, nil}, {`{"a":"","t":"","u":"","z":"z"}`, []Option{Batch()}}} {
		p, err := Compile(fields, mapping.Value{}, c.opts...)
		if err != nil {
			t.Fatal(err)
		}
		pl, err := p.Run(&r, in)
		if err != nil || string(pl.AppendJSON(nil)) != c.want || pl.Text("z") != "z" {
			t.Errorf("want %s, got %s %v", c.want, pl.AppendJSON(nil), err)
		}
	}
}

// A compiled mapping serves many goroutines at once.
func TestConcurrentUse(t *testing.T) {
	raws, _ := benchEvents(t)
	p, err := Compile(benchFields(), mapping.Value{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := mapping.Compile(
		mapping.Object(
			mapping.M("u", mapping.Upper(mapping.Path("$.event"))),
			mapping.M("h", mapping.Doc(`{"@hash":{"as":"email","value":{"@path":"$.userId"}}}`)),
			mapping.M("m", mapping.Doc(`{"@merge":{"direction":"right","objects":[{"@path":"$.context"},`+
				`{"t":{"@template":"{{{userId}}}"}}]}}`)),
		),
	)
	if err != nil {
		t.Fatal(err)
	}
	results := make([][]byte, 4)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() {
			var ps event.Parser
			var r Resolver
			for _, raw := range raws[:200] {
				ps.Reset()
				ev, err := ps.Parse(raw)
				if err != nil {
					t.Error(err)
					return
				}
				pl, err := p.Run(&r, ev.Root())
				if err != nil {
					t.Error(err)
					return
				}
				results[i] = pl.AppendJSON(results[i])
				if results[i], _, err = m.Append(&r.Resolver, results[i], ev.Root()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for _, got := range results[1:] {
		if !bytes.Equal(got, results[0]) {
			t.Error("goroutines disagree")
		}
	}
}
