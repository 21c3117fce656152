package cmd

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/filter"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// newEvalCommand is `fanfold eval`: a mapping or a filter tried on JSON from
// standard input, one result a line.
func newEvalCommand() *cobra.Command {
	var mappingArg, filterArg string
	c := &cobra.Command{
		Use:   "eval (--mapping FILE|JSON | --filter FQL)",
		Short: "Try a mapping or a filter on events from standard input",
		Long: `eval reads JSON objects from standard input, one after another, and prints
one result a line: what the mapping makes of the object ("undefined" when it
makes nothing of it), or whether the filter matches (true or false).

A mapping is given as JSON or as the name of a file that holds it. Any JSON
object is taken as the event; it need not look like one of Segment's.

See also: fanfold help mapping, fanfold help filters.`,
		Example: `  echo '{"userId":"u1"}' | fanfold eval --mapping '{"id": {"@path": "$.userId"}}'
  zstdcat events.jsonl.zst | fanfold eval --filter 'type = "track" and properties.total > 100'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			run, err := evaluator(c.Flags().Changed("mapping"), mappingArg, c.Flags().Changed("filter"), filterArg)
			if err != nil {
				return err
			}
			return evaluate(c.InOrStdin(), c.OutOrStdout(), run)
		},
	}
	c.Flags().StringVar(&mappingArg, "mapping", "", "mapping to resolve: JSON, or a file that holds it")
	c.Flags().StringVar(&filterArg, "filter", "", "filter to match, in FQL")
	return c
}

// evalFunc appends the result for one value, without the line's end.
type evalFunc func(dst []byte, v event.Value) ([]byte, error)

func evaluator(hasMapping bool, mappingArg string, hasFilter bool, filterArg string) (evalFunc, error) {
	switch {
	case hasMapping == hasFilter:
		return nil, usagef("eval: give either --mapping or --filter")
	case hasFilter:
		f, err := filter.Compile(filterArg)
		if err != nil {
			return nil, usagef("--filter: %w", err)
		}
		return func(dst []byte, v event.Value) ([]byte, error) {
			return fmt.Append(dst, v.Kind() == event.Object && f.Match(v)), nil
		}, nil
	}
	src, err := mappingSource(mappingArg)
	if err != nil {
		return nil, usagef("--mapping: %w", err)
	}
	v, err := mapping.Parse(src)
	if err != nil {
		return nil, usagef("--mapping: %w", err)
	}
	m, err := mapping.Compile(v)
	if err != nil {
		return nil, usagef("--mapping: %w", err)
	}
	var r mapping.Resolver
	var one bytes.Buffer
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
		one.Reset()
		if err := json.Compact(&one, out); err != nil {
			return dst, err
		}
		return append(dst, one.Bytes()...), nil
	}, nil
}

// mappingSource takes an argument for a file's name when there is such a file,
// and for JSON otherwise.
func mappingSource(arg string) ([]byte, error) {
	if s := strings.TrimSpace(arg); s == "" {
		return nil, errors.New("is empty; give JSON or the name of a file")
	} else if s[0] == '{' || s[0] == '[' || s[0] == '"' {
		return []byte(arg), nil
	}
	src, err := os.ReadFile(arg)
	if err == nil {
		return src, nil
	}
	if event.Valid([]byte(arg)) == nil {
		return []byte(arg), nil
	}
	return nil, fmt.Errorf("neither JSON nor a file that can be read: %w", err)
}

// maxEvalInput bounds one value of the input.
const maxEvalInput = 16 << 20

// evaluate reads JSON values one after another, whatever stands between them
// for white space, and writes a line for each.
func evaluate(in io.Reader, out io.Writer, run evalFunc) (err error) {
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
		b.left = dec.InputOffset() + maxEvalInput - b.read
		var raw json.RawMessage
		if err := dec.Decode(&raw); err == io.EOF {
			return nil
		} else if err != nil {
			return usagef("eval: value %d of the input: %w", n, err)
		}
		p.Reset()
		v, err := p.ParseValue(raw)
		if err != nil {
			return usagef("eval: value %d of the input: %w", n, err)
		}
		if line, err = run(line[:0], v); err != nil {
			return usagef("eval: value %d of the input: %w", n, err)
		}
		if _, err := w.Write(append(line, '\n')); err != nil {
			return err
		}
	}
}

// bounded stops a reader once a single value has taken too much of it.
type bounded struct {
	r          io.Reader
	read, left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("it is longer than %d bytes", maxEvalInput)
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.read += int64(n)
	b.left -= int64(n)
	return n, err
}
