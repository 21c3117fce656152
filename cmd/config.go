package cmd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/reference"
	"github.com/fanfold/fanfold/pkg/suppress"
)

// world is what configurations may ask for.
func (a *app) world() *config.World {
	fetcher := &reference.Fetcher{Now: a.now, Err: a.err, Until: a.opening}
	if a.inIsTerminal() {
		fetcher.Terminal = a.in
	}
	return &config.World{
		Catalogue: a.catalogue, Profile: a.profile, Env: a.lookup, Fetch: fetcher.Fetch, Secret: a.secrets.add,
		ReadFile: func(path string) ([]byte, error) { return reference.ReadWhole(path, reference.MaxBytes) },
	}
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

// loadConfig reads the configuration file, if there is one, and reports all of its
// problems at once; the file beside them is what could be read.
func (a *app) loadConfig() (*config.File, error) {
	path := a.findConfig()
	if path == "" {
		return &config.File{}, nil
	}
	data, err := a.configBytes(path)
	if err != nil {
		return nil, err
	}
	if isRegular(path) {
		if a.dotenv, err = reference.Dotenv(path); err != nil {
			return nil, &usageError{err}
		}
		if v, ok := a.dotenv["FANFOLD_PROFILE"]; ok && !a.hasProfile {
			a.profile, a.hasProfile = v, true
		}
	}
	f, err := a.world().Parse(path, data)
	f.Piped = !isRegular(path)
	if err != nil {
		return f, &usageError{err}
	}
	return f, nil
}

// choose returns the destinations that a command asks for.
func (a *app) choose(f *config.File, c config.Choice) ([]*config.Destination, error) {
	dests, err := a.world().Choose(f, c)
	if err != nil {
		return dests, &usageError{err}
	}
	return dests, nil
}

// open validates destinations and makes them ready; all problems at once.
func (a *app) open(f *config.File, dests []*config.Destination, how config.OpenOptions) ([]*config.Opened, error) {
	opened, err := a.world().Open(f, dests, how)
	for _, note := range f.Warnings(dests) {
		fmt.Fprintln(a.err, note)
	}
	if err != nil {
		return nil, &usageError{err}
	}
	return opened, nil
}

// suppression reads the lists of those who must not be sent anything. Without one of them
// nothing may be sent.
func (a *app) suppression(f *config.File) (_ *suppress.Set, err error) {
	lists := map[string]io.Reader{}
	for _, path := range f.Suppress {
		list, wrong := os.Open(path)
		if wrong != nil {
			return nil, &usageError{&config.Problem{File: f.Path, Line: f.SuppressLine,
				Err: fmt.Errorf("suppress: %w: nothing is sent without this list", wrong)}}
		}
		defer func() { err = errors.Join(err, list.Close()) }()
		lists[path] = list
	}
	set, err := suppress.Read(lists)
	if err != nil {
		return nil, &usageError{&config.Problem{File: f.Path, Line: f.SuppressLine, Err: err}}
	}
	if len(lists) > 0 && set.Len() == 0 {
		a.sayf("warning: suppress: there is no id in %s: nobody is kept back", strings.Join(f.Suppress, ", "))
	}
	return set, nil
}
