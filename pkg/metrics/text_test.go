package metrics

import (
	"bytes"
	"math"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/fanfold/fanfold/pkg/engine"
	"github.com/fanfold/fanfold/pkg/run"
)

// TestText: what a run is, is read back out of the text as Prometheus' own reader sees it, whatever stands in
// the names.
func TestText(t *testing.T) {
	name := "a\"b\\c\nd\u00e9"
	var course engine.Course
	course.Latency[0], course.Latency[3], course.Latency[len(course.Latency)-1] = 2, 1, 4
	course.Took = 12.5
	observed := run.Observation{Courses: map[string]*engine.Course{name: &course}, Spooled: true, SpoolBytes: 1 << 40,
		Summary: &engine.Summary{Run: "r1", Read: 1 << 53}}
	var d engine.LaneSummary
	d.Name, d.Delivered, d.Pending = name, 7, 3
	d.Skipped = map[string]uint64{"opted_out": 2}
	d.Rejected = map[string]uint64{"invalid": 1}
	observed.Summary.Destinations = append(observed.Summary.Destinations, d)
	now := time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC)
	p := &producer{o: Options{Now: func() time.Time { return now }, Observe: func() run.Observation { return observed }},
		start: now}
	scopes, err := p.Produce(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err = write(&text, &metricdata.ResourceMetrics{ScopeMetrics: scopes},
		expfmt.NewFormat(expfmt.TypeTextPlain)); err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(&text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text.String())
	}
	settled := 0.0
	for _, m := range families["fanfold_events_total"].GetMetric() {
		if label(m, "destination") != name || label(m, "run") != "r1" {
			t.Errorf("labels %v", m.GetLabel())
		}
		settled += m.GetCounter().GetValue()
	}
	if settled != 10 {
		t.Errorf("%v events are settled, want 10", settled)
	}
	if n := families["fanfold_events_pending"].GetMetric()[0].GetGauge().GetValue(); n != 3 {
		t.Errorf("pending: %v", n)
	}
	if n := families["fanfold_records_read_total"].GetMetric()[0].GetCounter().GetValue(); n != 1<<53 {
		t.Errorf("read: %v", n)
	}
	if n := families["fanfold_spool_size_bytes"].GetMetric()[0].GetGauge().GetValue(); n != 1<<40 {
		t.Errorf("spool: %v", n)
	}
	took := families["fanfold_request_duration_seconds"].GetMetric()[0].GetHistogram()
	last := took.GetBucket()[len(took.GetBucket())-1]
	if took.GetSampleCount() != 7 || took.GetSampleSum() != 12.5 || last.GetCumulativeCount() != 7 ||
		!math.IsInf(last.GetUpperBound(), 1) || took.GetBucket()[0].GetCumulativeCount() != 2 {
		t.Errorf("duration: %v", took)
	}
	for name, f := range families {
		if f.GetHelp() == "" {
			t.Errorf("%s has no help", name)
		}
	}
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}
