package cmd

import (
	"context"
	"net/http"
	"os"

	"github.com/fanfold/fanfold/cassettes"
	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/destination"
	"github.com/fanfold/fanfold/pkg/standin"
)

// standIn is the partner that answers a rehearsal.
func (a *app) standIn(d *config.Opened) (http.RoundTripper, error) {
	data, err := cassettes.Contract(d.Slug)
	if err != nil {
		return nil, err
	}
	c, err := standin.ParseContract(data)
	if err != nil {
		return nil, err
	}
	if d.Config.BaseURL != "" {
		c.Hosts = nil // the user's own address stands in for the partner's
	}
	p := standin.New(c)
	p.Now = a.now
	return p, nil
}

// rehearseLocal makes a destination that is no partner harmless: files go to a
// folder of the run, and standard output is only counted.
func rehearseLocal(d *config.Opened, dir string) (destination.Sender, error) {
	if _, ok := d.Spec.Settings.Field("path"); !ok {
		return counter{d.Sender}, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	c := d.Config
	c.Settings = map[string]any{}
	for k, v := range d.Config.Settings {
		c.Settings[k] = v
	}
	c.Settings["path"] = dir
	return d.Spec.Open(c)
}

// counter takes everything and keeps nothing.
type counter struct{ destination.Sender }

func (counter) Send(_ context.Context, _ destination.Transport, b *destination.Batch) ([]destination.Result, error) {
	return destination.Same(destination.Result{Outcome: destination.Delivered}, len(b.Deliveries)), nil
}
