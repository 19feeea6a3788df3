package taskstate

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"github.com/asyncinspect/asyncinspect/processor/taskstate/internal/metadata"
	"github.com/asyncinspect/asyncinspect/processor/taskstate/internal/metadatatest"
)

func TestTheMetricsSayWhatHappened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tel := componenttest.NewTelemetry()
		p, err := newProcessor(metadatatest.NewSettings(tel), defaultConfig(), consumertest.NewNop())
		require.NoError(t, err)
		require.Equal(t, metadata.Type, p.id.Type())
		require.NoError(t, p.Start(context.Background(), componenttest.NewNopHost()))
		for _, name := range []string{"wait_open", "heartbeat", "plain_spans", "no_process", "wrong_version", "deadlocked"} {
			require.NoError(t, p.ConsumeTraces(context.Background(), body(t, name+".json")))
		}
		points := func(kv ...any) (out []metricdata.DataPoint[int64]) {
			for i := 0; i < len(kv); i += 2 {
				out = append(out, metricdata.DataPoint[int64]{Value: int64(kv[i+1].(int)), Attributes: kv[i].(attribute.Set)})
			}
			return out
		}
		set := func(kv ...string) attribute.Set {
			var attrs []attribute.KeyValue
			for i := 0; i < len(kv); i += 2 {
				attrs = append(attrs, attribute.String(kv[i], kv[i+1]))
			}
			return attribute.NewSet(attrs...)
		}
		ignoreTime := metricdatatest.IgnoreTimestamp()
		metadatatest.AssertEqualProcessorTaskStateReports(t, tel, points(
			set("kind", "wait"), 2, set("kind", "task"), 0, set("kind", "heartbeat"), 1, set("kind", "lock_order"), 0), ignoreTime)
		metadatatest.AssertEqualProcessorTaskStateLiveTasks(t, tel, points(
			set("state", "running"), 2, set("state", "blocked"), 0, set("state", "deadlocked"), 1), ignoreTime)
		metadatatest.AssertEqualProcessorTaskStateProcesses(t, tel, points(
			set("status", "reporting"), 1, set("status", "lost"), 0), ignoreTime)
		metadatatest.AssertEqualProcessorTaskStateDropped(t, tel, points(
			set("reason", "version"), 1, set("reason", "identity"), 1, set("reason", "kind"), 0, set("reason", "missing_attribute"), 0,
			set("reason", "wrong_type"), 0, set("reason", "impossible_value"), 0, set("reason", "time"), 0,
			set("reason", "span_id"), 0, set("reason", "too_long"), 0, set("reason", "process_limit"), 0,
			set("reason", "claimed"), 0), ignoreTime)
		metadatatest.AssertEqualProcessorTaskStateStartedTasks(t, tel, []metricdata.DataPoint[float64]{
			{Value: 10, Attributes: set("service", "orders", "task", "reserve stock")},
			{Value: 1, Attributes: set("service", "orders", "task", "rebuild index")},
			{Value: 5, Attributes: set("service", "shop", "task", "GET /cart")},
		}, ignoreTime)
		sizes, err := tel.GetMetric("otelcol_processor_task_state_table_size")
		require.NoError(t, err)
		limits, err := tel.GetMetric("otelcol_processor_task_state_table_limit")
		require.NoError(t, err)
		require.Len(t, sizes.Data.(metricdata.Gauge[int64]).DataPoints, len(p.tables()))
		require.Len(t, limits.Data.(metricdata.Gauge[int64]).DataPoints, len(p.tables()))
		require.NoError(t, p.Shutdown(context.Background()))
		require.NoError(t, tel.Shutdown(context.Background()))
	})
}
