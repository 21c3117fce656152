package cassette

import (
	"net/http"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/cassette/wire"
	"github.com/fanfold/fanfold/pkg/printable"
)

// Details hold what format 1 of go-vcr has no field for. They are stored in the
// sidecar.
type Details struct {
	// Interaction is the number of the interaction, from 0.
	Interaction int `yaml:"interaction" json:"interaction"`
	// Chunks are the pieces in which a streamed body arrived. The first has no bytes:
	// it stands for the headers.
	Chunks []Chunk `yaml:"chunks,omitempty,flow" json:"chunks,omitempty"`
	// Trailers are headers sent after the body.
	Trailers http.Header `yaml:"trailers,omitempty" json:"trailers,omitempty"`
	// Broken says how the answer broke off. Without a status no answer came at all.
	Broken wire.Break `yaml:"broken,omitempty" json:"broken,omitempty"`
	// Error is the error of the network.
	Error string `yaml:"error,omitempty" json:"error,omitempty"`
	// Left is true if the client left before the end.
	Left bool `yaml:"left,omitempty" json:"left,omitempty"`
	// Length is the announced Content-Length, if less than that came.
	Length int64 `yaml:"length,omitempty" json:"length,omitempty"`
}

// Chunk is a piece of a body: its number of bytes, and the milliseconds from the
// request until it came.
type Chunk struct {
	MS    int64 `yaml:"ms" json:"ms"`
	Bytes int   `yaml:"bytes" json:"bytes"`
}

// Empty is true if there are no details to keep.
func (d *Details) Empty() bool {
	return len(d.Chunks) == 0 && len(d.Trailers) == 0 && d.Broken == "" && !d.Left
}

// String describes the details in a few words.
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

// DetailsOf returns the details of an interaction, or nil.
func (c *Cassette) DetailsOf(n int) *Details {
	for i := range c.Meta.Details {
		if c.Meta.Details[i].Interaction == n {
			return &c.Meta.Details[i]
		}
	}
	return nil
}

// DetailsByNumber returns the details of the interactions that have any, by number.
func (c *Cassette) DetailsByNumber() map[int]*Details {
	out := make(map[int]*Details, len(c.Meta.Details))
	for i := range c.Meta.Details {
		d := &c.Meta.Details[i]
		out[d.Interaction] = d
	}
	return out
}

// Drop removes interactions, by number, together with their details in the sidecar.
func (c *Cassette) Drop(numbers map[int]bool) {
	details := c.DetailsByNumber()
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
