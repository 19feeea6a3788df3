package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net/http"
	"testing"
	"time"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// sender sends whatever it likes by OTLP/HTTP, and counts what became of it.
type sender struct {
	url                      string
	epoch                    int64
	batch                    []*tracepb.ResourceSpans
	spans, size              int // of the batch
	requests, refused, bytes int
	err                      error // the first failed request
}

func newSender(address string) *sender {
	return &sender{url: "http://" + address + "/v1/traces", epoch: time.Now().UnixNano()}
}

// spansInRequest and bytesInRequest are how much a sender puts into one request.
const (
	spansInRequest = 1000
	bytesInRequest = 1 << 20
)

// flush sends the batch.
func (s *sender) flush(ctx context.Context) {
	if s.spans == 0 {
		return
	}
	s.transmit(ctx, s.request(), "application/x-protobuf", "")
}

// request takes the batch.
func (s *sender) request() []byte {
	body, err := proto.Marshal(&collectorpb.ExportTraceServiceRequest{ResourceSpans: s.batch})
	if err != nil {
		s.err = err
	}
	s.batch, s.spans, s.size = nil, 0, 0
	return body
}

// transmit sends one request.
func (s *sender) transmit(ctx context.Context, body []byte, contentType, encoding string) {
	s.requests++
	s.bytes += len(body)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		s.err = err
		return
	}
	request.Header.Set("Content-Type", contentType)
	if encoding != "" {
		request.Header.Set("Content-Encoding", encoding)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		s.refused++
		if s.err == nil {
			s.err = err
		}
		return
	}
	_, _ = io.Copy(io.Discard, response.Body)
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		s.refused++
	}
}

// hostile is a process that reports.
type hostile struct {
	*sender
	service, instance string
	epoch             int64
	sequence          int64
	scope             *tracepb.ScopeSpans
}

func (s *sender) process(service, instance string) *hostile {
	return &hostile{sender: s, service: service, instance: instance, epoch: s.epoch}
}

// spanID is the id of a task: two numbers.
type spanID struct{ trace, span uint64 }

func (id spanID) bytes() (trace, span []byte) {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, 0xbad), id.trace), binary.BigEndian.AppendUint64(nil, id.span)
}

// report adds a report span about a task, and sends the batch when that is large.
func (p *hostile) report(ctx context.Context, kind taskspan.ReportKind, task spanID, attributes ...*commonpb.KeyValue) *tracepb.Span {
	if p.spans >= spansInRequest || p.size >= bytesInRequest {
		p.flush(ctx)
	}
	p.sequence++
	span := p.span("report", spanID{task.trace, uint64(p.sequence)<<20 + 1}, taskspan.ScopeReport, taskspan.Version)
	if task != (spanID{}) {
		_, span.ParentSpanId = task.bytes()
	}
	span.Attributes = append(attributes, text(taskspan.Report, string(kind)), whole(taskspan.ReportSequence, p.sequence))
	p.size += proto.Size(span)
	return span
}

// span adds a span of a scope.
func (p *hostile) span(name string, id spanID, scope, version string) *tracepb.Span {
	last := len(p.batch) - 1
	if last < 0 || p.batch[last].ScopeSpans[0] != p.scope || p.scope.Scope.Name != scope {
		attributes := []*commonpb.KeyValue{text(taskspan.ServiceName, p.service)}
		if p.instance != "" {
			attributes = append(attributes, text(taskspan.ServiceInstanceID, p.instance), whole(taskspan.ProcessEpoch, p.epoch))
		}
		p.scope = &tracepb.ScopeSpans{Scope: &commonpb.InstrumentationScope{Name: scope, Version: version}}
		p.batch = append(p.batch, &tracepb.ResourceSpans{
			Resource: &resourcepb.Resource{Attributes: attributes}, ScopeSpans: []*tracepb.ScopeSpans{p.scope},
		})
	}
	now := uint64(time.Now().UnixNano())
	span := &tracepb.Span{Name: name, Kind: tracepb.Span_SPAN_KIND_INTERNAL, StartTimeUnixNano: now - 1_000, EndTimeUnixNano: now}
	span.TraceId, span.SpanId = id.bytes()
	p.scope.Spans = append(p.scope.Spans, span)
	p.spans++
	return span
}

// about are the attributes of a task in a report.
func (p *hostile) about(name string, state taskspan.State) []*commonpb.KeyValue {
	return []*commonpb.KeyValue{text(taskspan.TaskName, name), text(taskspan.TaskState, string(state)), whole(taskspan.TaskStart, p.epoch)}
}

// waits reports that a task waits for a resource with these holders, and no others.
func (p *hostile) waits(ctx context.Context, task spanID, wait int64, resource string, holders []spanID, more ...*commonpb.KeyValue) {
	span := p.report(ctx, taskspan.ReportWait, task, append(append(p.about("stuck", taskspan.Blocked),
		whole(taskspan.WaitID, wait), whole(taskspan.WaitRevision, 1), truth(taskspan.WaitOpen), text(taskspan.WaitKind, string(taskspan.WaitMutex)),
		text(taskspan.WaitResourceID, resource), truth(taskspan.WaitHoldersComplete)), more...)...)
	for _, holder := range holders {
		link := &tracepb.Span_Link{Attributes: []*commonpb.KeyValue{whole(taskspan.HoldGeneration, 1), whole(taskspan.HoldSince, p.epoch)}}
		link.TraceId, link.SpanId = holder.bytes()
		span.Links = append(span.Links, link)
	}
}

// runs reports a task that runs for long.
func (p *hostile) runs(ctx context.Context, task spanID, name string) {
	p.report(ctx, taskspan.ReportTask, task, p.about(name, taskspan.Running)...)
}

// beats sends a heartbeat that lists the waits with ids from 1 to waits.
func (p *hostile) beats(ctx context.Context, waits int, more ...*commonpb.KeyValue) {
	observed := uint64(time.Now().UnixNano()) // the same for all parts
	parts := max(1, (waits+taskspan.MaxHeartbeatWaits-1)/taskspan.MaxHeartbeatWaits)
	for part := range parts {
		var ids, revisions []*commonpb.AnyValue
		for id := part*taskspan.MaxHeartbeatWaits + 1; id <= min(waits, (part+1)*taskspan.MaxHeartbeatWaits); id++ {
			ids = append(ids, integer(int64(id)))
			revisions = append(revisions, integer(1))
		}
		span := p.report(ctx, taskspan.ReportHeartbeat, spanID{trace: 1}, append([]*commonpb.KeyValue{
			whole(taskspan.HeartbeatIntervalMS, 5_000), whole(taskspan.HeartbeatPart, int64(part+1)), whole(taskspan.HeartbeatParts, int64(parts)),
			list(taskspan.WaitsIDs, ids), list(taskspan.WaitsRevisions, revisions),
		}, more...)...)
		span.StartTimeUnixNano, span.EndTimeUnixNano = observed-1_000, observed
	}
}

// goodbye ends the process.
func (p *hostile) goodbye(ctx context.Context, more ...*commonpb.KeyValue) {
	p.beats(ctx, 0, append(more, truth(taskspan.HeartbeatFinal))...)
}

func text(key, value string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: value}}}
}

func whole(key string, value int64) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: integer(value)}
}

func truth(key string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{BoolValue: true}}}
}

func integer(value int64) *commonpb.AnyValue {
	return &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: value}}
}

func texts(key string, values ...string) *commonpb.KeyValue {
	var all []*commonpb.AnyValue
	for _, v := range values {
		all = append(all, &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: v}})
	}
	return list(key, all)
}

func list(key string, values []*commonpb.AnyValue) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{ArrayValue: &commonpb.ArrayValue{Values: values}}}}
}

// nested is an OTLP request with one span, of which an attribute is an array in an array
// and so on.
func nested(depth int) []byte {
	// Built from the inside out, back to front: a length stands before what it counts.
	var back []byte
	size := 0
	wrap := func(field byte) {
		var length [binary.MaxVarintLen64]byte
		n := binary.PutUvarint(length[:], uint64(size))
		for i := n - 1; i >= 0; i-- {
			back = append(back, length[i])
		}
		back = append(back, field<<3|2)
		size = len(back)
	}
	for range depth {
		wrap(1) // ArrayValue.values
		wrap(5) // AnyValue.array_value
	}
	wrap(2) // KeyValue.value
	wrap(9) // Span.attributes
	wrap(2) // ScopeSpans.spans
	wrap(2) // ResourceSpans.scope_spans
	wrap(1) // ExportTraceServiceRequest.resource_spans
	for i, j := 0, len(back)-1; i < j; i, j = i+1, j-1 {
		back[i], back[j] = back[j], back[i]
	}
	return back
}

// What nested writes is OTLP.
func TestNestedIsOTLP(t *testing.T) {
	var request collectorpb.ExportTraceServiceRequest
	if err := proto.Unmarshal(nested(3), &request); err != nil {
		t.Fatal(err)
	}
	depth := 0
	for v := request.ResourceSpans[0].ScopeSpans[0].Spans[0].Attributes[0].Value; v.GetArrayValue() != nil; depth++ {
		v = v.GetArrayValue().Values[0]
	}
	if depth != 3 {
		t.Errorf("%d arrays, not 3", depth)
	}
}
