package inspector

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/extension"
	"go.uber.org/zap"

	"github.com/asyncinspect/asyncinspect/extension/inspector/internal/metadata"
)

// lookEvery is how often it is looked for changes while somebody has a stream open.
const lookEvery = time.Second

// inspector is the shell: it owns the server, the goroutine and the clock.
type inspector struct {
	registry

	cfg       *Config
	id        component.ID
	version   string
	set       component.TelemetrySettings
	logger    *zap.Logger
	telemetry *metadata.TelemetryBuilder

	picture *shared[picture]
	numbers *shared[numbers]
	history *history
	streams *streams
	metrics *userMetrics
	page    *staticPage
	gzip    func(http.Handler) http.HandlerFunc

	told      told            // only run's
	notReady  string          // what was said last of the readiness; only run's
	coverage  map[string]bool // faults of the configuration that have been logged; only run's
	startedAt time.Time
	progress  atomic.Int64 // when the last round ended, in unix nanoseconds

	server  *http.Server
	address string // that it listens on
	stop    context.CancelFunc
	done    sync.WaitGroup // the goroutines of Start
}

var _ extension.Extension = (*inspector)(nil)

func newInspector(set extension.Settings, cfg *Config) (*inspector, error) {
	x := &inspector{
		cfg: cfg, id: set.ID, version: set.BuildInfo.Version, set: set.TelemetrySettings, logger: set.Logger,
		history: newHistory(int(cfg.History.Length / cfg.History.Interval)), streams: newStreams(cfg.Events.MaxClients),
		startedAt: time.Now(),
	}
	x.picture = &shared[picture]{read: func(now time.Time) *picture { return timed(x, "tasks", x.readPicture, now) }}
	x.numbers = &shared[numbers]{read: func(now time.Time) *numbers { return timed(x, "numbers", x.readNumbers, now) }}
	var err error
	if x.page, err = newPage(); err != nil {
		return nil, err
	}
	if x.gzip, err = newGzip(); err != nil {
		return nil, fmt.Errorf("create the compression of %s: %w", set.ID, err)
	}
	x.metrics = newMetrics(x.version, cfg.Metrics.MaxSeries, x.numbers.get, set.Logger)
	if x.telemetry, err = metadata.NewTelemetryBuilder(set.TelemetrySettings); err != nil {
		return nil, fmt.Errorf("create telemetry of %s: %w", set.ID, err)
	}
	return x, nil
}

// Start listens, and begins to look at the components, which register later.
func (x *inspector) Start(ctx context.Context, host component.Host) error {
	if err := x.registerTelemetry(); err != nil {
		return fmt.Errorf("register telemetry of %s: %w", x.id, err)
	}
	x.progress.Store(time.Now().UnixNano())
	listener, err := x.cfg.ToListener(ctx)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", x.cfg.NetAddr.Endpoint, err)
	}
	if err := x.createServer(ctx, host); err != nil {
		return errors.Join(err, listener.Close())
	}
	if isLoopback(listener.Addr()) && !x.cfg.authenticates() {
		x.server.Handler = guarded(onlyLocalhost(x.server.Handler))
	}
	x.address = listener.Addr().String()
	x.logger.Info("The inspector is there.", zap.String("address", x.address), zap.Bool("tls", x.cfg.TLS.HasValue()))
	x.done.Go(func() {
		if err := x.server.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			componentstatus.ReportStatus(host, componentstatus.NewFatalErrorEvent(fmt.Errorf("serve on %s: %w", listener.Addr(), err)))
		}
	})
	running, cancel := context.WithCancel(context.Background())
	x.stop = cancel
	x.done.Go(func() { x.run(running) })
	return nil
}

func (x *inspector) createServer(ctx context.Context, host component.Host) error {
	authenticate := ""
	if x.cfg.Auth.HasValue() {
		authenticate = challenge(x.cfg.Auth.Get().AuthenticatorID)
	}
	server, err := x.cfg.ToServer(ctx, host.GetExtensions(), x.set, x.handler(), confighttp.WithErrorHandler(refused(authenticate)))
	if err != nil {
		return fmt.Errorf("create the server of %s: %w", x.id, err)
	}
	if x.cfg.OpenLivez {
		server.Handler = x.open(server.Handler)
	}
	server.MaxHeaderBytes = maxHeaderBytes
	x.server = server
	return nil
}

// Shutdown ends the streams, waits for the requests that are going on, and stops.
func (x *inspector) Shutdown(ctx context.Context) error {
	var err error
	if x.stop != nil {
		x.stop()
		x.streams.close()
		if err = x.server.Shutdown(ctx); err != nil {
			err = errors.Join(fmt.Errorf("shut down the server of %s: %w", x.id, err), x.server.Close())
		}
		x.done.Wait()
	}
	x.telemetry.Shutdown()
	return err
}

// run looks at the components until the inspector stops.
func (x *inspector) run(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	next := time.Now()
	for {
		now := time.Now()
		due := !now.Before(next)
		if due {
			next = now.Add(x.cfg.History.Interval - lookEvery/2) // a tick that comes a little early still counts
		}
		x.look(now, due)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// look takes a point of the history if one is due, and tells the streams what has
// changed.
func (x *inspector) look(now time.Time, due bool) {
	if due || x.streams.count() > 0 {
		n := x.numbers.get()
		var events []event
		if due {
			events = append(events, x.makeEvent("history", x.history.add(n.sample())))
			x.sayReadiness(n)
			x.sayCoverage(n)
		}
		x.streams.send(append(events, x.changes(n)...))
	}
	x.picture.forget(now)
	x.numbers.forget(now)
	x.progress.Store(time.Now().UnixNano())
}

// sayReadiness logs once when the inspector is not ready any more, and when it is.
func (x *inspector) sayReadiness(n *numbers) {
	reason := ""
	for _, c := range x.readiness(n).Checks {
		if c.Status == statusFailed {
			reason = c.Name
			if x.notReady == "" {
				x.logger.Warn("Not ready any more.", zap.String("check", c.Name), zap.String("component", c.Component), zap.String("reason", c.Message))
			}
			break
		}
	}
	if reason == "" && x.notReady != "" {
		x.logger.Info("Ready again.")
	}
	x.notReady = reason
}
