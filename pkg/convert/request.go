package convert

import (
	"fmt"
	"os"
	"strings"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/foreign"
)

// Request describes a conversion of files into one cassette.
type Request struct {
	Args      []string // FILE..., or FORMAT FILE...
	HAR, V4   bool     // the format, given by a flag
	Base      string   // the service's address, for files that hold paths only
	Bodies    string   // the folder of the bodies that files name; "": files may name none
	Variables []string // NAME=VALUE
	// Left is called for each part of a file that gave no interaction.
	Left func(path, what string)
}

// Do reads the files into a cassette. Nothing is redacted yet. Every error is a mistake
// in the request or in the files.
func (q *Request) Do(k *cassette.Cassette) error {
	format, files, err := q.format()
	if err != nil {
		return err
	}
	r := reader{Format: format, Left: q.Left}
	if r.Options, err = q.options(); err != nil {
		return err
	}
	for _, path := range files {
		if err := r.add(k, path); err != nil {
			return err
		}
	}
	if len(k.Interactions) == 0 {
		return fmt.Errorf("%s holds no conversation", strings.Join(q.Args, ", "))
	}
	return nil
}

// format separates the format that the user asked for, "" for none, from the files.
func (q *Request) format() (format string, files []string, err error) {
	args := q.Args
	switch {
	case q.HAR && q.V4:
		return "", nil, fmt.Errorf("say what the file is: --har or --go-vcr-v4")
	case q.HAR:
		format = "har"
	case q.V4:
		format = "go-vcr-v4"
	case len(args) > 1 && known(args[0]):
		format, args = args[0], args[1:]
	}
	if files, err = Files(args); err == nil {
		return format, files, nil
	}
	if _, wrong := os.Stat(args[0]); wrong != nil && len(args) > 1 {
		if _, wrong := os.Stat(args[len(args)-1]); wrong == nil {
			return "", nil, fmt.Errorf("there is no file and no format %s; the formats are\n%s", args[0], Formats())
		}
	}
	return "", nil, err
}

func (q *Request) options() (foreign.Options, error) {
	opts := foreign.Options{Base: q.Base, Variables: map[string]string{}}
	if q.Base != "" {
		if _, err := cassette.ParseUpstream("x=" + q.Base); err != nil {
			return opts, fmt.Errorf("--base-url has to be like https://api.shop.example, not %q", q.Base)
		}
	}
	for _, v := range q.Variables {
		name, value, ok := strings.Cut(v, "=")
		if !ok {
			return opts, fmt.Errorf("--var has to be NAME=VALUE, not %q", v)
		}
		opts.Variables[name] = value
	}
	if q.Bodies != "" {
		var err error
		if opts.File, err = folder(q.Bodies); err != nil {
			return opts, fmt.Errorf("--files: %w", err)
		}
	}
	return opts, nil
}
