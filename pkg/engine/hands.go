package engine

// hands are goroutines that do one piece of work after the other. A new goroutine for each
// begins with a small stack, which has to be copied as it grows. They are as many as there
// were pieces of work at a time; one that does not come back is missed by nobody.
type hands struct {
	idle chan func()
	done chan struct{} // closed: nobody has work any more
	none chan struct{} // is closed, for work that was done before
}

func newHands() *hands {
	h := &hands{make(chan func()), make(chan struct{}), make(chan struct{})}
	close(h.none)
	return h
}

// do has f done by another goroutine.
func (h *hands) do(f func()) {
	select {
	case h.idle <- f:
	default:
		go h.work(f)
	}
}

func (h *hands) work(f func()) {
	deepen()
	for {
		f()
		select {
		case f = <-h.idle:
		case <-h.done:
			return
		}
	}
}

// deepen has the stack of a new goroutine grow once, while there is nothing on it: routing
// goes deep, and a stack that doubles on the way is copied each time.
//
//go:noinline
func deepen() (sum byte) {
	var room [12 << 10]byte
	for i := 0; i < len(room); i += 4 << 10 {
		room[i] = byte(i)
		sum += room[i]
	}
	return sum
}
