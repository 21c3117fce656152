package cmd

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/destinations"
)

// TestOrderOfAUser: with `order: user` a partner takes every user's events in the order of the
// input, whatever it refuses meanwhile; a partner that nobody has asked that of does not. It
// stands beside a copy, which shares what is made of the events, and of which nobody has asked it.
func TestOrderOfAUser(t *testing.T) {
	t.Parallel()
	const users, each = 7, 30
	var in strings.Builder
	for i := range users * each {
		fmt.Fprintf(&in, `{"type":"track","event":"a","messageId":"%d-%d","userId":"u%d","timestamp":"2024-01-01T00:00:00Z"}`+
			"\n", i%users, i/users, i%users)
	}
	path := file(t, "events.jsonl", in.String())
	for _, c := range []struct {
		options string
		kept    bool
	}{{"order: user, concurrency: 8", true}, {"order: user, concurrency: 1", true}, {"concurrency: 8", false}} {
		t.Run(c.options, func(t *testing.T) {
			p := newPartner(t)
			asked, broken := map[string]int{}, 0
			last := map[string]int{} // by user
			p.answers(func(w http.ResponseWriter, _ *http.Request, ids []string) bool {
				key := strings.Join(ids, " ")
				if asked[key]++; asked[key] == 1 && (len(asked) == 1 || len(asked) == 9) {
					http.Error(w, "not now", http.StatusServiceUnavailable)
					return true
				}
				for _, id := range ids {
					user, n, _ := strings.Cut(id, "-")
					at, _ := strconv.Atoi(n) // digits
					if was, some := last[user]; some && at != was+1 {
						broken++
					}
					last[user] = at
				}
				return false
			})
			beside := newPartner(t)
			conf := file(t, "fanfold.yaml", fmt.Sprintf("destinations:\n  0: {type: webhook, settings: {url: %q}}\n"+
				"  a: {type: webhook, settings: {url: %q}, batch_events: 3, retry: {attempts: 9}, %s}\n", beside.URL, p.URL,
				c.options))
			code, out, errOut := invoke(t, map[string]string{"XDG_STATE_HOME": t.TempDir()}, "", "forward", "--config", conf,
				"--from", path, "-o", "json")
			if code != 0 || (broken == 0) != c.kept {
				t.Errorf("exit code %d, and %d events came before an earlier one of their user: %s%s", code, broken, out, errOut)
			}
			p.once(t, users*each)
		})
	}
}

// TestReadmeNamesWhoKeepsOrder: the README lists the destinations that keep a user's order.
func TestReadmeNamesWhoKeepsOrder(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var keep []string
	for _, d := range destinations.All() {
		if d.Order {
			keep = append(keep, d.Info.Name)
		}
	}
	slices.Sort(keep)
	if row := "| " + strings.Join(keep, ", ") +
		" | a user's events arrive in their order |"; !strings.Contains(string(text),
		row) {
		t.Errorf("README.md has no row\n%s", row)
	}
}
