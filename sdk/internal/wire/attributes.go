package wire

import (
	"encoding/hex"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// attributes collects the attributes of one span or link.
type attributes []*commonpb.KeyValue

func (a *attributes) add(key string, v *commonpb.AnyValue) {
	*a = append(*a, &commonpb.KeyValue{Key: key, Value: v})
}

// str adds a name, cut to its limit.
func (a *attributes) str(key, v string) { a.add(key, strValue(Name(v))) }

// id adds an identity.
func (a *attributes) id(key, v string) { a.add(key, strValue(ID(v))) }

// ids adds a list of identities.
func (a *attributes) ids(key string, list []string) {
	values := make([]*commonpb.AnyValue, 0, len(list))
	for _, v := range list {
		values = append(values, strValue(ID(v)))
	}
	a.array(key, values)
}

// strValue takes a text that is within its limit already.
func strValue(v string) *commonpb.AnyValue {
	return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: Valid(v)}}
}

func intValue(v int64) *commonpb.AnyValue {
	return &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: v}}
}

func (a *attributes) int(key string, v int64) { a.add(key, intValue(v)) }

func boolValue(v bool) *commonpb.AnyValue {
	return &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{BoolValue: v}}
}

func (a *attributes) bool(key string, v bool) { a.add(key, boolValue(v)) }

func (a *attributes) double(key string, v float64) {
	a.add(key, &commonpb.AnyValue{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: v}})
}

func (a *attributes) strs(key string, list []string) {
	values := make([]*commonpb.AnyValue, 0, len(list))
	for _, v := range list {
		values = append(values, strValue(v))
	}
	a.array(key, values)
}

func (a *attributes) ints(key string, list []int64) {
	values := make([]*commonpb.AnyValue, 0, len(list))
	for _, v := range list {
		values = append(values, intValue(v))
	}
	a.array(key, values)
}

func (a *attributes) array(key string, values []*commonpb.AnyValue) {
	a.add(key, &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{ArrayValue: &commonpb.ArrayValue{Values: values}}})
}

// report begins a report. The sequence number has its place and no value yet.
func (a *attributes) report(kind taskspan.ReportKind) {
	*a = make(attributes, 0, 24)
	a.int(taskspan.ReportSequence, 0)
	a.str(taskspan.Report, string(kind))
}

// SetSequence numbers a report when it is sent.
func SetSequence(s *tracepb.Span, n int64) { s.Attributes[0].Value = intValue(n) }

// acknowledgedAt is the place of the attribute in a heartbeat, after the two that every
// report begins with.
const acknowledgedAt = 2

// SetAcknowledged says in the parts of a heartbeat that an earlier one has been
// acknowledged.
func SetAcknowledged(parts []*tracepb.Span) {
	for _, s := range parts {
		s.Attributes[acknowledgedAt].Value = boolValue(true)
	}
}

func (a *attributes) task(t *Task) {
	a.str(taskspan.TaskName, t.Name)
	a.str(taskspan.TaskState, string(t.State))
	a.int(taskspan.TaskStart, t.Start)
	if t.Parent != ([8]byte{}) {
		a.str(taskspan.TaskParentSpanID, hex.EncodeToString(t.Parent[:]))
	}
	if t.Remote != (Node{}) {
		a.str(taskspan.TaskRemoteParent, hex.EncodeToString(t.Remote.Trace[:])+"/"+hex.EncodeToString(t.Remote.Span[:]))
	}
	a.holds(t.Holds)
	if t.Goroutine != 0 {
		a.int(taskspan.ThreadID, int64(t.Goroutine))
	}
	a.place(t.Place)
	if t.Stack != "" {
		a.add(taskspan.CodeStacktrace, strValue(Cut(t.Stack, taskspan.MaxStackBytes)))
	}
}

func (a *attributes) holds(holds []Hold) {
	if len(holds) == 0 {
		return
	}
	resources, ends := make([]string, len(holds)), make([]int64, len(holds))
	declared := false
	for i, h := range holds {
		resources[i], ends[i] = h.Resource, h.Ends
		declared = declared || h.Ends != taskspan.EndsUnknown
	}
	a.ids(taskspan.Holds, resources)
	if declared {
		a.ints(taskspan.HoldsEnds, ends)
	}
}

func (a *attributes) place(p Place) {
	if p.Function == "" {
		return
	}
	a.str(taskspan.CodeFunctionName, p.Function)
	a.str(taskspan.CodeFilePath, p.File)
	a.int(taskspan.CodeLineNumber, int64(p.Line))
}
