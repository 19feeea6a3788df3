//go:build !noinspect

package inspect

import (
	"regexp"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

func resourceValue(t *testing.T, key string, opts ...Option) string {
	t.Helper()
	r, err := NewResource(t.Context(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	v, _ := r.Set().Value(attribute.Key(key))
	return v.String()
}

func TestServiceName(t *testing.T) {
	clearEnv(t)
	if got := resourceValue(t, "service.name"); !strings.HasPrefix(got, "unknown_service") {
		t.Errorf("without a name it is %q", got)
	}
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,deployment.environment.name=test")
	if got := resourceValue(t, "service.name"); got != "a" {
		t.Errorf("OTEL_RESOURCE_ATTRIBUTES give %q", got)
	}
	t.Setenv("OTEL_SERVICE_NAME", "b")
	if got := resourceValue(t, "service.name"); got != "b" {
		t.Errorf("OTEL_SERVICE_NAME gives %q", got)
	}
	if got := resourceValue(t, "service.name", WithResource(resource.NewSchemaless(attribute.String("service.name", "c")))); got != "c" {
		t.Errorf("WithResource gives %q", got)
	}
	if got := resourceValue(t, "service.name", WithServiceName("d"), WithResource(resource.NewSchemaless(attribute.String("service.name", "c")))); got != "d" {
		t.Errorf("WithServiceName gives %q", got)
	}
	if got := resourceValue(t, "deployment.environment.name"); got != "test" {
		t.Errorf("the environment is %q", got)
	}
}

var uuid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// A process has a new instance id and epoch at each start, unless they are given.
func TestProcessIdentity(t *testing.T) {
	clearEnv(t)
	a, b := resourceValue(t, taskspan.ServiceInstanceID), resourceValue(t, taskspan.ServiceInstanceID)
	if !uuid.MatchString(a) || !uuid.MatchString(b) || a == b {
		t.Errorf("instance ids %q and %q", a, b)
	}
	if c, d := resourceValue(t, taskspan.ProcessEpoch), resourceValue(t, taskspan.ProcessEpoch); c == "" || c == d {
		t.Errorf("epochs %q and %q", c, d)
	}
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=mine")
	if got := resourceValue(t, taskspan.ServiceInstanceID); got != "mine" {
		t.Errorf("the instance id that was given becomes %q", got)
	}
	given, err := NewResource(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ins, err := New(t.Context(), WithResource(given), WithReports(false), WithSpanExporter(discardingExporter{}))
	if err != nil {
		t.Fatal(err)
	}
	defer ins.Shutdown(t.Context())
	for _, key := range []attribute.Key{taskspan.ServiceInstanceID, taskspan.ProcessEpoch} {
		want, _ := given.Set().Value(key)
		if got, _ := ins.resource.Set().Value(key); got != want {
			t.Errorf("%s of the given resource is %v, ours %v", key, want.String(), got.String())
		}
	}
}

// Of two values of one attribute the more particular one counts, in whatever order the
// options come.
func TestWhichAttributeCounts(t *testing.T) {
	const key = "rack"
	value := func(v string) attribute.KeyValue { return attribute.String(key, v) }
	given, option := WithResource(resource.NewSchemaless(value("of the resource"))), WithResourceAttributes(value("of the option"))
	for _, one := range []struct {
		environment string
		opts        []Option
		want        string
	}{
		{"", nil, ""},
		{"rack=of+the+environment", nil, "of+the+environment"},
		{"rack=x", []Option{given}, "of the resource"},
		{"rack=x", []Option{option}, "of the option"},
		{"rack=x", []Option{given, option}, "of the option"},
		{"rack=x", []Option{option, given}, "of the option"},
	} {
		clearEnv(t)
		t.Setenv("OTEL_RESOURCE_ATTRIBUTES", one.environment)
		if got := resourceValue(t, key, one.opts...); got != one.want {
			t.Errorf("%+v: it is %q", one, got)
		}
	}
}
