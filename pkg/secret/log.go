package secret

import (
	"fmt"
	"io"
	"log/slog"
	"reflect"
)

// NewLogger makes a log of structured lines from a level on (debug, info, warn, error),
// as text or json, that takes every secret out of every value with redact.
func NewLogger(w io.Writer, level, format string, redact func(string) string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level has to be debug, info, warn or error, not %q", level)
	}
	o := &slog.HandlerOptions{Level: l, ReplaceAttr: func(_ []string, at slog.Attr) slog.Attr {
		at.Value = redacted(at.Value, redact)
		return at
	}}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, fmt.Errorf("--log-format has to be text or json, not %q", format)
}

// redacted is a value of a log line without secrets. Texts and errors are redacted
// before they are escaped; whatever else there is becomes a text only when it has to.
func redacted(v slog.Value, redact func(string) string) slog.Value {
	switch v.Kind() {
	case slog.KindString:
		return slog.StringValue(redact(v.String()))
	case slog.KindAny:
		text := fmt.Sprint(v.Any())
		if b := reflect.ValueOf(v.Any()); b.Kind() == reflect.Slice && b.Type().Elem().Kind() == reflect.Uint8 {
			text = string(b.Bytes()) // it is written as a text, too
		}
		clean := redact(text)
		if _, isError := v.Any().(error); isError || clean != text {
			return slog.StringValue(clean)
		}
	}
	return v
}
