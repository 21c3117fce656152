package stock

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// Collect has Go's collector begin once the heap is of so many bytes, about, and from then on
// whenever it has grown by so many per cent. By a small percentage, which keeps a process
// small, a heap that grows from nothing is collected again and again before there is anything
// in it: half of all collections of a run of 300,000 events. Before it is called again, what it
// returned has to be stopped.
func Collect(from int64, percent int) runtime.Cleanup {
	const least = 4 << 20 // what Go takes the heap for until it has first been collected
	heap := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(heap)
	live := int64(least)
	if heap[0].Value.Kind() == metrics.KindUint64 {
		live = max(live, int64(heap[0].Value.Uint64()))
	}
	debug.SetGCPercent(max(percent, int(from*100/live)))
	// Nobody holds this: it is gone with the first collection.
	return runtime.AddCleanup(new([64]byte), func(percent int) { debug.SetGCPercent(percent) }, percent)
}
