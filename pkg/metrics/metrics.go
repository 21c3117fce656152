// Package metrics gives the numbers of a run that is under way to those who watch it: as the text that
// Prometheus scrapes, and by OTLP.
//
// The numbers are those of the run's summary, read when somebody asks: nothing is counted twice, and what
// is scraped adds up as the summary does, for every destination
//
//	selected = Σ fanfold_events_total + fanfold_events_pending
//
// A metric that cannot be delivered changes nothing for the run.
package metrics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"

	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/run"
)

// Options say who is given the numbers of a run.
type Options struct {
	Listen  string                 // address at which Prometheus may scrape them; "": nowhere
	OTLP    string                 // where they are sent by OTLP over HTTP, such as http://localhost:4318; "": nowhere
	Observe func() run.Observation // called by many goroutines
	Now     func() time.Time
	Version string
}

// Exporter gives numbers away until it is closed.
type Exporter struct {
	provider *metric.MeterProvider
	server   *http.Server
	address  string
	served   chan error
}

// Start begins to export.
func Start(ctx context.Context, o Options) (*Exporter, error) {
	p := &producer{o: o, start: o.Now()}
	// What is asked of the surroundings by the SDK itself is not ours to tell.
	options := []metric.Option{metric.WithResource(resource.NewSchemaless(attribute.String("service.name", "fanfold"),
		attribute.String("service.version", o.Version)))}
	e := &Exporter{}
	if o.Listen != "" {
		reader := metric.NewManualReader(metric.WithProducer(p))
		options = append(options, metric.WithReader(reader))
		listener, err := net.Listen("tcp", o.Listen)
		if err != nil {
			return nil, err
		}
		e.address = listener.Addr().String()
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", text(reader))
		e.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second,
			MaxHeaderBytes: 64 << 10}
		e.served = make(chan error, 1)
		go func() { e.served <- e.server.Serve(listener) }()
	}
	if o.OTLP != "" {
		exporter, err := otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpointURL(endpoint(o.OTLP)))
		if err != nil {
			return nil, errors.Join(err, e.Close(ctx))
		}
		options = append(options, metric.WithReader(metric.NewPeriodicReader(exporter, metric.WithProducer(p))))
	}
	e.provider = metric.NewMeterProvider(options...)
	return e, nil
}

// endpoint is where the metrics go of all that an endpoint takes:
// https://opentelemetry.io/docs/specs/otel/protocol/exporter/#endpoint-urls-for-otlphttp
func endpoint(base string) string {
	if strings.HasSuffix(base, "/v1/metrics") {
		return base
	}
	return strings.TrimRight(base, "/") + "/v1/metrics"
}

// Address is where Prometheus may scrape; "": nowhere.
func (e *Exporter) Address() string { return e.address }

// Close sends what is left and ends the serving. It gives up when the context ends.
func (e *Exporter) Close(ctx context.Context) error {
	var errs []error
	if e.provider != nil {
		errs = append(errs, e.provider.Shutdown(ctx))
	}
	if e.server != nil {
		errs = append(errs, e.server.Shutdown(ctx))
		if err := <-e.served; !errors.Is(err, http.ErrServerClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// producer makes metrics of what a run is when it is asked.
type producer struct {
	o     Options
	start time.Time
}

// Produce implements [metric.Producer].
func (p *producer) Produce(context.Context) ([]metricdata.ScopeMetrics, error) {
	s := &scrape{start: p.start, now: p.o.Now(), of: p.o.Observe()}
	s.input()
	s.events()
	s.requests()
	s.state()
	return []metricdata.ScopeMetrics{{Scope: instrumentation.Scope{Name: "fanfold", Version: p.o.Version},
		Metrics: s.out}}, nil
}

// scrape is one look at a run.
type scrape struct {
	start, now time.Time
	of         run.Observation
	out        []metricdata.Metrics
}

type labels map[string]string

func (l labels) set(run string) attribute.Set {
	list := []attribute.KeyValue{attribute.String("run", run)}
	for k, v := range l {
		list = append(list, attribute.String(k, v))
	}
	return attribute.NewSet(list...)
}

func (s *scrape) point(l labels, n float64) metricdata.DataPoint[float64] {
	return metricdata.DataPoint[float64]{Attributes: l.set(s.of.Summary.Run), StartTime: s.start, Time: s.now, Value: n}
}

func (s *scrape) sum(name, unit, about string, points []metricdata.DataPoint[float64]) {
	s.out = append(s.out, metricdata.Metrics{Name: "fanfold." + name, Unit: unit, Description: about,
		Data: metricdata.Sum[float64]{DataPoints: points, Temporality: metricdata.CumulativeTemporality, IsMonotonic: true}})
}

func (s *scrape) gauge(name, unit, about string, points []metricdata.DataPoint[float64]) {
	s.out = append(s.out, metricdata.Metrics{Name: "fanfold." + name, Unit: unit, Description: about,
		Data: metricdata.Gauge[float64]{DataPoints: points}})
}

type points = []metricdata.DataPoint[float64]

func (s *scrape) input() {
	sum := s.of.Summary
	s.sum("records.read", "", "Records of the input that were read.", points{s.point(nil, float64(sum.Read))})
	var bad, dropped points
	for reason, n := range sum.BadReasons {
		bad = append(bad, s.point(labels{"reason": reason}, float64(n)))
	}
	for reason, n := range sum.Dropped {
		dropped = append(dropped, s.point(labels{"reason": reason}, float64(n)))
	}
	s.sum("records.bad", "", "Records that were no events.", bad)
	s.sum("events.dropped", "", "Events that go to no destination.", dropped)
	if s.of.Spooled {
		s.gauge("spool.size", "By", "Disk space that the copy of a stream takes.", points{s.point(nil,
			float64(s.of.SpoolBytes))})
	}
}

func (s *scrape) events() {
	var events, pending points
	for i := range s.of.Summary.Destinations {
		d := &s.of.Summary.Destinations[i]
		add := func(outcome, reason string, n uint64) {
			events = append(events, s.point(labels{"destination": d.Name, "outcome": outcome, "reason": reason}, float64(n)))
		}
		add("delivered", "", d.Delivered)
		add("filtered", "", d.Filtered)
		for reason, n := range d.Skipped {
			add("skipped", reason, n)
		}
		for reason, n := range d.Rejected {
			add("rejected", reason, n)
		}
		pending = append(pending, s.point(labels{"destination": d.Name}, float64(d.Pending)))
	}
	s.sum("events", "", "Events that are settled, by what became of them.", events)
	s.gauge("events.pending", "", "Events that were read and are not settled.", pending)
}

func (s *scrape) requests() {
	var requests, retries, bytes, deliveries points
	var took []metricdata.HistogramDataPoint[float64]
	for i := range s.of.Summary.Destinations {
		d := &s.of.Summary.Destinations[i]
		l := labels{"destination": d.Name}
		requests = append(requests, s.point(l, float64(d.Requests)))
		retries = append(retries, s.point(l, float64(d.Retries)))
		bytes = append(bytes, s.point(l, float64(d.Bytes)))
		deliveries = append(deliveries, s.point(l, float64(d.Deliveries)))
		if c := s.of.Courses[d.Name]; c != nil {
			took = append(took, s.histogram(l, c))
		}
	}
	s.sum("requests", "", "Requests, with those that were retries.", requests)
	s.sum("retries", "", "Requests with something that was sent before.", retries)
	s.sum("request.size", "By", "Bytes of bodies, before compression.", bytes)
	s.sum("deliveries", "", "Actions of events that were delivered.", deliveries)
	s.out = append(s.out, metricdata.Metrics{Name: "fanfold.request.duration", Unit: "s",
		Description: "How long answers took.",
		Data:        metricdata.Histogram[float64]{DataPoints: took, Temporality: metricdata.CumulativeTemporality}})
}

// histogram is how long answers took, in the intervals of a course.
func (s *scrape) histogram(l labels, c *engine.Course) metricdata.HistogramDataPoint[float64] {
	h := metricdata.HistogramDataPoint[float64]{Attributes: l.set(s.of.Summary.Run), StartTime: s.start, Time: s.now,
		Sum: float64(c.Took)}
	for i, n := range c.Latency {
		if i < len(c.Latency)-1 {
			h.Bounds = append(h.Bounds, float64(uint64(1)<<i)/1000)
		}
		h.BucketCounts = append(h.BucketCounts, n)
		h.Count += n
	}
	return h
}

func (s *scrape) state() {
	var flying, lag, limits, stopped, held points
	for _, p := range s.of.Progress {
		l := labels{"destination": p.Name}
		flying = append(flying, s.point(l, float64(p.InFlight)))
		age := 0.0
		if !p.Oldest.IsZero() {
			age = max(s.now.Sub(p.Oldest).Seconds(), 0)
		}
		lag = append(lag, s.point(l, age))
		stopped = append(stopped, s.point(l, truth(p.Stopped)))
		held = append(held, s.point(l, truth(p.Waits)))
	}
	for name, kept := range s.of.Limits {
		for _, k := range kept {
			if k.Per > 0 {
				l := labels{"destination": name, "of": k.What, "action": k.Action, "window": fmt.Sprint(k.Per)}
				limits = append(limits, s.point(l, k.N/k.Per.Seconds()))
			}
		}
	}
	s.gauge("requests.in_flight", "", "Requests without an answer yet.", flying)
	s.gauge("oldest.pending", "s", "How long the oldest event that is not settled has waited.", lag)
	s.gauge("stopped", "", "1: the destination has given up.", stopped)
	s.gauge("held", "", "1: a pause or a rate limit keeps the destination waiting.", held)
	s.gauge("rate.limit", "", "The rates in use, in units a second.", limits)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
