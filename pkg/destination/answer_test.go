package destination

import (
	"net/http"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		status int
		header []string
		want   time.Duration
	}{
		{429, nil, 0},
		{429, []string{"Retry-After", "30"}, 30 * time.Second},
		{429, []string{"Retry-After", " 1.5 "}, 1500 * time.Millisecond},
		{429, []string{"Retry-After", "Wed, 01 May 2024 12:00:45 GMT"}, 45 * time.Second},
		{429, []string{"Retry-After", "Wed, 01 May 2024 11:00:00 GMT"}, 0},
		{429, []string{"Retry-After", "-5"}, 0},
		{429, []string{"Retry-After", "soon"}, 0},
		{429, []string{"Retry-After", "NaN"}, 0},
		{429, []string{"Retry-After", "Inf"}, 24 * time.Hour},
		{429, []string{"Retry-After", "99999999999999999999"}, 24 * time.Hour},
		{429, []string{"Retry-After", "1714564830"}, 30 * time.Second}, // some send the instant
		{500, []string{"Retry-After", "7"}, 7 * time.Second},
		{429, []string{"Retry-After-Ms", "1500"}, 1500 * time.Millisecond},
		{429, []string{"Retry-After-Ms", "864000000"}, 24 * time.Hour},
		{503, []string{"RateLimit-Reset", "12"}, 12 * time.Second},
		{429, []string{"X-RateLimit-Reset", "1714564860"}, time.Minute},
		{429, []string{"X-RateLimit-Reset", "1714564860.5"}, time.Minute + 500*time.Millisecond},
		{429, []string{"X-RateLimit-Reset", "1714564860250"}, time.Minute + 250*time.Millisecond},
		{429, []string{"X-RateLimit-Reset", "20"}, 20 * time.Second},
		{429, []string{"X-RateLimit-Reset", "1714560000"}, 0},
		{429, []string{"X-RateLimit-Reset", "2024-05-01T12:00:09Z"}, 9 * time.Second},
		{429, []string{"X-RateLimit-Reset", "4102444800"}, 24 * time.Hour},
		{429, []string{"X-Rate-Limit-Reset", "1714564803"}, 3 * time.Second},
		{429, []string{"X-RateLimit-Reset-After", "2.5"}, 2500 * time.Millisecond},
		{429, []string{"X-RateLimit-Reset-After", "2", "RateLimit-Reset", "60"}, time.Minute},
		{429, []string{"Retry-After", "5", "RateLimit-Reset", "60"}, 5 * time.Second},
		{429, []string{"Retry-After", "0", "RateLimit-Reset", "60"}, time.Minute},
		{429, []string{"X-RateLimit-Remaining", "3", "X-RateLimit-Reset", "20"}, 20 * time.Second},
		{503, []string{"X-RateLimit-Remaining", "3", "X-RateLimit-Reset", "20"}, 0},
		{503, []string{"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "20"}, 20 * time.Second},
		{500, []string{"X-RateLimit-Reset", "20"}, 0},
		{200, []string{"RateLimit-Reset", "20"}, 0},
	} {
		a := Answer{Status: c.status, Header: http.Header{}}
		for i := 0; i < len(c.header); i += 2 {
			a.Header.Set(c.header[i], c.header[i+1])
		}
		if got := a.RetryAfter(now); got != c.want {
			t.Errorf("%d %q: %s, want %s", c.status, c.header, got, c.want)
		}
	}
}

// TestVerdictOfStatus: what a status means when nothing else is documented.
func TestVerdictOfStatus(t *testing.T) {
	for status, want := range map[int]Result{
		101: {Outcome: Retry, Reason: Unavailable}, 204: {Outcome: Delivered}, 304: {Outcome: Rejected, Reason: Refused},
		403: {Outcome: Retry, Reason: Unauthorized}, 408: {Outcome: Retry, Reason: Unavailable},
		413: {Outcome: Rejected, Reason: TooLarge}, 429: {Outcome: Retry, Reason: RateLimited},
		501: {Outcome: Rejected, Reason: Refused}, 503: {Outcome: Retry, Reason: Unavailable},
		600: {Outcome: Rejected, Reason: Refused},
	} {
		got := (&Answer{Status: status, Header: http.Header{}}).Verdict(time.Time{})
		if got.Outcome != want.Outcome || got.Reason != want.Reason {
			t.Errorf("%d: %v %v", status, got.Outcome, got.Reason)
		}
	}
}
