package transform

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/fanfold/fanfold/pkg/document"
	"github.com/fanfold/fanfold/pkg/event"
	"github.com/fanfold/fanfold/pkg/mapping"
)

// kinds are the steps there are, in the order of the documentation.
var kinds = []string{"drop", "keep", "set", "remove", "rename", "mask", "sample", "shift", "dedupe"}

// Kinds are the steps there are, in the order of the documentation.
func Kinds() []string { return slices.Clone(kinds) }

// maxSteps bounds a pipeline.
const maxSteps = 1000

// Parse reads the steps of a `transform:` list. The error names everything
// that is wrong ([Errors] takes it apart); the steps beside it are those that
// could be read, so that compiling them finds the rest. References are not followed:
// see [document.JSON].
func Parse(node *yaml.Node) ([]Step, error) {
	if node == nil || node.Kind == 0 || node.Tag == "!!null" {
		return nil, nil
	}
	if node.Kind == yaml.DocumentNode && len(node.Content) == 1 {
		return Parse(node.Content[0])
	}
	if node.Kind != yaml.SequenceNode {
		return nil, at(node, "should be a list of steps, each beginning with a dash")
	}
	if len(node.Content) > maxSteps {
		return nil, at(node, "has %d steps; at most %d are taken", len(node.Content), maxSteps)
	}
	var steps []Step
	var errs []error
	for _, n := range node.Content {
		s, err := parseStep(n)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		steps = append(steps, s)
	}
	return steps, errors.Join(errs...)
}

// Error is one thing that is wrong with the steps. Several are joined.
type Error struct {
	Line int    // in the file that was parsed; 0: none
	Step string // its kind, where that is known
	Err  error
}

func (e *Error) Error() string {
	msg := "transform: " + e.Err.Error()
	if e.Step != "" {
		msg = "transform: " + e.Step + ": " + e.Err.Error()
	}
	if e.Line > 0 {
		return "line " + strconv.Itoa(e.Line) + ": " + msg
	}
	return msg
}

func (e *Error) Unwrap() error { return e.Err }

// Errors takes what Parse and Compile return apart, in the order of the lines.
func Errors(errs ...error) []*Error {
	var out []*Error
	for _, err := range errs {
		var one *Error
		if many, ok := err.(interface{ Unwrap() []error }); ok {
			out = append(out, Errors(many.Unwrap()...)...)
		} else if errors.As(err, &one) {
			out = append(out, one)
		}
	}
	slices.SortStableFunc(out, func(a, b *Error) int { return a.Line - b.Line })
	return out
}

func at(n *yaml.Node, format string, args ...any) error {
	return &Error{Line: n.Line, Err: fmt.Errorf(format, args...)}
}

func parseStep(n *yaml.Node) (Step, error) {
	if n.Kind != yaml.MappingNode {
		return Step{}, at(n, "a step should be one of %s with a colon after it", strings.Join(kinds, ", "))
	}
	s := Step{Line: n.Line}
	var arg, when *yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		switch {
		case key.Value == "when":
			when = val
		case !slices.Contains(kinds, key.Value):
			return Step{}, at(key, "there is no step %q; there are %s", key.Value, strings.Join(kinds, ", "))
		case s.Kind != "":
			return Step{}, at(key,
				"a step does one thing, but this one has %s and %s; begin another with a dash", s.Kind, key.Value)
		default:
			s.Kind, s.Line, arg = key.Value, key.Line, val
		}
	}
	if s.Kind == "" {
		return Step{}, at(n, "a step should be one of %s", strings.Join(kinds, ", "))
	}
	if when != nil {
		if when.Kind != yaml.ScalarNode || when.Value == "" {
			return Step{}, at(when, "%s: when should be a filter", s.Kind)
		}
		s.when = when.Value
	}
	written, err := s.parse(arg)
	if err != nil {
		return Step{}, &Error{s.Line, s.Kind, err}
	}
	s.written = writtenJSON([]any{s.Kind, s.when, written})
	return s, nil
}

// parse reads a step's argument and returns what of it enters the identity.
func (s *Step) parse(n *yaml.Node) (written any, err error) {
	switch s.Kind {
	case "drop", "keep":
		if n.Kind != yaml.ScalarNode || strings.TrimSpace(n.Value) == "" {
			return nil, errors.New(`should be a filter, such as 'type = "page"'`)
		}
		s.fql = n.Value
		return s.fql, nil
	case "remove":
		s.paths, err = paths(n)
		return s.paths, err
	case "rename":
		return s.parseRename(n)
	case "set":
		return s.parseSet(n)
	case "mask":
		return s.parseMask(n)
	case "sample":
		return s.parseSample(n)
	case "shift":
		return s.parseShift(n)
	case "dedupe":
		return s.parseDedupe(n)
	}
	return nil, errNobody
}

func isText(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag != "!!null" }

func path(s string) ([]string, error) {
	steps := event.CompilePath(s).Steps()
	if len(steps) == 0 {
		return nil, fmt.Errorf("%q is no path to a member of the event", s)
	}
	return steps, nil
}

func paths(n *yaml.Node) ([][]string, error) {
	nodes := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		nodes = n.Content
	}
	var out [][]string
	for _, c := range nodes {
		if !isText(c) {
			return nil, errors.New("should be a list of paths, such as [properties.password]")
		}
		p, err := path(c.Value)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	if len(out) == 0 {
		return nil, errors.New("names no path")
	}
	return out, nil
}

func pairs(n *yaml.Node, what string) (keys, vals []*yaml.Node, err error) {
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		return nil, nil, fmt.Errorf("should be %s", what)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		keys, vals = append(keys, n.Content[i]), append(vals, n.Content[i+1])
	}
	return keys, vals, nil
}

func (s *Step) parseRename(n *yaml.Node) (any, error) {
	keys, vals, err := pairs(n, "pairs of an old and a new path, such as {properties.a: properties.b}")
	if err != nil {
		return nil, err
	}
	for i, k := range keys {
		if !isText(vals[i]) {
			return nil, fmt.Errorf("the new path of %q should be text", k.Value)
		}
		from, err := path(k.Value)
		if err != nil {
			return nil, err
		}
		to, err := path(vals[i].Value)
		if err != nil {
			return nil, err
		}
		if slices.Contains(from, "*") || slices.Contains(to, "*") {
			return nil, fmt.Errorf("%q: * has no meaning in a rename", k.Value)
		}
		s.moves = append(s.moves, [2][]string{from, to})
	}
	return s.moves, nil
}

func (s *Step) parseSet(n *yaml.Node) (any, error) {
	keys, vals, err := pairs(n, "pairs of a path and a value, such as {context.traits.source: backfill}")
	if err != nil {
		return nil, err
	}
	var written []any
	for i, k := range keys {
		p, err := path(k.Value)
		if err != nil {
			return nil, err
		}
		b, err := document.JSON(vals[i])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k.Value, err)
		}
		m := mapping.Literal(json.RawMessage(b))
		if _, err := mapping.Compile(mapping.Object(mapping.M(k.Value, m))); err != nil {
			return nil, err
		}
		s.sets = append(s.sets, assignment{p, m})
		written = append(written, p, json.RawMessage(b))
	}
	return written, nil
}

// options reads an argument object whose keys are all known.
func options(n *yaml.Node, known ...string) (map[string]*yaml.Node, error) {
	out := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i].Value
		if !slices.Contains(known, k) {
			return nil, fmt.Errorf("does not know %q; it has %s", k, strings.Join(known, ", "))
		}
		out[k] = n.Content[i+1]
	}
	return out, nil
}

func (s *Step) parseMask(n *yaml.Node) (any, error) {
	if n.Kind != yaml.MappingNode {
		return nil, errors.New(`should be an object, such as {paths: [traits.email], key: "${MASK_KEY}"}`)
	}
	o, err := options(n, "paths", "as", "key", "text")
	if err != nil {
		return nil, err
	}
	if o["paths"] == nil {
		return nil, errors.New("needs paths: what is to be masked")
	}
	if s.paths, err = paths(o["paths"]); err != nil {
		return nil, err
	}
	value := func(key string) string {
		if o[key] == nil {
			return ""
		}
		return o[key].Value
	}
	s.mask = masking{value("as"), value("key"), value("text")}
	if s.mask.as == "" {
		s.mask.as = "hash"
		if o["text"] != nil {
			s.mask.as = "text"
		}
	}
	switch s.mask.as {
	case "hash", "token":
		if s.mask.key == "" {
			return nil, errors.New(`needs a key; without one a hash of an address can be found by trying. ` +
				`Keep it in the environment: key: "${MASK_KEY}"`)
		}
	case "text":
		if o["text"] == nil {
			return nil, errors.New("as text needs text: what to write instead")
		}
	default:
		return nil, fmt.Errorf("as should be hash, token or text but it is %q", s.mask.as)
	}
	return []any{s.paths, s.mask.as, s.mask.text}, nil // not the key: it is a secret
}

func (s *Step) parseSample(n *yaml.Node) (any, error) {
	rate := n
	if n.Kind == yaml.MappingNode {
		o, err := options(n, "rate", "by", "seed")
		if err != nil {
			return nil, err
		}
		if rate = o["rate"]; rate == nil {
			return nil, errors.New("needs a rate, such as 10%")
		}
		if err := s.readBy(o["by"]); err != nil {
			return nil, err
		}
		if o["seed"] != nil {
			s.sample.seed = o["seed"].Value
		}
	}
	text, percent := strings.CutSuffix(strings.TrimSpace(rate.Value), "%")
	f, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if percent {
		f /= 100
	}
	if rate.Kind != yaml.ScalarNode || err != nil || !(f >= 0 && f <= 1) {
		return nil, fmt.Errorf("the rate should be a share between 0 and 1, or between 0%% and 100%%, but it is "+
			"%q", rate.Value)
	}
	s.sample.rate = f
	return []any{f, s.by, s.sample.seed}, nil
}

func (s *Step) parseShift(n *yaml.Node) (any, error) {
	by := n
	s.paths = [][]string{{"timestamp"}, {"originalTimestamp"}, {"sentAt"}, {"receivedAt"}}
	if n.Kind == yaml.MappingNode {
		o, err := options(n, "by", "fields")
		if err != nil {
			return nil, err
		}
		if by = o["by"]; by == nil {
			return nil, errors.New("needs by: how far to move, such as 24h or -7d")
		}
		if o["fields"] != nil {
			if s.paths, err = paths(o["fields"]); err != nil {
				return nil, fmt.Errorf("fields: %w", err)
			}
		}
	}
	d, err := duration(by.Value)
	if by.Kind != yaml.ScalarNode || err != nil {
		return nil, fmt.Errorf("%q is no length of time such as 90m, 24h, -7d or 2w", by.Value)
	}
	s.shift.by = d
	return []any{d.String(), s.paths}, nil
}

// duration is time.ParseDuration with days and weeks.
func duration(s string) (time.Duration, error) {
	s = strings.TrimSpace(s)
	for suffix, unit := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if n, ok := strings.CutSuffix(s, suffix); ok {
			f, err := strconv.ParseFloat(n, 64)
			if err != nil || math.Abs(f)*float64(unit) > math.MaxInt64/2 || math.IsNaN(f) {
				return 0, fmt.Errorf("%q is no duration", s)
			}
			return time.Duration(f * float64(unit)), nil
		}
	}
	return time.ParseDuration(s)
}

// readBy reads the path of what events are told apart by; nil: there is none.
func (s *Step) readBy(n *yaml.Node) error {
	if n == nil {
		return nil
	}
	if s.by = n.Value; len(event.CompilePath(s.by).Steps()) == 0 {
		return fmt.Errorf("by: %q is no path", s.by)
	}
	return nil
}

func (s *Step) parseDedupe(n *yaml.Node) (any, error) {
	s.by = "messageId"
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!bool" && n.Value == "true":
	case n.Kind == yaml.MappingNode:
		o, err := options(n, "by")
		if err != nil {
			return nil, err
		}
		if err := s.readBy(o["by"]); err != nil {
			return nil, err
		}
	default:
		return nil, errors.New("should be true, or {by: path}")
	}
	return s.by, nil
}
