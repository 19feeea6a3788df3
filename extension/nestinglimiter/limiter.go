package nestinglimiter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/extension/extensionmiddleware"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"

	"github.com/asyncinspect/asyncinspect/extension/nestinglimiter/internal/metadata"
	"github.com/asyncinspect/asyncinspect/internal/seldom"
)

// limiter is the extension.
type limiter struct {
	cfg       *Config
	id        component.ID
	logger    *zap.Logger
	telemetry *metadata.TelemetryBuilder

	bodies             sync.Pool // of *bytes.Buffer
	tooDeep, malformed atomic.Int64
	news               seldom.Count
}

var (
	_ extension.Extension            = (*limiter)(nil)
	_ extensionmiddleware.HTTPServer = (*limiter)(nil)
	_ extensionmiddleware.GRPCServer = (*limiter)(nil)
)

func newLimiter(set extension.Settings, cfg *Config) (*limiter, error) {
	builder, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, fmt.Errorf("create telemetry of %s: %w", set.ID, err)
	}
	l := &limiter{cfg: cfg, id: set.ID, logger: set.Logger, telemetry: builder}
	l.bodies.New = func() any { return new(bytes.Buffer) }
	return l, nil
}

// Start registers the telemetry.
func (l *limiter) Start(context.Context, component.Host) error {
	reason := func(name string) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(attribute.String("reason", name)))
	}
	tooDeep, malformed := reason("too_deep"), reason("malformed")
	err := l.telemetry.RegisterExtensionNestingLimiterRefusedRequestsCallback(func(_ context.Context, o metric.Int64Observer) error {
		o.Observe(l.tooDeep.Load(), tooDeep)
		o.Observe(l.malformed.Load(), malformed)
		return nil
	})
	if err != nil {
		return fmt.Errorf("register telemetry of %s: %w", l.id, err)
	}
	return nil
}

// Shutdown ends the telemetry.
func (l *limiter) Shutdown(context.Context) error {
	l.telemetry.Shutdown()
	return nil
}

// refused counts a refusal and returns the error for the sender.
func (l *limiter) refused(err error) error {
	if errors.Is(err, errTooDeep) {
		l.tooDeep.Add(1)
		err = fmt.Errorf("the value of an attribute is nested too deeply, the limit is %d", l.cfg.MaxDepth)
	} else {
		l.malformed.Add(1)
	}
	if n := l.news.Add(time.Now()); n > 0 {
		l.logger.Warn("Refused a request before decoding it. This is logged at most once a minute.",
			zap.Int64("refused_since", n), zap.Error(err))
	}
	return err
}

// GetHTTPHandler implements [extensionmiddleware.HTTPServer].
func (l *limiter) GetHTTPHandler(context.Context) (extensionmiddleware.WrapHTTPHandlerFunc, error) {
	return func(_ context.Context, next http.Handler) (http.Handler, error) { return l.handler(next), nil }, nil
}

func (l *limiter) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		of := requestTo(r.URL.Path)
		if of == opaque || r.Body == nil {
			next.ServeHTTP(w, r)
			return
		}
		body := l.bodies.Get().(*bytes.Buffer)
		defer l.bodies.Put(body)
		body.Reset()
		_, err := body.ReadFrom(r.Body)
		if err != nil {
			// What has come so far, and then the same error, are the next handler's.
			r.Body = replay{io.MultiReader(body, failing{err}), r.Body}
			next.ServeHTTP(w, r)
			return
		}
		switch mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); mediaType {
		case "application/json":
			err = checkJSON(body.Bytes(), l.cfg.MaxDepth)
		case "application/x-protobuf":
			err = check(body.Bytes(), of, l.cfg.MaxDepth)
		}
		if err != nil {
			refuse(w, l.refused(err))
			return
		}
		r.Body = replay{body, r.Body}
		next.ServeHTTP(w, r)
	})
}

// replay is a body that has been read before.
type replay struct {
	io.Reader
	io.Closer
}

// failing is a reader that fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// refuse answers 400 with a problem document (RFC 9457). A client drops the request.
func refuse(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"type": "about:blank", "title": http.StatusText(http.StatusBadRequest), "status": http.StatusBadRequest, "detail": err.Error(),
	})
}

// GetGRPCServerOptions implements [extensionmiddleware.GRPCServer]. An interceptor would
// come too late: it gets what has been decoded.
func (l *limiter) GetGRPCServerOptions(context.Context) ([]grpc.ServerOption, error) {
	return []grpc.ServerOption{grpc.ForceServerCodecV2(codec{encoding.GetCodecV2("proto"), l})}, nil
}

// codec is the codec of the server with a check before it decodes.
type codec struct {
	encoding.CodecV2
	limiter *limiter
}

// Unmarshal decodes a request unless it is nested too deeply. The client is told
// Internal, and drops it.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if of := requests[reflect.TypeOf(v).Elem().Name()]; of != opaque {
		whole := data.MaterializeToBuffer(mem.DefaultBufferPool())
		defer whole.Free()
		if err := check(whole.ReadOnlyData(), of, c.limiter.cfg.MaxDepth); err != nil {
			return c.limiter.refused(err)
		}
		data = mem.BufferSlice{whole}
	}
	return c.CodecV2.Unmarshal(data, v)
}
