package cmd

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// inboxes are receivers of JSON arrays of events, by name, that note which events they
// have accepted, and how often.
type inboxes struct {
	mu     sync.Mutex
	got    map[string]map[string]int // name, messageId
	status map[string]int            // what it answers; 0: 200
	after  map[string]int            // requests that are taken before that
	last   map[string]string         // the last event
}

func newInboxes() *inboxes {
	return &inboxes{got: map[string]map[string]int{}, status: map[string]int{}, after: map[string]int{},
		last: map[string]string{}}
}

// ServeHTTP takes what is posted to /inbox/NAME.
func (b *inboxes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/inbox/")
	body, err := io.ReadAll(r.Body)
	var events []json.RawMessage
	if err != nil || json.Unmarshal(body, &events) != nil {
		http.Error(w, "no events", http.StatusBadRequest)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.status[name]; s != 0 {
		if b.after[name] == 0 {
			w.WriteHeader(s)
			return
		}
		b.after[name]--
	}
	if b.got[name] == nil {
		b.got[name] = map[string]int{}
	}
	for _, e := range events {
		var ev struct{ MessageID string }
		if json.Unmarshal(e, &ev) != nil {
			continue
		}
		b.got[name][ev.MessageID]++
		b.last[name] = string(e)
	}
}

// count is how many events an inbox has got, and how many deliveries that were.
func (b *inboxes) count(name string) (events, deliveries int, ids []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range b.got[name] {
		deliveries += n
	}
	return len(b.got[name]), deliveries, slices.Sorted(maps.Keys(b.got[name]))
}

// got NAME N fails when an inbox has not got N events, each of them once.
func (b *inboxes) gotCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: got NAME N")
	}
	events, deliveries, ids := b.count(args[0])
	if strconv.Itoa(events) != args[1] || events != deliveries {
		ts.Fatalf("%s got %d events by %d deliveries, want %s: %s", args[0], events, deliveries, args[1],
			strings.Join(ids, " "))
	}
}

// answer NAME STATUS [REQUESTS] has an inbox answer with a status, after so many requests.
func (b *inboxes) answerCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: answer NAME STATUS [REQUESTS]")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var err error
	if b.status[args[0]], err = strconv.Atoi(args[1]); err == nil && len(args) > 2 {
		b.after[args[0]], err = strconv.Atoi(args[2])
	}
	ts.Check(err)
}

// last NAME TEXT fails when the last event of an inbox has not that in it.
func (b *inboxes) lastCommand(ts *testscript.TestScript, neg bool, args []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if last := b.last[args[0]]; strings.Contains(last, args[1]) == neg {
		ts.Fatalf("the last event of %s is %s", args[0], last)
	}
}
