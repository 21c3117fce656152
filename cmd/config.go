package cmd

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/fanfold/fanfold/pkg/config"
)

// world is what configurations may ask for.
func (a *app) world() *config.World {
	return &config.World{
		Catalogue: a.catalogue(), Profile: a.profile, Env: a.lookup, Fetch: a.fetchSecret, Secret: a.secrets.add,
		ReadFile: func(path string) ([]byte, error) { return readBounded(path, nil, maxSecret) },
	}
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
		if err := a.readDotenv(path); err != nil {
			return nil, err
		}
	}
	f, err := a.world().Parse(path, data)
	f.Piped = !isRegular(path)
	if err != nil {
		return f, &usageError{err}
	}
	return f, nil
}

// readBounded reads a file, or standard input (-), but not more than most bytes of it.
func readBounded(path string, in io.Reader, most int64) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(io.LimitReader(in, most))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, most))
	return data, errors.Join(err, f.Close())
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
