package engine

// SweepAlways has lanes sweep at every opportunity, until the function that it
// returns is called.
func SweepAlways() (undo func()) {
	from, worth := sweepFrom, worthSweeping
	sweepFrom, worthSweeping = 0, 0
	return func() { sweepFrom, worthSweeping = from, worth }
}

// Pinned returns how many bytes a lane's blocks pin.
func (e *Engine) Pinned(i int) int64 {
	l := e.lanes[i]
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pinned
}
