package secret

import (
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

// Whatever kind of value carries a secret into a log line, the line does not have it.
func TestLoggerRedacts(t *testing.T) {
	redact := func(s string) string { return strings.ReplaceAll(s, "hunter2", "…") }
	values := []any{
		"with hunter2", errors.New("no access with hunter2"), []string{"hunter2"}, map[string]string{"k": "hunter2"},
		struct{ Token string }{"hunter2"}, &struct{ Token string }{"hunter2"}, []byte("hunter2"), json.RawMessage(`{"t":"hunter2"}`),
		slog.GroupValue(slog.String("in", "hunter2"), slog.Any("deeper", errors.New("hunter2"))),
	}
	for _, format := range []string{"text", "json"} {
		for _, v := range values {
			var out strings.Builder
			log, err := NewLogger(&out, "info", format, redact)
			if err != nil {
				t.Fatal(err)
			}
			log.With("always", v).Info("said hunter2", "value", v)
			log.Debug("not said", "value", v)
			if strings.Contains(out.String(), "hunter2") || strings.Count(out.String(), "\n") != 1 {
				t.Errorf("%s, %T: %s", format, v, out.String())
			}
		}
	}
	for _, wrong := range [][2]string{{"loud", "text"}, {"info", "xml"}, {"", "text"}} {
		if _, err := NewLogger(nil, wrong[0], wrong[1], redact); err == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
}
