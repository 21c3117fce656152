package destination

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/event"
)

// Job says that a success is no more than a promise: the answer names a job that the partner
// works through later, and what that finds wrong can be asked for. [Declared.Job] waits for it.
type Job struct {
	Docs   string // the partner's URL
	ID     string // path of the job's name in the answer
	Status string // path of a GET that says how far it is; {job} stands for the name
	// State is the path in its answer of how far, and Over are the words when there is no more to come.
	State string
	Over  []string
	// Errors is the path of a GET of what went wrong, and Verdicts reads it. Next is the path in its
	// answer of the address of the next page: only the query of that is used.
	Errors   string
	Verdicts Verdicts
	Next     string
	// Payload is where an error has the item as the partner was sent it, and Names are the paths
	// in an item of what tells it from others: errors that name no place are found by these. An error that
	// is about none of the items has the batch asked about again in parts.
	Payload string
	Names   []string
	// Patience is how long it is waited for; then what was taken counts as delivered.
	Patience time.Duration
}

// Job says that the partner works through a request later, see [Job].
func (d *Declared) Job(j Job) *Declared { d.job = &j; return d }

// How long to wait before asking about a job for the first time, and how much longer each time.
const (
	firstLook  = 500 * time.Millisecond
	latestLook = 15 * time.Second
	mostLooks  = 3   // when nobody waits
	mostPages  = 500 // of errors
)

// follow waits for a job, and takes back what its answer promised where that went wrong. What
// cannot be asked for stays promised: the partner has taken it, and once more would not help.
func (j *Job) follow(ctx context.Context, t Transport, a *openAction, answer *Answer, b *Batch, rs []Result) {
	name := at(answer.JSON, j.ID).Text()
	if name == "" {
		return
	}
	if b.After != nil {
		ctx = b.After
	}
	ctx, cancel := context.WithTimeout(ctx, j.Patience)
	defer cancel()
	path := func(template string) string { return strings.ReplaceAll(template, "{job}", url.PathEscape(name)) }
	get := func(path string) *Answer {
		req, err := NewRequest(ctx, http.MethodGet, join(a.base, path), "", nil)
		if err != nil {
			return nil
		}
		for k, v := range a.request.Header {
			req.Header[k] = v
		}
		got, err := Do(t, req)
		if err != nil || got.Status == http.StatusTooManyRequests || got.Status >= 500 {
			return nil
		}
		return got
	}
	wait := firstLook
	for looks := 0; ; looks++ {
		switch {
		case b.Pause == nil && looks == mostLooks:
			return
		case b.Pause != nil && b.Pause(ctx, wait) != nil:
			return
		}
		if wait = min(wait*2, latestLook); ctx.Err() != nil {
			return
		}
		state := get(path(j.Status))
		if state == nil {
			continue
		}
		if !state.OK() {
			return // such as a key that may not read
		}
		if slices.Contains(j.Over, at(state.JSON, j.State).Text()) {
			break
		}
	}
	query := ""
	var nobodys Result // an error that is about none of the items, as far as can be told
	for range mostPages {
		page := get(path(j.Errors) + query)
		if page == nil || !page.OK() {
			break
		}
		if r := j.judge(page, b, rs); nobodys.Outcome != Rejected {
			nobodys = r
		}
		next, err := url.Parse(at(page.JSON, j.Next).Text())
		if err != nil || next.RawQuery == "" {
			break
		}
		query = "?" + next.RawQuery
	}
	if nobodys.Outcome == Rejected {
		copy(rs, Same(nobodys, len(rs))) // whoever it is about is found in parts of the batch
	}
}

// judge rejects the items that a page of errors is about. It returns a rejection for an error of which it cannot be
// told.
func (j *Job) judge(page *Answer, b *Batch, rs []Result) (nobodys Result) {
	for e := range at(page.JSON, j.Verdicts.list).Elements() {
		i := j.named(b, at(e, j.Payload))
		if i < 0 {
			i = j.Verdicts.find(b, at(e, j.Verdicts.name))
		}
		r := Result{Outcome: Rejected, Reason: Refused, Status: page.Status,
			Detail: Cut(cmp.Or(j.Verdicts.words(e), string(e.Raw())), 400)}
		switch {
		case i >= 0:
			rs[i] = r
		case len(rs) == 1:
			rs[0] = r
		default:
			nobodys = r
		}
	}
	return nobodys
}

// named is the item that an error has a copy of; -1: none is.
func (j *Job) named(b *Batch, payload event.Value) int {
	if payload.Kind() != event.Object {
		return -1
	}
	for i, d := range b.Deliveries {
		item, err := event.ParseValue(d.Item)
		if err != nil {
			continue
		}
		same, some := true, false
		for _, name := range j.Names {
			_, short, _ := strings.Cut(name, ".") // the copy may be of what is inside alone
			sent, said := at(item, name), at(payload, name)
			if !said.Exists() {
				said = at(payload, short)
			}
			if said.Nullish() && sent.Nullish() {
				continue
			}
			some, same = true, same && strings.EqualFold(sent.Text(), said.Text())
		}
		if some && same {
			return i
		}
	}
	return -1
}
