// Package eval tries a mapping or a filter on a stream of JSON values.
package eval

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/filter"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// Func appends the result for one value, without the line's end.
type Func func(dst []byte, v event.Value) ([]byte, error)

// Filter says of a value whether a filter matches it.
func Filter(fql string) (Func, error) {
	f, err := filter.Compile(fql)
	if err != nil {
		return nil, err
	}
	return func(dst []byte, v event.Value) ([]byte, error) {
		return fmt.Append(dst, v.Kind() == event.Object && f.Match(v)), nil
	}, nil
}

// MappingOf is [Mapping] of an argument that is JSON, or the name of a file that holds it.
func MappingOf(arg string) (Func, error) {
	if s := strings.TrimSpace(arg); s == "" {
		return nil, errors.New("is empty; give JSON or the name of a file")
	} else if s[0] == '{' || s[0] == '[' || s[0] == '"' {
		return Mapping([]byte(arg))
	}
	src, err := os.ReadFile(arg)
	if err == nil {
		return Mapping(src)
	}
	if event.Valid([]byte(arg)) == nil {
		return Mapping([]byte(arg))
	}
	return nil, fmt.Errorf("neither JSON nor a file that can be read: %w", err)
}

// Mapping resolves a mapping on a value: "undefined" is that it makes nothing of it.
func Mapping(src []byte) (Func, error) {
	v, err := mapping.Parse(src)
	if err != nil {
		return nil, err
	}
	m, err := mapping.Compile(v)
	if err != nil {
		return nil, err
	}
	var r mapping.Resolver
	var compact bytes.Buffer
	return func(dst []byte, v event.Value) ([]byte, error) {
		out, defined, err := m.Append(&r, nil, v)
		if err != nil {
			return dst, err
		}
		if !defined {
			return append(dst, "undefined"...), nil
		}
		// A value that was copied from an event of several lines has line
		// ends in it; a result is one line.
		compact.Reset()
		if err := json.Compact(&compact, out); err != nil {
			return dst, err
		}
		return append(dst, compact.Bytes()...), nil
	}, nil
}

// MaxValue bounds, in bytes, one value of the input.
const MaxValue = 16 << 20

// Each reads JSON values one after another, whatever white space stands between them,
// and writes a line for each. Its errors say which value they are about.
func Each(in io.Reader, out io.Writer, run Func) (err error) {
	w := bufio.NewWriter(out)
	defer func() {
		// What has been evaluated is printed even when the next value fails.
		if e := w.Flush(); err == nil {
			err = e
		}
	}()
	b := &bounded{r: in}
	dec := json.NewDecoder(b)
	var line []byte
	var p event.Parser
	for n := 1; ; n++ {
		b.left = dec.InputOffset() + MaxValue - b.read
		var raw json.RawMessage
		err := dec.Decode(&raw)
		if err == io.EOF {
			return nil
		}
		if err == nil {
			line, err = one(&p, run, line[:0], raw)
		}
		if err != nil {
			return &InputError{n, err}
		}
		if _, err := w.Write(append(line, '\n')); err != nil {
			return err
		}
	}
}

func one(p *event.Parser, run Func, dst, raw []byte) ([]byte, error) {
	p.Reset()
	v, err := p.ParseValue(raw)
	if err != nil {
		return dst, err
	}
	return run(dst, v)
}

// InputError says which value of the input is wrong, or what could not be made of it.
type InputError struct {
	Value int // from 1
	Err   error
}

func (e *InputError) Error() string { return fmt.Sprintf("value %d of the input: %v", e.Value, e.Err) }
func (e *InputError) Unwrap() error { return e.Err }

// bounded stops a reader once a single value has taken too much of it.
type bounded struct {
	r          io.Reader
	read, left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("it is longer than %d bytes", MaxValue)
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.read += int64(n)
	b.left -= int64(n)
	return n, err
}
