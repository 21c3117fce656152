package engine

// Sweep has lanes sweep what they can whenever due says so, until the function that
// it returns is called. due is called by many goroutines.
func Sweep(due func() bool) (undo func()) {
	was, worth := sweepDue, worthSweeping
	sweepDue, worthSweeping = func(int64, int64) bool { return due() }, 0
	return func() { sweepDue, worthSweeping = was, worth }
}

// Pinned returns how many bytes a lane's blocks pin.
func (e *Engine) Pinned(i int) int64 {
	l := e.lanes[i]
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pinned
}
