package engine

// hands are goroutines that are reused for one piece of work after another, because a new goroutine begins with a
// small stack that has to be copied as it grows. There are as many as there were pieces of work at the same time.
// One whose work never returns is not waited for.
type hands struct {
	idle chan func()
	done chan struct{} // closed: there will be no more work
	none chan struct{} // a closed channel, for work that is already done
}

func newHands() *hands {
	h := &hands{make(chan func()), make(chan struct{}), make(chan struct{})}
	close(h.none)
	return h
}

// do runs f in another goroutine.
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
