package destination

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fanfold/fanfold/pkg/event"
)

// TestSayings: the first that describes an answer counts, and none changes what others mean.
func TestSayings(t *testing.T) {
	list := []Saying{
		{Status: []int{423}, Then: Retry, Reason: Conflict, After: 2 * time.Second},
		{Status: []int{2}, At: "code", Is: []string{"0"}, Then: Delivered},
		{Status: []int{2}, At: "code", Is: []string{"", "5*"}, Then: Retry, Reason: Unavailable},
		{Status: []int{2}, At: "code", Is: []string{"*"}, Then: Rejected, Reason: Refused},
		{Status: []int{400}, At: ".", Is: []string{"*invalid key*"}, Then: Retry, Reason: Unauthorized, Detail: "see there"},
		{Status: []int{500}, At: ".", Is: []string{"*<SUCCESS>false</*"}, Then: Rejected, Reason: Refused},
		{At: "error.code", Is: []string{"190"}, Then: Retry, Reason: Unauthorized},
		{At: "over", Is: []string{`["*`}, Then: Retry, Reason: RateLimited},
	}
	now := time.Date(2024, 5, 6, 7, 8, 0, 0, time.UTC)
	for _, c := range []struct {
		status int
		after  string
		body   string
		want   Result
	}{
		{423, "", "", Result{Outcome: Retry, Reason: Conflict, RetryAfter: 2 * time.Second}},
		{423, "Mon, 06 May 2024 07:08:09 GMT", "", Result{Outcome: Retry, Reason: Conflict, RetryAfter: 9 * time.Second}},
		{202, "", "{\"code\":0,\"over\":[ ]}", Result{Outcome: Delivered}},
		{404, "", "{\"over\": [\n  \"events\" ]}", Result{Outcome: Retry, Reason: RateLimited,
			Detail: "{\"over\": [ \"events\" ]}"}},
		{404, "", "{\"over\":[]}", Result{}},
		{423, "7", "", Result{Outcome: Retry, Reason: Conflict, RetryAfter: 7 * time.Second}},
		{200, "", `{"code":0}`, Result{Outcome: Delivered}},
		{201, "", `{"code":"51000"}`, Result{Outcome: Retry, Reason: Unavailable, Detail: `{"code":"51000"}`}},
		{200, "", `{}`, Result{Outcome: Retry, Reason: Unavailable, Detail: "{}"}},
		{200, "", `{"code":40002}`, Result{Outcome: Rejected, Reason: Refused, Detail: `{"code":40002}`}},
		{400, "", "An Invalid Key.", Result{Outcome: Retry, Reason: Unauthorized, Detail: "An Invalid Key.: see there"}},
		{400, "", "An invalid event.", Result{}},
		{403, "", `{"error":{"code":190}}`, Result{Outcome: Retry, Reason: Unauthorized, Detail: `{"error":{"code":190}}`}},
		{403, "", `{"error":{"code":1901}}`, Result{}},
		{500, "", "x" + strings.Repeat(" ", 500) + "<SUCCESS>false</SUCCESS>", Result{Outcome: Rejected, Reason: Refused,
			Detail: "x <SUCCESS>false</SUCCESS>"}},
	} {
		a := &Answer{Status: c.status, Header: http.Header{}, Body: []byte(c.body)}
		if c.after != "" {
			a.Header.Set("Retry-After", c.after)
		}
		a.JSON, _ = event.ParseValue(a.Body) // else Missing
		if c.want.Outcome != Undecided {
			c.want.Status = c.status
		}
		if got := a.of(list, now); got != c.want {
			t.Errorf("%d %s: %+v, want %+v", c.status, c.body, got, c.want)
		}
	}
}

// TestSayingsAsText: what a saying is about is said as people would.
func TestSayingsAsText(t *testing.T) {
	for _, c := range []struct {
		saying Saying
		want   string
	}{
		{Means(Retry, Conflict, "", 423), "423: retry (conflict)"},
		{Means(Retry, RateLimited, "", 4).When(".", `*<err code="1"*`, "*limit*"),
			`4xx with <err code="1" in its body or limit in its body: retry (rate_limited)`},
		{Means(Rejected, Refused, "", 200, 202).When(".", "no", "bad*"), "200 or 202 with the body no or the body bad*: " +
			"rejected (refused)"},
		{Means(Rejected, Refused, "").When("code", "*"), "any status with any other code: rejected (refused)"},
		{Means(Delivered, "", "", 409).When("a.b", "", "x"), "409 with a.b none, x: delivered"},
		{Means(Rejected, Refused, "", 202).When(InHeader+"x-dropped", "1"),
			"202 with header x-dropped 1: rejected (refused)"},
	} {
		if got := c.saying.String(); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}
