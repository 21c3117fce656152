// Package stock keeps memory that is used again and again: the large pieces in
// which text, indexes and requests' items lie on their way through the process.
//
// It is what sync.Pool would be if that did not forget at every collection.
// fanfold collects early to stay small: with pools, each collection emptied them,
// which led to more allocation, and so to more collections.
package stock

// Stock keeps a bounded number of pieces that nobody uses. It is safe for
// concurrent use. The zero Stock keeps none.
type Stock[T any] struct{ free chan *T }

// New makes a Stock that keeps at most n pieces.
func New[T any](n int) Stock[T] { return Stock[T]{make(chan *T, n)} }

// Take returns a piece that was put back, as it was then, or a zero one.
func (s Stock[T]) Take() *T {
	select {
	case x := <-s.free:
		return x
	default:
		return new(T)
	}
}

// PutLarge is Put of a piece that has grown beyond what most are. Few of those are
// kept, so that large inputs now and then do not make all pieces large.
func (s Stock[T]) PutLarge(x *T) {
	if len(s.free) < fewLarge {
		s.Put(x)
	}
}

const fewLarge = 4

// Put gives a piece back, which must not be used any more. What is beyond the
// stock's bound is left to the collector.
func (s Stock[T]) Put(x *T) {
	select {
	case s.free <- x:
	default:
	}
}
