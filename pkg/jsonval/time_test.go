package jsonval

import (
	"testing"
	"time"
)

func TestAppendTime(t *testing.T) {
	at := time.Date(2024, 5, 6, 7, 8, 9, 123456789, time.UTC)
	if b, ok := AppendTime([]byte("x"), at, "millis"); !ok || string(b) != "x1714979289123" {
		t.Errorf("%s %v", b, ok)
	}
	if _, ok := AppendTime(nil, at, "stardate"); ok {
		t.Error("an unknown format is written")
	}
	if _, ok := AppendTime(nil, at.AddDate(9000, 0, 0), "iso"); ok {
		t.Error("a year of five digits is written")
	}
}
