package engine

// Compact has lanes compact what they can whenever due says so. due is called by many
// goroutines.
func (e *Engine) Compact(due func() bool) {
	for _, l := range e.lanes {
		l.memory.policy = compaction{func(int64, int64) bool { return due() }, 0}
	}
}

// Pinned returns how many bytes a lane's blocks pin.
func (e *Engine) Pinned(i int) int64 {
	l := e.lanes[i]
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.memory.pinned
}
