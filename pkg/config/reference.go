package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fanfold/fanfold/pkg/secret"
)

// fetch returns a value that is kept elsewhere, and makes it a secret. Files are looked
// for from dir on.
func (w *World) fetch(scheme, name, dir string) (v string, err error) {
	if name == "" {
		return "", fmt.Errorf("%s: has to be followed by what is meant", scheme)
	}
	switch scheme {
	case "env":
		var ok bool
		if v, ok = w.Env(name); !ok {
			return "", fmt.Errorf("the environment variable %s is not set", name)
		}
	case "file":
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		var data []byte
		if data, err = w.ReadFile(name); errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("there is no file %s", name)
		}
		v = strings.TrimRight(string(data), "\r\n")
	default:
		if w.Fetch == nil {
			return "", fmt.Errorf("%s: cannot be asked for here", scheme)
		}
		if v, err = w.Fetch(scheme, name); err == nil && v == "" {
			err = errors.New("it is empty")
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", scheme, err)
		}
	}
	if err == nil {
		w.hide(v)
	}
	return v, err
}

// value reads what --set gives: a reference or a literal.
func (w *World) value(s string) (string, error) {
	if scheme, name, ok := secret.Reference(s); ok {
		return w.fetch(scheme, name, "")
	}
	return s, nil
}

// fetchAll replaces the references among a destination's settings by what is kept there.
// In a rehearsal nobody is asked: what cannot be had at once is left out, and an example
// takes its place.
func (w *World) fetchAll(f *File, d *Destination, rehearse bool) (errs []error) {
	dir := ""
	if f.Path != "" && !f.Piped {
		dir = filepath.Dir(f.Path)
	}
	for _, key := range slices.Sorted(maps.Keys(d.Settings)) {
		v, err := w.fetched(d.Settings[key], dir, rehearse)
		if err == nil {
			d.Settings[key] = v
			continue
		}
		if rehearse {
			delete(d.Settings, key)
			continue
		}
		d.unsetSettings = append(d.unsetSettings, key) // what is wrong with it is said
		errs = append(errs, &Problem{f.Path, d.Lines[key], fmt.Errorf("%s: setting %s: %w", d.Name, key, err)})
	}
	return errs
}

var errNobodyAsked = errors.New("nobody is asked in a rehearsal")

// fetched is a value with its references replaced.
func (w *World) fetched(v any, dir string, rehearse bool) (any, error) {
	switch v := v.(type) {
	case string:
		scheme, name, ok := secret.Reference(v)
		switch {
		case !ok:
			return v, nil
		case rehearse && scheme != "env" && scheme != "file":
			return nil, errNobodyAsked
		}
		return w.fetch(scheme, name, dir)
	case []any:
		out := make([]any, len(v))
		for i, one := range v {
			var err error
			if out[i], err = w.fetched(one, dir, rehearse); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			var err error
			if out[key], err = w.fetched(v[key], dir, rehearse); err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
		}
		return out, nil
	}
	return v, nil
}
