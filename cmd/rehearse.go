package cmd

import (
	"net/http"

	"github.com/fanfold/fanfold/cassettes"
	"github.com/fanfold/fanfold/pkg/api"
	"github.com/fanfold/fanfold/pkg/casebook"
	"github.com/fanfold/fanfold/pkg/config"
	"github.com/fanfold/fanfold/pkg/standin"
)

// contractOf is what the stand-in of a destination keeps to.
func (a *app) contractOf(d *config.Opened) (*standin.Contract, error) {
	if d.Own != nil {
		if data, err := a.world().ReadFile(casebook.Beside(d.Description).Contract); err == nil && d.Description != "" {
			return standin.ParseContract(data)
		}
		return api.StandIn(*d.Own)
	}
	data, err := cassettes.Contract(d.Slug)
	if err != nil {
		return nil, err
	}
	return standin.ParseContract(data)
}

// standIn is the partner that answers a rehearsal.
func (a *app) standIn(d *config.Opened) (http.RoundTripper, error) {
	c, err := a.contractOf(d)
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
