package redact

import (
	"encoding/binary"
	"strings"
	"testing"
)

// FuzzBinary checks that data which is read as MessagePack or CBOR is written back
// unchanged, and stays valid if its texts are replaced.
func FuzzBinary(f *testing.F) {
	for _, s := range []string{
		"\x82\xa4user\xa3ada\xa8password\xafKorrekt77-pferd", "\xde\x00\x01\xa7clients\x91\x81\xd9\x03key\xc4\x03abc",
		"\xd9\xd9\xf7\xa2\x61n\x19\x03\xe8\x66secret\x45abcde", "\x81\xa1a\xd6\x00\x01\x02\x03\x04",
		"\xdf\xff\xff\xff\xff\xa1a\x01",
		"\x9f\x01\xff\x81\xa1a\xa1b", strings.Repeat("\x91", 300) + "\x81\xa1a\xa1b",
		bson(bsonText("user", "ada") + bsonText("password", "Korrekt77-pferd") + "\x10n\x00\x01\x00\x00\x00"),
		bson("\x03a\x00" + bson("\x12token\x00\x40\xe2\x01\x00\x00\x00\x00\x00") + bsonText("b", "c")),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		same, form, ok := walkBinary(s, func(_, text string, _ bool) string { return text })
		if ok != isBinary(s) || ok && same != s {
			t.Fatalf("%s: %q became %q", form, s, same)
		}
		if !ok {
			return
		}
		longer, _, _ := walkBinary(s, func(_, text string, number bool) string {
			if number {
				return "999000123456789"
			}
			return text + strings.Repeat("x", 300)
		})
		if !isBinary(longer) {
			t.Errorf("%s: %q became %q", form, s, longer)
		}
	})
}

// bson returns a BSON document with some elements.
func bson(elements string) string {
	return string(binary.LittleEndian.AppendUint32(nil, uint32(len(elements)+5))) + elements + "\x00"
}

func bsonText(name, text string) string {
	return "\x02" + name + "\x00" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(text)+1))) + text + "\x00"
}

// TestBinaryForms checks that texts and numbers in binary formats are redacted by their
// names, and if they are known values. The gate has to find them, and the object has to
// stay valid.
func TestBinaryForms(t *testing.T) {
	red := redactor([]byte("a key of some length"), []Secret{{Name: "PIN", Value: "83914276"},
		{Name: "S", Value: "correct horse battery"}})
	for name, s := range map[string]string{
		"BSON, a name":          bson(bsonText("user", "ada") + bsonText("password", "Korrekt77-pferd")),
		"BSON, in an array":     bson("\x04token\x00" + bson(bsonText("0", "Korrekt77-pferd"))),
		"BSON, known":           bson(bsonText("note", "it is correct horse battery")),
		"BSON, a number":        bson(bsonText("a", "b") + "\x10pin\x00\x24\x6e\x00\x05"),
		"BSON, a long number":   bson(bsonText("a", "b") + "\x12access_token\x00\x40\xe2\x01\x00\x02\x00\x00\x00"),
		"BSON, known as a name": bson(bsonText("a", "b") + bsonText("correct horse battery", "c")),
		"BSON, several":         bson(bsonText("a", "b")) + bson(bsonText("api_key", "Korrekt77-pferd")),
		"MessagePack, a number": "\x82\xa1a\xa1b\xa3pin\xce\x05\x00\x6e\x24",
		"MessagePack, known":    "\x82\xa1a\xa1b\xa1n\xce\x05\x00\x6e\x24",
		"CBOR, a number":        "\xa2\x61a\x61b\x63pin\x1a\x05\x00\x6e\x24",
		"CBOR, known":           "\xa2\x61a\x61b\x61n\x1a\x05\x00\x6e\x24",
	} {
		if kind, _ := red.find(s, 0); kind == "" {
			t.Errorf("%s passes the gate", name)
		}
		now := red.Text(s)
		if now == s || strings.Contains(now, "Korrekt77-pferd") || strings.Contains(now, "correct horse") ||
			strings.Contains(now, "\x05\x00\x6e\x24") || strings.Contains(now, "\x24\x6e\x00\x05") {
			t.Errorf("%s survives: %q", name, now)
		}
		if !isBinary(now) {
			t.Errorf("%s is none any more: %q", name, now)
		}
		if kind, hit := red.find(now, 0); kind != "" {
			t.Errorf("%s: %s, %s in %q", name, kind, hit, now)
		}
		if again := red.Text(now); again != now {
			t.Errorf("%s, a second time: %q, %q", name, now, again)
		}
	}
}
