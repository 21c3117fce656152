package verify

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	vcr "github.com/dnaeon/go-vcr/v2/cassette"

	"github.com/fanfold/fanfold/pkg/cassette"
)

// TestLive checks that a recorded request is sent again unchanged, but with today's
// credentials, and only if it changes nothing or that is allowed. A different status or
// shape of the answer is a finding, a different value is not.
func TestLive(t *testing.T) {
	var got []string
	body := `{"id":7,"name":"a"}`
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		got = append(got, r.Method+" "+r.URL.RequestURI()+" "+r.Header.Get("Authorization")+" "+string(data))
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body)
	}))
	defer shop.Close()
	one := func(method, path, sent string) *cassette.Interaction {
		return &cassette.Interaction{
			Request: vcr.Request{Method: method, URL: shop.URL + path, Body: sent,
				Headers: http.Header{"Authorization": {"Bearer REDACTED:bearer:0123456789abcdef"}}},
			Response: vcr.Response{Code: 200, Body: `{"id":1,"name":"b"}`,
				Headers: http.Header{"Content-Type": {"application/json"}}},
		}
	}
	k := &cassette.Cassette{Path: "order.yaml", Interactions: []*cassette.Interaction{
		one("GET", "/a%2Fb?x=1", ""), one("POST", "/orders", `{"n":1}`)}}
	check := func(unsafe bool, want Status, detail string, requests int) {
		t.Helper()
		got = nil
		v := &Verifier{Now: time.Now, Live: &Live{Network: http.DefaultTransport, Unsafe: unsafe,
			Header: http.Header{"Authorization": {"Bearer today"}}}}
		r, err := v.Cassette(context.Background(), k)
		if err != nil || r.Status != want || !strings.Contains(r.Detail, detail) || len(got) != requests {
			t.Errorf("%+v, %v; %q", r, err, got)
		}
	}
	check(false, OK, "1 requests that change something were not sent", 1)
	if got[0] != "GET /a%2Fb?x=1 Bearer today " {
		t.Errorf("%q", got)
	}
	check(true, OK, "", 2)
	body = `{"id":"seven","name":"a"}`
	check(true, Drift, "", 2)
	k.Interactions = k.Interactions[1:]
	check(false, Skipped, "", 0)
	if r, err := (&Verifier{Now: time.Now}).Cassette(context.Background(), k); err != nil || r.Status != Skipped {
		t.Errorf("without events and without --live: %+v, %v", r, err)
	}
}
