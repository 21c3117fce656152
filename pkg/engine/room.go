package engine

import "sync"

// room is the memory for the items of a routed block, which its parts share: what one part leaves over is the next
// one's. With memory of its own, each part kept as much as the largest part that it had ever held, and half of all
// memory for items was never written to.
type room struct {
	mu     sync.Mutex // parts may be routed at the same time
	buf    []byte     // its length is how much is given away
	inTurn bool       // the parts are routed one after the other
}

// estimate is how many bytes of items are expected of some text, and the most that is likely.
type estimate struct{ usual, most int }

// lend returns empty memory for a part. left is how many such parts are still to be routed, with this one.
func (r *room) lend(part estimate, left float64) []byte {
	if part.most == 0 {
		return nil // nothing is known yet
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	from := len(r.buf)
	if from == 0 {
		all := float64(part.most) * left
		enough := all
		if r.inTurn {
			enough = float64(part.usual) * left
			all = enough + float64(part.most-part.usual)
		}
		if cap(r.buf) < int(enough) { // what nearly fits is kept: estimates go up and down
			r.buf = make([]byte, 0, int(all*1.05))
		}
	} else if cap(r.buf)-from < part.usual {
		return make([]byte, 0, part.most) // as seldom happens
	}
	if r.inTurn {
		r.buf = r.buf[:cap(r.buf)] // nobody else takes any of it until the part gives back what it has not used
	} else {
		r.buf = r.buf[:min(from+part.most, cap(r.buf))]
	}
	return r.buf[from:from:len(r.buf)]
}

// back takes the memory that a part has not used, if nobody has been lent what lies behind it. used is what the part
// was lent, with what it has written; if that did not fit, it lies in memory of its own by now.
func (r *room) back(used []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if over := cap(used) - len(used); cap(used) > 0 && over <= len(r.buf) && endsAt(used, r.buf) {
		r.buf = r.buf[:len(r.buf)-over]
	}
}

// endsAt says whether the capacity of a ends where b's length does.
func endsAt(a, b []byte) bool {
	return len(b) > 0 && &a[:cap(a)][cap(a)-1] == &b[len(b)-1]
}

// growth is how many bytes of items a lane makes of a byte of text. It is safe for concurrent use.
type growth struct {
	mu    sync.Mutex
	usual float64 // the mean of the last parts
	most  float64 // the largest recent one; parts are much like each other
}

// of estimates what a text will become.
func (g *growth) of(text int) estimate {
	g.mu.Lock()
	defer g.mu.Unlock()
	usual := float64(text) * g.usual
	return estimate{int(usual), int(max(usual, float64(text)*g.most) * 1.05)}
}

// learn notes what a part's text has become.
func (g *growth) learn(text, items int) {
	if text <= 0 {
		return
	}
	now := float64(items) / float64(text)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.usual == 0 {
		g.usual = now
	}
	g.usual += (now - g.usual) / 16
	g.most = max(g.most*0.99, now)
}
