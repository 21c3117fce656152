package metrics

import (
	"io"
	"math"
	"net/http"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/protobuf/proto"
)

// text serves what a reader collects as the text that Prometheus scrapes. The library that is made for
// that, client_golang, costs every command ten milliseconds and megabytes before it begins; the
// text itself is written by what is below that library.
func text(reader *metric.ManualReader) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var of metricdata.ResourceMetrics
		if err := reader.Collect(r.Context(), &of); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		format := expfmt.NewFormat(expfmt.TypeTextPlain)
		w.Header().Set("Content-Type", string(format))
		_ = write(w, &of, format) // whoever has gone away is told nothing
	})
}

func write(w io.Writer, of *metricdata.ResourceMetrics, format expfmt.Format) error {
	enc := expfmt.NewEncoder(w, format)
	for _, scope := range of.ScopeMetrics {
		for i := range scope.Metrics {
			if family := familyOf(&scope.Metrics[i]); len(family.Metric) > 0 {
				if err := enc.Encode(family); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// units are what OpenTelemetry's are called in names of Prometheus:
// https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/#metric-metadata-1
var units = map[string]string{"s": "_seconds", "By": "_bytes"}

// familyOf is a metric as Prometheus has it.
func familyOf(m *metricdata.Metrics) *dto.MetricFamily {
	name := strings.ReplaceAll(m.Name, ".", "_") + units[m.Unit]
	family := &dto.MetricFamily{Help: proto.String(m.Description)}
	switch data := m.Data.(type) {
	case metricdata.Sum[float64]:
		name += "_total"
		family.Type = dto.MetricType_COUNTER.Enum()
		for _, p := range data.DataPoints {
			family.Metric = append(family.Metric,
				&dto.Metric{Label: labelsOf(p.Attributes), Counter: &dto.Counter{Value: proto.Float64(p.Value)}})
		}
	case metricdata.Gauge[float64]:
		family.Type = dto.MetricType_GAUGE.Enum()
		for _, p := range data.DataPoints {
			family.Metric = append(family.Metric,
				&dto.Metric{Label: labelsOf(p.Attributes), Gauge: &dto.Gauge{Value: proto.Float64(p.Value)}})
		}
	case metricdata.Histogram[float64]:
		family.Type = dto.MetricType_HISTOGRAM.Enum()
		for _, p := range data.DataPoints {
			h := &dto.Histogram{SampleCount: proto.Uint64(p.Count), SampleSum: proto.Float64(p.Sum)}
			below := uint64(0)
			for i, n := range p.BucketCounts {
				below += n
				bound := math.Inf(1)
				if i < len(p.Bounds) {
					bound = p.Bounds[i]
				}
				h.Bucket = append(h.Bucket, &dto.Bucket{CumulativeCount: proto.Uint64(below), UpperBound: proto.Float64(bound)})
			}
			family.Metric = append(family.Metric, &dto.Metric{Label: labelsOf(p.Attributes), Histogram: h})
		}
	}
	family.Name = proto.String(name)
	return family
}

// labelsOf are in the order of their names.
func labelsOf(set attribute.Set) (list []*dto.LabelPair) {
	for _, kv := range set.ToSlice() {
		list = append(list, &dto.LabelPair{Name: proto.String(string(kv.Key)), Value: proto.String(kv.Value.AsString())})
	}
	slices.SortFunc(list, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
	return list
}
