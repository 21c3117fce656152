package verify

import (
	"os"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/cassette"
)

// Age tells where a cassette comes from and how old it is. It is printed as JSON, and
// scripts rely on the names.
type Age struct {
	Path         string            `json:"path"`
	Interactions int               `json:"interactions"`
	Bytes        int64             `json:"bytes"`
	Provenance   string            `json:"provenance"`
	Date         string            `json:"date"`
	AgeDays      *int              `json:"age_days"`
	Stale        bool              `json:"stale"` // older than the limit
	Tool         string            `json:"tool,omitempty"`
	Upstreams    map[string]string `json:"upstreams,omitempty"`
	Interrupted  bool              `json:"interrupted,omitempty"` // an interrupted recording left a journal beside it
}

// AgeOf compares the age of a cassette with a limit. With strict, a cassette of unknown
// age counts as stale.
func AgeOf(k *cassette.Cassette, now time.Time, limit time.Duration, strict bool) Age {
	a := Age{
		Path: k.Path, Interactions: len(k.Interactions), Provenance: k.Meta.Provenance, Date: k.Meta.Date,
		Tool: k.Meta.Tool, Upstreams: k.Meta.Upstreams, Stale: strict,
	}
	if info, err := os.Stat(k.Path); err == nil {
		a.Bytes = info.Size()
	}
	if age, ok := k.Meta.Age(now); ok {
		days := int(age / (24 * time.Hour))
		a.AgeDays, a.Stale = &days, age > limit
	}
	_, err := os.Stat(strings.TrimSuffix(k.Path, ".yaml") + ".partial.jsonl")
	a.Interrupted = err == nil
	return a
}
