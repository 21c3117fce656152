package redact

import (
	"strings"
	"unicode/utf8"
)

// IsText is true for UTF-8 without control characters other than white space.
func IsText(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\n' && c != '\r' && c != '\t' {
			return false
		}
	}
	return utf8.ValidString(s)
}

// IsAlnum is true for the letters and digits of ASCII.
func IsAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// IsWord is true for the bytes that names, numbers, addresses and base64 consist of.
func IsWord(c byte) bool {
	return IsAlnum(c) || c == '_' || c == '-' || c == '.' || c == '+' || c == '/' || c == '='
}

// HasDigit is true for a text with at least one digit.
func HasDigit(s string) bool { return strings.ContainsAny(s, "0123456789") }

// IsDigits is true for a text that has nothing but digits.
func IsDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// IsUUID is true for 8-4-4-4-12 hexadecimal digits. Ids of sessions and of requests have this form.
func IsUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		if hyphen := i == 8 || i == 13 || i == 18 || i == 23; hyphen != (s[i] == '-') || !hyphen && hexDigit(s[i]) > 15 {
			return false
		}
	}
	return true
}
