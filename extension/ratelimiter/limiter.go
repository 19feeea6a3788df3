package ratelimiter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/extension/extensionmiddleware"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/asyncinspect/asyncinspect/extension/ratelimiter/internal/metadata"
	"github.com/asyncinspect/asyncinspect/internal/seldom"
)

// rateLimiter is the extension.
type rateLimiter struct {
	cfg       *Config
	id        component.ID
	logger    *zap.Logger
	telemetry *metadata.TelemetryBuilder
	now       func() time.Time

	clients          *clients
	allowed, limited atomic.Int64
	news             seldom.Count
}

var (
	_ extension.Extension            = (*rateLimiter)(nil)
	_ extensionmiddleware.HTTPServer = (*rateLimiter)(nil)
	_ extensionmiddleware.GRPCServer = (*rateLimiter)(nil)
)

func newRateLimiter(set extension.Settings, cfg *Config) (*rateLimiter, error) {
	builder, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, fmt.Errorf("create telemetry of %s: %w", set.ID, err)
	}
	return &rateLimiter{cfg: cfg, id: set.ID, logger: set.Logger, telemetry: builder, now: time.Now, clients: newClients(cfg)}, nil
}

// Start registers the telemetry.
func (l *rateLimiter) Start(context.Context, component.Host) error {
	outcome := func(name string) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(attribute.String("outcome", name)))
	}
	allowed, limited := outcome("allowed"), outcome("limited")
	err := errors.Join(
		l.telemetry.RegisterExtensionRateLimiterRequestsCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(l.allowed.Load(), allowed)
			o.Observe(l.limited.Load(), limited)
			return nil
		}),
		l.telemetry.RegisterExtensionRateLimiterClientsCallback(func(_ context.Context, o metric.Int64Observer) error {
			known, _ := l.clients.size()
			o.Observe(int64(known))
			return nil
		}),
		l.telemetry.RegisterExtensionRateLimiterEvictedClientsCallback(func(_ context.Context, o metric.Int64Observer) error {
			_, evicted := l.clients.size()
			o.Observe(evicted)
			return nil
		}),
	)
	if err != nil {
		return fmt.Errorf("register telemetry of %s: %w", l.id, err)
	}
	return nil
}

// Shutdown ends the telemetry.
func (l *rateLimiter) Shutdown(context.Context) error {
	l.telemetry.Shutdown()
	return nil
}

// allow counts a request, and says when a client may send the next if not now.
func (l *rateLimiter) allow(who client) (retry time.Duration, ok bool) {
	now := l.now()
	retry, ok = l.clients.allow(who, now)
	if ok {
		l.allowed.Add(1)
		return 0, true
	}
	l.limited.Add(1)
	if n := l.news.Add(now); n > 0 {
		l.logger.Warn("A client sends more requests than it may; they are refused. This is said at most once a minute.",
			zap.Stringer("client", who), zap.Int64("refused_since", n), zap.Duration("retry_after", retry))
	}
	return retry, false
}

// GetHTTPHandler implements [extensionmiddleware.HTTPServer].
func (l *rateLimiter) GetHTTPHandler(context.Context) (extensionmiddleware.WrapHTTPHandlerFunc, error) {
	return func(_ context.Context, next http.Handler) (http.Handler, error) { return l.handler(next), nil }, nil
}

func (l *rateLimiter) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(l.cfg.ExemptPaths, r.URL.Path) {
			if retry, ok := l.allow(l.ofRequest(r)); !ok {
				refuse(w, retry)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// refuse answers 429 with a problem document (RFC 9457), and when to come again.
func refuse(w http.ResponseWriter, retry time.Duration) {
	seconds := max(1, int(math.Ceil(retry.Seconds())))
	w.Header().Set("Retry-After", strconv.Itoa(seconds))
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(http.StatusTooManyRequests)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"type": "about:blank", "title": http.StatusText(http.StatusTooManyRequests), "status": http.StatusTooManyRequests,
		"detail": fmt.Sprintf("this client sends more requests than it may; send the next in %d s", seconds),
	})
}

// GetGRPCServerOptions implements [extensionmiddleware.GRPCServer].
func (l *rateLimiter) GetGRPCServerOptions(context.Context) ([]grpc.ServerOption, error) {
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			if err := l.call(ctx); err != nil {
				return nil, err
			}
			return next(ctx, request)
		}),
		grpc.ChainStreamInterceptor(func(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			if err := l.call(stream.Context()); err != nil {
				return err
			}
			return next(server, stream)
		}),
	}, nil
}

// call answers ResourceExhausted if a call is one too many. With RetryInfo an OTLP
// client waits so long and sends it again; without, it would drop what it has.
func (l *rateLimiter) call(ctx context.Context) error {
	retry, ok := l.allow(l.ofCall(ctx))
	if ok {
		return nil
	}
	refusal := status.New(codes.ResourceExhausted, "this client sends more requests than it may")
	if detailed, err := refusal.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(retry)}); err == nil {
		refusal = detailed
	}
	return refusal.Err()
}
