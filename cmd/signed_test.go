package cmd

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// signedRequests receives what a webhook is sent, and refuses the first request with a 503.
type signedRequests struct {
	mu   sync.Mutex
	list []*http.Request
	body []string
}

func (s *signedRequests) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	data, _ := io.ReadAll(r.Body) // half a body has another signature
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.list, s.body = append(s.list, r), append(s.body, string(data)); len(s.list) == 1 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// TestSignedWebhook runs the program with a signing secret that lies in AWS: what arrives is signed as Standard
// Webhooks has it, a request that is made again has the same ids, and the secret stands nowhere else.
func TestSignedWebhook(t *testing.T) {
	t.Parallel()
	const key = "a-key-of-the-receiver"
	secret := "whsec_" + base64.StdEncoding.EncodeToString([]byte(key))
	aws := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("X-Amz-Target") != "secretsmanager.GetSecretValue" || !strings.Contains(string(body), "hooks/prod") ||
			!strings.Contains(r.Header.Get("Authorization"), "AKIDEXAMPLE") {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, `{"Name":"hooks/prod","SecretString":"{\"signing\":\"%s\"}"}`, secret)
	}))
	defer aws.Close()
	got := &signedRequests{}
	hook := httptest.NewServer(got)
	defer hook.Close()
	dir := t.TempDir()
	conf := "destinations:\n  hook:\n    type: webhook\n    settings:\n      url: " + hook.URL +
		"\n      signing_secret: aws-secretsmanager:hooks/prod#signing\n"
	for name, text := range map[string]string{"fanfold.yaml": conf, "in.jsonl": events(3)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(build(t), "forward", "--from", "in.jsonl", "--state-dir", filepath.Join(dir, "state"))
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "AWS_ENDPOINT_URL="+aws.URL, "AWS_REGION=eu-west-1", "AWS_ACCESS_KEY_ID=AKIDEXAMPLE",
		"AWS_SECRET_ACCESS_KEY=x", "AWS_CONFIG_FILE="+filepath.Join(dir, "none"),
		"AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(dir, "none"), "AWS_PROFILE=")
	said, err := cmd.CombinedOutput()
	if err != nil || len(got.list) != 2 {
		t.Fatalf("%v, %d requests: %s", err, len(got.list), said)
	}
	for n, r := range got.list {
		id, at := r.Header.Get("Webhook-Id"), r.Header.Get("Webhook-Timestamp")
		mac := hmac.New(sha256.New, []byte(key))
		fmt.Fprintf(mac, "%s.%s.%s", id, at, got.body[n])
		want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
		if id == "" || r.Header.Get("Webhook-Signature") != want {
			t.Errorf("request %d: signature %q of id %q, want %q", n, r.Header.Get("Webhook-Signature"), id, want)
		}
		if sent, wrong := strconv.ParseInt(at, 10, 64); wrong != nil || time.Since(time.Unix(sent, 0)).Abs() > time.Hour {
			t.Errorf("request %d: it was sent at %q", n, at)
		}
		for _, name := range []string{"Webhook-Id", "Idempotency-Key"} {
			if id := r.Header.Get(name); id == "" || id != got.list[0].Header.Get(name) {
				t.Errorf("request %d: %s is %q, and was %q", n, name, id, got.list[0].Header.Get(name))
			}
		}
	}
	left := string(said)
	if err = filepath.WalkDir(filepath.Join(dir, "state"), func(path string, d os.DirEntry, wrong error) error {
		if wrong == nil && d.Type().IsRegular() {
			data, unread := os.ReadFile(path)
			left, wrong = left+string(data), unread
		}
		return wrong
	}); err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{secret, key, strings.TrimPrefix(secret, "whsec_")} {
		if strings.Contains(left, what) {
			t.Errorf("%s stands in what is kept or said", what)
		}
	}
}
