package adaptivesampler

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/asyncinspect/asyncinspect/internal/view"
)

// inspectorHost is a host with an extension that shows samplers.
type inspectorHost struct {
	component.Component
	readers map[string]view.SamplerReader
}

func (h *inspectorHost) GetExtensions() map[component.ID]component.Component {
	return map[component.ID]component.Component{component.MustNewID("inspector"): h}
}

func (h *inspectorHost) RegisterAdaptiveSampler(id string, r view.SamplerReader) func() {
	h.readers[id] = r
	return func() { delete(h.readers, id) }
}

func TestASamplerShowsItsState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := defaultConfig()
		cfg.Target.SpansPerSecond, cfg.MinRate, cfg.Policies = 100, 0, defaultPolicies()
		host := &inspectorHost{readers: make(map[string]view.SamplerReader)}
		p := start(t, cfg, new(consumertest.TracesSink), host)
		reader := host.readers[p.id.String()]
		require.NotNil(t, reader)
		l := newLoad(1)
		for range 60 {
			td := ptrace.NewTraces()
			for i := range 1000 {
				l.add(td, l.trace(), "s", fmt.Sprint("root ", i%4/3), 1, nil) // 3:1
			}
			l.add(td, l.trace(), "s", "bad", 1, func(_ int, sp ptrace.Span) { sp.Status().SetCode(ptrace.StatusCodeError) })
			consume(t, p, td)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		s := reader.Sampling()
		require.Nil(t, s.FixedRate)
		require.Len(t, s.Budgets, 1)
		require.EqualValues(t, view.Budget{Kind: "spans", Asked: 100, Spent: s.Budgets[0].Spent}, s.Budgets[0])
		require.InDelta(t, 100, s.Budgets[0].Spent, 3)
		require.Len(t, s.Keys, 2, "the error is beside the budget")
		require.Equal(t, "s|root 0", s.Keys[0].Key)
		require.EqualValues(t, 750, s.Keys[0].Spans)
		require.EqualValues(t, 250, s.Keys[1].Spans)
		require.InDelta(t, s.Keys[0].Rate*750, s.Keys[1].Rate*250, 1, "a fair share")
		kept := s.Keys[0].KeptSpans + s.Keys[1].KeptSpans
		require.InDelta(t, 99, kept, 50, "one tick may spend what another has left")
		require.EqualValues(t, 60_060, s.ReceivedSpans)
		var spans int64
		for _, o := range s.Outcomes {
			spans += o.Spans
		}
		require.EqualValues(t, 60_060-s.Tables[1].Size, spans, "each span has one outcome, or is pending")
		require.NoError(t, p.Shutdown(context.Background()))
		require.Empty(t, host.readers)
	})
}

func TestAFixedRateIsShown(t *testing.T) {
	cfg := defaultConfig()
	rate := 0.25
	cfg.SamplingRate, cfg.Policies = &rate, nil
	p := start(t, cfg, consumertest.NewNop(), &inspectorHost{readers: make(map[string]view.SamplerReader)})
	td := ptrace.NewTraces()
	newLoad(1).add(td, pcommon.TraceID{1}, "s", "root", 3, nil)
	consume(t, p, td)
	s := p.Sampling()
	require.Equal(t, rate, *s.FixedRate)
	require.EqualValues(t, 3, s.ReceivedSpans)
	require.NoError(t, p.Shutdown(context.Background()))
}

func TestTheWindowForgets(t *testing.T) {
	var w window
	at := time.Unix(0, 0)
	require.Zero(t, w.perSecond(at))
	for range 30 {
		w.add(at, cost{10, 100, 1})
		at = at.Add(time.Second)
	}
	require.InDelta(t, 10*29/30., w.perSecond(at)[0], 1e-9, "what came before the first is not known")
	for range 60 {
		w.add(at, cost{20, 0, 0})
		at = at.Add(time.Second)
	}
	require.InDelta(t, 20, w.perSecond(at.Add(-time.Second))[0], 1e-9)
	require.LessOrEqual(t, len(w.items), 60)
}
