package run

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/source"
)

// shelf is a source whose disk is full when told so.
type shelf struct {
	full bool
	upTo source.Position
}

func (s *shelf) Release(p source.Position) error { s.upTo = p; return nil }
func (s *shelf) Full() (bool, int64)             { return s.full, 1000 }

func TestKeeper(t *testing.T) {
	at := map[string]int64{"_source": 100, "well": 90, "slow": 50, "stuck": 10, "refused": 10}
	stopped := map[string]string{"refused": "the partner refused the credentials"}
	s := &shelf{}
	k := &keeper{src: s, since: map[string]heldAt{}, gone: map[string]bool{},
		stopped: func(name string) bool { return stopped[name] != "" },
		stop:    func(name, why string) { stopped[name] = why }}
	for _, name := range []string{"_source", "well", "slow", "stuck", "refused"} {
		k.lanes = append(k.lanes, keptLane{name, func() source.Position { return source.Position{Offset: at[name]} }})
	}
	now := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	step := func(after time.Duration, want int64, gone ...string) {
		t.Helper()
		now = now.Add(after)
		if err := k.step(now); err != nil {
			t.Fatal(err)
		}
		if s.upTo.Offset != want || fmt.Sprint(slices.Sorted(maps.Keys(k.gone))) != fmt.Sprint(gone) {
			t.Errorf("released up to %d, without %v; want %d and %v", s.upTo.Offset, k.gone, want, gone)
		}
	}
	step(time.Hour, 10) // while there is room, everything is kept
	step(time.Hour, 10)
	s.full = true
	step(time.Hour, 10, "refused") // what has given up anyway has to go first
	at["stuck"] = 20
	step(14*time.Minute, 20, "refused")
	step(14*time.Minute, 20, "refused") // moved a moment ago
	at["slow"] = 60
	step(time.Minute, 20, "refused")
	if stopped["stuck"] == "" || stopped["slow"] != "" {
		t.Errorf("stopped: %v", stopped)
	}
	step(0, 20, "refused", "stuck")
	step(0, 60, "refused", "stuck")
	for range 20 { // slow, but it moves
		at["slow"]++
		step(10*time.Minute, at["slow"], "refused", "stuck")
	}
	if len(stopped) != 2 {
		t.Errorf("stopped: %v", stopped)
	}
	// Nobody is held up by a lane beside which there is no other.
	at["slow"], at["well"] = 95, 95
	step(0, 95, "refused", "stuck")
	step(100*time.Hour, 95, "refused", "stuck")
	if len(stopped) != 2 {
		t.Errorf("stopped: %v", stopped)
	}
}
