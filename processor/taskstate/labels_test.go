package taskstate

import (
	"context"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/asyncinspect/asyncinspect/processor/taskstate/internal/metadatatest"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// Names come from anybody. Each becomes one series whose labels are valid UTF-8 and
// short, and names that look the same then are counted together: one label that is not
// UTF-8 makes the collector's own /metrics fail for as long as it runs.
func TestNamesBecomeValidLabels(t *testing.T) {
	telemetry := componenttest.NewTelemetry()
	p, err := newProcessor(metadatatest.NewSettings(telemetry), defaultConfig(), consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, p.Start(context.Background(), componenttest.NewNopHost()))
	long := strings.Repeat("é", taskspan.MaxStringBytes)
	for _, spans := range []struct {
		service, name string
		n             int
	}{
		{"shop", "plain", 2},
		{"shop", "caf\xe9", 3},
		{"shop", "caf\xff", 5},
		{"shop", "caf\xe9", 7},
		{"sh\xffop", "order", 11},
		{"sh\xfeop", "order", 13},
		{"sh\xffop", "order", 17},
		{long, "order", 19},
		{long, "order", 23},
		{"shop", long, 29},
		{"shop", long, 31},
	} {
		require.NoError(t, p.ConsumeTraces(context.Background(), tasksOf(spans.service, spans.name, spans.n, func(_ int, s ptrace.Span) {})))
	}
	short := long[:taskspan.MaxStringBytes]
	want := map[[2]string]float64{
		{"shop", "plain"}: 2, {"shop", "caf\uFFFD"}: 3 + 5 + 7, {"sh\uFFFDop", "order"}: 11 + 13 + 17,
		{short, "order"}: 19 + 23, {"shop", short}: 29 + 31,
	}
	metric, err := telemetry.GetMetric("otelcol_processor_task_state_started_tasks")
	require.NoError(t, err)
	got := make(map[[2]string]float64)
	for _, point := range metric.Data.(metricdata.Sum[float64]).DataPoints {
		service, _ := point.Attributes.Value("service")
		task, _ := point.Attributes.Value("task")
		require.True(t, utf8.ValidString(service.AsString()) && utf8.ValidString(task.AsString()))
		got[[2]string{service.AsString(), task.AsString()}] += point.Value
	}
	require.Equal(t, want, got)
	require.EqualValues(t, len(want), p.stats.names.used.Load(), "each is one name")
	require.NoError(t, p.Shutdown(context.Background()))
	require.NoError(t, telemetry.Shutdown(context.Background()))
}

func TestNamesOfWaitsBecomeValidLabels(t *testing.T) {
	svc := newStatistics(9, 9).service("shop")
	a := svc.wait("lock\xff", "stock\xff")
	require.Same(t, a, svc.wait("lock\xfe", "stock\xfe"))
	require.NotSame(t, a, svc.wait("lock", "stock"))
	for key := range svc.waits {
		require.True(t, utf8.ValidString(string(key.kind)) && utf8.ValidString(key.resource), "%q", key)
	}
	require.EqualValues(t, 2, svc.owner.resources.used.Load())
}
