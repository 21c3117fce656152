package cmd

import (
	"net/http"

	"github.com/fanfold/fanfold/cassettes"
	"github.com/fanfold/fanfold/pkg/config"
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
