package inspect

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// newConfig is the configuration: the defaults of the mode, then the environment,
// then the options.
func newConfig(opts []Option) (*config, error) {
	e := environment{}
	c := defaultConfig()
	mode := Development
	e.read("ASYNC_INSPECT_MODE", func(v string) (err error) { mode, err = parseMode(v); return err })
	for _, o := range opts {
		if m, ok := o.(modeOption); ok {
			mode = Mode(m)
		}
	}
	if mode < Development || mode > Production {
		return nil, fmt.Errorf("WithMode: there is no %v", mode)
	}
	mode.apply(c)
	e.standard(c)
	e.own(c)
	if !c.enabled {
		return c, e.err()
	}
	for _, o := range opts {
		o.apply(c)
	}
	if err := errors.Join(e.err(), c.validate()); err != nil {
		return nil, err
	}
	return c, nil
}

// environment reads variables and collects what is wrong with them.
type environment struct{ errs []error }

func (e *environment) err() error { return errors.Join(e.errs...) }

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

// standard reads the variables of OpenTelemetry that its own SDK does not read by
// itself. Those of the batch span processor, the span limits and the rest of
// OTEL_EXPORTER_OTLP_* are read there.
func (e *environment) standard(c *config) {
	e.read("OTEL_SDK_DISABLED", func(v string) error {
		c.enabled = !strings.EqualFold(v, "true") // anything else is false, as the specification says
		return nil
	})
	for _, name := range []string{"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"} {
		e.read(name, func(v string) error {
			if v != protocolGRPC && v != protocolHTTP {
				return fmt.Errorf("%q is not supported; there are %s and %s", v, protocolGRPC, protocolHTTP)
			}
			c.protocol = v
			return nil
		})
	}
	e.read("OTEL_TRACES_EXPORTER", func(v string) error {
		switch v {
		case "otlp":
		case "none":
			c.export = false
		default:
			return fmt.Errorf("%q is not supported; there are otlp and none", v)
		}
		return nil
	})
	e.read("OTEL_TRACES_SAMPLER", func(v string) error { return e.sampler(c, v) })
}

func (e *environment) sampler(c *config, name string) error {
	rate := 1.0
	e.read("OTEL_TRACES_SAMPLER_ARG", func(v string) (err error) { rate, err = parseRate(v); return err })
	switch strings.TrimPrefix(name, "parentbased_") {
	case "always_on":
		c.rate = 1
	case "always_off":
		c.rate = 0
	case "traceidratio":
		c.rate = rate
	default:
		return fmt.Errorf("%q is not supported; there are always_on, always_off and traceidratio, with or without parentbased_", name)
	}
	return nil
}

// own reads the variables of async-inspect.
func (e *environment) own(c *config) {
	e.read("ASYNC_INSPECT_ENABLED", func(v string) error {
		on, err := strconv.ParseBool(v)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", v)
		}
		c.enabled = c.enabled && on
		return nil
	})
	e.read("ASYNC_INSPECT_SAMPLING", func(v string) (err error) { c.rate, err = parseRate(v); return err })
	e.read("ASYNC_INSPECT_MAX_TASKS", func(v string) (err error) { c.maxTasks, err = parseLimit(v); return err })
	e.read("ASYNC_INSPECT_MAX_EVENTS", func(v string) (err error) { c.maxEvents, err = parseLimit(v); return err })
	e.read("ASYNC_INSPECT_OTLP_ENDPOINT", func(v string) error {
		c.endpoint = v
		_, err := endpointURL(v)
		return err
	})
}

func parseRate(v string) (float64, error) {
	rate, err := strconv.ParseFloat(v, 64)
	if err != nil || !(rate >= 0 && rate <= 1) {
		return 0, fmt.Errorf("%q is not a rate between 0 and 1", v)
	}
	return rate, nil
}

func parseLimit(v string) (int, error) {
	n, err := strconv.Atoi(v)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("%q is not a whole number above 0", v)
	}
	return n, nil
}
