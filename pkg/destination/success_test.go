package destination

import (
	"net/http"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/event"
)

func said(status int, body string) *Answer {
	a := &Answer{Status: status, Header: http.Header{}, Body: []byte(body)}
	if v, err := event.ParseValue(a.Body); err == nil {
		a.JSON = v
	}
	return a
}

func TestConfirm(t *testing.T) {
	const docs = "https://partner.example/docs"
	counted := JSON(docs, Is("code", 200, "OK"), Counts("taken"), Is("error", nil, "").IfThere())
	for _, c := range []struct {
		name    string
		success []Success
		status  int
		body    string
		refused int // of three deliveries
		why     string
	}{
		{"all taken", []Success{counted}, 200, `{"code":200,"taken":3}`, 0, ""},
		{"another of the values", []Success{counted}, 200, `{"code":"OK","taken":3,"error":null}`, 0, ""},
		{"what was not refused", []Success{counted}, 200, `{"code":200,"taken":2}`, 1, ""},
		{"the refused are counted, too", []Success{counted}, 200, `{"code":200,"taken":3}`, 1, ""},
		{"fewer", []Success{counted}, 200, `{"code":200,"taken":2}`, 0, "taken says 2 of 3"},
		{"more", []Success{counted}, 200, `{"code":200,"taken":4}`, 0, "taken says 4 of 3"},
		{"a number as text", []Success{counted}, 200, `{"code":200,"taken":"3"}`, 0, "taken is no number"},
		{"half a count", []Success{counted}, 200, `{"code":200,"taken":2.5}`, 0, "taken is no count"},
		{"another value", []Success{counted}, 200, `{"code":201,"taken":3}`, 0, "code is another"},
		{"a text for a number", []Success{counted}, 200, `{"code":"200","taken":3}`, 0, "code is another"},
		{"an error beside it", []Success{counted}, 200, `{"code":200,"taken":3,"error":"no"}`, 0, "error is another"},
		{"a member that is missing", []Success{counted}, 200, `{"taken":3}`, 0, "code is missing"},
		{"another status", []Success{counted}, 202, `{"code":200,"taken":3}`, 0, "the status is 202"},
		{"the second of two", []Success{NoBody(docs, 204), counted}, 200, `{"code":200,"taken":3}`, 0, ""},
		{"the nearest of two is told", []Success{NoBody(docs, 204), counted}, 200, `{"code":1,"taken":3}`, 0,
			"code is another"},
		{"elements", []Success{JSON(docs, Lists("results"))}, 200, `{"results":[1,2,3]}`, 0, ""},
		{"too few elements", []Success{JSON(docs, Lists("results"))}, 200, `{"results":[1]}`, 0, "results says 1 of 3"},
		{"some", []Success{JSON(docs, Some("a.n"))}, 200, `{"a":{"n":1}}`, 0, ""},
		{"none", []Success{JSON(docs, Some("a.n"))}, 200, `{"a":{"n":0}}`, 0, "a.n is not above zero"},
		{"text", []Success{Words(docs, "ok")}, 200, " ok\n", 0, ""},
		{"another text", []Success{Words(docs, "ok")}, 200, "okay", 0, "the body is not ok"},
		{"no body", []Success{NoBody(docs, 202, 204)}, 202, "\n", 0, ""},
		{"a body", []Success{NoBody(docs, 202, 204)}, 202, "<html>", 0, "there is a body"},
		{"anything", []Success{{Any: true}}, 226, "<html>", 0, ""},
		{"anything but a redirect", []Success{{Any: true}}, 302, "", 0, "the status is 302"},
		{"nothing declared", nil, 200, "ok", 0, "declares no success"},
		{"nothing to confirm", nil, 200, "ok", 3, ""},
	} {
		rs := Same(Result{Outcome: Delivered, Status: c.status}, 3)
		for i := range c.refused {
			rs[i] = Result{Outcome: Rejected, Reason: Refused}
		}
		rs = Confirm(c.success, said(c.status, c.body), rs)
		last := rs[len(rs)-1]
		switch {
		case c.refused > 0 && rs[0].Reason != Refused:
			t.Errorf("%s: what was refused is %v", c.name, rs[0])
		case c.why == "" && c.refused < 3 && last.Outcome != Delivered:
			t.Errorf("%s: %v", c.name, last)
		case c.why != "" && (last.Outcome != Retry || last.Reason != Unexpected || !strings.Contains(last.Detail, c.why)):
			t.Errorf("%s: %v; it has to say: %s", c.name, last, c.why)
		}
	}
}

// A success tells in words what it asks for.
func TestSuccessInWords(t *testing.T) {
	for _, c := range []struct {
		s    Success
		want string
	}{
		{JSON("", Is("ok", true), Counts("n"), Is("e", nil, "").IfThere(), Some("m"), Text("id")),
			`200 with JSON: ok = true; n = number taken; e = null or "", if there; m > 0; id`},
		{NoBody("", 202, 204), "202 or 204 with no body"},
		{Words("", "ok").With(201), "201 with the body ok"},
		{Success{Any: true}, "2xx"},
	} {
		if got := c.s.String(); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}
