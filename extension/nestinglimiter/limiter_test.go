package nestinglimiter

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/asyncinspect/asyncinspect/extension/nestinglimiter/internal/metadata"
	"github.com/asyncinspect/asyncinspect/extension/nestinglimiter/internal/metadatatest"
)

// host is a host with the extension.
type host struct {
	component.Host
	limiter *limiter
}

func (h host) GetExtensions() map[component.ID]component.Component {
	return map[component.ID]component.Component{component.NewID(metadata.Type): h.limiter}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "localhost:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

// startReceiver starts an OTLP receiver behind the limiter.
func startReceiver(t *testing.T, l *limiter) (sink *consumertest.TracesSink, grpcAddress, httpAddress string) {
	t.Helper()
	sink, grpcAddress, httpAddress = new(consumertest.TracesSink), freeAddress(t), freeAddress(t)
	factory := otlpreceiver.NewFactory()
	cfg := factory.CreateDefaultConfig()
	of := func(address string) any {
		return map[string]any{"endpoint": address, "middlewares": []any{map[string]any{"id": "nesting_limiter"}}}
	}
	require.NoError(t, confmap.NewFromStringMap(map[string]any{
		"protocols": map[string]any{"grpc": of(grpcAddress), "http": of(httpAddress)},
	}).Unmarshal(cfg))
	receiver, err := factory.CreateTraces(t.Context(), receivertest.NewNopSettings(factory.Type()), cfg, sink)
	require.NoError(t, err)
	require.NoError(t, receiver.Start(t.Context(), host{componenttest.NewNopHost(), l}))
	t.Cleanup(func() { require.NoError(t, receiver.Shutdown(context.Background())) })
	return sink, grpcAddress, httpAddress
}

// A receiver gets what is not too deep, whole and by each way, and the sender of all else
// is told so.
func TestAReceiverGetsWhatIsNotTooDeep(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	telemetry := componenttest.NewTelemetry()
	set := extensiontest.NewNopSettings(metadata.Type)
	set.TelemetrySettings = telemetry.NewTelemetrySettings()
	core, log := observer.New(zap.WarnLevel)
	set.Logger = zap.New(core)
	l, err := newLimiter(set, cfg)
	require.NoError(t, err)
	require.NoError(t, l.Start(t.Context(), componenttest.NewNopHost()))
	sink, grpcAddress, httpAddress := startReceiver(t, l)
	connection, err := grpc.NewClient(grpcAddress, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer connection.Close()

	post := func(body []byte, contentType, encoding string) (status int, says string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+httpAddress+"/v1/traces", bytes.NewReader(body))
		require.NoError(t, err)
		request.Header.Set("Content-Type", contentType)
		request.Header.Set("Content-Encoding", encoding)
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		text, err := io.ReadAll(response.Body)
		require.NoError(t, errors.Join(err, response.Body.Close()))
		return response.StatusCode, string(text)
	}
	const tooDeep = "nested too deeply, the limit is 64"
	for depth, want := range map[int]int{0: 200, 64: 200, 65: 400, 300: 400} {
		protobuf, json := places[traceRequest]["event"](depth)
		var compressed bytes.Buffer
		w := gzip.NewWriter(&compressed)
		_, err := w.Write(protobuf)
		require.NoError(t, errors.Join(err, w.Close()))
		for name, way := range map[string]struct {
			body                  []byte
			contentType, encoding string
		}{
			"protobuf": {protobuf, "application/x-protobuf", ""}, "gzip": {compressed.Bytes(), "application/x-protobuf", "gzip"},
			"JSON": {json, "application/json; charset=utf-8", ""},
		} {
			if name == "JSON" && depth == 65 {
				continue // brackets are counted, and some more are let through
			}
			code, says := post(way.body, way.contentType, way.encoding)
			require.Equal(t, want, code, "%s, depth %d: %s", name, depth, says)
			if want == 400 {
				require.Contains(t, says, tooDeep)
			}
		}
		request := ptraceotlp.NewExportRequest()
		require.NoError(t, request.UnmarshalProto(protobuf))
		_, err = ptraceotlp.NewGRPCClient(connection).Export(t.Context(), request)
		if want == 200 {
			require.NoError(t, err)
			continue
		}
		require.Equal(t, codes.Internal, status.Code(err))
		require.ErrorContains(t, err, tooDeep)
	}
	for _, td := range sink.AllTraces() {
		require.Equal(t, "[[[[", spanOf(td).Name())
		require.Equal(t, 1, spanOf(td).Events().Len())
	}
	require.Equal(t, 2*4, sink.SpanCount())
	code, _ := post([]byte("\xff"), "application/x-protobuf", "")
	require.Equal(t, 400, code)
	code, _ = post(nil, "text/plain", "")
	require.Equal(t, 415, code)

	metadatatest.AssertEqualExtensionNestingLimiterRefusedRequests(t, telemetry, []metricdata.DataPoint[int64]{
		{Value: 7, Attributes: attribute.NewSet(attribute.String("reason", "too_deep"))},
		{Value: 1, Attributes: attribute.NewSet(attribute.String("reason", "malformed"))},
	}, metricdatatest.IgnoreTimestamp())
	require.Len(t, log.All(), 1, "it is said at most once a minute")
	require.NoError(t, l.Shutdown(t.Context()))
}

// A body that breaks off is the next handler's to judge: it reads what came, and then
// the error. A path that takes no OTLP is left alone.
func TestOtherBodiesAreLeftAlone(t *testing.T) {
	l, err := newLimiter(extensiontest.NewNopSettings(metadata.Type), createDefaultConfig().(*Config))
	require.NoError(t, err)
	broken := errors.New("broken")
	for path, body := range map[string]io.Reader{
		"/v1/traces": io.MultiReader(strings.NewReader("what came"), failing{broken}),
		"/other":     io.MultiReader(strings.NewReader("what came"), failing{broken}),
	} {
		served := false
		next := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			served = true
			text, err := io.ReadAll(r.Body)
			require.ErrorIs(t, err, broken)
			require.Equal(t, "what came", string(text))
		})
		request := httptest.NewRequest(http.MethodPost, path, body)
		request.Header.Set("Content-Type", "application/x-protobuf")
		l.handler(next).ServeHTTP(httptest.NewRecorder(), request)
		require.True(t, served)
	}
}

func TestConfig(t *testing.T) {
	for depth, valid := range map[int]bool{-1: false, 0: false, 1: true, 10_000: true, 10_001: false} {
		err := (&Config{MaxDepth: depth}).Validate()
		require.Equal(t, valid, err == nil, "%d", depth)
		if !valid {
			require.ErrorContains(t, err, "max_depth: must be between 1 and 10000, is ")
		}
	}
}
