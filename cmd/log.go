package cmd

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// newLogger makes the log: structured lines on standard error, from a level on,
// with every secret taken out of every value.
func newLogger(w io.Writer, level, format string, redact func(string) string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, usagef("--log-level has to be debug, info, warn or error, not %q", level)
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
	return nil, usagef("--log-format has to be text or json, not %q", format)
}

// redacted is a value of a log line without secrets. Texts and errors are redacted
// before they are escaped; whatever else there is becomes a text only when it has
// to.
func redacted(v slog.Value, redact func(string) string) slog.Value {
	switch v.Kind() {
	case slog.KindString:
		return slog.StringValue(redact(v.String()))
	case slog.KindAny:
		text := fmt.Sprint(v.Any())
		clean := redact(text)
		if _, isError := v.Any().(error); isError || clean != text {
			return slog.StringValue(clean)
		}
	}
	return v
}

// plainLog is where Go's own logger writes, which the standard library uses for
// what it has nobody to tell: the same lines as all others, without secrets.
type plainLog struct{ a *app }

func (p plainLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	if p.a.log == nil { // before the configuration is read
		_, err := fmt.Fprintln(p.a.err, "fanfold: "+p.a.secrets.redact(text))
		return len(line), err
	}
	p.a.log.Warn(text, "from", "a library")
	return len(line), nil
}
