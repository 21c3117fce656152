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
	r.newRows += len(added)
	r.manifest = append(r.manifest, added...)
	r.mu.Unlock()
	return r.Sync(context.Background())
}
