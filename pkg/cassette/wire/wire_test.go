package wire

import (
	"net/http"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/cassette/redact"
)

// TestDecode checks that every encoding is undone, alone and one in another, and that no data is unpacked beyond the
// limit.
func TestDecode(t *testing.T) {
	text := strings.Repeat("ordinary text, long enough to be compressed; ", 50)
	for _, encoding := range []string{"gzip", "X-GZIP", "deflate", "br", "zstd", "deflate, gzip", "identity",
		"gzip, zstd, br"} {
		packed, err := Encode(encoding, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if plain, ok := Decode(encoding, packed, MaxBody); !ok || string(plain) != text {
			t.Errorf("%s: %d bytes, %v", encoding, len(plain), ok)
		}
		if IsIdentity(encoding) {
			continue
		}
		if plain, ok := Decode(encoding, packed, int64(len(text))-1); ok || string(plain) != string(packed) {
			t.Errorf("%s: %d bytes beyond the limit, %v", encoding, len(plain), ok)
		}
		if plain, ok := Decode(encoding, []byte(text), MaxBody); ok {
			t.Errorf("%s: what is not packed becomes %d bytes", encoding, len(plain))
		}
	}
	if _, err := Encode("aes128gcm", nil); err == nil {
		t.Error("an unknown encoding is written")
	}
	large, err := Encode("gzip", make([]byte, redact.MaxUnpacked+1))
	if err != nil || !TooLarge("gzip", large) || TooLarge("", large) {
		t.Errorf("%v: %v, %v", err, TooLarge("gzip", large), TooLarge("", large))
	}
}

// TestAddress checks that an address is given back to the byte, whatever net/url makes of it.
func TestAddress(t *testing.T) {
	for _, address := range []string{"https://h/a%2Fb", "https://h/a b", "https://h//a/b?", "https://h/%zz?x=%",
		"http://h:80/a<b>"} {
		req := &http.Request{}
		if err := SetAddress(req, address); err != nil {
			t.Errorf("%s: %v", address, err)
		} else if got := Address(req); got != address {
			t.Errorf("%s becomes %s", address, got)
		}
	}
	for path, want := range map[string]string{"/a%2Fb~c": "/a%2Fb~c", "/a<b>/\xff c": "/a%3Cb%3E/%FF%20c", "": ""} {
		if got := Sendable(path); got != want {
			t.Errorf("%q is sent as %q", path, got)
		}
	}
}
