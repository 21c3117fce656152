package redact

import (
	"strings"
	"testing"
)

// FuzzBinary: what is read as MessagePack or CBOR is written back as it was, and is one
// again with other texts in it.
func FuzzBinary(f *testing.F) {
	for _, s := range []string{
		"\x82\xa4user\xa3ada\xa8password\xafKorrekt77-pferd", "\xde\x00\x01\xa7clients\x91\x81\xd9\x03key\xc4\x03abc",
		"\xd9\xd9\xf7\xa2\x61n\x19\x03\xe8\x66secret\x45abcde", "\x81\xa1a\xd6\x00\x01\x02\x03\x04",
		"\xdf\xff\xff\xff\xff\xa1a\x01",
		"\x9f\x01\xff\x81\xa1a\xa1b", strings.Repeat("\x91", 300) + "\x81\xa1a\xa1b",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		same, form, ok := walkBinary(s, func(_, text string) string { return text })
		if ok != isBinary(s) || ok && same != s {
			t.Fatalf("%s: %q became %q", form, s, same)
		}
		if !ok {
			return
		}
		longer, _, _ := walkBinary(s, func(_, text string) string { return text + strings.Repeat("x", 300) })
		if !isBinary(longer) {
			t.Errorf("%s: %q became %q", form, s, longer)
		}
	})
}
