package cmd

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/fanfold/fanfold/pkg/listen"
	"github.com/fanfold/fanfold/pkg/report"
)

// serve starts the listeners and runs the command, or waits for a signal where there
// is none. ending, if not nil, is called before connections are cut off by a signal.
func (a *app) serve(ctx context.Context, s *listen.Service, args []string, ending func()) (code int, err error) {
	dir, err := os.MkdirTemp("", "fanfold-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s.Env, s.ProxyOf = a.env, http.ProxyFromEnvironment
	t, err := s.Start(dir, time.Now())
	if err != nil {
		var address *net.OpError
		if errors.As(err, &address) {
			return 0, &usageError{err}
		}
		return 0, err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	if len(args) > 0 {
		return a.child(ctx, args, t.Env)
	}
	if err := report.JSON(a.out, t.Ready); err != nil {
		return 0, err
	}
	select {
	case <-a.interrupts.taken():
	case <-ctx.Done():
	}
	if ending != nil {
		ending()
	}
	return 0, nil
}
