package destination

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/event"
)

// A conversation is one delivery that takes several requests, where later requests use the answers to earlier
// ones. Its item holds all the requests, as far as they are known when the event is routed; values from answers
// are filled in once they have arrived. When a request fails, the whole delivery fails, and a retry begins with
// the first request again. So the earlier requests must be safe to repeat.

// call is one request of a conversation.
type call struct {
	Step   int             `json:"step"` // number of the step, from 1 on
	Path   string          `json:"path"`
	Header string          `json:"header,omitempty"` // as in Address
	Body   json.RawMessage `json:"body,omitempty"`
	// Holes are the places in Body that are filled with values from answers.
	Holes []body.Hole `json:"holes,omitempty"`
}

// writeConversation writes the requests of one event as one item. Where some of them have to wait until others are
// delivered, it writes several items.
func (b *bound) writeConversation(in *Input, out *Output) {
	s, bi, ok := b.begin(in, out)
	if !ok {
		return
	}
	buf, base := out.end()
	end := func() {
		if len(buf) > base {
			out.header = "" // each request has its own
			out.emit(append(buf, ']'), base, nil)
			out.Wait = true
			buf, base = out.end()
		}
	}
	for i := range b.steps {
		st := &b.steps[i]
		if st.wait {
			end()
		}
		path, needed, ok := b.prepare(st, s, bi, out)
		if !ok {
			return
		}
		if !needed {
			continue
		}
		from := len(buf)
		if buf, ok = appendCall(buf, from == base, st, path, out.header, s, bi); !ok {
			buf = buf[:from]
		}
	}
	end()
}

// appendCall appends a call as JSON to the list of them; false: it has no body, so there is no call.
func appendCall(dst []byte, first bool, st *boundStep, path, header string, s *body.Scratch, bi *body.Input) (
	[]byte, bool) {
	if first {
		dst = append(dst, '[')
	} else {
		dst = append(dst, ',')
	}
	dst = strconv.AppendInt(append(dst, `{"step":`...), int64(st.number), 10)
	dst = event.AppendQuoted(append(dst, `,"path":`...), path)
	if header != "" {
		dst = event.AppendQuoted(append(dst, `,"header":`...), header)
	}
	without := len(dst)
	dst = append(dst, `,"body":`...)
	from := len(dst)
	dst, ok := st.body.Append(s, bi, dst)
	if !ok {
		return dst, false
	}
	if len(dst) == from {
		dst = dst[:without]
	}
	for i, h := range s.Holes() {
		open := `,"holes":[`
		if i > 0 {
			open = ","
		}
		dst = strconv.AppendInt(append(append(dst, open...), `{"At":`...), int64(h.At), 10)
		dst = strconv.AppendInt(append(dst, `,"Step":`...), int64(h.Step), 10)
		dst = event.AppendQuoted(append(dst, `,"Path":`...), h.Path)
		if h.Maybe {
			dst = append(dst, `,"Maybe":true`...)
		}
		dst = append(dst, '}')
	}
	if len(s.Holes()) > 0 {
		dst = append(dst, ']')
	}
	return append(dst, '}'), true
}

// heard is what a conversation has learned from answers so far.
type heard struct {
	answers map[int]event.Value // by step
	taken   map[string]string
	values  map[string]event.Value // those of taken that are as they stand in an answer
	names   bool                   // only for showing a request: nothing is known, so names stand in for the values
}

// value returns the value at a path of the answer to a step. Step 0 stands for values that were kept under a name
// ([Step.Take]).
func (h *heard) value(step int, path string) (event.Value, error) {
	text := h.taken[path]
	switch {
	case h.names && step > 0:
		text = "{answer." + strconv.Itoa(step) + "." + path + "}"
	case h.names:
		text = "{answer." + path + "}"
	case step > 0:
		v := at(h.answers[step], path)
		if v.Nullish() {
			return v, fmt.Errorf("the answer to request %d has no %s, which the next request needs", step, path)
		}
		return v, nil
	case h.values[path].Exists():
		return h.values[path], nil
	case text == "":
		return event.Value{}, fmt.Errorf("no answer has told the %s that the next request needs", path)
	}
	return event.ParseValue(event.AppendQuoted(nil, text))
}

// converse makes the requests of one delivery.
func (b *bound) converse(ctx context.Context, t Transport, batch *Batch,
	judge func(*Answer, []Success) (Result, error)) (
	Result, error) {
	var all []call
	if err := json.Unmarshal(batch.Deliveries[0].Item, &all); err != nil {
		return Result{}, fmt.Errorf("reading what was routed: %w", err)
	}
	known := heard{answers: map[int]event.Value{}, taken: map[string]string{}, values: map[string]event.Value{}}
	notSent := error(nil)
	result := Result{Outcome: Skipped, Reason: Unneeded, Detail: "the answers leave nothing to send"}
	for i := range all {
		st := b.step(all[i].Step)
		if st == nil {
			return Result{}, fmt.Errorf("reading what was routed: there is no step %d", all[i].Step)
		}
		if st.whenTaken != "" && known.taken[st.whenTaken] == "" || st.unlessTaken != "" &&
			known.taken[st.unlessTaken] != "" {
			continue
		}
		release := func() {}
		if st.last != nil {
			var kept bool
			if release, kept = st.last.take(batch.Now, &known, all[i].Step); kept {
				continue
			}
			defer release() // whichever way the function returns
		}
		if st.revise != nil && !known.names {
			text, settled := st.revise(all[i].Body, func(step int) event.Value { return known.answers[step] })
			if settled.Outcome != Undecided {
				return settled, nil
			}
			all[i].Body = text
		}
		req, problem, err := b.ask(ctx, &all[i], st, batch, &known)
		if err != nil {
			return Result{}, err
		}
		if problem != "" {
			return Result{Outcome: Retry, Reason: Unexpected, Detail: problem}, nil
		}
		answer, err := Do(t, req)
		if errors.Is(err, ErrNotSent) {
			release()
			notSent, known.names = err, true
			continue
		}
		if err != nil {
			return Result{}, err
		}
		if result, err = judge(answer, st.success); err != nil {
			return result, err
		}
		goesOn := result.Outcome == Delivered
		for _, take := range st.takes {
			if take.refused != (result.Outcome == Delivered) {
				delete(known.values, take.name)
				if known.taken[take.name] = take.of(answer); known.taken[take.name] != "" {
					goesOn = true
					if take.at != "" {
						known.values[take.name] = at(answer.JSON, take.at)
					}
				} else if take.otherwise.Outcome != Undecided && goesOn {
					settled := take.otherwise
					settled.Status = answer.Status
					return settled, nil
				}
			}
		}
		if !goesOn {
			return result, nil
		}
		known.answers[all[i].Step] = answer.JSON
		if st.last != nil {
			st.last.value, st.last.until = answer.JSON, batch.Now.Add(st.kept)
		}
		release()
	}
	return result, notSent
}

// take uses the kept answer, if there is one. If there is none, the caller has to make the request, and the answer
// stays locked until release is called, so that nobody makes the same request at the same time.
func (a *answer) take(now time.Time, known *heard, step int) (release func(), ok bool) {
	a.mu.Lock()
	if a.value.Exists() && now.Before(a.until) {
		defer a.mu.Unlock()
		known.answers[step] = a.value
		return nil, true
	}
	return sync.OnceFunc(a.mu.Unlock), false
}

// step returns the step with this number.
func (b *bound) step(number int) *boundStep {
	for i := range b.steps {
		if b.steps[i].number == number {
			return &b.steps[i]
		}
	}
	return nil
}

// ask builds the request of a call. problem says which value is missing in the answers so far.
func (b *bound) ask(ctx context.Context, one *call, st *boundStep, batch *Batch, known *heard) (req *http.Request,
	problem string, err error) {
	path, text, err := one.fill(known)
	if err != nil {
		return nil, err.Error(), nil
	}
	if st.as != asJSON {
		v, _ := event.ParseValue(text) // it was written from valid values; without a body there is none
		text = appendForm(nil, v)
	}
	contentType := st.contentType
	switch {
	case st.as == asForm:
		contentType = "application/x-www-form-urlencoded"
	case st.as == asQuery:
		path, text = string(appendQuery([]byte(path), text)), nil
	case contentType == "":
		contentType = "application/json"
	}
	base := batch.BaseURL
	if st.origin != "" && !batch.moved {
		base = st.origin
	}
	whole := &content{buf: text}
	req, err = whole.request(ctx, st.method, base+path, contentType,
		Address{Header: one.Header}.headers(b.header))
	return req, "", err
}

// withoutMember takes away the name of the member that a text ends before the value of, and the comma in front of it;
// first: there was none.
func withoutMember(text []byte) (rest []byte, first bool) {
	if rest, ok := bytes.CutSuffix(text, []byte(`":`)); ok {
		at := len(rest)
		for open := false; !open && at > 0; {
			at = bytes.LastIndexByte(rest[:at], '"')
			escaped := at - len(bytes.TrimRight(rest[:max(at, 0)], `\`))
			open = escaped%2 == 0
		}
		text = rest[:max(at, 0)]
	}
	text, comma := bytes.CutSuffix(text, []byte(","))
	return text, !comma
}

// fill puts values from earlier answers into a request.
func (one *call) fill(known *heard) (path string, text []byte, err error) {
	from := 0
	for _, h := range one.Holes {
		text = append(text, one.Body[from:h.At]...)
		from = h.At + len("null")
		v, err := known.value(h.Step, h.Path)
		switch {
		case err != nil && h.Maybe:
			var first bool
			if text, first = withoutMember(text); first && from < len(one.Body) && one.Body[from] == ',' {
				from++
			}
			continue
		case err != nil:
			return "", nil, err
		}
		text = append(text, v.Raw()...)
	}
	text = append(text, one.Body[from:]...)
	for rest := one.Path; ; {
		before, behind, ok := strings.Cut(rest, "{answer.")
		path += before
		if !ok {
			return path, text, nil
		}
		var name string
		if name, rest, ok = strings.Cut(behind, "}"); !ok {
			return "", nil, fmt.Errorf("the path %s has no end of {answer", one.Path)
		}
		number, in, _ := strings.Cut(name, ".")
		step, err := strconv.Atoi(number)
		if err != nil {
			step, in = 0, name // of something taken
		}
		v, err := known.value(step, in)
		if err != nil {
			return "", nil, err
		}
		if strings.Contains(path, "?") {
			path += url.QueryEscape(v.Text())
		} else {
			path += url.PathEscape(v.Text())
		}
	}
}
