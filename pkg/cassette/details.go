package cassette

import (
	"net/http"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/printable"
)

// Details are what format 1 of go-vcr cannot hold of an interaction. They stand
// in the sidecar.
type Details struct {
	// Interaction is its number, from 0.
	Interaction int `yaml:"interaction" json:"interaction"`
	// Chunks are the pieces in which the body of a stream came, the first
	// without bytes: the headers.
	Chunks []Chunk `yaml:"chunks,omitempty,flow" json:"chunks,omitempty"`
	// Trailers are headers behind the body.
	Trailers http.Header `yaml:"trailers,omitempty" json:"trailers,omitempty"`
	// Broken says how the answer broke off; where it has no status, none came.
	Broken Break `yaml:"broken,omitempty" json:"broken,omitempty"`
	// Error is what the network said then.
	Error string `yaml:"error,omitempty" json:"error,omitempty"`
	// Left says that the client left before the end.
	Left bool `yaml:"left,omitempty" json:"left,omitempty"`
	// Length is what Content-Length announced, where less came.
	Length int64 `yaml:"length,omitempty" json:"length,omitempty"`
}

// Chunk is a piece of a body: how many bytes of it came at once, and how many
// milliseconds after the request.
type Chunk struct {
	MS    int64 `yaml:"ms" json:"ms"`
	Bytes int   `yaml:"bytes" json:"bytes"`
}

// plain tells whether there is nothing to keep.
func (d *Details) plain() bool {
	return len(d.Chunks) == 0 && len(d.Trailers) == 0 && d.Broken == "" && !d.Left
}

// String says in a few words what is special.
func (d *Details) String() string {
	var out []string
	if n := len(d.Chunks); n > 1 {
		took := time.Duration(d.Chunks[n-1].MS) * time.Millisecond
		out = append(out, "a stream of "+printable.Count(n-1, "piece")+" in "+took.String())
	}
	if n := len(d.Trailers); n > 0 {
		out = append(out, printable.Count(n, "trailer"))
	}
	switch {
	case d.Broken != "":
		out = append(out, "broken: "+string(d.Broken))
	case d.Left:
		out = append(out, "the client left before the end")
	}
	return strings.Join(out, ", ")
}

// DetailsOf returns those of an interaction; nil where it has none.
func (c *Cassette) DetailsOf(n int) *Details {
	for i := range c.Meta.Details {
		if c.Meta.Details[i].Interaction == n {
			return &c.Meta.Details[i]
		}
	}
	return nil
}

// detailsByNumber is DetailsOf for all.
func (c *Cassette) detailsByNumber() map[int]*Details {
	out := make(map[int]*Details, len(c.Meta.Details))
	for i := range c.Meta.Details {
		d := &c.Meta.Details[i]
		out[d.Interaction] = d
	}
	return out
}

// Drop takes interactions out, by number, and with them what the sidecar says of
// them.
func (c *Cassette) Drop(numbers map[int]bool) {
	details := c.detailsByNumber()
	var left []*Interaction
	var kept []Details
	for n, i := range c.Interactions {
		if numbers[n] {
			continue
		}
		if d := details[n]; d != nil {
			moved := *d
			moved.Interaction = len(left)
			kept = append(kept, moved)
		}
		left = append(left, i)
	}
	c.Interactions, c.Meta.Details = left, kept
}
