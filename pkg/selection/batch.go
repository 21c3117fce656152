package selection

import (
	"context"
	"iter"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/journal"
	"github.com/fanfold/fanfold/pkg/source"
	"github.com/fanfold/fanfold/pkg/stock"
	"github.com/fanfold/fanfold/pkg/transform"
)

// Record is one record of the input and the verdict on it.
type Record struct {
	Item
	Raw     []byte // as it was read
	Object  string
	As      string // what the object was taken for
	Line    int64
	Offset  int64           // where it begins
	End     source.Position // where it ends
	Ordinal uint64          // its number in the input, from 0
}

// Batch is a chunk of the input with the verdicts on its records.
type Batch struct {
	Items []Item // of the records that are read: behind the limit there are none

	chunk  *source.Chunk
	start  uint64 // ordinal of the first
	parser event.Parser
}

// Record is record i of the batch. What it holds may be used as long as the batch.
func (b *Batch) Record(i int) Record {
	rec := &b.chunk.Records[i]
	return Record{Item: b.Items[i], Raw: rec.Raw, Object: b.chunk.Name, As: b.chunk.As, Line: rec.Line,
		Offset: StartOf(b.chunk, i), End: rec.End, Ordinal: b.start + uint64(i)}
}

// Batches reads a source from a mark on, with the verdicts on its records, which so many goroutines
// find ahead of the caller. While events are indexed, what follow leads to is found in them, too;
// nil: nothing. A batch may be used until the next one is taken.
func (s *Selection) Batches(ctx context.Context, src source.Source, from journal.Mark, workers int,
	follow *event.PathSet,
) iter.Seq2[*Batch, error] {
	return func(yield func(*Batch, error) bool) {
		if s.Full(from) {
			return
		}
		start, batches := from.Position, stock.New[Batch](2*workers)
		chunks := func(ctx context.Context) iter.Seq2[*source.Chunk, error] {
			return src.Chunks(ctx, start, source.First)
		}
		drop := func(b *Batch) {
			b.chunk.Release()
			b.parser.Reset()
			clear(b.Items)
			b.chunk, b.Items = nil, b.Items[:0]
			batches.Put(b)
		}
		judge := func(c *source.Chunk) *Batch {
			b := batches.Take()
			b.chunk, b.parser.Follow = c, follow
			for i := range c.Records {
				b.Items = append(b.Items, s.Judge(&b.parser, c, i))
			}
			return b
		}
		var w transform.Worker
		for b, err := range source.Prepare(ctx, chunks, workers, judge, drop) {
			if err != nil {
				yield(nil, err)
				return
			}
			b.start = from.Ordinal
			end, n, full, err := s.Order(&b.parser, &w, b.chunk, b.Items, from)
			if err != nil {
				drop(b)
				yield(nil, err)
				return
			}
			b.Items, from = b.Items[:n], end
			more := yield(b, nil)
			if drop(b); !more || full {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(nil, err)
		}
	}
}

// Records reads a source from a mark on and yields every record of it with the
// verdict. What a record holds may be used until the next one is taken.
func (s *Selection) Records(ctx context.Context, src source.Source, from journal.Mark) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for b, err := range s.Batches(ctx, src, from, 1, nil) {
			if err != nil {
				yield(Record{}, err)
				return
			}
			for i := range b.Items {
				if !yield(b.Record(i), nil) {
					return
				}
			}
		}
	}
}
