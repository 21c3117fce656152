package journal

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestRuns: the deliveries of a request are the same when they have been kept as runs, written and read, in their
// order, whatever order that is.
func TestRuns(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 9))
	for range 2000 {
		var ids []DeliveryID
		for n := r.IntN(40); len(ids) < n; {
			id := DeliveryID{Ordinal: r.Uint64N(50), K: r.Uint32N(3), Of: 1 + r.Uint32N(3)}
			if r.IntN(3) > 0 && len(ids) > 0 {
				id = ids[len(ids)-1]
				id.Ordinal++
			}
			ids = append(ids, id)
		}
		d := decoder{b: appendIDs(nil, runsOf(ids))}
		rs := d.ids(6)
		if got := slices.Collect(rs.all()); d.err != nil || !slices.Equal(got, ids) || rs.count() != len(ids) {
			t.Fatalf("%v became %v (%v)", ids, got, d.err)
		}
		top := uint64(0)
		for _, id := range ids {
			top = max(top, id.Ordinal)
		}
		if rs.top() != top {
			t.Fatalf("the top of %v is %d", ids, rs.top())
		}
	}
	for name, fields := range map[string][]uint64{
		"a run of none":            {2, 5, 0, 1, 0},
		"a run that is too long":   {2, 5, 0, 1, 3},
		"a run beyond all numbers": {2, math.MaxUint64, 0, 1, 2},
		"too many":                 {1<<22 + 1, 5, 0, 1, 1},
	} {
		var b []byte
		for _, f := range fields {
			b = binary.AppendUvarint(b, f)
		}
		if d := (decoder{b: b}); d.ids(6) != nil || d.err == nil {
			t.Errorf("%s was read", name)
		}
	}
}
