package destination

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/event"
)

// Job declares that a success is only a promise: the answer names a job that the partner works through later, and
// its errors can be asked for. [Declared.Job] waits for the job.
type Job struct {
	Docs   string // the partner's URL
	ID     string // path of the job's id in the answer
	Status string // path of a GET that returns the job's state; {job} stands for its id
	// State is the path of the state in its answer, and Over lists the states in which the job has ended. In those of
	// Failed, too, and nothing of it was taken; Message is the path of the partner's words for that.
	State        string
	Over, Failed []string
	Message      string
	// Refused is the path in the answer with the state of how many items were refused, where it has that: when it is 0
	// nothing else is asked, and when nobody says which they are, the batch is sent again in parts.
	Refused string
	// Errors is the path of a GET that lists what went wrong, and Verdicts reads it; "": no such list can be read. Next
	// is the path in its answer of the next page's address, of which only the query is used.
	Errors   string
	Verdicts Verdicts
	Next     string
	// Payload is where an error repeats the item that the partner was sent. Names are paths in an item that tell
	// it from other items; they are used for errors that give no index. If an error matches no item, the batch is
	// sent again in parts.
	Payload string
	Names   []string
	// Patience is how long to wait for the job. After that, what was accepted counts as delivered.
	Patience time.Duration
}

// Job says that the partner works through a request later, see [Job].
func (d *Declared) Job(j Job) *Declared { d.job = &j; return d }

// How long to wait before asking about a job, or about its errors, for the first time, and at most before each later
// time.
const (
	firstLook  = 500 * time.Millisecond
	latestLook = 15 * time.Second
	mostLooks  = 3   // when the caller cannot wait
	mostPages  = 500 // of errors
)

// follow waits for a job, and changes the results of items that went wrong in it. When the partner cannot be
// asked, the results stay as they are: the partner has accepted the request, and sending it again would not help.
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
	wait, looks := firstLook, 0
	later := func() bool { // waits; false: there is no time for another look
		if looks++; b.Pause == nil && looks > mostLooks || b.Pause != nil && b.Pause(ctx, wait) != nil {
			return false
		}
		wait = min(wait*2, latestLook)
		return ctx.Err() == nil
	}
	for over := false; !over; {
		if !later() {
			return
		}
		state := get(path(j.Status))
		if state == nil {
			continue
		}
		if !state.OK() {
			return // for example because the key may not read
		}
		over = slices.Contains(j.Over, at(state.JSON, j.State).Text())
		if r, settled := j.ended(state, over, len(rs)); settled {
			if r.Outcome == Rejected {
				copy(rs, Same(r, len(rs))) // the items at fault, if there are others, are found by sending it again in parts
			}
			return
		}
	}
	wait, looks = firstLook, 0
	query := ""
	var nobodys Result // an error that could not be matched to an item
	items, find := b.named(j.nameOf), j.Verdicts.find(b)
	for range mostPages {
		page := get(path(j.Errors) + query)
		for !j.lists(page) && later() { // nobody can read what went wrong: that is no list of nothing
			page = get(path(j.Errors) + query)
		}
		if page == nil || !page.OK() {
			break
		}
		if r := j.judge(page, items, find, rs); nobodys.Outcome != Rejected {
			nobodys = r
		}
		next, err := url.Parse(at(page.JSON, j.Next).Text())
		if err != nil || next.RawQuery == "" {
			break
		}
		query = "?" + next.RawQuery
	}
	if nobodys.Outcome == Rejected {
		copy(rs, Same(nobodys, len(rs))) // the item at fault is found by sending the batch again in parts
	}
}

// ended is what the state of a job alone says; settled is false when the job goes on, or its errors have to be asked
// for.
func (j *Job) ended(state *Answer, over bool, sent int) (r Result, settled bool) {
	refuse := func(words string) Result {
		return Result{Outcome: Rejected, Reason: Refused, Status: state.Status, Detail: Cut(words, 400)}
	}
	if name := at(state.JSON, j.State).Text(); slices.Contains(j.Failed, name) {
		return refuse(cmp.Or(at(state.JSON, j.Message).Text(), "the partner's job ended as "+name)), true
	}
	if !over {
		return r, false
	}
	n, err := strconv.ParseFloat(at(state.JSON, j.Refused).Text(), 64) // some write numbers as texts
	switch counted := err == nil && j.Refused != ""; {
	case counted && n <= 0:
		return r, true
	case j.Errors != "":
		return r, false
	case counted:
		words := "the partner's job refused " + strconv.FormatFloat(n, 'f', -1, 64) + " of " + itoa(sent)
		return refuse(words + ", and does not say which"), true
	}
	return r, true
}

// lists says that an answer is a page of errors, or one that no later answer changes.
func (j *Job) lists(page *Answer) bool {
	if page == nil || !page.OK() {
		return page != nil
	}
	kind := at(page.JSON, j.Verdicts.list).Kind()
	return kind == event.Array || kind == event.Null
}

// judge rejects the items that a page of errors names, by what they are called or otherwise. It returns a rejection for
// an error that matches no item.
func (j *Job) judge(page *Answer, items index, find finder, rs []Result) (nobodys Result) {
	for e := range at(page.JSON, j.Verdicts.list).Elements() {
		var meant []int
		if name, ok := j.name(at(e, j.Payload)); ok {
			meant = items[name]
		}
		if len(meant) == 0 {
			meant = find(at(e, j.Verdicts.name))
		}
		if len(rs) == 1 {
			meant = []int{0}
		}
		r := Result{Outcome: Rejected, Reason: Refused, Status: page.Status,
			Detail: Cut(cmp.Or(j.Verdicts.words(e), string(e.Raw())), 400)}
		if len(meant) == 0 {
			nobodys = r
		}
		for _, i := range meant {
			rs[i] = r
		}
	}
	return nobodys
}

// nameOf is what tells a delivery from others.
func (j *Job) nameOf(d *Delivery) (name string, ok bool) {
	item, err := event.ParseValue(d.Item)
	if err != nil {
		return "", false
	}
	return j.name(item)
}

// name is what tells an item from others, in lower case; ok is false when nothing does. An error may repeat only the
// inner value of an item.
func (j *Job) name(item event.Value) (name string, ok bool) {
	for _, path := range j.Names {
		v := at(item, path)
		if _, inner, below := strings.Cut(path, "."); below && !v.Exists() {
			v = at(item, inner)
		}
		if !v.Nullish() {
			name, ok = name+strings.ToLower(v.Text()), true
		}
		name += "\x00"
	}
	return name, ok && item.Kind() == event.Object
}
