package source_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/source"
)

// TestStoreThatDoesNotAnswer: what is tried again is said, so that waiting does
// not look like hanging; a throttled request is not worth a warning.
func TestStoreThatDoesNotAnswer(t *testing.T) {
	requests := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch requests++; requests {
		case 1:
			panic(http.ErrAbortHandler) // the connection ends without an answer
		case 2:
			http.Error(w, `<Error><Code>SlowDown</Code></Error>`, http.StatusServiceUnavailable)
		default:
			fmt.Fprint(w, `<ListBucketResult><Name>b</Name><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>`)
		}
	}))
	defer srv.Close()
	var log bytes.Buffer
	st, err := source.NewStore(context.Background(),
		source.S3Options{Endpoint: srv.URL, Region: "us-east-1", PathStyle: true, Anonymous: true,
			Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelInfo}))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.List(context.Background(), source.ListRequest{Bucket: "b"}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "level=WARN") || !strings.Contains(lines[0], "attempt=2") ||
		!strings.Contains(lines[1], "level=INFO") || requests != 3 {
		t.Errorf("%d requests: %s", requests, log.String())
	}
}
