package journal

import (
	"context"

	"github.com/fanfold/fanfold/pkg/source"
)

// Extend adds objects at the end of the manifest, and returns when they are
// durable: nothing of an object may be read before. It costs the same however
// long the manifest is.
func (r *Run) Extend(added []source.Object) error {
	r.mu.Lock()
	r.added = append(r.added, added...)
	r.total += len(added)
	r.mu.Unlock()
	return r.Sync(context.Background())
}
