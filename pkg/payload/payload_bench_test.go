package payload_test

import (
	"fmt"
	"testing"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/mapping"
	"github.com/fanfold/fanfold/pkg/payload"
)

// BenchmarkPayloadGet asks a payload of 30 fields for 40.
func BenchmarkPayloadGet(b *testing.B) {
	var fields []payload.Field
	var names []string
	for n := range 40 {
		name := fmt.Sprintf("%s_%d", []string{"event", "user_id", "device_type", "os", "context_page_url"}[n%5], n)
		names = append(names, name)
		fields = append(
			fields,
			payload.Field{Key: name, Type: payload.TypeString, Default: mapping.Path(fmt.Sprintf("$.p%d", n))},
		)
	}
	p, err := payload.Compile(fields, mapping.Value{})
	if err != nil {
		b.Fatal(err)
	}
	raw := "{"
	for n := range 30 {
		raw += fmt.Sprintf(`"p%d":"v",`, n)
	}
	v, err := event.ParseValue([]byte(raw + `"z":1}`))
	if err != nil {
		b.Fatal(err)
	}
	var r payload.Resolver
	payload, err := p.Run(&r, v)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		for _, name := range names {
			payload.Get(name)
		}
	}
}
