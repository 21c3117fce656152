package source

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"

	"github.com/fanfold/fanfold/pkg/event"
)

// An unwrapper finds the records inside a record, by a path. It leads through members of objects, all elements of
// arrays, all members of an object where it has *, and through texts that contain JSON: plain, in base64, or in
// base64 of gzip, as queues, logs and cloud functions carry it.
type unwrapper struct {
	steps []string
	max   int // bytes to which the texts of a record may unpack

	holder event.Value  // the last object on the path
	parser event.Parser // for texts
	texts  int          // open texts, one inside the other
	left   int          // bytes that may still be unpacked of the record
}

// mostSteps bounds the length of a path, and so the depth of texts inside texts.
const mostSteps = 16

func newUnwrapper(path string, most int) (*unwrapper, error) {
	if path == "" {
		return nil, nil
	}
	steps := event.CompilePath(path).Steps()
	if len(steps) == 0 || len(steps) > mostSteps || slices.Contains(steps, "") {
		return nil, inputf("--unwrap has to be the path of a member, like detail or Records.body, not %q", path)
	}
	if most <= 0 {
		most = DefaultMaxRecord
	}
	return &unwrapper{steps: steps, max: most}, nil
}

func (u *unwrapper) clone() *unwrapper {
	if u == nil {
		return nil
	}
	return &unwrapper{steps: u.steps, max: u.max}
}

// path is the path as the user writes it.
func (u *unwrapper) path() string { return strings.Join(u.steps, ".") }

// each yields what the path leads to: objects, or an error. What it yields is valid until the next call.
func (u *unwrapper) each(v event.Value, yield func(event.Value, error)) {
	u.parser.Reset()
	u.left, u.holder = u.max, event.Value{}
	u.walk(v, u.steps, func(v event.Value, err error) {
		if err != nil {
			err = fmt.Errorf("unwrapping %s: %w", u.path(), err)
		}
		yield(v, err)
	})
}

func (u *unwrapper) walk(v event.Value, steps []string, yield func(event.Value, error)) {
	switch v.Kind() {
	case event.String:
		inner, err := u.text(v)
		if u.texts == mostSteps {
			err = errors.New("there are texts in texts without end")
		}
		if err != nil {
			yield(v, err)
			return
		}
		u.texts++
		u.walk(inner, steps, yield)
		u.texts--
	case event.Array:
		if v.Len() == 0 {
			yield(v, errors.New("an array has nothing in it"))
		}
		for el := range v.Elements() {
			if len(steps) == 0 && el.Kind() == event.Array {
				yield(el, errors.New("an event is no array"))
				continue
			}
			if len(steps) == 0 && el.Kind() == event.Object {
				u.lent(el, yield)
				continue
			}
			u.walk(el, steps, yield)
		}
	case event.Object:
		switch {
		case len(steps) == 0:
			yield(v, nil)
		case steps[0] == "*":
			for _, member := range v.Members() {
				u.walk(member, steps[1:], yield)
			}
		default:
			u.holder = v
			u.walk(v.Get(steps[0]), steps[1:], yield)
		}
	case event.Missing:
		yield(v, errors.New("it is not there"))
	default:
		yield(v, fmt.Errorf("it is %s", v.Raw()[:min(len(v.Raw()), 40)]))
	}
}

// lent yields an element of the list at the end of the path, together with what the object around the list says
// about all its elements.
func (u *unwrapper) lent(el event.Value, yield func(event.Value, error)) {
	raw, changed := inherit(u.holder, el)
	if !changed {
		yield(el, nil)
		return
	}
	yield(u.parser.ParseValue(raw))
}

// text parses the JSON in a text.
func (u *unwrapper) text(v event.Value) (event.Value, error) {
	b := bytes.TrimSpace(v.AppendString(nil))
	if len(b) > 0 && b[0] != '{' && b[0] != '[' && b[0] != '"' {
		plain, err := u.packed(b)
		if err != nil {
			return v, err
		}
		if plain != nil {
			b = plain
		}
	}
	inner, err := u.parser.ParseValue(b)
	if err != nil {
		return v, errors.New("the text is no JSON")
	}
	if k := inner.Kind(); k != event.Object && k != event.Array && k != event.String {
		return v, errors.New("the text is no JSON object")
	}
	if inner.Kind() == event.String { // a JSON text that contains JSON
		inner, err = u.parser.ParseValue(inner.AppendString(nil))
		if err != nil || inner.Kind() == event.String {
			return v, errors.New("the text is no JSON object")
		}
	}
	return inner, nil
}

// packed decodes base64, and decompresses gzip in it; nil: it is not base64.
func (u *unwrapper) packed(b []byte) ([]byte, error) {
	plain := make([]byte, base64.StdEncoding.DecodedLen(len(b)))
	n, err := base64.StdEncoding.Decode(plain, b)
	if err != nil {
		return nil, nil
	}
	plain = plain[:n]
	if !bytes.HasPrefix(plain, []byte("\x1f\x8b")) {
		return plain, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(plain))
	if err != nil {
		return nil, fmt.Errorf("the gzip in the text cannot be read: %w", err)
	}
	out, err := io.ReadAll(io.LimitReader(z, int64(u.left)+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("the gzip in the text cannot be read: %w", err)
	case len(out) > u.left:
		return nil, fmt.Errorf("what is packed in the record has more than %d bytes", u.max)
	}
	u.left -= len(out)
	return out, nil
}
