package ratelimiter

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configgrpc"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/configmiddleware"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/exporter/otlpexporter"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/asyncinspect/asyncinspect/extension/ratelimiter/internal/metadata"
)

// host is a host with the extension.
type host struct {
	component.Host
	extensions map[component.ID]component.Component
}

func (h *host) GetExtensions() map[component.ID]component.Component { return h.extensions }

func hostOf(l *rateLimiter) *host {
	return &host{componenttest.NewNopHost(), map[component.ID]component.Component{component.NewID(metadata.Type): l}}
}

var middlewares = []configmiddleware.Config{{ID: component.NewID(metadata.Type)}}

func TestAnHTTPServerOfTheCollector(t *testing.T) {
	l, _ := newTest(t, tenAMinute)
	cfg := confighttp.NewDefaultServerConfig()
	cfg.NetAddr.Endpoint = "localhost:0"
	cfg.Middlewares = middlewares
	listener, err := cfg.ToListener(t.Context())
	require.NoError(t, err)
	server, err := cfg.ToServer(t.Context(), hostOf(l).GetExtensions(), componenttest.NewNopTelemetrySettings(), http.NotFoundHandler())
	require.NoError(t, err)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	defer func() { require.NoError(t, server.Close()); <-done }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var got []int
	for range 5 {
		response, err := client.Get("http://" + listener.Addr().String())
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		got = append(got, response.StatusCode)
	}
	require.Equal(t, []int{404, 404, 404, 429, 429}, got)
}

func TestAGRPCServerOfTheCollector(t *testing.T) {
	l, _ := newTest(t, func(c *Config) { tenAMinute(c); c.Burst = 2 })
	cfg := configgrpc.NewDefaultServerConfig()
	cfg.NetAddr.Endpoint = "localhost:0"
	cfg.Middlewares = middlewares
	listener, err := cfg.NetAddr.Listen(t.Context())
	require.NoError(t, err)
	server, err := cfg.ToServer(t.Context(), hostOf(l).GetExtensions(), componenttest.NewNopTelemetrySettings())
	require.NoError(t, err)
	healthpb.RegisterHealthServer(server, health.NewServer())
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	defer func() { server.Stop(); <-done }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer conn.Close()
	client := healthpb.NewHealthClient(conn)

	exhausted := func(err error) {
		t.Helper()
		s := status.Convert(err)
		require.Equal(t, codes.ResourceExhausted, s.Code(), "%v", err)
		require.Len(t, s.Details(), 1)
		require.InDelta(t, 6, s.Details()[0].(*errdetails.RetryInfo).RetryDelay.AsDuration().Seconds(), 0.01)
	}
	_, err = client.Check(t.Context(), &healthpb.HealthCheckRequest{})
	require.NoError(t, err)
	stream, err := client.Watch(t.Context(), &healthpb.HealthCheckRequest{})
	require.NoError(t, err)
	_, err = stream.Recv()
	require.NoError(t, err)
	_, err = client.Check(t.Context(), &healthpb.HealthCheckRequest{})
	exhausted(err)
	stream, err = client.Watch(t.Context(), &healthpb.HealthCheckRequest{})
	require.NoError(t, err)
	_, err = stream.Recv()
	exhausted(err)
}

// A stock OTLP exporter waits as long as it is told, and loses nothing.
func TestAnOTLPExporterBacksOff(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	cfg.Requests, cfg.Burst, cfg.Per = 20, 2, time.Second
	l, err := newRateLimiter(extensiontest.NewNopSettings(metadata.Type), cfg)
	require.NoError(t, err)
	sink := new(consumertest.TracesSink)
	receivers := otlpreceiver.NewFactory()
	receiverConfig := receivers.CreateDefaultConfig()
	address := freeAddress(t)
	require.NoError(t, confmap.NewFromStringMap(map[string]any{
		"protocols": map[string]any{"grpc": map[string]any{"endpoint": address, "middlewares": []any{map[string]any{"id": "rate_limiter"}}}},
	}).Unmarshal(receiverConfig))
	receiver, err := receivers.CreateTraces(t.Context(), receivertest.NewNopSettings(receivers.Type()), receiverConfig, sink)
	require.NoError(t, err)
	require.NoError(t, receiver.Start(t.Context(), hostOf(l)))
	defer func() { require.NoError(t, receiver.Shutdown(context.Background())) }()

	exporters := otlpexporter.NewFactory()
	exporterConfig := exporters.CreateDefaultConfig()
	require.NoError(t, confmap.NewFromStringMap(map[string]any{
		"endpoint": address, "tls": map[string]any{"insecure": true},
		"retry_on_failure": map[string]any{"initial_interval": "1ms", "max_interval": "10ms"},
	}).Unmarshal(exporterConfig))
	exporter, err := exporters.CreateTraces(t.Context(), exportertest.NewNopSettings(exporters.Type()), exporterConfig)
	require.NoError(t, err)
	require.NoError(t, exporter.Start(t.Context(), componenttest.NewNopHost()))
	for range 10 {
		td := ptrace.NewTraces()
		td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty().SetName("one")
		require.NoError(t, exporter.ConsumeTraces(t.Context(), td))
	}
	require.Eventually(t, func() bool { return sink.SpanCount() == 10 }, 20*time.Second, 10*time.Millisecond)
	require.NoError(t, exporter.Shutdown(context.Background()))
	require.NotZero(t, l.limited.Load(), "it has been refused, and told when to come again")
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "localhost:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}
