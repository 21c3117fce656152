package serve

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/record"
	"github.com/fanfold/fanfold/pkg/cassette/redact"
	"github.com/fanfold/fanfold/pkg/cassette/sample"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// TestTooLargeToSearch checks that a body which unpacks to more than is searched is
// passed on but not recorded, that the sidecar says why, and that other requests are
// recorded as usual.
func TestTooLargeToSearch(t *testing.T) {
	plain := bytes.Repeat([]byte("a line of an export, with sk_live_4eC39HqLyjWDarjtT1zdp7dc\n"), redact.MaxUnpacked/59+1)
	pack := func(write func(b *bytes.Buffer)) []byte {
		var b bytes.Buffer
		write(&b)
		return b.Bytes()
	}
	zipped := pack(func(b *bytes.Buffer) {
		z := gzip.NewWriter(b)
		_, _ = z.Write(plain)
		_ = z.Close()
	})
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	bodies := map[string][]byte{
		"/gzip": zipped, "/nested": []byte(`{"file":"` + base64.StdEncoding.EncodeToString(zipped) + `"}`),
		"/zstd": z.EncodeAll(plain, nil), "/encoded": zipped,
		"/br": pack(func(b *bytes.Buffer) {
			z := brotli.NewWriterLevel(b, 1)
			_, _ = z.Write(plain)
			_ = z.Close()
		}),
		"/small": []byte("ok"),
	}
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/encoded":
			w.Header().Set("Content-Encoding", "gzip")
		case "/br":
			w.Header().Set("Content-Encoding", "br")
		}
		_, _ = w.Write(bodies[r.URL.Path])
	}))
	defer shop.Close()
	rec := newRecorder(t, filepath.Join(t.TempDir(), "c.yaml"), record.Options{})
	local := reverseOf(t, shop.URL, rec)
	network := &http.Transport{DisableCompression: true}
	defer network.CloseIdleConnections()
	for path, body := range bodies {
		if got := sample.Ask(t, network, "GET", local.URL+path, "", nil); !bytes.Equal(got.Body, body) {
			t.Errorf("%s: %d bytes of %d", path, len(got.Body), len(body))
		}
	}
	local.Close()
	c, err := rec.Finish(cassette.Meta{})
	if err != nil || len(c.Interactions) != 1 || !strings.HasSuffix(c.Interactions[0].Request.URL, "/small") {
		t.Fatalf("%+v, %v", c, err)
	}
	if n := len(c.Meta.Unrecorded); n != len(bodies)-1 {
		t.Errorf("%q", c.Meta.Unrecorded)
	}
	for _, line := range c.Meta.Unrecorded {
		if !strings.Contains(line, "unpack") {
			t.Errorf("%s", line)
		}
	}
}
