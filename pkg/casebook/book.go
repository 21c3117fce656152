package casebook

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/standin"
)

// Book is a destination with what it is held against.
type Book struct {
	Destination destination.Destination
	Contract    *standin.Contract
	Cases       []*Case
	Standard    map[string]string // events that cases name, and that the derived ones are made of
}

// Files are those that lie beside a description, own.yaml: own.contract.yaml,
// own.cases.yaml and own.requests.jsonl.
type Files struct{ Contract, Cases, Requests string }

// Beside names the files that lie beside a description.
func Beside(path string) Files {
	stem := strings.TrimSuffix(strings.TrimSuffix(path, ".yaml"), ".yml")
	return Files{stem + ".contract.yaml", stem + ".cases.yaml", stem + ".requests.jsonl"}
}

// Open reads the files that there are. Without a contract otherwise is one that takes
// everything. notes say what is not there, and so is not tested.
func (b *Book) Open(files Files, read func(path string) ([]byte, error), otherwise *standin.Contract) (notes []string,
	err error) {
	given := func(path string) (data []byte, there bool) {
		if err != nil {
			return nil, false
		}
		var wrong error
		if data, wrong = read(path); errors.Is(wrong, fs.ErrNotExist) {
			return nil, false
		} else if wrong != nil {
			err = fmt.Errorf("%s: %w", path, wrong)
			return nil, false
		}
		return data, true
	}
	b.Contract = otherwise
	if data, there := given(files.Contract); there {
		if b.Contract, err = standin.ParseContract(data); err != nil {
			return nil, fmt.Errorf("%s: %w", files.Contract, err)
		}
	} else {
		notes = append(notes, "there is no "+files.Contract+": nothing says what the API asks of requests")
	}
	requests, _ := given(files.Requests)
	if data, there := given(files.Cases); there {
		if _, b.Cases, err = Read(data, requests, b.Standard); err != nil {
			return nil, fmt.Errorf("%s: %w", files.Cases, err)
		}
	} else {
		notes = append(notes, "there is no "+files.Cases+": only the cases that everybody has are tested")
	}
	return notes, err
}

// Result is what was found in a case; none: it is as written.
type Result struct {
	Case     string
	Findings []string
}

// Try walks all cases, and those that everybody has. With update the cases are written
// down: see [Lines].
func (b *Book) Try(update bool) (results []Result) {
	add := func(name string, f func(t T)) { results = append(results, Result{name, collect(f)}) }
	for _, c := range b.Cases {
		add(c.Name, func(t T) { Walk(t, b.Destination, b.Contract, c, update) })
	}
	if len(b.Cases) > 0 && !update {
		add("kinds", func(t T) { CheckKinds(t, b.Destination, b.Cases, false) })
	}
	add("everybody", func(t T) { Everybody(t, b.Destination, b.Contract, b.Standard) })
	return results
}

// finder is a T that keeps what it is told.
type finder struct{ found []string }

// stopped is what Fatal panics with.
type stopped struct{}

// collect returns what f finds.
func collect(f func(t T)) (found []string) {
	t := &finder{}
	defer func() {
		if p := recover(); p != nil {
			if _, is := p.(stopped); !is {
				t.Errorf("a panic, which is a mistake in fanfold: %v", p)
			}
		}
		found = t.found
	}()
	f(t)
	return t.found
}

func (f *finder) Helper() {}

func (f *finder) Logf(string, ...any) {}

func (f *finder) Errorf(format string, args ...any) {
	f.found = append(f.found, fmt.Sprintf(format, args...))
}

func (f *finder) Error(args ...any) {
	f.found = append(f.found, strings.TrimSuffix(fmt.Sprintln(args...), "\n"))
}

func (f *finder) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	panic(stopped{})
}

func (f *finder) Fatal(args ...any) {
	f.Error(args...)
	panic(stopped{})
}
