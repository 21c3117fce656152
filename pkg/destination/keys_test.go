package destination

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http/httpguts"
)

// TestSignWebhook: the npm library standardwebhooks 1.1.1 makes this signature of the example
// that the libraries' own tests have.
func TestSignWebhook(t *testing.T) {
	auth, err := SignWebhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, "https://hook.example", strings.NewReader(`{"test": 2432232314}`))
	if err != nil {
		t.Fatal(err)
	}
	one := []*Delivery{{InsertID: "msg_p5jXN8AQM9LWM0D4loKWxJek"}}
	Keys{Webhook: true}.put(req.Header, one, time.Unix(1614265330, 0))
	auth.Apply(req, time.Time{}, nil)
	if got := req.Header.Get("Webhook-Signature"); got != "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" ||
		req.Header.Get("Webhook-Id") != one[0].InsertID || req.Header.Get("Webhook-Timestamp") != "1614265330" {
		t.Errorf("%v", req.Header)
	}
	for _, wrong := range []string{"", "whsec_", "whsec_not base64"} {
		if _, err := SignWebhook(wrong); err == nil {
			t.Errorf("%q is taken for a secret", wrong)
		}
	}
}

// TestKeys: a key is an id as it is, or a hash: of several, and of one that no header holds.
func TestKeys(t *testing.T) {
	key := func(ids ...string) string {
		var ds []*Delivery
		for _, id := range ids {
			ds = append(ds, &Delivery{InsertID: id})
		}
		h := http.Header{}
		Keys{Header: "idempotency-key"}.put(h, ds, time.Time{})
		got := h.Get("Idempotency-Key")
		if len(h) != 1 || got == "" || len(got) > longestKey || !httpguts.ValidHeaderFieldValue(got) {
			t.Errorf("%.80q: %.300v", ids, h)
		}
		return got
	}
	if key("m-1") != "m-1" || key("größe") != "größe" {
		t.Error("a plain id is not the key itself")
	}
	seen := map[string]bool{}
	for _, ids := range [][]string{{"a\r\nX-Admin: 1"}, {"a\x00"}, {" a"}, {""}, {strings.Repeat("x", 1<<20)}, {"a", "b"},
		{"ab", ""}, {"", "ab"}, {"b", "a"}, {"a", "b", "c"}} {
		k := key(ids...)
		if seen[k] || k != key(ids...) || len(k) != 64 {
			t.Errorf("%.40q has the key %s", ids, k)
		}
		seen[k] = true
	}
	h := http.Header{}
	if (Keys{}).put(h, []*Delivery{{InsertID: "a"}}, time.Time{}); len(h) != 0 {
		t.Errorf("no keys are asked for: %v", h)
	}
}
