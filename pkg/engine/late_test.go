package engine_test

import (
	"bytes"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/event"
)

// TestCodeThatComesBackLate: a lane's code that comes back from an event after others have stopped waiting for it
// touches nothing that is theirs any more, at whatever event of a part it was.
func TestCodeThatComesBackLate(t *testing.T) {
	const n = 256 // a block of four parts, of which the third is [128, 192)
	for _, late := range []int{160, 191} {
		for name, made := range map[string]func(*engine.Engine){"apart": nil, "together": (*engine.Engine).MapTogether} {
			for which := range 3 {
				t.Run(fmt.Sprint(name, "/", late, "/", which), func(t *testing.T) {
					path := input(t, n, nil)
					synctest.Test(t, func(t *testing.T) {
						var lanes []engine.LaneConfig
						partners := []*partner{newPartner(10), newPartner(10), newPartner(10)}
						for i, p := range partners {
							var again atomic.Int64
							p.route = func(ev *event.Event, at int, out *destination.Deliveries) {
								switch {
								case i == which && at == late:
									time.Sleep(650 * time.Millisecond) // longer than others wait
								case i != which && at == 150 && (again.Add(1) == 2 || made == nil):
									time.Sleep(200 * time.Millisecond) // the others are at work when it comes back
								}
								out.Add(destination.Delivery{Item: ev.Raw(), InsertID: strconv.Itoa(at)})
							}
							p.check = func(d *destination.Delivery) {
								if !bytes.Contains(d.Item, []byte(`"messageId":"`+d.InsertID+`"`)) {
									t.Errorf("lane %d: event %s is sent as %s", i, d.InsertID, d.Item)
								}
							}
							lanes = append(lanes, lane("l"+strconv.Itoa(i), p))
						}
						setup{path: path, dir: t.TempDir(), lanes: lanes, made: made}.mustRun(t)
						for _, p := range partners {
							once(t, p, n)
						}
					})
				})
			}
		}
	}
}
