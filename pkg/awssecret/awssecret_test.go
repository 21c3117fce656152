package awssecret

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestFetch asks a server that speaks as both services document.
func TestFetch(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || !strings.HasPrefix(r.Header.Get("Authorization"),
			"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20240601/eu-west-1/") {
			t.Errorf("%v, %q", err, r.Header)
		}
		var in map[string]any
		if err := json.Unmarshal(body, &in); err != nil {
			t.Error(err)
		}
		what, _ := in["SecretId"].(string)
		if what == "" {
			what, _ = in["Name"].(string)
		}
		answers := map[string]string{
			"secretsmanager.GetSecretValue plain":  `{"Name":"plain","SecretString":"s3cret"}`,
			"secretsmanager.GetSecretValue json":   `{"SecretString":"{\"password\":\"pw\",\"port\":5432}"}`,
			"secretsmanager.GetSecretValue binary": `{"SecretBinary":"czNjcmV0"}`,
			"AmazonSSM.GetParameter /a/b":          `{"Parameter":{"Name":"/a/b","Value":"parameter"}}`,
		}
		answer, ok := answers[r.Header.Get("X-Amz-Target")+" "+what]
		if in["WithDecryption"] == false || !ok {
			w.WriteHeader(400)
			answer = `{"__type":"com.amazonaws#ResourceNotFoundException","Message":"Secrets Manager can't find the specified secret."}`
		}
		_, _ = io.WriteString(w, answer)
	}))
	defer server.Close()
	missing := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": server.URL, "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
		"AWS_SECRET_ACCESS_KEY": "secret",
		"AWS_CONFIG_FILE":       missing, "AWS_SHARED_CREDENTIALS_FILE": missing, "AWS_PROFILE": "",
	} {
		t.Setenv(name, value)
	}
	now, err := time.Parse(time.DateOnly, "2024-06-01")
	if err != nil {
		t.Fatal(err)
	}
	c := &Client{HTTP: server.Client().Transport, Now: func() time.Time { return now }}
	for _, want := range []struct{ name, value, problem string }{
		{"plain", "s3cret", ""}, {"json#password", "pw", ""}, {"json#port", "5432", ""}, {"binary", "s3cret", ""},
		{"json#nothing", "", "has no member nothing"}, {"plain#x", "", "no JSON object"},
		{"nothing", "", "answered 400 ResourceNotFoundException: Secrets Manager can't find"}, {"/a/b", "parameter", ""},
	} {
		ask := c.Secret
		if strings.HasPrefix(want.name, "/") {
			ask = c.Parameter
		}
		got, err := ask(context.Background(), want.name)
		if got != want.value || (err == nil) != (want.problem == "") ||
			err != nil && (!strings.Contains(err.Error(), want.problem) || strings.Contains(err.Error(), "s3cret")) {
			t.Errorf("%s: %q, %v", want.name, got, err)
		}
	}
	t.Setenv("AWS_ENDPOINT_URL", "")
	t.Setenv("AWS_REGION", "")
	if _, err := c.Secret(context.Background(), "plain"); err == nil || !strings.Contains(err.Error(), "AWS_REGION") {
		t.Errorf("without a region: %v", err)
	}
}

// scripted answers a request after the other.
type scripted struct {
	answers []string // STATUS BODY
	asked   int
}

func (s *scripted) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := s.answers[min(s.asked, len(s.answers)-1)]
	s.asked++
	status, body, _ := strings.Cut(answer, " ")
	code, err := strconv.Atoi(status)
	return &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader(body)), Request: r}, err
}

// TestAskedAgain: what is refused for the moment is asked for again, as often as the SDK would; the rest is not.
func TestAskedAgain(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": "http://aws.example", "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "A",
		"AWS_SECRET_ACCESS_KEY": "b",
		"AWS_CONFIG_FILE":       missing, "AWS_SHARED_CREDENTIALS_FILE": missing, "AWS_PROFILE": "",
	} {
		t.Setenv(name, value)
	}
	const throttled, took = `400 {"__type":"ThrottlingException"}`, `200 {"SecretString":"s3cret\r\n"}`
	for _, c := range []struct {
		answers []string
		name    string
		asked   int
		want    string // "": an error
	}{
		{[]string{throttled, "500 {}", took}, "x", 3, "s3cret"},
		{[]string{throttled}, "x", 3, ""},
		{[]string{"503 busy", took}, "x", 2, "s3cret"},
		{[]string{`400 {"__type":"AccessDeniedException"}`, took}, "x", 1, ""},
		{[]string{`200 {"SecretString":"{\"a\":null,\"b\":\"t\\n\"}"}`}, "x#a", 1, ""},
		{[]string{`200 {"SecretString":"{\"a\":null,\"b\":\"t\\n\"}"}`}, "x#b", 1, "t"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &scripted{answers: c.answers}
			got, err := (&Client{HTTP: s, Now: time.Now}).Secret(t.Context(), c.name)
			if s.asked != c.asked || got != c.want || (err == nil) != (c.want != "") {
				t.Errorf("%q: asked %d times, %q, %v", c.answers, s.asked, got, err)
			}
		})
	}
}
