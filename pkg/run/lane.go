package run

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/transport"
)

// mostOutage is how long a destination of followed input waits for a partner that accepts nothing.
const mostOutage = 24 * time.Hour

// openLanes configures the lane of every destination.
func (r *Run) openLanes(context.Context) error {
	for _, d := range r.job.Destinations {
		l := engine.LaneConfig{Name: d.Name, Type: d.Slug, Sender: d.Sender, Filter: d.Filter, Consent: d.Consent,
			Options: r.job.OptionsOf(d), Course: r.history.Courses[d.Name]}
		l.Harmless = r.job.Rehearse
		if r.job.Rehearse && !r.job.RealPace {
			l.Options.NoRates = true // there is no partner whose limits could be reached
		}
		var err error
		if d.Sender.Plan().Local {
			err = r.openLocal(d, &l)
		} else {
			l.Transport, err = r.transport(d)
		}
		if err != nil {
			return err
		}
		if r.redrive != nil {
			r.redrive.wrap(d, &l)
		}
		r.lanes = append(r.lanes, l)
	}
	return nil
}

// OptionsOf are those of a destination's lane: the destination's own, and what the job says of all lanes alike.
func (j *Job) OptionsOf(d *config.Opened) engine.Options {
	o := d.Options
	o.Reserve, o.MaxErrors = j.Reserve, j.MaxErrors
	if j.Follow() && o.Attempts == 0 && o.MaxTime == 0 {
		o.Outage = mostOutage
	}
	return o
}

// openLocal makes a lane for a local destination, which has no partner.
func (r *Run) openLocal(d *config.Opened, l *engine.LaneConfig) (err error) {
	if r.job.Rehearse {
		if l.Sender, err = rehearseLocal(d, filepath.Join(r.dir, "rehearsal")); err != nil {
			return err
		}
	}
	if s, ok := l.Sender.(destination.Aging); ok {
		r.aging = append(r.aging, aging{d.Name, s})
	}
	if c, ok := l.Sender.(io.Closer); ok {
		r.open.add(func() error {
			if err := c.Close(); err != nil {
				return fmt.Errorf("%s: ending what was written: %w", d.Name, err)
			}
			return nil
		})
	}
	return nil
}

// aging is a destination that implements [destination.Aging].
type aging struct {
	name string
	destination.Aging
}

// age tells such destinations the time, and returns the errors.
func (r *Run) age(now time.Time) (errs []error) {
	for _, a := range r.aging {
		if err := a.Age(now); err != nil {
			errs = append(errs, fmt.Errorf("%s: ending what was written: %w", a.name, err))
		}
	}
	return errs
}

// mostConnections is the largest number of connections to a partner that declares no limit.
const mostConnections = 64

// transport makes the transport to a partner, or to its stand-in in a rehearsal.
func (r *Run) transport(d *config.Opened) (http.RoundTripper, error) {
	plan := d.Sender.Plan()
	o := transport.Options{
		Hook: r.w.Hook, Auth: plan.Auth, UserAgent: r.w.UserAgent, Now: r.w.Now, Secret: r.w.Secret,
	}
	if r.job.Rehearse {
		o.Gzip = d.Compression == "gzip"
		var err error
		if o.Network, err = r.w.StandIn(d); err != nil {
			return nil, err
		}
		return transport.New(o), nil
	}
	o.Gzip = d.Compression == "gzip" || d.Compression != "none" && plan.Limits.Gzip.N > 0
	conns := plan.Limits.Concurrency.N
	if d.Options.Concurrency > 0 {
		conns = d.Options.Concurrency
	}
	if conns == 0 {
		conns = mostConnections
	}
	o.Network = transport.Dial(conns, nil)
	if err := r.keepTokens(d.Name, &o); err != nil {
		return nil, err
	}
	return transport.New(o), nil
}

// keepTokens stores exchanged refresh tokens beside the runs, not in one of them: all runs need the token that
// replaced the configured one.
func (r *Run) keepTokens(name string, o *transport.Options) (err error) {
	grant := o.Auth.Grant()
	if grant == nil || !grant.Renews() {
		return nil
	}
	o.Kept, err = transport.NewKept(filepath.Join(filepath.Dir(filepath.Dir(r.dir)), "tokens"), grant)
	o.Saying = func(err error) {
		if err != nil {
			r.w.Log.Error(name + ": " + err.Error() + ": what the partner gave may be lost, and the configured " +
				"refresh_token be worth nothing: authorize the app again if it is refused")
			return
		}
		r.w.Log.Warn(name + ": the partner has given another refresh token in place of the configured one. It is kept, " +
			"sealed, in the state folder, and used from now on with this configuration there; elsewhere the app " +
			"may have to be authorized again")
	}
	return err
}

// rehearseLocal makes a local destination harmless: files are written to a folder of the run, and anything else is
// only counted.
func rehearseLocal(d *config.Opened, dir string) (destination.Sender, error) {
	if _, ok := d.Spec.Settings.Field("path"); !ok {
		return counter{d.Sender}, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	c := d.Config
	c.Settings = maps.Clone(d.Config.Settings)
	c.Settings["path"] = dir
	return d.Spec.Open(c)
}

// counter accepts everything and stores nothing.
type counter struct{ destination.Sender }

func (counter) Send(_ context.Context, _ destination.Transport, b *destination.Batch) ([]destination.Result, error) {
	return destination.Same(destination.Result{Outcome: destination.Delivered}, len(b.Deliveries)), nil
}
