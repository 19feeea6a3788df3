package nestinglimiter

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/protobuf/encoding/protowire"
)

// nest makes a value of arrays and maps in each other, in turns.
func nest(v pcommon.Value, depth int) {
	for level := range depth {
		if level%2 == 0 {
			v = v.SetEmptySlice().AppendEmpty()
		} else {
			v = v.SetEmptyMap().PutEmpty("in")
		}
	}
	v.SetStr("x")
}

// places are all places of OTLP in which a value can be, by what it is sent in.
var places = map[message]map[string]func(depth int) (protobuf, json []byte){
	traceRequest: {
		"resource": traces(func(td ptrace.Traces) pcommon.Map { return td.ResourceSpans().At(0).Resource().Attributes() }),
		"scope": traces(func(td ptrace.Traces) pcommon.Map {
			return td.ResourceSpans().At(0).ScopeSpans().At(0).Scope().Attributes()
		}),
		"span":  traces(func(td ptrace.Traces) pcommon.Map { return spanOf(td).Attributes() }),
		"event": traces(func(td ptrace.Traces) pcommon.Map { return spanOf(td).Events().AppendEmpty().Attributes() }),
		"link":  traces(func(td ptrace.Traces) pcommon.Map { return spanOf(td).Links().AppendEmpty().Attributes() }),
	},
	logsRequest: {
		"body": logs(func(r plog.LogRecord) pcommon.Value { return r.Body() }),
		"log":  logs(func(r plog.LogRecord) pcommon.Value { return r.Attributes().PutEmpty("a") }),
	},
	metricsRequest: {
		"gauge": metrics(func(m pmetric.Metric) pcommon.Map { return m.SetEmptyGauge().DataPoints().AppendEmpty().Attributes() }),
		"sum":   metrics(func(m pmetric.Metric) pcommon.Map { return m.SetEmptySum().DataPoints().AppendEmpty().Attributes() }),
		"exemplar of a sum": metrics(func(m pmetric.Metric) pcommon.Map {
			return m.SetEmptySum().DataPoints().AppendEmpty().Exemplars().AppendEmpty().FilteredAttributes()
		}),
		"histogram": metrics(func(m pmetric.Metric) pcommon.Map {
			return m.SetEmptyHistogram().DataPoints().AppendEmpty().Attributes()
		}),
		"exemplar of a histogram": metrics(func(m pmetric.Metric) pcommon.Map {
			return m.SetEmptyHistogram().DataPoints().AppendEmpty().Exemplars().AppendEmpty().FilteredAttributes()
		}),
		"exponential histogram": metrics(func(m pmetric.Metric) pcommon.Map {
			return m.SetEmptyExponentialHistogram().DataPoints().AppendEmpty().Attributes()
		}),
		"exemplar of an exponential histogram": metrics(func(m pmetric.Metric) pcommon.Map {
			return m.SetEmptyExponentialHistogram().DataPoints().AppendEmpty().Exemplars().AppendEmpty().FilteredAttributes()
		}),
		"summary":  metrics(func(m pmetric.Metric) pcommon.Map { return m.SetEmptySummary().DataPoints().AppendEmpty().Attributes() }),
		"metadata": metrics(func(m pmetric.Metric) pcommon.Map { return m.Metadata() }),
	},
}

// both is a request of OTLP, which can be written in two ways.
type both interface {
	MarshalProto() ([]byte, error)
	MarshalJSON() ([]byte, error)
}

func encoded(r both) (protobuf, json []byte) {
	protobuf, errProtobuf := r.MarshalProto()
	json, errJSON := r.MarshalJSON()
	if err := errors.Join(errProtobuf, errJSON); err != nil {
		panic(err)
	}
	return protobuf, json
}

func spanOf(td ptrace.Traces) ptrace.Span {
	return td.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0)
}

func traces(in func(ptrace.Traces) pcommon.Map) func(int) (protobuf, json []byte) {
	return func(depth int) (protobuf, json []byte) {
		td := ptrace.NewTraces()
		span := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
		span.SetName("[[[[")
		span.TraceState().FromRaw("a={{{{")
		nest(span.Attributes().PutEmpty("beside"), 1)
		nest(in(td).PutEmpty("a"), depth)
		nest(span.Attributes().PutEmpty("after"), 1)
		return encoded(ptraceotlp.NewExportRequestFromTraces(td))
	}
}

func logs(in func(plog.LogRecord) pcommon.Value) func(int) (protobuf, json []byte) {
	return func(depth int) (protobuf, json []byte) {
		ld := plog.NewLogs()
		nest(in(ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()), depth)
		return encoded(plogotlp.NewExportRequestFromLogs(ld))
	}
}

func metrics(in func(pmetric.Metric) pcommon.Map) func(int) (protobuf, json []byte) {
	return func(depth int) (protobuf, json []byte) {
		md := pmetric.NewMetrics()
		nest(in(md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()).PutEmpty("a"), depth)
		return encoded(pmetricotlp.NewExportRequestFromMetrics(md))
	}
}

// A value is found too deep wherever it is, and one at the limit is let through.
func TestDepthIsFoundWhereverAValueCanBe(t *testing.T) {
	for of, in := range places {
		for place, request := range in {
			for depth, want := range map[int]error{0: nil, 1: nil, 6: nil, 7: nil, 8: errTooDeep, 9: errTooDeep, 500: errTooDeep} {
				protobuf, json := request(depth)
				require.Equal(t, want, check(protobuf, of, 7), "%s, depth %d", place, depth)
				// JSON lets a little more through, and never less.
				if err := checkJSON(json, 7); want == nil || depth > 20 {
					require.Equal(t, want, err, "%s, depth %d in JSON", place, depth)
				}
			}
		}
	}
}

// Brackets in texts are no nesting, also behind escapes.
func TestTextsInJSONAreNoNesting(t *testing.T) {
	for text, want := range map[string]error{
		`{"a":"` + strings.Repeat("[{", 40) + `"}`:           nil,
		`{"a":"\"` + strings.Repeat("[{", 40) + `"}`:         nil,
		`{"a":"\\","b":` + strings.Repeat("[", 20):           errTooDeep,
		strings.Repeat(`{"a":[]},`, 100):                     nil,
		strings.Repeat("[", bracketsAround+1*4):              nil,
		strings.Repeat("[", bracketsAround+1*4+1):            errTooDeep,
		strings.Repeat(`[`, 19) + `"\"` + `[[[` + `"` + `[[`: errTooDeep,
		`"\`: nil,
	} {
		require.Equal(t, want, checkJSON([]byte(text), 1), text)
	}
}

// What the walk cannot read is refused, for the decoder may read it otherwise.
func TestWhatCannotBeReadIsRefused(t *testing.T) {
	whole, _ := places[traceRequest]["span"](3)
	require.NoError(t, check(whole, traceRequest, 7))
	for name, body := range map[string][]byte{
		"cut":                      whole[:len(whole)-1],
		"field number 0":           {0, 0},
		"field number 2^32 + 1":    append(protowire.AppendVarint(nil, (1<<32+1)<<3|2), 0),
		"wire type 7":              {1<<3 | 7},
		"group that never ends":    {15<<3 | 3},
		"end of a group":           {15<<3 | 4},
		"length beyond the end":    {1<<3 | 2, 9, 0},
		"varint of eleven bytes":   append([]byte{15 << 3}, strings.Repeat("\xff", 11)...),
		"cut in a resource's span": {1<<3 | 2, 2, 2<<3 | 2, 1},
	} {
		err := check(body, traceRequest, 7)
		require.Error(t, err, name)
		require.NotErrorIs(t, err, errTooDeep, name)
	}
	// Fields of other types, and of versions to come, are skipped.
	for name, body := range map[string][]byte{
		"varint": {15 << 3, 1}, "fixed64": {15<<3 | 1, 1, 2, 3, 4, 5, 6, 7, 8}, "fixed32": {15<<3 | 5, 1, 2, 3, 4},
		"group": {15<<3 | 3, 2<<3 | 2, 1, 'x', 15<<3 | 4}, "bytes": {15<<3 | 2, 1, 'x'}, "nothing": {},
	} {
		require.NoError(t, check(body, traceRequest, 7), name)
	}
}

// What pdata decodes is let through by the walk if it is not too deep, whatever it is.
func FuzzCheckAgreesWithPdata(f *testing.F) {
	for depth := range 5 {
		protobuf, _ := places[traceRequest]["event"](depth)
		f.Add(protobuf)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if check(body, traceRequest, 3) != nil {
			return
		}
		request := ptraceotlp.NewExportRequest()
		if request.UnmarshalProto(body) != nil {
			return
		}
		resources := request.Traces().ResourceSpans()
		for i := range resources.Len() {
			for _, v := range resources.At(i).Resource().Attributes().All() {
				if depth := depthOf(v); depth > 3 {
					t.Fatalf("%d arrays and maps in each other", depth)
				}
			}
		}
	})
}

func depthOf(v pcommon.Value) (depth int) {
	switch v.Type() {
	case pcommon.ValueTypeSlice:
		for _, in := range v.Slice().All() {
			depth = max(depth, depthOf(in))
		}
		return depth + 1
	case pcommon.ValueTypeMap:
		for _, in := range v.Map().All() {
			depth = max(depth, depthOf(in))
		}
		return depth + 1
	}
	return 0
}

// A request of 1,000 spans with ten attributes each.
func BenchmarkCheck(b *testing.B) {
	td := ptrace.NewTraces()
	spans := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans()
	for range 1000 {
		span := spans.AppendEmpty()
		span.SetName("GET /orders/{id}")
		for i := range 10 {
			span.Attributes().PutStr("some.attribute."+string(rune('a'+i)), "some value")
		}
	}
	protobuf, json := encoded(ptraceotlp.NewExportRequestFromTraces(td))
	for name, run := range map[string]struct {
		body  []byte
		check func() error
	}{
		"protobuf":          {protobuf, func() error { return check(protobuf, traceRequest, 64) }},
		"json":              {json, func() error { return checkJSON(json, 64) }},
		"decoding protobuf": {protobuf, func() error { return ptraceotlp.NewExportRequest().UnmarshalProto(protobuf) }},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(run.body)))
			for b.Loop() {
				if err := run.check(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
