// Package profile writes what Go's runtime sees of this process to files, for whoever
// looks where its time and memory go.
package profile

import (
	"errors"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
)

// Files are where profiles go; "" is nowhere.
type Files struct {
	CPU, Trace string
	Heap       string // written by Stop

	stops []func() error
}

// Start begins those that are written from now on.
func (f *Files) Start() error {
	return errors.Join(
		f.start(f.CPU, pprof.StartCPUProfile, pprof.StopCPUProfile),
		f.start(f.Trace, trace.Start, trace.Stop),
	)
}

func (f *Files) start(path string, start func(io.Writer) error, stop func()) error {
	if path == "" {
		return nil
	}
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	f.stops = append(f.stops, func() error {
		stop()
		return out.Close()
	})
	return start(out)
}

// Stop ends what was started and writes the heap's profile.
func (f *Files) Stop() (err error) {
	for _, stop := range f.stops {
		err = errors.Join(err, stop())
	}
	f.stops = nil
	if f.Heap == "" {
		return err
	}
	out, wrong := os.Create(f.Heap)
	if wrong != nil {
		return errors.Join(err, wrong)
	}
	runtime.GC() // or it shows what nobody holds any more
	return errors.Join(err, pprof.WriteHeapProfile(out), out.Close())
}
