package adaptivesampler

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor/processortest"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"github.com/asyncinspect/asyncinspect/internal/hosttest"
	"github.com/asyncinspect/asyncinspect/internal/threshold"
	"github.com/asyncinspect/asyncinspect/processor/adaptivesampler/internal/metadata"
	"github.com/asyncinspect/asyncinspect/processor/adaptivesampler/internal/metadatatest"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

func start(tb testing.TB, cfg *Config, next consumer.Traces, host component.Host) *adaptiveSampler {
	tb.Helper()
	p, err := newProcessor(processortest.NewNopSettings(metadata.Type), cfg, next)
	require.NoError(tb, err)
	require.NoError(tb, p.Start(context.Background(), host))
	return p
}

func consume(tb testing.TB, p *adaptiveSampler, td ptrace.Traces) {
	tb.Helper()
	require.NoError(tb, p.ConsumeTraces(context.Background(), td))
}

func TestATraceIsSentAfterItsRoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := new(consumertest.TracesSink)
		p := start(t, defaultConfig(), sink, componenttest.NewNopHost())
		td := ptrace.NewTraces()
		newLoad(1).add(td, pcommon.TraceID{1}, "s", "root", 3, nil)
		consume(t, p, td)
		time.Sleep(time.Second)
		require.Zero(t, sink.SpanCount())
		time.Sleep(3 * time.Second)
		require.Equal(t, 3, sink.SpanCount())
		require.NoError(t, p.Shutdown(context.Background()))
	})
}

func TestShutdownSendsWhatIsPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := new(consumertest.TracesSink)
		p := start(t, defaultConfig(), sink, componenttest.NewNopHost())
		td := ptrace.NewTraces()
		l := newLoad(1)
		for range 50 {
			l.add(td, l.trace(), "s", "root", 3, nil)
		}
		consume(t, p, td)
		require.NoError(t, p.Shutdown(context.Background()))
		require.Equal(t, 150, sink.SpanCount())
		require.Zero(t, p.sampler.bytes.Load())
	})
}

func TestAFixedRateBuffersNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rate := 0.25
		cfg := defaultConfig()
		cfg.SamplingRate, cfg.Policies, cfg.Target = &rate, nil, Target{}
		require.NoError(t, cfg.Validate())
		sink := new(consumertest.TracesSink)
		p := start(t, cfg, sink, componenttest.NewNopHost())
		td := ptrace.NewTraces()
		l := newLoad(1)
		const n = 4000
		for range n {
			l.add(td, l.trace(), "s", "root", 1, nil)
		}
		consume(t, p, td)
		require.InDelta(t, n/4, sink.SpanCount(), 150)
		for _, rs := range sink.AllTraces()[0].ResourceSpans().All() {
			span := rs.ScopeSpans().At(0).Spans().At(0)
			require.Equal(t, "ot=th:c", span.TraceState().AsRaw())
			require.GreaterOrEqual(t, threshold.Randomness(span.TraceID()), threshold.Of(rate))
		}
		require.NoError(t, p.Shutdown(context.Background()))
		require.InDelta(t, n/4, sink.SpanCount(), 150)
	})
}

// Reports and what detectors add pass at once, and the trace that a detector has a span
// in is kept whatever the budget says.
func TestWhatDetectorsSayPassesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := defaultConfig()
		cfg.Policies, cfg.MaxRate, cfg.MinRate = nil, 0, 0
		sink := new(consumertest.TracesSink)
		p := start(t, cfg, sink, componenttest.NewNopHost())
		l := newLoad(1)
		before, after := l.trace(), l.trace()
		td := ptrace.NewTraces()
		l.add(td, before, "s", "root", 2, nil)
		consume(t, p, td)

		td = ptrace.NewTraces()
		rs := td.ResourceSpans().AppendEmpty()
		rs.Resource().Attributes().PutStr("service.name", "s")
		for _, scope := range []string{taskspan.ScopeDetector, taskspan.ScopeReport, "app"} {
			ss := rs.ScopeSpans().AppendEmpty()
			ss.Scope().SetName(scope)
			for _, id := range []pcommon.TraceID{before, after} {
				if scope == "app" {
					id = l.trace()
				}
				s := ss.Spans().AppendEmpty()
				s.SetTraceID(id)
				s.SetName(scope)
			}
		}
		consume(t, p, td)
		require.Equal(t, 4, sink.SpanCount())

		td = ptrace.NewTraces()
		l.add(td, after, "s", "root", 2, nil)
		consume(t, p, td)
		time.Sleep(5 * time.Second)
		require.Equal(t, 8, sink.SpanCount(), "both traces, and not those of the application")
		require.NoError(t, p.Shutdown(context.Background()))
		require.Equal(t, 8, sink.SpanCount())
	})
}

func TestKeptSpansThatAreRefusedAreSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next, host := new(hosttest.Next), new(hosttest.Host)
		p := start(t, defaultConfig(), next, host)
		l := newLoad(1)
		send := func(spans int) {
			td := ptrace.NewTraces()
			l.add(td, l.trace(), "s", "root", spans, nil)
			consume(t, p, td)
			time.Sleep(5 * time.Second)
		}
		next.Refuse(errors.New("full"))
		send(3)
		require.Zero(t, next.SpanCount())
		next.Refuse(nil)
		send(4)
		require.Equal(t, 7, next.SpanCount())
		require.Equal(t, []componentstatus.Status{componentstatus.StatusRecoverableError, componentstatus.StatusOK}, host.Statuses())
		require.Zero(t, p.Sampling().RefusedSpans)
		next.Refuse(errors.New("full"))
		td := ptrace.NewTraces()
		l.add(td, l.trace(), "s", "root", 5, nil)
		consume(t, p, td)
		require.ErrorContains(t, p.Shutdown(context.Background()), "send 5 spans of kept traces before shutdown: full")
		require.EqualValues(t, 5, p.Sampling().RefusedSpans)
	})
}

func TestPoliciesDecideInTheirOrder(t *testing.T) {
	one, none := 1.0, 0.0
	s := newSim(t, func(c *Config) {
		c.Record.Policy = true
		c.Policies = []Policy{
			{Name: "health", Type: PolicyDrop, Attribute: Attribute{Key: "url.path", Values: []string{"/healthz"}}},
			{Name: "cron", Type: PolicyDrop, Pattern: "cron *"},
			{Name: "api", Type: PolicyName, Pattern: "api::*", Rate: &one},
			{Name: "staging", Type: PolicyAttribute, Attribute: Attribute{Key: "resource.service.name", Values: []string{"staging"}}, Rate: &none},
			{Name: "slow", Type: PolicyLatency, Threshold: time.Minute, Rate: &one},
		}
		c.MaxRate, c.MinRate = 0, 0
	})
	l := newLoad(1)
	td := ptrace.NewTraces()
	path := func(_ int, sp ptrace.Span) { sp.Attributes().PutStr("url.path", "/healthz") }
	slow := func(_ int, sp ptrace.Span) {
		sp.SetEndTimestamp(pcommon.NewTimestampFromTime(epoch.Add(time.Hour)))
	}
	l.add(td, l.trace(), "s", "api::health", 1, path)
	l.add(td, l.trace(), "s", "cron cleanup", 1, nil)
	l.add(td, l.trace(), "s", "api::get", 2, nil)
	l.add(td, l.trace(), "staging", "api::put", 1, nil)
	l.add(td, l.trace(), "staging", "slow", 1, slow)
	l.add(td, l.trace(), "s", "slow", 1, slow)
	l.add(td, l.trace(), "s", "ordinary", 1, nil)
	s.consume(td)
	s.drain()
	by := make(map[string]string)
	for _, span := range s.kept {
		if isRoot(span) {
			v, _ := span.Attributes().Get(attributePolicy)
			by[span.Name()] = v.Str()
		}
	}
	require.Equal(t, map[string]string{"api::get": "api", "api::put": "api", "slow": "slow"}, by)
	require.EqualValues(t, 2, s.counts.traces[dropPolicy].Load())
}

func TestADryRunDropsNothing(t *testing.T) {
	s := newSim(t, func(c *Config) {
		c.DryRun, c.MaxRate, c.MinRate = true, 0, 0
		c.Policies = []Policy{{Name: "health", Type: PolicyDrop, Pattern: "health"}}
	})
	l := newLoad(1)
	td := ptrace.NewTraces()
	l.add(td, l.trace(), "s", "root", 2, nil)
	l.add(td, l.trace(), "s", "health", 2, nil)
	s.consume(td)
	s.take(s.tick(s.now, true))
	require.Len(t, s.kept, 4)
	require.EqualValues(t, 1, s.counts.traces[dropped].Load())
	require.EqualValues(t, 1, s.counts.traces[dropPolicy].Load())
}

func TestManyGoroutines(t *testing.T) {
	cfg := defaultConfig()
	cfg.DecisionInterval, cfg.DecisionDelay, cfg.Memory.LimitMiB = 10*time.Millisecond, 5*time.Millisecond, 1
	sink := new(consumertest.TracesSink)
	p := start(t, cfg, sink, componenttest.NewNopHost())
	var all sync.WaitGroup
	for i := range uint64(4) {
		all.Go(func() {
			l := newLoad(i)
			for range 30 {
				td := ptrace.NewTraces()
				for range 40 {
					l.add(td, pcommon.TraceID{byte(l.rnd.IntN(200)), 15: byte(l.rnd.IntN(256))}, "s", "root", 3, nil)
				}
				_ = p.ConsumeTraces(context.Background(), td)
			}
		})
	}
	all.Wait()
	require.NoError(t, p.Shutdown(context.Background()))
	require.Zero(t, p.sampler.bytes.Load())
	c := &p.sampler.counts
	out := c.late[0].Load() + c.late[1].Load()
	for i := range outcomes {
		out += c.spans[i].Load()
	}
	require.Equal(t, c.spansIn.Load(), out)
	require.EqualValues(t, c.spans[kept].Load()+c.late[1].Load(), sink.SpanCount())
}

func TestTheMetricsSayWhatHappened(t *testing.T) {
	tel := componenttest.NewTelemetry()
	defer func() { require.NoError(t, tel.Shutdown(context.Background())) }()
	set := processortest.NewNopSettings(metadata.Type)
	set.TelemetrySettings = tel.NewTelemetrySettings()
	p, err := newProcessor(set, defaultConfig(), consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, p.Start(context.Background(), componenttest.NewNopHost()))
	td := ptrace.NewTraces()
	l := newLoad(1)
	l.add(td, l.trace(), "s", "root", 3, nil)
	consume(t, p, td)
	metadatatest.AssertEqualProcessorAdaptiveSamplerReceivedSpans(t, tel, []metricdata.DataPoint[int64]{{Value: 3}}, metricdatatest.IgnoreTimestamp())
	metadatatest.AssertEqualProcessorAdaptiveSamplerPendingTraces(t, tel, []metricdata.DataPoint[int64]{{Value: 1}}, metricdatatest.IgnoreTimestamp())
	metadatatest.AssertEqualProcessorAdaptiveSamplerMemoryLimit(t, tel, []metricdata.DataPoint[int64]{{Value: 512 << 20}}, metricdatatest.IgnoreTimestamp())
	_, err = tel.GetMetric("otelcol_processor_adaptive_sampler_traces")
	require.NoError(t, err)
	require.NoError(t, p.Shutdown(context.Background()))
}

// Whatever comes, nothing panics and the books are right.
func FuzzConsumeTraces(f *testing.F) {
	marshal, unmarshal := ptrace.ProtoMarshaler{}, ptrace.ProtoUnmarshaler{}
	l := newLoad(1)
	for _, state := range []string{"", "ot=th:c;rv:01020304050607,a=b", "ot=th:zz,,;="} {
		td := ptrace.NewTraces()
		l.add(td, pcommon.TraceID{}, "", "root", 2, func(_ int, s ptrace.Span) { s.TraceState().FromRaw(state) })
		l.add(td, l.trace(), "s", "root", 3, func(_ int, s ptrace.Span) { s.Status().SetCode(ptrace.StatusCodeError) })
		body, err := marshal.MarshalTraces(td)
		require.NoError(f, err)
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		td, err := unmarshal.UnmarshalTraces(body)
		if err != nil {
			return
		}
		again := ptrace.NewTraces()
		td.CopyTo(again)
		s := newSim(t, func(c *Config) {
			c.Policies, c.Target.SpansPerSecond, c.Record = defaultPolicies(), 3, Record{true, true}
		})
		s.limit, s.maxTrace = 20_000, 4_000
		s.consume(td)
		s.check()
		s.second()
		s.consume(again)
		for range 4 {
			s.second()
			s.check()
		}
		s.drain()
		require.Zero(t, s.bytes.Load())
	})
}
