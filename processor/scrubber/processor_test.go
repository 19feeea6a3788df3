package scrubber

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor/processortest"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/asyncinspect/asyncinspect/processor/scrubber/internal/metadata"
	"github.com/asyncinspect/asyncinspect/processor/scrubber/internal/metadatatest"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

func defaultConfig() *Config { return createDefaultConfig().(*Config) }

func newScrubber(t testing.TB, cfg *Config) (*scrubber, *consumertest.TracesSink) {
	t.Helper()
	require.NoError(t, cfg.Validate())
	sink := new(consumertest.TracesSink)
	p, err := newProcessor(processortest.NewNopSettings(metadata.Type), cfg, sink)
	require.NoError(t, err)
	return p, sink
}

// The secrets, one of each kind.
const (
	mail  = "ann.neil+x@mail.example.org"
	card  = "4111 1111-1111 1111"
	token = "eyJhbGciOiJIUzI1NiIs.eyJzdWIiOiIxMjM0NTY3.abcDEF_-1"
)

var secrets = []string{"neil+x@mail", "example.org", "4111", "1111", "eyJ", "abcDEF"}

// full is a span with a text in every field that has one.
func full(text string) ptrace.Traces {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	put := func(m pcommon.Map) {
		m.PutStr("text", text)
		m.PutEmptyBytes("bytes").FromRaw([]byte(text))
		list := m.PutEmptySlice("list")
		list.AppendEmpty().SetStr(text)
		list.AppendEmpty().SetEmptyMap().PutStr("in a map of a list", text)
		m.PutEmptyMap("map").PutEmptySlice("list of a map").AppendEmpty().SetStr(text)
		for _, key := range slices.Sorted(maps.Keys(protocolTexts)) {
			m.PutStr(key, text)
		}
		m.PutEmptySlice(taskspan.WaitCallers).AppendEmpty().SetStr("main." + text + " main.go:1")
	}
	put(rs.Resource().Attributes())
	ss := rs.ScopeSpans().AppendEmpty()
	ss.Scope().SetName(text)
	ss.Scope().SetVersion(text)
	put(ss.Scope().Attributes())
	s := ss.Spans().AppendEmpty()
	s.SetName(text)
	s.Status().SetMessage(text)
	s.TraceState().FromRaw("ot=th:c,vendor=" + text)
	put(s.Attributes())
	e := s.Events().AppendEmpty()
	e.SetName(text)
	put(e.Attributes())
	l := s.Links().AppendEmpty()
	l.TraceState().FromRaw("vendor=" + text)
	put(l.Attributes())
	return td
}

func written(t *testing.T, td ptrace.Traces) string {
	t.Helper()
	text, err := (&ptrace.JSONMarshaler{}).MarshalTraces(td)
	require.NoError(t, err)
	return string(text)
}

func TestEveryTextIsScrubbed(t *testing.T) {
	p, sink := newScrubber(t, defaultConfig())
	for _, secret := range []string{mail, card, token} {
		sink.Reset()
		td := full("before " + secret + " after")
		require.NoError(t, p.ConsumeTraces(t.Context(), td))
		got := sink.AllTraces()[0]
		text := written(t, got) // bytes are base64 in it, so they are compared below
		for _, s := range secrets {
			require.NotContains(t, text, s)
		}
		// What is not a secret stays, and is where it was.
		require.True(t, text == written(t, full("before **** after")), "%s", text)
	}
}

// What the default expressions take, at the limits of each.
func TestWhatIsASecret(t *testing.T) {
	r, err := newRules(defaultConfig())
	require.NoError(t, err)
	for text, want := range map[string]string{
		"4111111111111": "****", "4111111111111111111": "****", "card 4111 1111 1111 1111!": "card ****!", "a-4111-1111-1111-1111": "a-****",
		"order_4111111111111111_paid": "order****paid", "4111_1111_1111_1111": "****", "_4111111111111": "****",
		"411111111111": "411111111111", "41111111111111111111": "41111111111111111111", "a4111111111111": "a4111111111111",
		"4111111111111a": "4111111111111a", "2026-11-26 18:46:11": "2026-11-26 18:46:11", "10.0.0.1:41111": "10.0.0.1:41111",
		"ann@example.org": "****", "<ann.x+y@mail.example.org>": "<****>", "mailto:_ann@a.de,b": "mailto:****,b",
		"ann@localhost": "ann@localhost", "@example.org": "@example.org", "git@": "git@", "a @ b.cd": "a @ b.cd",
		"Bearer eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.": "Bearer ****", "eyJhbGci.eyJzdWIiOiIxMjM0": "eyJhbGci.eyJzdWIiOiIxMjM0", "eyJ": "eyJ",
		"": "", "GET /orders/17": "GET /orders/17",
	} {
		got, replaced := r.text(text)
		require.Equal(t, want, got, text)
		require.Equal(t, want != text, replaced, text)
	}
}

func TestWhatIsReplacedIsCounted(t *testing.T) {
	telemetry := componenttest.NewTelemetry()
	p, err := newProcessor(metadatatest.NewSettings(telemetry), defaultConfig(), consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, p.Start(context.Background(), componenttest.NewNopHost()))
	require.NoError(t, p.ConsumeTraces(t.Context(), full(card)))
	require.NoError(t, p.ConsumeTraces(t.Context(), full("harmless")))
	inMap := int64(5 + len(protocolTexts))
	want := map[string]int64{
		"resource": inMap, "scope": inMap + 2, "name": 1, "status": 1, "attribute": inMap, "event": inMap + 1, "link": inMap, "tracestate": 2,
	}
	got := make(map[string]int64)
	metric, err := telemetry.GetMetric("otelcol_processor_scrubber_replaced_texts")
	require.NoError(t, err)
	for _, point := range metric.Data.(metricdata.Sum[int64]).DataPoints {
		field, _ := point.Attributes.Value("field")
		got[field.AsString()] = point.Value
	}
	require.Equal(t, want, got)
	require.NoError(t, p.Shutdown(context.Background()))
	require.NoError(t, telemetry.Shutdown(context.Background()))
}

// Whatever the key says is a secret is replaced, whatever type it has and however deep it
// is.
func TestTheValueOfABlockedKeyIsReplaced(t *testing.T) {
	p, sink := newScrubber(t, defaultConfig())
	td := ptrace.NewTraces()
	attrs := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty().Attributes()
	require.NoError(t, attrs.FromRaw(map[string]any{
		"user.password": "hunter2", "Pin_Secret": int64(1234), "http.request.header.cookie": []any{"a=b"}, "api-key": true,
		"request": map[string]any{"authorization": "Basic x", "path": "/a"}, "tokens": 7.5, "harmless": "hunter2",
	}))
	require.NoError(t, p.ConsumeTraces(t.Context(), td))
	require.Equal(t, map[string]any{
		"user.password": "****", "Pin_Secret": "****", "http.request.header.cookie": "****", "api-key": "****",
		"request": map[string]any{"authorization": "****", "path": "/a"}, "tokens": "****", "harmless": "hunter2",
	}, sink.AllTraces()[0].ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).Attributes().AsRaw())
	require.EqualValues(t, 6, p.replaced[inAttribute].Load())
}

// Two processes, tasks or locks stay two, however much their ids look like a card.
func TestIdentitiesAreLeftAlone(t *testing.T) {
	cfg := defaultConfig()
	cfg.IgnoredKeys = []string{"order.number"}
	p, sink := newScrubber(t, cfg)
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	s := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	ids := map[string]any{
		"service.name": "shop-4111111111111111", "service.instance.id": "shop-1795694507123", "service.namespace": "tenant-4111111111111111",
		taskspan.ProcessEpoch: int64(1_795_694_507_123_456_789), "order.number": "4111111111111111",
		taskspan.TaskRemoteParent: "41111111111111114111111111111111/4111111111111111", taskspan.TaskParentSpanID: "4111111111111111",
		taskspan.WaitResourceID: "span:41111111111111114111111111111111/4111111111111111",
		taskspan.Holds:          []any{"ext:4111111111111111"}, taskspan.LockOrderHeld: "ext:4111111111111111", "async_inspect.token": "of tomorrow",
	}
	require.NoError(t, rs.Resource().Attributes().FromRaw(ids))
	require.NoError(t, s.Attributes().FromRaw(ids))
	s.TraceState().FromRaw("ot=th:41111111111111;rv:41111111111111")
	require.NoError(t, p.ConsumeTraces(t.Context(), td))
	got := sink.AllTraces()[0].ResourceSpans().At(0)
	require.Equal(t, ids, got.Resource().Attributes().AsRaw())
	require.Equal(t, ids, got.ScopeSpans().At(0).Spans().At(0).Attributes().AsRaw())
	require.Equal(t, "ot=th:41111111111111;rv:41111111111111", got.ScopeSpans().At(0).Spans().At(0).TraceState().AsRaw())
}

// The counts of a heartbeat have names, and numbers with as many digits as a card has.
func TestTheNumbersOfAHeartbeatStay(t *testing.T) {
	p, sink := newScrubber(t, defaultConfig())
	td := ptrace.NewTraces()
	attrs := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty().Attributes()
	list := attrs.PutEmptySlice(taskspan.TasksByName)
	const numbers = `"started":4111111111111111,"completed":3,"failed":4,"cancelled":5,"running":6,"blocked":7,` +
		`"durations":{"seconds":0.12345678901234568,"buckets":[1,2]}}`
	list.AppendEmpty().SetStr(`{"name":"pay ` + card + `",` + numbers)
	list.AppendEmpty().SetStr(`{"name":"pay",` + numbers)
	list.AppendEmpty().SetStr(`broken {` + mail)
	require.NoError(t, p.ConsumeTraces(t.Context(), td))
	got, _ := sink.AllTraces()[0].ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).Attributes().Get(taskspan.TasksByName)
	require.Equal(t, []any{`{"name":"pay ****",` + numbers, `{"name":"pay",` + numbers, `broken {****`}, got.Slice().AsRaw())
}

// Every report of the protocol passes unchanged if it has no secret.
func TestTheProtocolPassesUnchanged(t *testing.T) {
	files, err := filepath.Glob("../../testdata/protocol/*.json")
	require.NoError(t, err)
	checked := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		want, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(text)
		if err != nil || want.SpanCount() == 0 {
			continue // it describes what comes out
		}
		p, sink := newScrubber(t, defaultConfig())
		td := ptrace.NewTraces()
		want.CopyTo(td)
		require.NoError(t, p.ConsumeTraces(t.Context(), td))
		require.Equal(t, written(t, want), written(t, sink.AllTraces()[0]), file)
		checked++
	}
	require.Greater(t, checked, 5)
}

// Each attribute of the protocol is an identity or a text. A new one has to be looked at:
// as long as nobody has, it is an identity.
func TestTheAttributesOfTheProtocolAreClassified(t *testing.T) {
	source, err := os.ReadFile("../../sdk/taskspan/names.go")
	require.NoError(t, err)
	texts := 0
	for _, m := range regexp.MustCompile(`= "(async_inspect\.[a-z_.]+)"`).FindAllStringSubmatch(string(source), -1) {
		key := m[1]
		if protocolTexts[key] {
			texts++
			continue
		}
		// These hold names that a service chooses, so they must not be among the rest.
		for _, name := range []string{"name", "suggestion", "cycle", "callers", "function", "file"} {
			if strings.HasSuffix(key, "."+name) || strings.HasSuffix(key, "_"+name) {
				require.Equal(t, taskspan.TasksByName, key, "%s is a text", key)
			}
		}
	}
	require.Equal(t, len(protocolTexts), texts, "a text that is no attribute of the protocol")
}

func TestATextWithoutAMatchCostsNoAllocation(t *testing.T) {
	cfg := defaultConfig()
	cfg.BlockedValues = []string{`[a-z]+@[a-z]+`} // what its text rules out runs no expression, whose sync.Pool forgets under -race
	p, err := newProcessor(processortest.NewNopSettings(metadata.Type), cfg, consumertest.NewNop())
	require.NoError(t, err)
	td := full("GET /orders/17")
	for _, m := range []pcommon.Map{
		td.ResourceSpans().At(0).Resource().Attributes(), td.ResourceSpans().At(0).ScopeSpans().At(0).Scope().Attributes(),
	} {
		m.Remove("bytes") // which are copied
	}
	spans := td.ResourceSpans().At(0).ScopeSpans().At(0).Spans()
	spans.At(0).Attributes().Remove("bytes")
	spans.At(0).Events().At(0).Attributes().Remove("bytes")
	spans.At(0).Links().At(0).Attributes().Remove("bytes")
	require.Zero(t, testing.AllocsPerRun(50, func() { _ = p.ConsumeTraces(context.Background(), td) }))
}

func BenchmarkScrub(b *testing.B) {
	for name, text := range map[string]string{"nothing": "GET /orders/17", "a card": "pay " + card} {
		b.Run(name, func(b *testing.B) {
			p, err := newProcessor(processortest.NewNopSettings(metadata.Type), defaultConfig(), consumertest.NewNop())
			require.NoError(b, err)
			source, td := full(text), ptrace.NewTraces()
			b.ReportAllocs()
			for b.Loop() {
				source.CopyTo(td)
				_ = p.ConsumeTraces(context.Background(), td)
			}
		})
	}
}
