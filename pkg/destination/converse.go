package destination

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/fanfold/fanfold/pkg/body"
	"github.com/fanfold/fanfold/pkg/event"
)

// A conversation is one delivery of several requests, the later of which need something
// of the answers to the earlier ones. Its item is what is known of all of them when the
// event is routed; what an answer says is put in when it is there. When a request fails
// the delivery does, and a repeat begins with the first one: what is done first has to
// bear being done again.

// said is one request of a conversation.
type call struct {
	Step   int             `json:"step"` // number of the step, from 1 on
	Path   string          `json:"path"`
	Header string          `json:"header,omitempty"` // as in Address
	Body   json.RawMessage `json:"body,omitempty"`
	// Holes are the places in Body where something of an answer is to be put.
	Holes []body.Hole `json:"holes,omitempty"`
}

// writeConversation writes the requests of one event as one item.
func (b *bound) writeConversation(in *Input, out *Output) {
	s := &out.d.body
	bi := &body.Input{Event: in.Event.Root(), Payload: in.Payload, Now: in.now, ID: in.id, Settings: b.settings}
	if !b.meets(s, bi, out) {
		return
	}
	var all []call
	for i := range b.steps {
		st := &b.steps[i]
		if st.when != nil && !st.when.Holds(s, bi) {
			continue
		}
		path, lacks := st.address(s, bi)
		if lacks != "" {
			out.Reject(MissingIdentity, lacks+" is required: it stands in the address of the request")
			return
		}
		if !b.writeHeaders(s, bi, out) {
			return
		}
		text, ok := st.body.Append(s, bi, nil)
		if !ok {
			continue
		}
		all = append(all, call{Step: i + 1, Path: path, Header: out.header, Body: text, Holes: append([]body.Hole(nil), s.Holes()...)})
	}
	out.header = "" // each request has its own
	if len(all) == 0 {
		return
	}
	item, err := json.Marshal(all)
	if err != nil {
		out.Reject(Invalid, err.Error())
		return
	}
	out.Raw(item)
}

// converse makes the requests of one delivery.
func (b *bound) converse(ctx context.Context, t Transport, batch *Batch, judge func(*Answer) ([]Result, error)) ([]Result, error) {
	var all []call
	if err := json.Unmarshal(batch.Deliveries[0].Item, &all); err != nil {
		return nil, fmt.Errorf("reading what was routed: %w", err)
	}
	answers := map[int]event.Value{}
	var results []Result
	for _, one := range all {
		path, text, err := one.fill(answers)
		if err != nil {
			return Same(Result{Outcome: Retry, Reason: Unexpected, Detail: err.Error()}, len(batch.Deliveries)), nil
		}
		st := &b.steps[one.Step-1]
		contentType := b.contentType
		switch {
		case st.as == asForm:
			text, contentType = formOf(text), "application/x-www-form-urlencoded"
		case st.as == asQuery:
			path, text = withQuery(path, formOf(text)), nil
		case contentType == "":
			contentType = "application/json"
		}
		whole := &content{buf: text}
		req, err := whole.request(ctx, st.method, batch.BaseURL+path, contentType, Address{Header: one.Header}.headers(b.header))
		if err != nil {
			return nil, err
		}
		answer, err := Do(t, req)
		if err != nil {
			return nil, err
		}
		if results, err = judge(answer); err != nil || results[0].Outcome != Delivered {
			return results, err
		}
		answers[one.Step] = answer.JSON
	}
	return results, nil
}

// fill puts what answers said into a request.
func (one *call) fill(answers map[int]event.Value) (path string, text []byte, err error) {
	of := func(step int, path string) (event.Value, error) {
		v := at(answers[step], path)
		if v.Nullish() {
			return v, fmt.Errorf("the answer to request %d has no %s, which the next request needs", step, path)
		}
		return v, nil
	}
	from := 0
	for _, h := range one.Holes {
		v, err := of(h.Step, h.Path)
		if err != nil {
			return "", nil, err
		}
		text = append(append(text, one.Body[from:h.At]...), v.Raw()...)
		from = h.At + len("null")
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
			return "", nil, fmt.Errorf("the path %s: {answer.1.name}: %w", one.Path, err)
		}
		v, err := of(step, in)
		if err != nil {
			return "", nil, err
		}
		path += url.PathEscape(v.Text())
	}
}
