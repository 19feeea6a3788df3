package inspect

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// newConfig is the configuration: the defaults of the mode, then the environment,
// then the options. The error names everything that is wrong with it. Off is always a
// way out: while the SDK is off, what is wrong with the rest is kept in unused and is no
// error.
func newConfig(opts []Option) (*config, error) {
	var e environment
	c := defaultConfig()
	e.off(c)
	off := !c.enabled && len(e.errs) == 0
	mode := Development
	e.read("ASYNC_INSPECT_MODE", func(v string) (err error) { mode, err = parseMode(v); return err })
	for _, o := range opts {
		if m, ok := o.(modeOption); ok {
			mode = Mode(m)
		}
	}
	if mode < Development || mode > Production {
		c.bad("WithMode: %v is not a mode; there are Development, Analysis and Production", mode)
	}
	mode.apply(c)
	e.standard(c)
	e.own(c)
	for _, o := range opts {
		if o != nil {
			o.apply(c)
		}
	}
	c.errs = append(e.errs, c.errs...)
	c.validate()
	err := errors.Join(append(c.errs, c.resourceErrs...)...)
	if off {
		c.unused, err = err, nil
	}
	c.reports = c.reports && c.enabled
	return c, err
}

// environment reads variables and collects what is wrong with them.
type environment struct{ errs []error }

// read calls set with the value of a variable, unless it is empty, which means the
// same as not set.
func (e *environment) read(name string, set func(string) error) {
	v := strings.TrimSpace(os.Getenv(name))
	if v == "" {
		return
	}
	if err := set(v); err != nil {
		e.errs = append(e.errs, fmt.Errorf("environment variable %s: %w", name, err))
	}
}

// off reads what turns the SDK off. No option can turn it on again: who runs a
// service can always get rid of us.
func (e *environment) off(c *config) {
	e.read("OTEL_SDK_DISABLED", func(v string) error {
		off, err := parseBool(v)
		c.enabled = c.enabled && !off
		return err
	})
	e.read("ASYNC_INSPECT_ENABLED", func(v string) error {
		on, err := parseBool(v)
		c.enabled = c.enabled && on
		return err
	})
}

// standard reads the variables of OpenTelemetry. What the exporters and the span
// limits read for themselves (headers, certificates, timeouts, compression,
// OTEL_SPAN_*) is left to them.
func (e *environment) standard(c *config) {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"} {
		e.read(name, func(v string) error {
			c.protocol = v
			return checkProtocol(v)
		})
	}
	e.read("OTEL_EXPORTER_OTLP_ENDPOINT", func(v string) error {
		c.fallback = v
		return checkEndpoint(v)
	})
	e.read("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", func(v string) error {
		c.fallback, c.fallbackExact = v, true
		return checkEndpoint(v)
	})
	for _, name := range []string{"OTEL_EXPORTER_OTLP_INSECURE", "OTEL_EXPORTER_OTLP_TRACES_INSECURE"} {
		e.read(name, func(v string) (err error) { c.insecure, err = parseBool(v); return err })
	}
	e.read("OTEL_TRACES_EXPORTER", func(v string) error {
		switch v {
		case "otlp":
		case "none":
			c.export, c.reports = false, false
		default:
			return fmt.Errorf("%q is not supported; there are otlp and none", v)
		}
		return nil
	})
	e.read("OTEL_TRACES_SAMPLER", func(v string) error { return e.sampler(c, strings.ToLower(v)) })
	e.batches(&c.batch)
}

// sampler reads a sampler of the specification. Those with a ratio use consistent
// probability sampling, which for traceidratio the specification asks for, too.
func (e *environment) sampler(c *config, name string) error {
	root, parentBased := strings.CutPrefix(name, "parentbased_")
	switch root {
	case "always_on":
		c.rate = 1
	case "always_off":
		c.rate = 0
	case "traceidratio":
		c.rate = 1
		e.read("OTEL_TRACES_SAMPLER_ARG", func(v string) (err error) { c.rate, err = parseRate(v); return err })
	default:
		return fmt.Errorf("%q is not supported; there are always_on, always_off and traceidratio, with or without parentbased_ before it", name)
	}
	c.everySpan = !parentBased
	return nil
}

// batches reads the variables of the batch span processor.
func (e *environment) batches(b *batchConfig) {
	milliseconds := func(d *time.Duration) func(string) error {
		return func(v string) error {
			n, err := parseLimit(v)
			*d = time.Duration(n) * time.Millisecond
			return err
		}
	}
	number := func(into *int) func(string) error {
		return func(v string) (err error) { *into, err = parseLimit(v); return err }
	}
	e.read("OTEL_BSP_SCHEDULE_DELAY", milliseconds(&b.delay))
	e.read("OTEL_BSP_EXPORT_TIMEOUT", milliseconds(&b.timeout))
	e.read("OTEL_BSP_MAX_QUEUE_SIZE", number(&b.queue))
	e.read("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", number(&b.size))
	b.size = min(b.size, b.queue) // as the specification demands
}

// own reads the variables of async-inspect.
func (e *environment) own(c *config) {
	e.read("ASYNC_INSPECT_SAMPLING", func(v string) (err error) {
		c.everySpan = false
		c.rate, err = parseRate(v)
		return err
	})
	e.read("ASYNC_INSPECT_MAX_TASKS", func(v string) (err error) { c.maxTasks, err = parseLimit(v); return err })
	e.read("ASYNC_INSPECT_MAX_EVENTS", func(v string) (err error) { c.maxEvents, err = parseLimit(v); return err })
	e.read("ASYNC_INSPECT_MAX_TASK_EVENTS", func(v string) (err error) { c.maxTaskEvents, err = parseLimit(v); return err })
	e.read("ASYNC_INSPECT_LOCK_ORDER", func(v string) (err error) { c.lockOrder, err = parseBool(v); return err })
	e.read("ASYNC_INSPECT_OTLP_ENDPOINT", func(v string) error {
		c.endpoint = v
		return checkEndpoint(v)
	})
}

func parseBool(v string) (bool, error) {
	switch strings.ToLower(v) {
	case "true", "1":
		return true, nil
	case "false", "0":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", v)
}

func parseRate(v string) (float64, error) {
	rate, err := strconv.ParseFloat(v, 64)
	if err != nil || !(rate >= 0 && rate <= 1) {
		return 0, fmt.Errorf("%q is not a rate between 0 and 1", v)
	}
	return rate, nil
}

func parseLimit(v string) (int, error) {
	n, err := strconv.ParseInt(v, 10, 32)
	if err != nil || n <= 0 {
		return 1, fmt.Errorf("%q is not a whole number between 1 and 2147483647", v)
	}
	return int(n), nil
}
