package engine

import (
	"strconv"
	"testing"

	"github.com/fanfold/fanfold/pkg/destination"
)

// TestManyOpenBatchesTakeLittle: a batch that is begun takes no more memory than a share of what the last full one
// took. A bucket with a folder for each hour has 1,000 open ones when an archive lies in no order.
func TestManyOpenBatchesTakeLittle(t *testing.T) {
	plan := &destination.Plan{Local: true, Positions: true,
		Limits: destination.LaneLimits{Concurrency: destination.Cap{N: 1}},
		Actions: []destination.ActionPlan{{Slug: "write", Limits: destination.ActionLimits{
			BatchEvents: destination.Cap{N: 50_000}, BatchBytes: destination.Cap{N: 16 << 20}}}}}
	p := NewPacker(plan, PackOptionsOf(plan, Options{}, 256<<20, 1), func(*Packed[*work]) {})
	item, n, room := make([]byte, 300), uint64(0), 0
	add := func(hour int) {
		n++
		d := &destination.Delivery{Item: item, To: &destination.Address{Key: strconv.Itoa(hour)}}
		p.Add(Parcel[*work]{Delivery: d, Value: &work{d: d}, Record: n, Held: 600})
	}
	for range 50_000 {
		add(0)
	}
	for i := range 10_000 {
		add(i % 1000)
	}
	for _, b := range p.open {
		room += cap(b.Values)
	}
	if len(p.open) < 900 || room > 10*50_000 {
		t.Errorf("%d open batches of 10,000 deliveries have room for %d", len(p.open), room)
	}
}
