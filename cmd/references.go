package cmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/joho/godotenv"

	"github.com/fanfold/fanfold/pkg/awssecret"
	"github.com/fanfold/fanfold/pkg/transport"
)

// How long whoever keeps a secret has to give it, and how long a secret may be.
const (
	fetchTime = time.Minute
	maxSecret = 1 << 20
)

// fetchSecret asks for a value that is kept elsewhere.
func (a *app) fetchSecret(scheme, name string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTime)
	defer cancel()
	aws := awssecret.Client{HTTP: transport.Dial(1, nil), Now: a.now}
	switch scheme {
	case "exec":
		return a.outputOf(ctx, name)
	case "aws-secretsmanager":
		return aws.Secret(ctx, name)
	case "aws-ssm":
		return aws.Parameter(ctx, name)
	}
	return "", errors.New("nobody knows how to ask for it")
}

// outputOf is what a command prints. It may talk to a person at a terminal, but gets
// nothing of what is read as events.
func (a *app) outputOf(ctx context.Context, command string) (string, error) {
	shell := []string{"/bin/sh", "-c"}
	if runtime.GOOS == "windows" {
		shell = []string{"cmd", "/C"}
	}
	c := exec.CommandContext(ctx, shell[0], shell[1], command)
	c.WaitDelay = time.Second // what it has started may hold its output open
	var out bytes.Buffer
	c.Stdout, c.Stderr = &atMost{&out, maxSecret}, a.err
	if a.inIsTerminal() {
		c.Stdin = a.in
	}
	err := c.Run()
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("the command took longer than %s", fetchTime)
	case err != nil:
		return "", fmt.Errorf("the command failed: %w", err)
	}
	return strings.TrimRight(out.String(), "\r\n"), nil
}

// atMost refuses more than so many bytes.
type atMost struct {
	b    *bytes.Buffer
	most int
}

func (w *atMost) Write(p []byte) (int, error) {
	if w.b.Len()+len(p) > w.most {
		return 0, errors.New("it prints more than a secret can have")
	}
	return w.b.Write(p)
}

// lookup is an environment variable, or, where there is none, what the .env beside the
// configuration says.
func (a *app) lookup(name string) (string, bool) {
	if v, ok := a.env(name); ok {
		return v, true
	}
	v, ok := a.dotenv[name]
	return v, ok
}

// readDotenv reads the .env beside a configuration file, if there is one.
func (a *app) readDotenv(config string) error {
	a.dotenv = nil
	path := filepath.Join(filepath.Dir(config), ".env")
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		if errors.Is(err, fs.ErrNotExist) || err == nil {
			return nil
		}
		return usagef("reading %s: %w", path, err)
	}
	data, err := readBounded(path, nil, maxSecret+1)
	if err != nil {
		return usagef("reading %s: %w", path, err)
	}
	if len(data) > maxSecret {
		return usagef("%s is larger than %d KiB", path, maxSecret>>10)
	}
	if a.dotenv, err = godotenv.UnmarshalBytes(data); err != nil {
		return usagef("%s: its lines have to be NAME=VALUE: line %d is not", path, wrongLine(data))
	}
	return nil
}

// wrongLine is the first line with which the beginning of a .env cannot be read. The
// parser's words may hold a secret.
func wrongLine(data []byte) int {
	lines := bytes.SplitAfter(data, []byte("\n"))
	for n := range lines {
		if _, err := godotenv.UnmarshalBytes(bytes.Join(lines[:n+1], nil)); err != nil {
			return n + 1
		}
	}
	return len(lines)
}
