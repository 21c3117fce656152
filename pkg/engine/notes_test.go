package engine

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/destination"
)

// TestNotes: what people are told of a lane's trouble is the partner's last words, and
// the first example of each reason, cut to a line.
func TestNotes(t *testing.T) {
	var n notes
	n.heard(&destination.Result{Status: 503, Detail: "busy"})
	n.heard(&destination.Result{Status: 429}) // says nothing
	if n.problem != "status 503: busy" || n.status != 429 {
		t.Errorf("the last problem is %q, the last status %d", n.problem, n.status)
	}
	n.heard(&destination.Result{Detail: strings.Repeat("x", 1000)})
	if len(n.problem) > 210 || n.status != 0 {
		t.Errorf("a long problem has %d bytes, status %d", len(n.problem), n.status)
	}

	lb := &laneBlock{object: "in.jsonl"}
	order := &laneEvent{b: lb, line: 7, offset: 99, raw: []byte(`{"type":"track","event":"Order \u001b"}`)}
	page := &laneEvent{b: lb, line: 8, raw: []byte(`{"type":"page","name":"Home"}`)}
	n.rejected(order, destination.Result{Reason: destination.Refused, Status: 400, Detail: "first"})
	n.rejected(page, destination.Result{Reason: destination.Refused, Status: 422, Detail: "second"})
	n.rejected(page, destination.Result{Reason: destination.Exhausted, Status: 500})
	letter := &laneEvent{b: lb, line: 9,
		raw: []byte(`{"dead_letter":1,"type":"toys","event":{"type":"track","event":"A"}}`)}
	n.rejected(letter, destination.Result{Reason: destination.Invalid})
	if n.like["invalid"] != `in.jsonl, line 9 (track "A")` {
		t.Errorf("the example of a dead letter is %s", n.like["invalid"])
	}
	delete(n.like, "invalid")
	if n.like["refused"] != `in.jsonl, line 7 (track "Order \x1b"): status 400: first` ||
		n.like["exhausted"] != `in.jsonl, line 8 (page "Home"): status 500` {
		t.Errorf("examples: %v", n.like)
	}

	n.slug = "toys"
	n.skipped(&laneEvent{b: lb, line: 7, offset: 99}, destination.Unneeded, "nothing to do")
	n.skipped(&laneEvent{b: lb, offset: 99, raw: []byte(`{"type":"group"}`)}, destination.Unsupported, "")
	if n.skips["unneeded"] != "in.jsonl, line 7: nothing to do" || n.skips[string(destination.Unsupported)] !=
		"in.jsonl, offset 99 (group); see `fanfold destinations show toys`" {
		t.Errorf("skipped: %v", n.skips)
	}

	n.skipped(&laneEvent{b: lb, line: 9}, destination.Unsupported, "only page")
	n.skipped(&laneEvent{b: lb, line: 9}, destination.Unsupported, "only page")
	got := n.skipExamples()[string(destination.Unsupported)]
	if !strings.HasSuffix(got, "; most often (2 of 3): only page") {
		t.Errorf("what keeps most out is not said: %s", got)
	}
	for i := range 2 * mostLacks {
		n.skipped(&laneEvent{b: lb}, destination.Unsupported, fmt.Sprint(i))
	}
	if len(n.lacks) > mostLacks {
		t.Errorf("%d conditions are counted", len(n.lacks))
	}

	first := errors.New("first")
	n.fail(first)
	n.fail(errors.New("second"))
	if n.err != first {
		t.Errorf("the lane ends with %v", n.err)
	}
	if n.refused = stuckAfter - 1; n.stuck() {
		t.Error("it is stuck too soon")
	}
	if n.refused = stuckAfter; !n.stuck() {
		t.Error("it is not stuck")
	}
}

// TestRefusal: a partner's refusal of the credentials says with which status, a local
// destination's own words stay as they are.
func TestRefusal(t *testing.T) {
	for want, r := range map[string]destination.Result{
		"the partner refused the credentials (status 401): no such key": {Status: 401, Detail: "no such key"},
		"the partner refused the credentials":                           {},
		"the folder is read-only":                                       {Detail: "the folder is read-only"},
	} {
		if got := refusal(&r); got != want {
			t.Errorf("%+v: %q, want %q", r, got, want)
		}
	}
}
