package inspect

import (
	"context"
	"sync"
	"sync/atomic"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/asyncinspect/asyncinspect/sdk/internal/declared"
	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// maxOpenSpans bounds the spans that are followed. The remote waits and parents of
// those beyond it are not known, which can hide a deadlock and no more.
const maxOpenSpans = 16_384

// followed are the open spans that matter between processes: client spans, which
// wait for somebody, and spans below a remote parent, which answer. Like the table
// of waits there is one for the process.
var followed openSpans

type openSpans struct {
	shards  [16]openSpansShard
	len     atomic.Int64
	answers atomic.Int64 // how many of them answer: mostly none, and then nobody looks
	tasks   atomic.Int64 // how many of them are tasks
}

type openSpansShard struct {
	mu    sync.Mutex // guards all below; a leaf
	spans map[trace.SpanID]openSpan
}

// openSpan is one of either.
type openSpan struct {
	wait   *wait
	call   *remoteCall // of wait
	remote *remoteParent
	task   *Task // that the span is
}

func (o *openSpans) of(id trace.SpanID) *openSpansShard {
	return &o.shards[id[7]%uint8(len(o.shards))]
}

func (o *openSpans) get(id trace.SpanID) (openSpan, bool) {
	s := o.of(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	span, ok := s.spans[id]
	return span, ok
}

// reserve makes room for one more span.
func (o *openSpans) reserve() bool {
	if o.len.Add(1) <= maxOpenSpans {
		return true
	}
	o.len.Add(-1)
	return false
}

// put enters a span for which there is room.
func (o *openSpans) put(id trace.SpanID, span openSpan) {
	if span.remote.valid() {
		o.answers.Add(1)
	}
	if span.task != nil {
		o.tasks.Add(1)
	}
	s := o.of(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spans == nil {
		s.spans = make(map[trace.SpanID]openSpan)
	}
	s.spans[id] = span
}

// take removes a span. Only one caller gets it.
func (o *openSpans) take(id trace.SpanID) (openSpan, bool) {
	if o.len.Load() == 0 {
		return openSpan{}, false
	}
	s := o.of(id)
	s.mu.Lock()
	span, ok := s.spans[id]
	delete(s.spans, id)
	s.mu.Unlock()
	if !ok {
		return openSpan{}, false
	}
	o.len.Add(-1)
	if span.remote.valid() {
		o.answers.Add(-1)
	}
	if span.task != nil {
		o.tasks.Add(-1)
	}
	return span, true
}

// remoteOf returns the remote parent that an open local span answers.
func (o *openSpans) remoteOf(id trace.SpanID) *remoteParent {
	if o.answers.Load() == 0 {
		return nil
	}
	span, _ := o.get(id)
	return span.remote
}

// taskOf returns the task that an open span of another instrumentation is, or nil.
func (o *openSpans) taskOf(id trace.SpanID) *Task {
	if o.tasks.Load() == 0 {
		return nil
	}
	span, _ := o.get(id)
	return span.task
}

// SpanProcessorOption configures a span processor; see [NewSpanProcessor].
type SpanProcessorOption interface{ applySpanProcessor(*spanProcessor) }

type spanProcessorOptionFunc func(*spanProcessor)

func (f spanProcessorOptionFunc) applySpanProcessor(p *spanProcessor) { f(p) }

// WithoutServerTasks makes the processor ignore server and consumer spans: they are not
// tasks.
func WithoutServerTasks() SpanProcessorOption {
	return spanProcessorOptionFunc(func(p *spanProcessor) { p.servers = false })
}

// NewSpanProcessor returns a span processor that lets async-inspect see the client,
// server and consumer spans of a provider of your own; see [WithTracerProvider]. It may
// be created before Start. The Inspector's own provider already has one.
//
// An open server or consumer span is a task of the default Inspector, as if Begin had
// been called where the span starts: it is listed, counted, and waits of its goroutine
// belong to it. It has the name of the span, and fails if the status of the span is an
// error.
//
// An open client span shows its goroutine as waiting for an answer until the call that
// started the span returns. The SDK infers this from the goroutine's stack, so a
// deadlock with such a wait is suspected, not certain. Package inspecthttp declares the
// wait instead.
func NewSpanProcessor(opts ...SpanProcessorOption) sdktrace.SpanProcessor {
	p := spanProcessor{clients: true, servers: true}
	for _, o := range opts {
		o.applySpanProcessor(&p)
	}
	return p
}

type spanProcessor struct {
	ins              *Inspector // whose provider it is in; nil: somebody else's
	clients, servers bool       // which spans are waits, and which are tasks
}

// inspector is who inspects spans that start in ctx.
func (p spanProcessor) inspector(ctx context.Context) *Inspector {
	if t := TaskFromContext(ctx); t != nil || p.ins == nil {
		return t.inspector()
	}
	return p.ins
}

// OnStart enters a client span as a wait of the running goroutine, a server or consumer
// span as a task, and remembers which spans answer a remote parent.
func (p spanProcessor) OnStart(ctx context.Context, s sdktrace.ReadWriteSpan) {
	if !inspecting() {
		return
	}
	switch s.SpanKind() {
	case trace.SpanKindClient:
		if p.clients && !declared.In(ctx) {
			p.checkPropagator(ctx, s)
			followed.call(ctx, s)
		}
		return
	case trace.SpanKindServer, trace.SpanKindConsumer:
		if p.servers && p.begin(ctx, s) {
			return
		}
	}
	if TaskFromContext(ctx) != nil {
		return // tasks hand on what they answer themselves
	}
	remote := remoteParentOf(s.Parent())
	if !remote.valid() {
		return
	}
	if !followed.reserve() {
		dropOpenSpan(ctx)
		return
	}
	followed.put(s.SpanContext().SpanID(), openSpan{remote: remote})
}

// remoteParentOf returns what a span with this parent answers, if that is known. The
// running goroutine answers it, or the one that has answered for its local parent.
func remoteParentOf(parent trace.SpanContext) *remoteParent {
	if parent.IsRemote() {
		return &remoteParent{trace: parent.TraceID(), span: parent.SpanID(), goroutine: goid.Get()}
	}
	return followed.remoteOf(parent.SpanID())
}

func (o *openSpans) call(ctx context.Context, s sdktrace.ReadWriteSpan) {
	if !o.reserve() {
		dropOpenSpan(ctx)
		return
	}
	sc := s.SpanContext()
	call := newRemoteCall(sc, s.Name())
	call.guessed.Store(true)
	noteCalling(ctx, sc, s.Name())
	w := beginWait(ctx, taskspan.WaitRemote, call)
	w.detach()
	o.put(sc.SpanID(), openSpan{wait: w, call: call})
}

func dropOpenSpan(ctx context.Context) {
	if ins := inspectorOf(ctx); ins != nil {
		ins.drops.add(dropSpanTable, 1)
	}
}

// OnEnd ends what OnStart began. The span may end on another goroutine.
func (p spanProcessor) OnEnd(s sdktrace.ReadOnlySpan) {
	if !compiledIn {
		return
	}
	span, ok := followed.take(s.SpanContext().SpanID())
	if !ok {
		return
	}
	endWait(span.wait)
	if span.task != nil {
		p.end(span.task, s)
	}
}

func (spanProcessor) Shutdown(context.Context) error   { return nil }
func (spanProcessor) ForceFlush(context.Context) error { return nil }

// remoteCall is the answer to a client span. Who gives it is known to the process
// that does, under the same id.
type remoteCall struct {
	thing
	guessed atomic.Bool // from an open span, not declared by who waits
	guess   guess       // whether it is one, as long as it is guessed
}

func newRemoteCall(client trace.SpanContext, name string) *remoteCall {
	return &remoteCall{thing: thing{
		id:     taskspan.ResourceSpan + client.TraceID().String() + "/" + client.SpanID().String(),
		called: name,
	}}
}

// returned ends what was certain. The span may stay open, for the body of the answer.
func (r *remoteCall) returned() {
	r.guess.giveUp()
	r.guessed.Store(true)
}

func (r *remoteCall) holders(_ *waitView, s *holderSet) {
	s.inferred = r.guessed.Load()
	s.complete = true // those who answer, and nobody else
}

// RemoteWait runs fn and shows the running goroutine as waiting for a remote call. fn
// sends a request whose traceparent names the span client, and returns when it has the
// answer. RemoteWait is for instrumentation; package inspecthttp uses it. name is a
// low-cardinality name of the called operation.
func RemoteWait(ctx context.Context, client trace.SpanContext, name string, fn func() error) error {
	if !inspecting() {
		return fn()
	}
	if span, ok := followed.get(client.SpanID()); ok && span.call != nil {
		span.call.guessed.Store(false) // it waits already, and now it is certain
		defer span.call.returned()
		return fn()
	}
	noteCalling(ctx, client, name)
	w := beginWait(ctx, taskspan.WaitRemote, newRemoteCall(client, name))
	defer endWait(w)
	return fn()
}
