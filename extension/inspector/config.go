package inspector

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/confighttp"

	"github.com/asyncinspect/asyncinspect/internal/durations"
)

// Config is the configuration of the inspector extension.
type Config struct {
	// ServerConfig brings the address, TLS, authentication, CORS and middlewares.
	confighttp.ServerConfig `mapstructure:",squash"`
	// OpenLivez answers /livez without authentication and middlewares, for probes
	// that have no credentials.
	OpenLivez bool `mapstructure:"open_livez"`
	// NotReadyOnDeadlock makes /readyz fail while a deadlock of a service stands that is not
	// only suspected.
	NotReadyOnDeadlock bool `mapstructure:"not_ready_on_deadlock"`
	// TraceURL is the template of links to traces; {trace_id} and {span_id} are
	// replaced. Empty: no links.
	TraceURL string `mapstructure:"trace_url"`
	// Metrics is about /metrics.
	Metrics Metrics `mapstructure:"metrics"`
	// Events is about the stream of changes.
	Events Events `mapstructure:"events"`
	// History is about what the overview shows of the past.
	History History `mapstructure:"history"`
}

// Metrics is about /metrics.
type Metrics struct {
	// MaxSeries bounds the label sets of each family; what comes later is summed in
	// one more that is marked with otel_metric_overflow.
	MaxSeries int `mapstructure:"max_series"`
}

// Events is about the stream of changes.
type Events struct {
	// MaxClients bounds the streams that are open at a time.
	MaxClients int `mapstructure:"max_clients"`
}

// History is about what the overview shows of the past.
type History struct {
	// Interval is the time between two points.
	Interval time.Duration `mapstructure:"interval"`
	// Length is how far it goes back.
	Length time.Duration `mapstructure:"length"`
}

// maxHistoryPoints bounds the history, at about 200 bytes a point.
const maxHistoryPoints = 3600

var _ component.Config = (*Config)(nil)

func createDefaultConfig() component.Config {
	server := confighttp.NewDefaultServerConfig()
	server.NetAddr.Endpoint = "localhost:9090"
	// Nobody sends a body here, and nobody has a reason to send a header slowly.
	server.MaxRequestBodySize = 64 << 10
	server.ReadHeaderTimeout = 10 * time.Second
	server.ReadTimeout = 30 * time.Second
	return &Config{
		ServerConfig: server,
		Metrics:      Metrics{MaxSeries: 10_000},
		Events:       Events{MaxClients: 100},
		History:      History{Interval: 5 * time.Second, Length: 10 * time.Minute},
	}
}

// Validate reports every field that cannot be used, by its name in the YAML.
func (c *Config) Validate() error {
	errs := durations.Check(c, createDefaultConfig())
	if c.NetAddr.Endpoint == "" {
		errs = append(errs, errors.New("endpoint: must not be empty"))
	}
	if err := validTraceURL(c.TraceURL); err != nil {
		errs = append(errs, fmt.Errorf("trace_url: %w", err))
	}
	for _, limit := range []struct {
		field         string
		value, lo, hi int
	}{
		{"metrics::max_series", c.Metrics.MaxSeries, 1, 1_000_000},
		{"events::max_clients", c.Events.MaxClients, 1, 10_000},
	} {
		if limit.value < limit.lo || limit.value > limit.hi {
			errs = append(errs, fmt.Errorf("%s: must be between %d and %d, is %d", limit.field, limit.lo, limit.hi, limit.value))
		}
	}
	if c.History.Interval < time.Second || c.History.Interval > time.Minute {
		errs = append(errs, fmt.Errorf("history::interval: must be between 1s and 1m, is %v", c.History.Interval))
	} else if c.History.Length < c.History.Interval || c.History.Length/c.History.Interval > maxHistoryPoints {
		errs = append(errs, fmt.Errorf("history::length: must be between one interval and %d of them, is %v", maxHistoryPoints, c.History.Length))
	}
	return errors.Join(errs...)
}

// validTraceURL keeps a link that runs a script out of the page.
func validTraceURL(template string) error {
	if template == "" {
		return nil
	}
	if !strings.Contains(template, "{trace_id}") {
		return fmt.Errorf("must contain {trace_id}, is %q", template)
	}
	u, err := url.Parse(traceURL(template, strings.Repeat("0", 32), strings.Repeat("0", 16)))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("must be a URL that begins with http:// or https://, is %q", template)
	}
	return nil
}

// traceURL is the link to a trace; empty if there is no template.
func traceURL(template, trace, span string) string {
	return strings.NewReplacer("{trace_id}", trace, "{span_id}", span).Replace(template)
}
