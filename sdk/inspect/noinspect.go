//go:build noinspect

package inspect

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// With the build tag noinspect the API is the same and does nothing: locks are those
// of package sync, tasks are nil, nothing is started and nothing is sent. What has
// work to do besides being looked at (groups, semaphores, channels) does it.

// An Inspector does nothing in this build.
type Inspector struct{}

// Start returns an Inspector that does nothing.
func Start(context.Context, ...Option) (*Inspector, error) { return new(Inspector), nil }

// New returns an Inspector that does nothing.
func New(context.Context, ...Option) (*Inspector, error) { return new(Inspector), nil }

// Default returns nil: nothing runs.
func Default() *Inspector { return nil }

// Shutdown does nothing.
func Shutdown(context.Context) error { return nil }

// Shutdown does nothing.
func (ins *Inspector) Shutdown(context.Context) error { return nil }

// ForceFlush does nothing.
func ForceFlush(context.Context) error { return nil }

// ForceFlush does nothing.
func (ins *Inspector) ForceFlush(context.Context) error { return nil }

// Begin returns ctx and no task.
func Begin(ctx context.Context, _ string, _ ...TaskOption) (context.Context, *Task) { return ctx, nil }

// Begin returns ctx and no task.
func (ins *Inspector) Begin(ctx context.Context, _ string, _ ...TaskOption) (context.Context, *Task) {
	return ctx, nil
}

// Enabled returns false: no task is seen.
func Enabled(context.Context) bool { return false }

func (*Task) inspector() *Inspector { return nil }

func (ins *Inspector) prepare(ctx context.Context, _ *Task, _ string, _ uintptr, _ []TaskOption) (context.Context, *Task) {
	return ctx, nil
}

// TracerProvider returns OpenTelemetry's global one.
func (ins *Inspector) TracerProvider() trace.TracerProvider { return otel.GetTracerProvider() }

// SamplingRate returns -1: nothing is sampled.
func (ins *Inspector) SamplingRate() float64 { return -1 }

// MemoryStats returns zeros.
func (ins *Inspector) MemoryStats() MemoryStats { return MemoryStats{} }

// Tasks returns nothing.
func (ins *Inspector) Tasks() []TaskInfo { return nil }

// Tasks returns nothing.
func Tasks() []TaskInfo { return nil }

// Deadlocks finds nothing.
func Deadlocks() []Deadlock { return nil }

// WriteJSON writes an empty array.
func (ins *Inspector) WriteJSON(w io.Writer) error { return json.NewEncoder(w).Encode([]TaskInfo{}) }

// TasksHandler answers with an empty array.
func (ins *Inspector) TasksHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = ins.WriteJSON(w) // the client has gone
	})
}

// ReadyHandler answers that all is well: nothing is known to the contrary.
func (ins *Inspector) ReadyHandler(...HealthOption) http.Handler { return wellHandler }

// LiveHandler answers that all is well: nothing is known to the contrary.
func (ins *Inspector) LiveHandler() http.Handler { return wellHandler }

var wellHandler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"status":"ok","checks":[]}`+"\n") // the client has gone
})

// HealthOption changes nothing in this build.
type HealthOption interface{ applyHealth() }

type noHealthOption struct{}

func (noHealthOption) applyHealth() {}

// NotReadyOnDeadlock changes nothing.
func NotReadyOnDeadlock() HealthOption { return noHealthOption{} }

// A Task is always nil in this build.
type Task struct{}

// TaskFromContext returns nil.
func TaskFromContext(context.Context) *Task { return nil }

// End does nothing.
func (t *Task) End(error) {}

// EndWith does nothing.
func (t *Task) EndWith(*error) {}

// EndPanic does nothing.
func (t *Task) EndPanic(any) {}

// Name returns nothing.
func (t *Task) Name() string { return "" }

// SpanContext returns no identity.
func (t *Task) SpanContext() trace.SpanContext { return trace.SpanContext{} }

// TracerProvider returns OpenTelemetry's global one.
func (t *Task) TracerProvider() trace.TracerProvider { return otel.GetTracerProvider() }

// Point does nothing.
func (t *Task) Point(string, ...attribute.KeyValue) {}

// Point does nothing.
func Point(context.Context, string, ...attribute.KeyValue) {}

func (t *Task) bind(uint64, context.Context) {}
func (t *Task) panicked(any, bool)           {}
func (t *Task) end(error) bool               { return false }
func (t *Task) ended() bool                  { return true }
func (t *Task) goroutineID() uint64          { return 0 }

// TaskOption changes nothing in this build.
type TaskOption interface{ applyTask() }

type noTaskOption struct{}

func (noTaskOption) applyTask() {}

// JoinTaskOptions changes nothing.
func JoinTaskOptions(...TaskOption) TaskOption { return noTaskOption{} }

// WithAttributes changes nothing.
func WithAttributes(...attribute.KeyValue) TaskOption { return noTaskOption{} }

// WithNewRoot changes nothing.
func WithNewRoot() TaskOption { return noTaskOption{} }

// WithSpanKind changes nothing.
func WithSpanKind(trace.SpanKind) TaskOption { return noTaskOption{} }

// WithRemoteParent changes nothing.
func WithRemoteParent(trace.SpanContext) TaskOption { return noTaskOption{} }

// RemoteWait calls fn.
func RemoteWait(_ context.Context, _ trace.SpanContext, _ string, fn func() error) error { return fn() }

// wait is never made.
func currentTask() *Task { return nil }

func droppedHold() {}

type wait struct{}

func beginWait(context.Context, taskspan.Kind, waitable) *wait { return nil }
func endWait(*wait)                                            {}
func (w *wait) willEndBy(nanos)                                {}
func (w *wait) detach()                                        {}

// A Mutex is a [sync.Mutex].
type Mutex struct{ mu sync.Mutex }

// NewMutex returns a mutex.
func NewMutex(string) *Mutex { return new(Mutex) }

// SetName does nothing.
func (m *Mutex) SetName(string) {}

// Lock locks m.
func (m *Mutex) Lock() { m.mu.Lock() }

// TryLock tries to lock m and reports whether it succeeded.
func (m *Mutex) TryLock() bool { return m.mu.TryLock() }

// Unlock unlocks m.
func (m *Mutex) Unlock() { m.mu.Unlock() }

// LockContext locks m, unless ctx is done first.
func (m *Mutex) LockContext(ctx context.Context) error {
	if m.mu.TryLock() {
		return nil
	}
	return lockOrDone(ctx, &m.mu)
}

// An RWMutex is a [sync.RWMutex].
type RWMutex struct{ mu sync.RWMutex }

// NewRWMutex returns a mutex.
func NewRWMutex(string) *RWMutex { return new(RWMutex) }

// SetName does nothing.
func (m *RWMutex) SetName(string) {}

// RLock locks m for reading.
func (m *RWMutex) RLock() { m.mu.RLock() }

// TryRLock tries to lock m for reading and reports whether it succeeded.
func (m *RWMutex) TryRLock() bool { return m.mu.TryRLock() }

// RUnlock undoes one RLock.
func (m *RWMutex) RUnlock() { m.mu.RUnlock() }

// Lock locks m for writing.
func (m *RWMutex) Lock() { m.mu.Lock() }

// TryLock tries to lock m for writing and reports whether it succeeded.
func (m *RWMutex) TryLock() bool { return m.mu.TryLock() }

// Unlock unlocks m for writing.
func (m *RWMutex) Unlock() { m.mu.Unlock() }

// RLocker returns a [sync.Locker] whose methods are RLock and RUnlock.
func (m *RWMutex) RLocker() sync.Locker { return m.mu.RLocker() }

// LockContext locks m for writing, unless ctx is done first. It tries again and again:
// a sync.RWMutex cannot take back that a writer waits, and would keep readers out for
// one that has given up.
func (m *RWMutex) LockContext(ctx context.Context) error {
	pause := 10 * time.Microsecond
	for !m.mu.TryLock() {
		select {
		case <-time.After(pause):
			pause = min(2*pause, 5*time.Millisecond)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// RLockContext locks m for reading, unless ctx is done first.
func (m *RWMutex) RLockContext(ctx context.Context) error {
	if m.mu.TryRLock() {
		return nil
	}
	return lockOrDone(ctx, m.mu.RLocker())
}

// NewSpanProcessor returns a span processor that does nothing.
func NewSpanProcessor() sdktrace.SpanProcessor { return noSpanProcessor{} }

type noSpanProcessor struct{}

func (noSpanProcessor) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (noSpanProcessor) OnEnd(sdktrace.ReadOnlySpan)                     {}
func (noSpanProcessor) Shutdown(context.Context) error                  { return nil }
func (noSpanProcessor) ForceFlush(context.Context) error                { return nil }

// WrapSampler returns base.
func WrapSampler(base sdktrace.Sampler) sdktrace.Sampler { return base }

// OTelSampler returns a sampler that keeps nothing.
func OTelSampler(Sampler) sdktrace.Sampler { return sdktrace.NeverSample() }

// NewResource returns an empty resource.
func NewResource(context.Context, ...Option) (*resource.Resource, error) {
	return resource.Empty(), nil
}

// Option configures nothing in this build.
type Option interface{ apply() }

type noOption struct{}

func (noOption) apply() {}

// The options change nothing.

func WithMode(Mode) Option                                { return noOption{} }
func WithServiceName(string) Option                       { return noOption{} }
func WithResourceAttributes(...attribute.KeyValue) Option { return noOption{} }
func WithResource(*resource.Resource) Option              { return noOption{} }
func WithEndpoint(string) Option                          { return noOption{} }
func WithInsecure() Option                                { return noOption{} }
func WithProtocol(string) Option                          { return noOption{} }
func WithHeaders(map[string]string) Option                { return noOption{} }
func WithSamplingRate(float64) Option                     { return noOption{} }
func WithAdaptiveSampler(AdaptiveConfig) Option           { return noOption{} }
func WithSampler(Sampler) Option                          { return noOption{} }
func WithOTelSampler(sdktrace.Sampler) Option             { return noOption{} }
func WithTracerProvider(trace.TracerProvider) Option      { return noOption{} }
func WithGlobalTracerProvider() Option                    { return noOption{} }
func WithMaxTasks(int) Option                             { return noOption{} }
func WithMaxEvents(int) Option                            { return noOption{} }
func WithStuckAfter(time.Duration) Option                 { return noOption{} }
func WithLongTask(time.Duration) Option                   { return noOption{} }
func WithMinWait(time.Duration) Option                    { return noOption{} }
func WithHeartbeatInterval(time.Duration) Option          { return noOption{} }
func WithBacktraces(bool) Option                          { return noOption{} }
func WithLockOrder(bool) Option                           { return noOption{} }
func WithTrackAllocations(bool) Option                    { return noOption{} }
func WithPprofLabels(bool) Option                         { return noOption{} }
func WithRemoteWaits(bool) Option                         { return noOption{} }
func WithReports(bool) Option                             { return noOption{} }
func WithoutExport() Option                               { return noOption{} }
func WithSpanExporter(sdktrace.SpanExporter) Option       { return noOption{} }
func WithReportClient(otlptrace.Client) Option            { return noOption{} }
func WithLogger(*slog.Logger) Option                      { return noOption{} }

func countHoldKind() {}
