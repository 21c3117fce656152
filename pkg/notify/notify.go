// Package notify tells others how a run has ended: a webhook, a channel of Slack, or a command.
//
// A notice that fails changes nothing for the run: whoever sends it says so and goes on.
package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fanfold/fanfold/pkg/shell"
)

// To is who is told.
type To struct {
	Kind  string // webhook, slack or exec
	Where string // an address, or a command for the shell
}

// Parse reads webhook=URL, slack=URL or exec=COMMAND. Errors begin with the text, without what may
// be secret in it.
func Parse(text string) (To, error) {
	kind, where, ok := strings.Cut(text, "=")
	t := To{kind, where}
	switch {
	case !ok || where == "" || strings.Trim(kind, "abcdefghijklmnopqrstuvwxyz") != "":
		return t, errors.New("say webhook=URL, slack=URL or exec=COMMAND") // an address alone may be a secret
	case kind == "exec":
		return t, nil
	case kind != "webhook" && kind != "slack":
		return t, fmt.Errorf("%q is nobody who can be told; there are webhook, slack and exec", kind)
	}
	u, err := url.Parse(where)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return t, fmt.Errorf("%s= needs an address that begins with http:// or https://", kind)
	}
	return t, nil
}

// Notice is what is told.
type Notice struct {
	Run      string          `json:"run,omitempty"`
	Status   string          `json:"status"` // complete, incomplete or failed
	ExitCode int             `json:"exit_code"`
	Headline string          `json:"headline"`
	Error    string          `json:"error,omitempty"`
	Summary  json.RawMessage `json:"summary,omitempty"`
}

// Limits of a notice.
const (
	patience = 15 * time.Second // of one attempt
	attempts = 3
)

// Send tells one of them. Answers of 429 and 5xx, and no answer, are tried again, after pauses
// for which wait is called.
func (t To) Send(ctx context.Context, client http.RoundTripper, n *Notice, wait func(time.Duration)) error {
	body, err := t.body(n)
	if err != nil {
		return err
	}
	for i := range attempts {
		if i > 0 {
			wait(time.Duration(i) * time.Second)
		}
		var again bool
		if again, err = t.once(ctx, client, n, body); err == nil || !again {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", t.Kind, err)
	}
	return nil
}

func (t To) body(n *Notice) ([]byte, error) {
	if t.Kind != "slack" {
		return json.Marshal(n)
	}
	text := fmt.Sprintf("fanfold run %s is %s (exit code %d): %s", n.Run, n.Status, n.ExitCode, n.Headline)
	if n.Run == "" {
		text = fmt.Sprintf("fanfold has %s (exit code %d)", n.Status, n.ExitCode)
	}
	if n.Error != "" {
		text += "\n" + n.Error
	}
	// https://api.slack.com/reference/surfaces/formatting#escaping
	text = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
	return json.Marshal(map[string]string{"text": text})
}

func (t To) once(ctx context.Context, client http.RoundTripper, n *Notice, body []byte) (again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if t.Kind == "exec" {
		return false, t.run(ctx, n, body)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.Where, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.RoundTrip(req)
	if err != nil {
		return true, unaddressed(err)
	}
	defer func() { _ = res.Body.Close() }() // it was read as far as anybody cares
	said, _ := io.ReadAll(io.LimitReader(res.Body, 200))
	if res.StatusCode >= 200 && res.StatusCode < 300 {
		return false, nil
	}
	again = res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= 500
	return again, fmt.Errorf("it answered with status %d: %s", res.StatusCode, strings.TrimSpace(string(said)))
}

// unaddressed is an error without the address, which may be a secret.
func unaddressed(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// run has a shell run the command, with the notice on its standard input.
func (t To) run(ctx context.Context, n *Notice, body []byte) error {
	c := shell.Command(ctx, t.Where, false)
	c.Stdin = bytes.NewReader(append(body, '\n'))
	c.Env = append(c.Environ(), "FANFOLD_RUN="+n.Run, "FANFOLD_STATUS="+n.Status,
		fmt.Sprintf("FANFOLD_EXIT_CODE=%d", n.ExitCode))
	var said beginning
	c.Stdout, c.Stderr = &said, &said
	err := shell.Run(c)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("the command took longer than %s", patience)
	case err != nil:
		if words := strings.TrimSpace(string(said)); words != "" {
			return fmt.Errorf("the command failed: %w: %s", err, words)
		}
		return fmt.Errorf("the command failed: %w", err)
	}
	return nil
}

// beginning keeps how a command's output begins: it may be endless.
type beginning []byte

func (b *beginning) Write(p []byte) (int, error) {
	*b = append(*b, p[:min(len(p), 200-len(*b))]...)
	return len(p), nil
}
