package standin

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
)

// TestSinkCounts checks that a mark is counted once, even if a read ends within it, and
// that bytes are counted before compression.
func TestSinkCounts(t *testing.T) {
	body := strings.Repeat(`{"event":"a"},`, 10000)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(z, body)
	z.Close()

	s := NewSink(`"event":`)
	for _, r := range []io.Reader{strings.NewReader(body), iotest.OneByteReader(strings.NewReader(body[:1400])), &zipped} {
		req := httptest.NewRequest("POST", "/track", r)
		if r == &zipped {
			req.Header.Set("Content-Encoding", "gzip")
		}
		s.ServeHTTP(httptest.NewRecorder(), req)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "/stats", nil))
	if want := `{"requests":3,"events":20100,"bytes":281400}` + "\n"; w.Body.String() != want {
		t.Errorf("it counted %swant %s", w.Body, want)
	}
}
