// Package reference fetches the values of settings that are kept elsewhere: those that a
// command prints, those in AWS, and those in the .env beside a configuration.
package reference

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/joho/godotenv"

	"github.com/fanfold/fanfold/pkg/awssecret"
	"github.com/fanfold/fanfold/pkg/shell"
	"github.com/fanfold/fanfold/pkg/transport"
)

// MaxBytes bounds a value, and a .env as a whole.
const MaxBytes = 1 << 20

// fetchTime is how long whoever keeps a value has to give it.
const fetchTime = time.Minute

// Fetcher fetches values.
type Fetcher struct {
	Now func() time.Time
	// Terminal is where a command may ask a person; nil: there is none. It gets nothing
	// of what is read as events.
	Terminal io.Reader
	Err      io.Writer // where a command's errors go
	// Until is how long somebody waits for a value; the cause of its end is part of the error.
	// nil: only a minute's time ends it.
	Until context.Context
}

// Fetch asks for a value by the scheme of a reference and what stands behind it.
func (f *Fetcher) Fetch(scheme, name string) (string, error) {
	ctx := f.Until
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	aws := awssecret.Client{HTTP: transport.Dial(1, nil), Now: f.Now}
	switch scheme {
	case "exec":
		return f.outputOf(ctx, name)
	case "aws-secretsmanager":
		return aws.Secret(ctx, name)
	case "aws-ssm":
		return aws.Parameter(ctx, name)
	}
	return "", errors.New("nobody knows how to ask for it")
}

// outputOf is what a command prints.
func (f *Fetcher) outputOf(ctx context.Context, command string) (string, error) {
	c := shell.Command(ctx, command, f.Terminal != nil)
	var out bytes.Buffer
	most := &atMost{b: &out, most: MaxBytes}
	c.Stdin, c.Stdout, c.Stderr = f.Terminal, most, f.Err
	err := shell.Run(c)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return "", context.Cause(ctx)
	case most.over:
		return "", fmt.Errorf("the command prints more than %d KiB, the most that a value can have", MaxBytes>>10)
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
	over bool // it was more
}

func (w *atMost) Write(p []byte) (int, error) {
	if w.b.Len()+len(p) > w.most {
		w.over = true
		return 0, errors.New("it prints more than a secret can have")
	}
	return w.b.Write(p)
}

// Dotenv reads the .env beside a configuration file; nil: there is none.
func Dotenv(config string) (map[string]string, error) {
	path := filepath.Join(filepath.Dir(config), ".env")
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		if errors.Is(err, fs.ErrNotExist) || err == nil {
			return nil, nil
		}
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	data, err := ReadFile(path, MaxBytes+1)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("%s is larger than %d KiB", path, MaxBytes>>10)
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	for n, line := range bytes.SplitAfter(data, []byte("\n")) {
		if !utf8.Valid(line) {
			return nil, fmt.Errorf("%s: line %d is not UTF-8", path, n+1)
		}
	}
	values, err := godotenv.UnmarshalBytes(data)
	if err != nil {
		return nil, fmt.Errorf("%s: its lines have to be NAME=VALUE: line %d is not", path, wrongLine(data))
	}
	return values, keepDollars(values, data)
}

// dollar stands for a $ that the parser must not see, and dollarRef for one that names another line.
const dollar = "\ue000"

var dollarRef = regexp.MustCompile(dollar + `(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Z_][A-Z0-9_]*))`)

// keepDollars gives values back the parts that begin with a $ and name no line of the file: the parser takes them for
// variables without a value, and a password with a $ in it would be cut short.
func keepDollars(values map[string]string, data []byte) error {
	if bytes.Contains(data, []byte(dollar)) {
		return nil
	}
	raw, err := godotenv.UnmarshalBytes(bytes.ReplaceAll(data, []byte("$"), []byte(dollar)))
	if err != nil {
		return err
	}
	for name, text := range raw {
		if values[name] == strings.ReplaceAll(text, dollar, "$") { // nothing was taken out, or it is between single quotes
			continue
		}
		values[name] = strings.ReplaceAll(dollarRef.ReplaceAllStringFunc(text, func(ref string) string {
			m := dollarRef.FindStringSubmatch(ref)
			if v, ok := values[m[1]+m[2]]; ok {
				return v
			}
			return ref
		}), dollar, "$")
	}
	return nil
}

// ReadFile reads a file, but not more than most bytes of it.
func ReadFile(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, most))
	return data, errors.Join(err, f.Close())
}

// ReadWhole reads a file that has not more than most bytes.
func ReadWhole(path string, most int64) ([]byte, error) {
	data, err := ReadFile(path, most+1)
	if err == nil && int64(len(data)) > most {
		return nil, fmt.Errorf("%s is larger than %d KiB", path, most>>10)
	}
	return data, err
}

// ReadInput reads a file, or for - what comes in, but not more than most bytes of it.
func ReadInput(path string, in io.Reader, most int64) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(io.LimitReader(in, most))
	}
	return ReadFile(path, most)
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
