package inspector

import (
	"math"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/asyncinspect/asyncinspect/internal/histogram"
)

// overflowLabel marks the series that sums what found no place of its own, as in
// OpenTelemetry.
const overflowLabel = "otel_metric_overflow"

// kindOf says how the values of a family add up.
type kindOf uint8

const (
	counter kindOf = iota
	untyped        // a counter whose name must not get a suffix
	histogramType
	gauge // a sum of them means something
	ratio // it does not: there is no overflow series
)

// lasting says that a series, once there, must stay: one that went away and came
// back would be counted anew.
func (k kindOf) lasting() bool { return k <= histogramType }

// familyOf is one metric with all its label sets.
type familyOf struct {
	name   string
	kind   kindOf
	labels []string
	desc   *prometheus.Desc
	index  int // in families
}

var families []*familyOf

func family(name string, kind kindOf, help string, labels ...string) *familyOf {
	f := &familyOf{name: name, kind: kind, labels: labels, index: len(families), desc: prometheus.NewDesc(name, help, labels, nil)}
	families = append(families, f)
	return f
}

// admission remembers which label sets of lasting families have a place of their own:
// the first limit of each family. One that a scrape no longer finds has ended, and its
// place is free.
type admission struct {
	limit int

	mu     sync.Mutex        // guards all below
	known  []map[string]bool // true: a Prometheus has scraped it
	count  int
	merged int // label sets in overflow series, of the last scrape
	// scraped says that a Prometheus has been here.
	scraped bool
}

func newAdmission(limit int) admission {
	known := make([]map[string]bool, len(families))
	for i := range known {
		known[i] = make(map[string]bool)
	}
	return admission{limit: limit, known: known}
}

func (a *admission) admit(f *familyOf, key string) bool {
	known := a.known[f.index]
	if _, ok := known[key]; ok {
		return true
	}
	if len(known) >= a.limit {
		return false
	}
	known[strings.Clone(key)] = false
	a.count++
	return true
}

// begin notes that a Prometheus scrapes a label set, and reports whether for the first
// time. One that has no place of its own has begun with the overflow series.
func (a *admission) begin(f *familyOf, key string) (first bool) {
	begun, ok := a.known[f.index][key]
	if !ok || begun {
		return false
	}
	a.known[f.index][key] = true
	return true
}

// release frees the places of label sets that are in no series of a scrape.
func (a *admission) release(of []map[string]*series) {
	for i, known := range a.known {
		for key := range known {
			if of[i][key] == nil {
				delete(known, key)
				a.count--
			}
		}
	}
}

func (a *admission) size() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.count
}

func (a *admission) overflown() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.merged
}

// series is one label set with its value.
type series struct {
	labels []string // nil: the overflow series
	value  float64
	hist   *histogram.Histogram
	shared bool // hist is not ours to change
	begins bool // shown as 0, whatever it is
}

// writer gathers the series of one scrape. Label values come from anybody: those
// that are the same once they are valid UTF-8 are added up.
type writer struct {
	admitted *admission
	series   []map[string]*series // by family
	merged   int
	key      []byte
	// scraped says that a Prometheus asks. begins says that series which it has not seen
	// begin at 0: increase() counts from the first value of a series, and would miss it.
	scraped, begins bool
}

// newWriter returns the writer of one scrape. restored says that the series may have been
// scraped before the collector was started: the first scrape shows them as they are.
func newWriter(admitted *admission, scraped, restored bool) *writer {
	w := &writer{admitted: admitted, series: make([]map[string]*series, len(families)), scraped: scraped}
	for i, f := range families {
		w.series[i] = make(map[string]*series)
		if f.kind.lasting() && len(f.labels) > 0 && f != deadlocksDetected && f != deadlocksResolved {
			w.series[i][""] = &series{hist: new(histogram.Histogram)} // it exists from the start
		}
	}
	admitted.mu.Lock()
	w.begins = admitted.scraped || !restored
	admitted.scraped = admitted.scraped || scraped
	return w
}

// find returns the series of a label set, or the overflow series; nil if there is
// no place for it.
func (w *writer) find(f *familyOf, labels []string) *series {
	for i, l := range labels {
		labels[i] = strings.ToValidUTF8(l, "\uFFFD")
	}
	w.key = w.key[:0]
	for _, l := range labels {
		w.key = append(append(w.key, l...), 0xFF)
	}
	of := w.series[f.index]
	if s := of[string(w.key)]; s != nil {
		return s
	}
	key := string(w.key)
	admitted := len(of) < w.admitted.limit+1
	if f.kind.lasting() {
		admitted = w.admitted.admit(f, key)
	}
	if !admitted {
		w.merged++
		if f.kind == ratio {
			return nil
		}
		key, labels = "", nil
		if s := of[key]; s != nil {
			return s
		}
	}
	s := &series{labels: labels}
	if w.scraped && f.kind.lasting() && w.admitted.begin(f, key) {
		s.begins = w.begins
	}
	of[key] = s
	return s
}

func (w *writer) value(f *familyOf, v float64, labels ...string) {
	if s := w.find(f, labels); s != nil && !s.begins {
		s.value += v
	}
}

func (w *writer) histogram(f *familyOf, h *histogram.Histogram, labels ...string) {
	s := w.find(f, labels)
	switch {
	case s.begins:
		s.hist = new(histogram.Histogram)
	case s.hist == nil:
		s.hist, s.shared = h, true
	case s.shared:
		own := *s.hist
		own.Merge(h)
		s.hist, s.shared = &own, false
	default:
		s.hist.Merge(h)
	}
}

// send ends the writing.
func (w *writer) send(out chan<- prometheus.Metric) {
	w.admitted.merged = w.merged
	w.admitted.release(w.series)
	w.admitted.mu.Unlock()
	for i, f := range families {
		for _, s := range w.series[i] {
			out <- &seriesMetric{f, s}
		}
	}
}

// seriesMetric is a series as the client library takes it.
type seriesMetric struct {
	family *familyOf
	series *series
}

func (m *seriesMetric) Desc() *prometheus.Desc { return m.family.desc }

func (m *seriesMetric) Write(out *dto.Metric) error {
	if m.series.labels == nil && len(m.family.labels) > 0 {
		out.Label = []*dto.LabelPair{{Name: ptr(overflowLabel), Value: ptr("true")}}
	}
	for i, v := range m.series.labels {
		out.Label = append(out.Label, &dto.LabelPair{Name: &m.family.labels[i], Value: ptr(v)})
	}
	switch m.family.kind {
	case counter:
		out.Counter = &dto.Counter{Value: &m.series.value}
	case untyped:
		out.Untyped = &dto.Untyped{Value: &m.series.value}
	case histogramType:
		out.Histogram = histogramOf(m.series.hist)
	default:
		out.Gauge = &dto.Gauge{Value: &m.series.value}
	}
	return nil
}

func ptr[T any](v T) *T { return &v }

// histogramOf writes a histogram with classic and with native buckets. Weighted
// counts are rounded so that all of them still add up to the whole: Prometheus
// refuses a native histogram that does not.
func histogramOf(h *histogram.Histogram) *dto.Histogram {
	total := rounded(h.Count)
	out := &dto.Histogram{
		SampleCount: &total, SampleSum: &h.Sum,
		Schema: ptr(int32(histogram.Schema)), ZeroThreshold: ptr(math.Exp2(-128)),
	}
	cumulative := 0.0
	for i, n := range h.Fixed {
		cumulative += n
		bound, count := math.Inf(1), total
		if i < len(histogram.Bounds) {
			bound, count = histogram.Bounds[i], min(rounded(cumulative), total)
		}
		bucket := &dto.Bucket{UpperBound: &bound, CumulativeCount: &count}
		// The exemplar can come before the heartbeat that counts it.
		if e := &h.Exemplars[i]; !e.Task.IsZero() && n > 0 {
			bucket.Exemplar = exemplar(e)
			out.Exemplars = append(out.Exemplars, bucket.Exemplar)
		}
		out.Bucket = append(out.Bucket, bucket)
	}
	nativeBuckets(h, total, out)
	return out
}

func rounded(v float64) uint64 { return uint64(max(0, math.Round(v))) }

// nativeBuckets writes the exponential buckets as spans of neighbours and as the
// difference of each count to the one before.
func nativeBuckets(h *histogram.Histogram, total uint64, out *dto.Histogram) {
	told := min(rounded(h.Zero), total)
	out.ZeroCount = ptr(told)
	cumulative := h.Zero
	type bucket struct {
		index int
		count int64
	}
	var buckets []bucket
	h.Native(func(index int, n float64) {
		cumulative += n
		upTo := min(max(rounded(cumulative), told), total)
		buckets = append(buckets, bucket{index, int64(upTo - told)})
		told = upTo
	})
	if len(buckets) > 0 {
		buckets[len(buckets)-1].count += int64(total - told)
	} else {
		*out.ZeroCount = total
	}
	next, before := 0, int64(0)
	for i, b := range buckets {
		if i == 0 || b.index != next {
			out.PositiveSpan = append(out.PositiveSpan, &dto.BucketSpan{Offset: ptr(int32(b.index - next)), Length: ptr(uint32(0))})
		}
		span := out.PositiveSpan[len(out.PositiveSpan)-1]
		*span.Length++
		out.PositiveDelta = append(out.PositiveDelta, b.count-before)
		next, before = b.index+1, b.count
	}
}

func exemplar(e *histogram.Exemplar) *dto.Exemplar {
	id := idOf(e.Task)
	return &dto.Exemplar{
		Label: []*dto.LabelPair{
			{Name: ptr("span_id"), Value: &id.SpanID},
			{Name: ptr("trace_id"), Value: &id.TraceID},
		},
		Value:     ptr(e.Value.Seconds()),
		Timestamp: &timestamppb.Timestamp{Seconds: e.AtUnixNano / 1e9, Nanos: int32(e.AtUnixNano % 1e9)},
	}
}
