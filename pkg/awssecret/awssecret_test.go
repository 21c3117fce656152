package awssecret

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
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
