package inspect

import (
	"context"
	"sync"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// maxOpenSpans bounds the spans that are followed. The remote waits and parents of
// those beyond it are not known, which can hide a deadlock and no more.
const maxOpenSpans = 16_384

// openSpans follows the spans of a provider that matter between processes: client
// spans, which wait for somebody, and spans below a remote parent, which answer.
type openSpans struct {
	mu      sync.Mutex
	waits   map[trace.SpanID]*wait
	remotes map[trace.SpanID]remoteParent
}

func newOpenSpans() *openSpans {
	return &openSpans{waits: make(map[trace.SpanID]*wait), remotes: make(map[trace.SpanID]remoteParent)}
}

// remoteOf returns the remote parent that an open local span answers.
func (o *openSpans) remoteOf(id trace.SpanID) remoteParent {
	if o == nil {
		return remoteParent{}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.remotes[id]
}

// full reports whether there is no room for one more. The lock is held.
func (o *openSpans) full() bool { return len(o.waits)+len(o.remotes) >= maxOpenSpans }

// NewSpanProcessor returns a span processor that lets the default Inspector see the
// client and server spans of a provider of your own; see [WithTracerProvider]. The
// Inspector's own provider has one.
func NewSpanProcessor() sdktrace.SpanProcessor { return spanProcessor{} }

type spanProcessor struct{ ins *Inspector } // nil: the default one

func (p spanProcessor) inspector() *Inspector {
	if p.ins != nil {
		return p.ins
	}
	return Default()
}

// OnStart enters a client span of a task as a wait of the running goroutine, and
// remembers who answers a remote parent.
func (p spanProcessor) OnStart(ctx context.Context, s sdktrace.ReadWriteSpan) {
	ins := p.inspector()
	if !ins.running() {
		return
	}
	parent := s.Parent()
	o := ins.openSpans
	switch {
	case s.SpanKind() == trace.SpanKindClient:
		if TaskFromContext(ctx) != nil || currentTask() != nil {
			o.startWait(ctx, ins, s.SpanContext())
		}
	case parent.IsRemote():
		o.answer(ins, s.SpanContext().SpanID(), remoteParent{parent.TraceID(), parent.SpanID(), goid.Get()})
	case parent.IsValid():
		if r := o.remoteOf(parent.SpanID()); r.valid() {
			o.answer(ins, s.SpanContext().SpanID(), r)
		}
	}
}

func (o *openSpans) answer(ins *Inspector, id trace.SpanID, r remoteParent) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.full() {
		ins.drops.add(dropSpanTable, 1)
		return
	}
	o.remotes[id] = r
}

func (o *openSpans) startWait(ctx context.Context, ins *Inspector, sc trace.SpanContext) {
	o.mu.Lock()
	full := o.full()
	o.mu.Unlock()
	if full {
		ins.drops.add(dropSpanTable, 1)
		return
	}
	w := beginWait(ctx, taskspan.WaitRemote, remoteCall{thing: remoteThing(sc), inferred: true})
	if w == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waits[sc.SpanID()] = w
}

// OnEnd ends what OnStart began. The span may end on another goroutine.
func (p spanProcessor) OnEnd(s sdktrace.ReadOnlySpan) {
	ins := p.inspector()
	if ins == nil {
		return
	}
	o, id := ins.openSpans, s.SpanContext().SpanID()
	o.mu.Lock()
	w := o.waits[id]
	delete(o.waits, id)
	delete(o.remotes, id)
	o.mu.Unlock()
	endWait(w)
}

func (spanProcessor) Shutdown(context.Context) error   { return nil }
func (spanProcessor) ForceFlush(context.Context) error { return nil }

// remoteCall is the answer to a client span. Who answers is known to the process
// that does, under the same name.
type remoteCall struct {
	thing
	inferred bool // guessed from an open span, not declared by who waits
}

func remoteThing(sc trace.SpanContext) thing {
	return thing{
		id:   taskspan.ResourceSpan + sc.TraceID().String() + "/" + sc.SpanID().String(),
		name: "remote call",
	}
}

func (r remoteCall) holders(_ *waitView, s *holderSet) {
	s.inferred = r.inferred
	s.complete = true // those who answer, and nobody else
}

// RemoteWait runs fn, which sends a request whose traceparent carries the span
// context, and shows the running goroutine as waiting for its answer. It is for
// instrumentation; see package inspecthttp. name is what is called, such as a host.
func RemoteWait(ctx context.Context, sc trace.SpanContext, name string, fn func() error) error {
	r := remoteCall{thing: remoteThing(sc)}
	r.name = name
	w := beginWait(ctx, taskspan.WaitRemote, r)
	defer endWait(w)
	return fn()
}
