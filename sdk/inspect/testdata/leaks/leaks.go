package main

import (
	"context"
	"sync"

	"go.opentelemetry.io/otel/trace"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

// leak blocks goroutines for good, on things that nobody else can reach.
type leak struct {
	name  string
	want  int // how many
	plain func(ctx context.Context)
	ours  func(ctx context.Context)
	more  int // how many more ours blocks than plain
}

// lost is a context that nobody can cancel any more.
//
//go:noinline
func lost(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	_ = cancel
	return ctx
}

// mutex returns a mutex that shares its memory with nothing: the runtime puts objects of
// less than 16 bytes together, and one of those that is in use keeps the others.
func mutex() *sync.Mutex {
	return &new(struct {
		sync.Mutex
		_ [2]uint64
	}).Mutex
}

var leaks = []leak{
	{
		name:  "mutex locked twice",
		want:  1,
		plain: func(context.Context) { m := mutex(); m.Lock(); m.Lock() },
		ours:  func(context.Context) { var m inspect.Mutex; m.Lock(); m.Lock() },
	},
	{
		name:  "named mutex locked twice",
		want:  1,
		plain: func(context.Context) { m := mutex(); m.Lock(); m.Lock() },
		ours:  func(context.Context) { m := inspect.NewMutex("leaks"); m.Lock(); m.Lock() },
	},
	{
		// The lock is taken by a goroutine of its own, which is blocked, too.
		name:  "mutex locked twice with a context",
		want:  1,
		plain: func(context.Context) { m := mutex(); m.Lock(); m.Lock() },
		ours: func(ctx context.Context) {
			m := inspect.NewMutex("leaks")
			m.Lock()
			_ = m.LockContext(lost(ctx))
		},
		more: 1,
	},
	{
		name: "two mutexes in opposite orders",
		want: 2,
		plain: func(context.Context) {
			a, b := mutex(), mutex()
			a.Lock()
			took := make(chan bool)
			go func() { b.Lock(); took <- true; a.Lock() }()
			<-took
			b.Lock()
		},
		ours: func(context.Context) {
			a, b := inspect.NewMutex("leaks a"), inspect.NewMutex("leaks b")
			a.Lock()
			took := make(chan bool)
			go func() { b.Lock(); took <- true; a.Lock() }()
			<-took
			b.Lock()
		},
	},
	{
		name:  "write lock by its reader",
		want:  1,
		plain: func(context.Context) { var m sync.RWMutex; m.RLock(); m.Lock() },
		ours:  func(context.Context) { var m inspect.RWMutex; m.RLock(); m.Lock() },
	},
	{
		name:  "read lock by its writer",
		want:  1,
		plain: func(context.Context) { var m sync.RWMutex; m.Lock(); m.RLock() },
		ours:  func(context.Context) { var m inspect.RWMutex; m.Lock(); m.RLock() },
	},
	{
		name:  "group without a Done",
		want:  1,
		plain: func(context.Context) { var g sync.WaitGroup; g.Add(1); g.Wait() },
		ours:  func(context.Context) { var g inspect.WaitGroup; g.Add(1); g.Wait() },
	},
	{
		name:  "condition without a signal",
		want:  1,
		plain: func(context.Context) { c := sync.NewCond(mutex()); c.L.Lock(); c.Wait() },
		ours:  func(context.Context) { c := inspect.NewCond("leaks", new(sync.Mutex)); c.L.Lock(); c.Wait() },
	},
	{
		name:  "semaphore",
		want:  1,
		plain: func(context.Context) { s := make(chan bool, 1); s <- true; s <- true },
		ours: func(ctx context.Context) {
			s := inspect.NewSemaphore("leaks", 2)
			_ = s.Acquire(ctx, 1)
			_ = s.Acquire(ctx, 2)
		},
	},
	{
		name:  "receive",
		want:  1,
		plain: func(context.Context) { <-make(chan int) },
		ours:  func(ctx context.Context) { _, _ = inspect.NewChan[int]("leaks", 0).Receive(ctx) },
	},
	{
		name:  "send",
		want:  1,
		plain: func(context.Context) { make(chan int) <- 1 },
		ours:  func(ctx context.Context) { _ = inspect.NewChan[int]("leaks", 0).Send(ctx, 1) },
	},
	{
		name:  "receive from a declared sender that is the receiver",
		want:  1,
		plain: func(context.Context) { <-make(chan int) },
		ours: func(ctx context.Context) {
			c := inspect.NewChan[int]("leaks", 0)
			c.Sender(ctx)
			_, _ = c.Receiver(ctx).Receive(ctx)
		},
	},
	{
		name: "select",
		want: 1,
		plain: func(context.Context) {
			select {
			case <-make(chan int):
			case make(chan string) <- "":
			}
		},
		ours: func(ctx context.Context) {
			_, _ = inspect.Select(ctx, inspect.ReceiveCase(inspect.NewChan[int]("leaks", 0), nil),
				inspect.SendCase(inspect.NewChan[string]("leaks", 0), ""))
		},
	},
	{
		name:  "context that nobody can cancel",
		want:  1,
		plain: func(ctx context.Context) { <-lost(ctx).Done() },
		ours: func(ctx context.Context) {
			ctx, task := inspect.Begin(lost(ctx), "leaks")
			defer task.End(nil)
			<-ctx.Done()
		},
	},
	{
		name:  "receive with a context that nobody can cancel",
		want:  1,
		plain: func(ctx context.Context) { <-lost(ctx).Done() },
		ours:  func(ctx context.Context) { _, _ = inspect.NewChan[int]("leaks", 0).Receive(lost(ctx)) },
	},
	{
		name: "two that share a context that nobody can cancel",
		want: 2,
		plain: func(ctx context.Context) {
			ctx = lost(ctx)
			go func() { <-ctx.Done() }()
			<-ctx.Done()
		},
		ours: func(ctx context.Context) {
			ctx = lost(ctx)
			go func() { <-ctx.Done() }()
			_, _ = inspect.NewChan[int]("leaks", 0).Receive(ctx)
		},
	},
	{
		name:  "goroutine of a task",
		want:  1,
		plain: func(context.Context) { go func() { <-make(chan int) }() },
		ours: func(ctx context.Context) {
			inspect.Go(ctx, "leaks", func(context.Context) error { <-make(chan int); return nil })
		},
	},
	{
		name: "join of a goroutine that is blocked",
		want: 2,
		plain: func(context.Context) {
			done := make(chan bool)
			go func() { <-make(chan int); close(done) }()
			<-done
		},
		ours: func(ctx context.Context) {
			_ = inspect.Go(ctx, "leaks", func(context.Context) error { <-make(chan int); return nil }).Wait(ctx)
		},
	},
	{
		name: "place in a group",
		want: 2,
		plain: func(context.Context) {
			places := make(chan bool, 1)
			places <- true
			go func() { <-make(chan int); <-places }()
			places <- true
		},
		ours: func(ctx context.Context) {
			g, _ := inspect.NewGroup(ctx, "leaks")
			g.SetLimit(1)
			g.Go("leaks", func(context.Context) error { <-make(chan int); return nil })
			g.Go("leaks", func(context.Context) error { return nil })
		},
	},
	{
		name: "flight whose leader is blocked",
		want: 2,
		plain: func(context.Context) {
			done, started := make(chan bool), make(chan bool)
			go func() { close(started); <-make(chan int); close(done) }()
			<-started
			<-done
		},
		ours: func(ctx context.Context) {
			var f inspect.Flight[int]
			started := make(chan bool)
			go func() {
				_, _, _ = f.Do(ctx, "", func(context.Context) (int, error) { close(started); <-make(chan int); return 0, nil })
			}()
			<-started
			_, _, _ = f.Do(ctx, "", nil)
		},
	},
	{
		name:  "wait for what has no primitive",
		want:  1,
		plain: func(ctx context.Context) { <-lost(ctx).Done() },
		ours: func(ctx context.Context) {
			_ = inspect.Wait(lost(ctx), "io", "leaks", func(ctx context.Context) error { <-ctx.Done(); return nil })
		},
	},
	{
		name:  "external lock",
		want:  1,
		plain: func(ctx context.Context) { <-lost(ctx).Done() },
		ours: func(ctx context.Context) {
			_ = inspect.NewExternal("leaks").Acquire(lost(ctx), func(ctx context.Context) error { <-ctx.Done(); return nil })
		},
	},
	{
		name:  "open client span",
		want:  1,
		plain: func(ctx context.Context) { <-lost(ctx).Done() },
		ours: func(ctx context.Context) {
			ctx, span := inspect.Default().TracerProvider().Tracer("leaks").
				Start(lost(ctx), "call", trace.WithSpanKind(trace.SpanKindClient))
			defer span.End()
			<-ctx.Done()
		},
	},
	{
		name:  "open server span",
		want:  1,
		plain: func(ctx context.Context) { <-lost(ctx).Done() },
		ours: func(ctx context.Context) {
			caller := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, Remote: true})
			ctx, span := inspect.Default().TracerProvider().Tracer("leaks").
				Start(trace.ContextWithRemoteSpanContext(lost(ctx), caller), "answer", trace.WithSpanKind(trace.SpanKindServer))
			defer span.End()
			<-ctx.Done()
		},
	},
	{
		name: "blocked with locks held",
		want: 3,
		plain: func(context.Context) {
			m := mutex()
			var rw sync.RWMutex
			m.Lock()
			rw.RLock()
			go m.Lock()
			go rw.Lock()
			<-make(chan int)
		},
		ours: func(context.Context) {
			m, rw := inspect.NewMutex("leaks m"), inspect.NewRWMutex("leaks rw")
			m.Lock()
			rw.RLock()
			go m.Lock()
			go rw.Lock()
			<-make(chan int)
		},
	},
}
