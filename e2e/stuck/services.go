package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
	"github.com/asyncinspect/asyncinspect/sdk/inspecthttp"
)

// child starts another role of a case and returns what it says first. It may have an
// agent of its own.
func child(name, role string, environment ...string) string {
	self, err := os.Executable()
	if err != nil {
		log.Fatal(err)
	}
	cmd := exec.Command(self, name, role)
	cmd.Env = append(os.Environ(), environment...)
	if agent := os.Getenv("STUCK_CHILD_ENDPOINT"); agent != "" {
		cmd.Env = append(cmd.Env, "OTEL_EXPORTER_OTLP_ENDPOINT="+agent)
	}
	cmd.Stderr = os.Stderr
	// Kept open for as long as this process lives.
	if _, err := cmd.StdinPipe(); err != nil {
		log.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		log.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		log.Fatal(err)
	}
	line := make([]byte, 256)
	n, err := out.Read(line)
	if err != nil {
		log.Fatalf("%s %s says nothing: %v", name, role, err)
	}
	first, _, _ := strings.Cut(string(line[:n]), "\n")
	return first
}

func listen() net.Listener {
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		log.Fatal(err)
	}
	return l
}

// httpServices: the front holds a lock and calls the back, whose answer needs an
// answer of the front, which needs the lock.
func httpServices(ctx context.Context, role string) {
	l := listen()
	front := os.Getenv("STUCK_FRONT")
	m := inspect.NewMutex("account")
	used(m)
	client := &http.Client{Transport: inspecthttp.NewTransport(http.DefaultTransport)}
	get := func(ctx context.Context, url string) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			log.Fatal(err)
		}
		if response, err := client.Do(request); err == nil {
			_, _ = io.Copy(io.Discard, response.Body)
			response.Body.Close()
		}
	}
	mux := http.NewServeMux()
	mux.Handle("GET /check", inspecthttp.NewHandler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		m.Lock()
		defer m.Unlock()
	})))
	mux.Handle("GET /transfer", inspecthttp.NewHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		get(r.Context(), front+"/check")
	})))
	go func() { log.Fatal(http.Serve(l, mux)) }()
	address := "http://" + l.Addr().String()
	if role == "back" {
		fmt.Println(address)
		return
	}
	back := child("http", "back", "STUCK_FRONT="+address)
	task(ctx, "transfer", func(ctx context.Context) {
		m.Lock()
		get(ctx, back+"/transfer")
	})
}

// grpcServices: the first of three holds a lock and calls the second, that the third,
// and that the first. The instrumentation is the stock one of OpenTelemetry, so the
// waits are guessed from its client spans.
func grpcServices(ctx context.Context, role string) {
	otel.SetTextMapPropagator(propagation.TraceContext{})
	otel.SetTracerProvider(inspect.Default().TracerProvider())
	l := listen()
	s := &grpcService{lock: inspect.NewMutex("ledger")}
	used(s.lock)
	server := grpc.NewServer(grpc.StatsHandler(otelgrpc.NewServerHandler()))
	health.RegisterHealthServer(server, s)
	go func() { log.Fatal(server.Serve(l)) }()
	address := l.Addr().String()
	switch role {
	case "":
		s.next = dial(child("grpc", "second", "STUCK_FIRST="+address))
		task(ctx, "close the books", func(ctx context.Context) {
			s.lock.Lock()
			_, _ = s.next.Check(ctx, &health.HealthCheckRequest{Service: "second"})
		})
	case "second":
		s.next = dial(child("grpc", "third"))
		fmt.Println(address)
	case "third":
		s.next = dial(os.Getenv("STUCK_FIRST"))
		fmt.Println(address)
	}
}

// grpcStream: the first opens a stream while it holds a lock, and goes on working. The
// second answers the stream, for which it calls the first, whose handler wants the lock:
// it looks like a circle, but the first waits for nothing, and releases the lock.
func grpcStream(ctx context.Context, role string) {
	otel.SetTextMapPropagator(propagation.TraceContext{})
	otel.SetTracerProvider(inspect.Default().TracerProvider())
	l := listen()
	s := &grpcService{lock: inspect.NewMutex("cache")}
	server := grpc.NewServer(grpc.StatsHandler(otelgrpc.NewServerHandler()))
	health.RegisterHealthServer(server, s)
	go func() { log.Fatal(server.Serve(l)) }()
	if role == "watched" {
		s.next = dial(os.Getenv("STUCK_FIRST"))
		fmt.Println(l.Addr())
		return
	}
	s.next = dial(child("grpc-stream", "watched", "STUCK_FIRST="+l.Addr().String()))
	task(ctx, "refresh the cache", func(ctx context.Context) {
		for {
			s.lock.Lock()
			stream, err := s.next.Watch(ctx, &health.HealthCheckRequest{})
			if err != nil {
				log.Fatal(err)
			}
			for began := time.Now(); time.Since(began) < 10*time.Second; {
				time.Sleep(time.Millisecond) // work
			}
			s.lock.Unlock()
			if _, err := stream.Recv(); err != nil {
				log.Fatal(err)
			}
		}
	})
}

// Watch sends one answer, when it has got one itself.
func (s *grpcService) Watch(_ *health.HealthCheckRequest, stream grpc.ServerStreamingServer[health.HealthCheckResponse]) error {
	ctx, t := inspect.Begin(stream.Context(), "watch")
	defer t.End(nil)
	answer, err := s.next.Check(ctx, &health.HealthCheckRequest{Service: "first"})
	if err != nil {
		return err
	}
	return stream.Send(answer)
}

type grpcService struct {
	health.UnimplementedHealthServer
	lock *inspect.Mutex
	next health.HealthClient
}

// Check calls the next service, and what comes back to the first needs the lock.
func (s *grpcService) Check(ctx context.Context, r *health.HealthCheckRequest) (*health.HealthCheckResponse, error) {
	ctx, t := inspect.Begin(ctx, "check "+r.Service)
	defer t.End(nil)
	switch r.Service {
	case "second":
		return s.next.Check(ctx, &health.HealthCheckRequest{Service: "third"})
	case "third":
		return s.next.Check(ctx, &health.HealthCheckRequest{Service: "first"})
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	return new(health.HealthCheckResponse), nil
}

func dial(address string) health.HealthClient {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithStatsHandler(otelgrpc.NewClientHandler()))
	if err != nil {
		log.Fatal(err)
	}
	return health.NewHealthClient(conn)
}

// plainHTTP: two services that know of async-inspect only as the provider of their spans
// and as their locks. A request takes the lock of the front and asks the back, which asks
// the front for something that needs the lock.
func plainHTTP(_ context.Context, role string) {
	otel.SetTextMapPropagator(propagation.TraceContext{})
	otel.SetTracerProvider(inspect.Default().TracerProvider())
	l := listen()
	other := os.Getenv("STUCK_FRONT")
	m := inspect.NewMutex("till")
	client := &http.Client{Transport: otelhttp.NewTransport(http.DefaultTransport)}
	get := func(ctx context.Context, url string) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			log.Fatal(err)
		}
		if response, err := client.Do(request); err == nil {
			_, _ = io.Copy(io.Discard, response.Body)
			response.Body.Close()
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /buy", func(_ http.ResponseWriter, r *http.Request) {
		m.Lock()
		defer m.Unlock()
		get(r.Context(), other+"/pay")
	})
	mux.HandleFunc("GET /pay", func(_ http.ResponseWriter, r *http.Request) { get(r.Context(), other+"/total") })
	mux.HandleFunc("GET /total", func(http.ResponseWriter, *http.Request) {
		m.Lock()
		defer m.Unlock()
	})
	go func() { log.Fatal(http.Serve(l, otelhttp.NewHandler(mux, "server"))) }()
	address := "http://" + l.Addr().String()
	if role == "back" {
		fmt.Println(address)
		return
	}
	for range 3 { // the lock is known to be released by who takes it
		get(context.Background(), address+"/total")
	}
	other = child("plain-http", "back", "STUCK_FRONT="+address)
	go get(context.Background(), address+"/buy")
}

// plainGRPC is the same with gRPC.
func plainGRPC(_ context.Context, role string) {
	otel.SetTextMapPropagator(propagation.TraceContext{})
	otel.SetTracerProvider(inspect.Default().TracerProvider())
	l := listen()
	s := &plainService{lock: inspect.NewMutex("ledger")}
	server := grpc.NewServer(grpc.StatsHandler(otelgrpc.NewServerHandler()))
	health.RegisterHealthServer(server, s)
	go func() { log.Fatal(server.Serve(l)) }()
	if role == "back" {
		s.next = dial(os.Getenv("STUCK_FRONT"))
		fmt.Println(l.Addr())
		return
	}
	s.next = dial(child("plain-grpc", "back", "STUCK_FRONT="+l.Addr().String()))
	front := dial(l.Addr().String())
	go func() { _, _ = front.Check(context.Background(), &health.HealthCheckRequest{Service: "buy"}) }()
}

type plainService struct {
	health.UnimplementedHealthServer
	lock *inspect.Mutex
	next health.HealthClient
}

func (s *plainService) Check(ctx context.Context, r *health.HealthCheckRequest) (*health.HealthCheckResponse, error) {
	switch r.Service {
	case "buy":
		s.lock.Lock()
		defer s.lock.Unlock()
		return s.next.Check(ctx, &health.HealthCheckRequest{Service: "pay"})
	case "pay":
		return s.next.Check(ctx, &health.HealthCheckRequest{Service: "total"})
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	return new(health.HealthCheckResponse), nil
}

// external: two processes take two locks of a shared store in opposite orders.
func external(name string, opts ...inspect.AcquireOption) func(context.Context, string) {
	return func(ctx context.Context, role string) {
		if role == "" {
			child(name, "other")
		}
		first, second := inspect.NewExternal("invoices of "+name, opts...), inspect.NewExternal("stock of "+name, opts...)
		if role == "other" {
			first, second = second, first
		}
		task(ctx, "nightly", func(ctx context.Context) {
			_ = first.Acquire(ctx, func(context.Context) error { return nil })
			_ = second.Acquire(ctx, func(ctx context.Context) error {
				<-ctx.Done() // the other process has it, or nobody who would release it
				return ctx.Err()
			})
		})
	}
}

// killedHolder: a process holds a shared lock and begins to wait for one that this one
// has, and is killed before it has said so.
func killedHolder(ctx context.Context, role string) {
	first, second := inspect.NewExternal("left"), inspect.NewExternal("right")
	if role == "victim" {
		time.AfterFunc(700*time.Millisecond, func() { os.Exit(137) })
		task(ctx, "victim", func(ctx context.Context) {
			_ = second.Acquire(ctx, func(context.Context) error { return nil })
			_ = first.Acquire(ctx, func(ctx context.Context) error { <-ctx.Done(); return nil })
		})
		return
	}
	task(ctx, "survivor", func(ctx context.Context) {
		_ = first.Acquire(ctx, func(context.Context) error { return nil })
		for ctx.Err() == nil {
			child("killed-holder", "victim")
			_ = second.Acquire(ctx, func(context.Context) error { time.Sleep(4 * time.Second); return nil })
			_ = second.Release(ctx, func(context.Context) error { return nil })
		}
	})
}
