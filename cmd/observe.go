package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"time"

	"github.com/spf13/pflag"
	"go.opentelemetry.io/otel"

	"github.com/fanfold/fanfold/pkg/metrics"
	"github.com/fanfold/fanfold/pkg/notify"
	"github.com/fanfold/fanfold/pkg/report"
	"github.com/fanfold/fanfold/pkg/run"
	"github.com/fanfold/fanfold/pkg/transport"
)

// observeOptions say who watches a run, and who is told of its end.
type observeOptions struct {
	metrics string
	notify  []string
	to      []notify.To
	result  *run.Result // nil: the run was not opened
}

func (o *observeOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.metrics, "metrics", "", "address at which Prometheus may scrape the run, like 127.0.0.1:9464 "+
		"(also by OTLP, to $OTEL_EXPORTER_OTLP_ENDPOINT)")
	f.StringArrayVar(&o.notify, "notify", nil,
		"tell somebody at the end: webhook=URL, slack=URL or exec=COMMAND (repeatable)")
}

// read checks the options. Addresses that take notices are secrets.
func (o *observeOptions) read(a *app) error {
	if o.metrics != "" {
		if _, err := net.ResolveTCPAddr("tcp", o.metrics); err != nil {
			return usagef("--metrics has to be an address like 127.0.0.1:9464: %w", err)
		}
	}
	for _, text := range o.notify {
		to, err := notify.Parse(text)
		if err != nil {
			return usagef("--notify: %w", err)
		}
		if to.Kind != "exec" {
			a.secrets.add(to.Where)
		}
		o.to = append(o.to, to)
	}
	return nil
}

// watch lets others watch a run until the function it returns is called.
func (a *app) watch(ctx context.Context, r *run.Run, o *observeOptions) (ended func(), err error) {
	endpoint, _ := a.env("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
	if endpoint == "" {
		endpoint, _ = a.env("OTEL_EXPORTER_OTLP_ENDPOINT")
	}
	if o.metrics == "" && endpoint == "" {
		return func() {}, nil
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(e error) { a.log.Warn("metrics", "why", e.Error()) }))
	e, err := metrics.Start(ctx, metrics.Options{Listen: o.metrics, OTLP: endpoint, Observe: r.Observe, Now: a.now,
		Version: a.build.Version})
	if err != nil {
		return nil, usagef("--metrics: %w", err)
	}
	if at := e.Address(); at != "" {
		a.sayf("metrics of the run are at http://%s/metrics", at)
	}
	return func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if failed := e.Close(last); failed != nil {
			a.sayf("warning: the last metrics could not be given away: %v", failed)
		}
	}, nil
}

// tell says to those who want to know how a run has ended. What goes wrong is said, and
// changes nothing.
func (a *app) tell(o *observeOptions, err error) {
	if len(o.to) == 0 {
		return
	}
	n := &notify.Notice{Status: "failed", ExitCode: exitCode(err)}
	if err != nil {
		n.Error = a.secrets.redact(err.Error())
	}
	if o.result != nil {
		n.Run, n.Status, n.Headline = o.result.Summary.Run, o.result.Summary.Status, report.Headline(o.result.Summary)
		summary, wrong := json.Marshal(o.result.Summary)
		if wrong == nil {
			n.Summary = json.RawMessage(a.secrets.redact(string(summary)))
		}
	}
	client := transport.Dial(len(o.to), nil)
	for _, to := range o.to {
		if wrong := to.Send(context.Background(), client, n, time.Sleep); wrong != nil {
			a.sayf("warning: nobody was told by --notify: %v", wrong)
		}
	}
}

// watched is a run that is done while others watch.
func (a *app) watched(ctx context.Context, r *run.Run, o *observeOptions, do func() (*run.Result, error)) (
	*run.Result, error,
) {
	ended, err := a.watch(ctx, r, o)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	res, err := do()
	ended()
	o.result = res
	return res, err
}
