package inspect

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// newConfig is the configuration: the defaults of the mode, then the environment,
// then the options. The error names everything that is wrong with it. Off is always a
// way out: while the SDK is off, what is wrong with the rest is kept in unused and is no
// error.
func newConfig(opts []Option) (*config, error) {
	c := defaultConfig()
	c.read(switchVariables)
	off := !c.enabled && len(c.errs) == 0
	c.read(modeVariables)
	for _, o := range opts {
		if m, ok := o.(modeOption); ok {
			c.mode = Mode(m)
		}
	}
	if c.mode < Development || c.mode > Production {
		c.bad("WithMode: %v is not a mode; must be Development, Analysis or Production", c.mode)
	}
	c.mode.apply(c)
	c.read(settingVariables)
	for _, o := range opts {
		if o != nil {
			o.apply(c)
		}
	}
	c.validate()
	err := errors.Join(append(c.errs, c.resourceErrs...)...)
	if off {
		c.unused, err = err, nil
	}
	c.reports = c.reports && c.enabled
	return c, err
}

// variable is one environment variable that the SDK reads, or that the OpenTelemetry
// SDK reads for it.
type variable struct {
	name string
	// set takes a value over into the configuration. Its error says what is wrong with
	// the value and what can be; it shows no value that may be secret.
	set func(c *config, v string) error
	// resource says that it describes the process, also for NewResource.
	resource bool
}

// All environment variables are in one of these three tables. Each is read in its
// order: where several set one thing, the last counts.

// switchVariables turn the SDK off. No option can turn it on again: who runs a service can
// always get rid of us.
var switchVariables = []variable{
	{name: "OTEL_SDK_DISABLED", set: func(c *config, v string) error {
		off, err := parseBool(v)
		c.enabled = c.enabled && !off
		return err
	}},
	{name: "ASYNC_INSPECT_ENABLED", set: func(c *config, v string) error {
		on, err := parseBool(v)
		c.enabled = c.enabled && on
		return err
	}},
}

// modeVariables are read next: a mode sets the defaults of the settings.
var modeVariables = []variable{
	{name: "ASYNC_INSPECT_MODE", set: func(c *config, v string) (err error) { c.mode, err = parseMode(v); return err }},
}

// settingVariables are all others: first those of OpenTelemetry, then our own, which go before.
// What the exporters read for themselves (certificates, headers, compression, timeouts) is
// checked here, because they ignore what they cannot use.
var settingVariables = []variable{
	{name: "OTEL_SERVICE_NAME", set: anything, resource: true},
	{name: "OTEL_RESOURCE_ATTRIBUTES", set: func(_ *config, v string) error { return checkResourceAttributes(v) }, resource: true},

	{name: "OTEL_EXPORTER_OTLP_PROTOCOL", set: setProtocol},
	{name: "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", set: setProtocol},
	{name: "OTEL_EXPORTER_OTLP_ENDPOINT", set: func(c *config, v string) error {
		c.fallback = v
		return checkEndpoint(v)
	}},
	{name: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", set: func(c *config, v string) error {
		c.fallback, c.fallbackExact = v, true
		return checkEndpoint(v)
	}},
	{name: "OTEL_EXPORTER_OTLP_INSECURE", set: setInsecure},
	{name: "OTEL_EXPORTER_OTLP_TRACES_INSECURE", set: setInsecure},
	{name: "OTEL_EXPORTER_OTLP_HEADERS", set: checkHeaderList},
	{name: "OTEL_EXPORTER_OTLP_TRACES_HEADERS", set: checkHeaderList},
	{name: "OTEL_EXPORTER_OTLP_COMPRESSION", set: checkCompression},
	{name: "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", set: checkCompression},
	{name: "OTEL_EXPORTER_OTLP_TIMEOUT", set: checkTimeout},
	{name: "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", set: checkTimeout},
	{name: "OTEL_EXPORTER_OTLP_CERTIFICATE", set: checkCertificates},
	{name: "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", set: checkCertificates},
	{name: "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", set: checkClientCertificate("OTEL_EXPORTER_OTLP_CLIENT_KEY")},
	{name: "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", set: checkClientCertificate("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY")},
	{name: "OTEL_EXPORTER_OTLP_CLIENT_KEY", set: checkClientKey("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE")},
	{name: "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", set: checkClientKey("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE")},

	{name: "OTEL_TRACES_EXPORTER", set: func(c *config, v string) error {
		switch v {
		case "otlp":
		case "none":
			c.export, c.reports = false, false
		default:
			return fmt.Errorf("%q is not supported; must be otlp or none", v)
		}
		return nil
	}},
	{name: "OTEL_TRACES_SAMPLER", set: setSampler},
	{name: "OTEL_TRACES_SAMPLER_ARG", set: func(c *config, v string) error {
		if !c.ratio && valueOf("OTEL_TRACES_SAMPLER") != "" {
			return nil // of a sampler that takes none
		}
		rate, err := parseRate(v)
		if c.ratio {
			c.rate = rate
		}
		return err
	}},

	{name: "OTEL_BSP_SCHEDULE_DELAY", set: setMilliseconds(func(c *config) *time.Duration { return &c.batch.delay })},
	{name: "OTEL_BSP_EXPORT_TIMEOUT", set: setMilliseconds(func(c *config) *time.Duration { return &c.batch.timeout })},
	{name: "OTEL_BSP_MAX_QUEUE_SIZE", set: setLimit(func(c *config) *int { return &c.batch.queue })},
	{name: "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", set: setLimit(func(c *config) *int { return &c.batch.size })},

	// Those of attributes in general come before those of the attributes of spans.
	{name: "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", set: setSpanLimit(func(c *config) *int { return &c.spanLimits.AttributeValueLengthLimit })},
	{name: "OTEL_ATTRIBUTE_COUNT_LIMIT", set: setSpanLimit(func(c *config) *int { return &c.spanLimits.AttributeCountLimit })},
	{name: "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", set: setSpanLimit(func(c *config) *int { return &c.spanLimits.AttributeValueLengthLimit })},
	{name: "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", set: setSpanLimit(func(c *config) *int { return &c.spanLimits.AttributeCountLimit })},
	{name: "OTEL_SPAN_EVENT_COUNT_LIMIT", set: setSpanLimit(func(c *config) *int { return &c.spanLimits.EventCountLimit })},
	{name: "OTEL_SPAN_LINK_COUNT_LIMIT", set: setSpanLimit(func(c *config) *int { return &c.spanLimits.LinkCountLimit })},
	{name: "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", set: setSpanLimit(func(c *config) *int { return &c.spanLimits.AttributePerEventCountLimit })},
	{name: "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", set: setSpanLimit(func(c *config) *int { return &c.spanLimits.AttributePerLinkCountLimit })},

	{name: "ASYNC_INSPECT_SAMPLING", set: func(c *config, v string) (err error) {
		c.everySpan = false
		c.rate, err = parseRate(v)
		return err
	}},
	{name: "ASYNC_INSPECT_MAX_TASKS", set: setLimit(func(c *config) *int { return &c.maxTasks })},
	{name: "ASYNC_INSPECT_MAX_EVENTS", set: setLimit(func(c *config) *int { return &c.maxEvents })},
	{name: "ASYNC_INSPECT_MAX_TASK_EVENTS", set: setLimit(func(c *config) *int { return &c.maxTaskEvents })},
	{name: "ASYNC_INSPECT_LOOK_LIMIT", set: setLimit(func(c *config) *int { return &c.lookLimit })},
	{name: "ASYNC_INSPECT_LOCK_ORDER", set: func(c *config, v string) (err error) { c.lockOrder, err = parseBool(v); return err }},
	{name: "ASYNC_INSPECT_ERROR_TEXTS", set: func(c *config, v string) (err error) { c.errorTexts, err = parseBool(v); return err }},
	{name: "ASYNC_INSPECT_OTLP_ENDPOINT", set: func(c *config, v string) error {
		c.endpoint = v
		return checkEndpoint(v)
	}},
}

// read reads variables, and collects what is wrong with them.
func (c *config) read(variables []variable) {
	for _, e := range variables {
		v := valueOf(e.name)
		if v == "" {
			continue
		}
		err := e.set(c, v)
		switch {
		case err == nil:
		case e.resource:
			c.badResource("environment variable %s: %w", e.name, err)
		default:
			c.bad("environment variable %s: %w", e.name, err)
		}
	}
}

// valueOf is the value of an environment variable. Empty means the same as not set.
func valueOf(name string) string { return strings.TrimSpace(os.Getenv(name)) }
