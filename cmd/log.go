package cmd

import (
	"fmt"
	"strings"
)

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
