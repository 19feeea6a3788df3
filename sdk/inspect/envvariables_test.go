//go:build !noinspect

package inspect

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// secret is in every value that must not be shown.
const secret = "s3cr3t"

// certificateFiles makes two pairs of certificate and key, and a file that is neither.
func certificateFiles(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	write := func(name, kind string, der []byte) {
		text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i, name := range []string{"one", "other"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := x509.Certificate{SerialNumber: big.NewInt(int64(i + 1)), NotAfter: time.Now().Add(time.Hour)}
		certificate, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		write(name+".crt", "CERTIFICATE", certificate)
		write(name+".key", "PRIVATE KEY", der)
	}
	if err := os.WriteFile(filepath.Join(dir, "text"), []byte("not PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Every variable that is read, with values that can be used and values that cannot. An
// error names the variable and what it can be. DIR is a directory of files.
func TestEveryVariableIsChecked(t *testing.T) {
	const (
		truths    = "must be true or false"
		limits    = "between 1 and 2147483647"
		spanLimit = "is not an integer"
		endpoint  = "host:port"
	)
	type bad struct{ value, says string }
	endpoints := []bad{
		{"::::", endpoint},
		{"localhost:99999", "between 1 and 65535"},
		{"localhost:0", "between 1 and 65535"},
		{"http://localhost:65536", "between 1 and 65535"},
		{"localhost:", endpoint},
		{":4317", endpoint},
		{"http://", endpoint},
		{"unix:///x", endpoint},
		{"a..b:4317", endpoint},
		{"a b:4317", endpoint},
		{"-://x", endpoint},
		{"1.2.3:4317", endpoint},
		{"300.1.1.1:4317", endpoint},
		{"[::1", endpoint},
		{"[1.2.3.4]:4317", endpoint},
		{"http://user:" + secret + "@x", "headers"},
		{"user:" + secret + "@x:4317", "headers"},
		{"http://x:4317?token=" + secret, "headers"},
		{"http://x:4317#" + secret, "headers"},
	}
	goodEndpoints := []string{
		"localhost:4317", "http://collector:4317", "https://collector.example.com", "collector", "127.0.0.1:1", "[::1]:65535", "http://[fe80::1%25eth0]:4317",
		"otel_collector:4317", "http://xn--bcher-kva.example/base/", "bücher.example.:4317",
	}
	headers := []bad{
		{"authorization=Bearer " + secret + "," + secret, "header 2"},
		{"authorization", "name=value"},
		{"=" + secret, "header 1"},
		{"a=1,ü=" + secret, "header 2"},
		{"a b=" + secret, "header 1"},
		{"authorization=%zz" + secret, "authorization"},
		{"x-key=" + secret + "%0Aother: 1", "x-key"},
		{"x-key=" + secret + "%C3%BC", "x-key"},
	}
	goodHeaders := []string{"authorization=Bearer%20abc", "a=1,b=2,", "x-a=b=c", "A=", " a = 1 , b = 2"}
	certificates := []bad{{"DIR/none", "no such file"}, {"DIR/text", "PEM"}, {"DIR/one.key", "no certificate"}, {"DIR", "directory"}}
	timeouts := []bad{{"10s", "milliseconds"}, {"-1", "between 0"}, {"1.5", "milliseconds"}, {"2147483648", "2147483647"}}
	compressions := []bad{{"zstd", "gzip or none"}, {"GZIP", "gzip or none"}}
	numbers := []bad{{"0", limits}, {"-1", limits}, {"1e3", limits}, {"many", limits}, {"2147483648", limits}}
	spanLimits := []bad{{"many", spanLimit}, {"1.5", spanLimit}, {"1k", spanLimit}, {"99999999999", spanLimit}}
	clientKeys := []bad{{"DIR/none", "no such file"}, {"DIR/text", "PEM"}}

	for _, test := range []struct {
		name    string
		beside  string // other variables
		bad     []bad
		good    []string
		without string // bad in itself without the other variables; says this
	}{
		{name: "OTEL_SDK_DISABLED", bad: []bad{{"perhaps", truths}, {"off", truths}}, good: []string{"true", "FALSE", "0"}},
		{name: "ASYNC_INSPECT_ENABLED", bad: []bad{{"yes", truths}}, good: []string{"1", "True", "false"}},
		{name: "ASYNC_INSPECT_MODE", bad: []bad{{"prod", "development, analysis or production"}}, good: []string{"Production", "analysis"}},
		{name: "OTEL_SERVICE_NAME", good: []string{"shop", "a b=c"}},
		{
			name: "OTEL_RESOURCE_ATTRIBUTES",
			bad: []bad{
				{"shop", "key=value"},
				{"a=1,b", "key=value"},
				{"=1", "attribute 1"},
				{"a=1,rate=100%", "%25"},
				{"async_inspect.process.epoch=1", "the SDK sets"},
			},
			good: []string{"a=1,b=", "a=1,", "deployment.environment.name=test%2C1", " a = b "},
		},
		{name: "OTEL_EXPORTER_OTLP_PROTOCOL", bad: []bad{{"http/json", "grpc or http/protobuf"}, {"http", "grpc or http/protobuf"}}, good: []string{"grpc", "http/protobuf"}},
		{name: "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", bad: []bad{{"GRPC", "grpc or http/protobuf"}}, good: []string{"grpc"}},
		{name: "OTEL_EXPORTER_OTLP_ENDPOINT", bad: endpoints, good: goodEndpoints},
		{name: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", bad: endpoints, good: goodEndpoints},
		{name: "ASYNC_INSPECT_OTLP_ENDPOINT", bad: endpoints, good: goodEndpoints},
		{name: "OTEL_EXPORTER_OTLP_INSECURE", bad: []bad{{"yes", truths}}, good: []string{"true", "false"}},
		{name: "OTEL_EXPORTER_OTLP_TRACES_INSECURE", bad: []bad{{"no", truths}}, good: []string{"1"}},
		{name: "OTEL_EXPORTER_OTLP_HEADERS", bad: headers, good: goodHeaders},
		{name: "OTEL_EXPORTER_OTLP_TRACES_HEADERS", bad: headers, good: goodHeaders},
		{name: "OTEL_EXPORTER_OTLP_COMPRESSION", bad: compressions, good: []string{"gzip", "none"}},
		{name: "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", bad: compressions, good: []string{"gzip"}},
		{name: "OTEL_EXPORTER_OTLP_TIMEOUT", bad: timeouts, good: []string{"0", "1", "2147483647"}},
		{name: "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", bad: timeouts, good: []string{"10000"}},
		{name: "OTEL_EXPORTER_OTLP_CERTIFICATE", bad: certificates, good: []string{"DIR/one.crt"}},
		{name: "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", bad: certificates, good: []string{"DIR/other.crt"}},
		{
			name: "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", beside: "OTEL_EXPORTER_OTLP_CLIENT_KEY=DIR/one.key",
			bad:  []bad{{"DIR/none", "no such file"}, {"DIR/text", "PEM"}, {"DIR/other.crt", "does not belong"}},
			good: []string{"DIR/one.crt"}, without: "OTEL_EXPORTER_OTLP_CLIENT_KEY",
		},
		{
			name: "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", beside: "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY=DIR/other.key",
			bad:  []bad{{"DIR/none", "no such file"}, {"DIR/one.key", "does not belong"}, {"DIR/one.crt", "does not belong"}},
			good: []string{"DIR/other.crt"}, without: "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
		},
		{
			name: "OTEL_EXPORTER_OTLP_CLIENT_KEY", beside: "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE=DIR/one.crt",
			bad: clientKeys, good: []string{"DIR/one.key"}, without: "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
		},
		{
			name: "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", beside: "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE=DIR/other.crt",
			bad: clientKeys, good: []string{"DIR/other.key"}, without: "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
		},
		{name: "OTEL_TRACES_EXPORTER", bad: []bad{{"console", "otlp or none"}, {"otlp,console", "otlp or none"}}, good: []string{"otlp", "none"}},
		{name: "OTEL_TRACES_SAMPLER", bad: []bad{{"jaeger_remote", "traceidratio"}, {"parentbased", "traceidratio"}}, good: []string{"always_on", "parentbased_traceidratio", "PARENTBASED_ALWAYS_OFF"}},
		{name: "OTEL_TRACES_SAMPLER_ARG", beside: "OTEL_TRACES_SAMPLER=traceidratio", bad: []bad{{"2", "between 0 and 1"}, {"NaN", "between 0 and 1"}, {"10%", "between 0 and 1"}}, good: []string{"0", "0.5", "1e-3"}},
		{name: "OTEL_BSP_SCHEDULE_DELAY", bad: numbers, good: []string{"1", "2147483647"}},
		{name: "OTEL_BSP_EXPORT_TIMEOUT", bad: numbers, good: []string{"30000"}},
		{name: "OTEL_BSP_MAX_QUEUE_SIZE", bad: numbers, good: []string{"100"}},
		{name: "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", bad: numbers, good: []string{"7"}},
		{name: "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", bad: spanLimits, good: []string{"-1", "0", "4096"}},
		{name: "OTEL_ATTRIBUTE_COUNT_LIMIT", bad: spanLimits, good: []string{"128"}},
		{name: "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", bad: spanLimits, good: []string{"-5"}},
		{name: "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", bad: spanLimits, good: []string{"0"}},
		{name: "OTEL_SPAN_EVENT_COUNT_LIMIT", bad: spanLimits, good: []string{"3", " 3 "}},
		{name: "OTEL_SPAN_LINK_COUNT_LIMIT", bad: spanLimits, good: []string{"1"}},
		{name: "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", bad: spanLimits, good: []string{"2"}},
		{name: "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", bad: spanLimits, good: []string{"4"}},
		{name: "ASYNC_INSPECT_SAMPLING", bad: []bad{{"1.5", "between 0 and 1"}, {"-0.1", "between 0 and 1"}}, good: []string{"0", "1", "0.01"}},
		{name: "ASYNC_INSPECT_MAX_TASKS", bad: numbers, good: []string{"1"}},
		{name: "ASYNC_INSPECT_MAX_EVENTS", bad: numbers, good: []string{"2147483647"}},
		{name: "ASYNC_INSPECT_MAX_TASK_EVENTS", bad: numbers, good: []string{"32"}},
		{name: "ASYNC_INSPECT_LOOK_LIMIT", bad: numbers, good: []string{"20000"}},
		{name: "ASYNC_INSPECT_LOCK_ORDER", bad: []bad{{"on", truths}}, good: []string{"true", "0"}},
		{name: "ASYNC_INSPECT_ERROR_TEXTS", bad: []bad{{"off", truths}}, good: []string{"true", "0"}},
	} {
		checkedVariables[test.name] = true
		t.Run(test.name, func(t *testing.T) {
			dir := certificateFiles(t)
			in := func(s string) string { return strings.ReplaceAll(s, "DIR", dir) }
			errorOf := func(t *testing.T, value, beside string) error {
				t.Helper()
				clearEnv(t)
				setEnv(t, in(beside))
				t.Setenv(test.name, in(value))
				c, err := newConfig(nil)
				if err == nil {
					err = c.unused // off, so that it is no error
				}
				if _, resourceErr := NewResource(context.Background()); (resourceErr != nil) != (len(c.resourceErrs) > 0) {
					t.Errorf("NewResource returns %v", resourceErr)
				}
				return err
			}
			for _, b := range test.bad {
				err := errorOf(t, b.value, test.beside)
				if err == nil {
					t.Errorf("%q is accepted", b.value)
					continue
				}
				for _, want := range []string{"environment variable " + test.name + ": ", b.says} {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("the error of %q does not say %q: %v", b.value, want, err)
					}
				}
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error of %q shows a secret: %v", b.value, err)
				}
			}
			for _, value := range test.good {
				if err := errorOf(t, value, test.beside); err != nil {
					t.Errorf("%q is refused: %v", value, err)
				}
			}
			if test.without != "" {
				if err := errorOf(t, test.good[0], ""); err == nil || !strings.Contains(err.Error(), test.without) {
					t.Errorf("alone it returns %v, want an error with %s", err, test.without)
				}
			}
		})
	}
	for _, v := range slices.Concat(switchVariables, modeVariables, settingVariables) {
		if !checkedVariables[v.name] {
			t.Errorf("%s is read and not in this test", v.name)
		}
		delete(checkedVariables, v.name)
	}
	for name := range checkedVariables {
		t.Errorf("%s is tested and not read", name)
	}
}

var checkedVariables = make(map[string]bool)

// The package documentation has every variable, some of them as a pattern.
func TestEveryVariableIsDocumented(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range slices.Concat(switchVariables, modeVariables, settingVariables) {
		documented := strings.Contains(string(text), v.name)
		for prefix, list := range map[string]string{
			"OTEL_EXPORTER_OTLP_TRACES_": "OTEL_EXPORTER_OTLP_*, _TRACES_*", "OTEL_EXPORTER_OTLP_": "OTEL_EXPORTER_OTLP_*, _TRACES_*",
			"OTEL_BSP_": "OTEL_BSP_*", "OTEL_SPAN_": "OTEL_SPAN_*_LIMIT", "OTEL_ATTRIBUTE_": "OTEL_ATTRIBUTE_*_LIMIT",
			"OTEL_EVENT_": "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "OTEL_LINK_": "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
			"OTEL_TRACES_SAMPLER_": "OTEL_TRACES_SAMPLER, _ARG",
		} {
			if rest, ok := strings.CutPrefix(v.name, prefix); ok && strings.Contains(string(text), list) {
				documented = documented || !strings.HasPrefix(v.name, "OTEL_EXPORTER_OTLP_") || strings.Contains(string(text), rest)
			}
		}
		if !documented {
			t.Errorf("doc.go does not have %s", v.name)
		}
	}
}

// Options are checked as their variables are.
func TestOptionsAreCheckedLikeVariables(t *testing.T) {
	clearEnv(t)
	for _, test := range []struct {
		option Option
		says   []string
	}{
		{WithEndpoint("::::"), []string{"WithEndpoint", `"::::"`, "host:port"}},
		{WithEndpoint("localhost:99999"), []string{"WithEndpoint", `"localhost:99999"`, "65535"}},
		{WithEndpoint("http://user:" + secret + "@x"), []string{"WithEndpoint", "@x"}},
		{WithHeaders(map[string]string{"a b": secret}), []string{"WithHeaders", "name"}},
		{WithHeaders(map[string]string{"": secret}), []string{"WithHeaders", "empty"}},
		{WithHeaders(map[string]string{"x-key": secret + "\n"}), []string{"WithHeaders", "x-key", "ASCII"}},
	} {
		_, err := newConfig([]Option{test.option})
		if err == nil {
			t.Errorf("no error with %v", test.says)
			continue
		}
		for _, want := range test.says {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v does not say %q", err, want)
			}
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
	if _, err := newConfig([]Option{WithHeaders(map[string]string{"authorization": "Bearer abc"}), WithEndpoint("[::1]:4317")}); err != nil {
		t.Error(err)
	}
}

// Span limits are taken over also where the OpenTelemetry SDK would ignore them, as with
// blanks around a number.
func TestSpanLimitsOfTheEnvironment(t *testing.T) {
	for value, want := range map[string]int{"3": 3, " 4 ": 4, "-1": 9, "": 9} {
		t.Setenv("OTEL_SPAN_EVENT_COUNT_LIMIT", value)
		exporter := tracetest.NewInMemoryExporter()
		ins, err := New(t.Context(), WithSpanExporter(exporter), WithReports(false), WithSamplingRate(1))
		if err != nil {
			t.Fatal(err)
		}
		_, span := ins.TracerProvider().Tracer("limits").Start(t.Context(), "limited")
		for range 9 {
			span.AddEvent("event")
		}
		span.End()
		spans := exported(t, ins, exporter)
		if len(spans) != 1 || len(spans[0].Events) != want || spans[0].DroppedEvents != 9-want {
			t.Errorf("with %q the span is %+v, want %d events", value, spans, want)
		}
		if err := ins.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestUnknownVariablesAreFoundWithTheNearestName(t *testing.T) {
	for _, test := range []struct{ name, nearest string }{
		{"ASYNC_INSPECT_SAMPLNG", "ASYNC_INSPECT_SAMPLING"},
		{"async_inspect_samplng", "ASYNC_INSPECT_SAMPLING"},
		{"ASYNC_INSPECT_SAMPILNG", "ASYNC_INSPECT_SAMPLING"},
		{"ASYNC_INSPECT_SAMPLING_RATE", "ASYNC_INSPECT_SAMPLING"},
		{"ASYNC_INSPECT_ENABLD", "ASYNC_INSPECT_ENABLED"},
		{"ASYNC_INSPECT_MDOE", "ASYNC_INSPECT_MODE"},
		{"ASYNC_INSPECT_MAXTASKS", "ASYNC_INSPECT_MAX_TASKS"},
		{"ASYNC_INSPECT_MAX_EVENT", "ASYNC_INSPECT_MAX_EVENTS"},
		{"ASYNC_INSPECT_ENDPOINT", "ASYNC_INSPECT_OTLP_ENDPOINT"},
		{"ASYNC_INSPECT_LOCKORDERS", "ASYNC_INSPECT_LOCK_ORDER"},
		{"ASYNC_INSPECT_XYZZY", ""},
		{"ASYNC_INSPECT_TA", ""},
		{"ASYNC_INSPECT_TAS", "ASYNC_INSPECT_MAX_TASKS"},
		{"ASYNC_INSPECT_", ""},
	} {
		if got := unknownVariables([]string{"PATH=/bin", test.name + "=x"}); !slices.Equal(got, []string{test.name}) {
			t.Errorf("of %s are unknown %q", test.name, got)
		}
		if got := nearest(test.name); got != test.nearest {
			t.Errorf("the nearest to %s is %q, want %q", test.name, got, test.nearest)
		}
	}
	known := []string{"ASYNC_INSPECT_SAMPLNG=", "ASYNC_INSPECT_SAMPLNG= \t", "ASYNC_INSPECTOR=x", "OTEL_ASYNC_INSPECT_X=y"}
	for _, name := range ownNames() {
		known = append(known, name+"=x")
	}
	for _, name := range collectorVariables {
		known = append(known, ownPrefix+name+"=x")
	}
	if got := unknownVariables(known); len(got) > 0 {
		t.Errorf("%q are unknown", got)
	}
}

func TestStartWarnsOfUnknownVariables(t *testing.T) {
	for _, off := range []string{"", "ASYNC_INSPECT_ENABLED=false"} {
		clearEnv(t)
		setEnv(t, off)
		t.Setenv("ASYNC_INSPECT_SAMPLNG", secret)
		t.Setenv("ASYNC_INSPECT_LISTEN", "localhost")
		var b strings.Builder
		ins, err := New(t.Context(), WithReports(false), WithoutExport(), WithLogger(slog.New(slog.NewTextHandler(&b, nil))))
		if err != nil {
			t.Fatal(err)
		}
		if err := ins.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		log := b.String()
		if strings.Count(log, "unknown environment variable") != 1 || !strings.Contains(log, "ASYNC_INSPECT_SAMPLNG") ||
			!strings.Contains(log, "nearest=ASYNC_INSPECT_SAMPLING") || strings.Contains(log, secret) {
			t.Errorf("with %q the log is %q", off, log)
		}
	}
}

// A rate that no sampler takes is in vain, and says so.
func TestStartWarnsOfAnArgumentWithoutASampler(t *testing.T) {
	for env, want := range map[string]bool{
		"OTEL_TRACES_SAMPLER_ARG=0.5": true,
		"OTEL_TRACES_SAMPLER_ARG=0.5 OTEL_TRACES_SAMPLER=parentbased_traceidratio": false,
		"OTEL_TRACES_SAMPLER_ARG=0.5 OTEL_TRACES_SAMPLER=always_on":                false,
		"OTEL_TRACES_SAMPLER_ARG=0.5 OTEL_TRACES_SAMPLER=":                         true,
		"OTEL_TRACES_SAMPLER=always_off":                                           false,
	} {
		clearEnv(t)
		setEnv(t, env)
		var b strings.Builder
		ins, err := New(t.Context(), WithReports(false), WithoutExport(), WithLogger(slog.New(slog.NewTextHandler(&b, nil))))
		if err != nil {
			t.Fatal(err)
		}
		if err := ins.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if got := strings.Contains(b.String(), "OTEL_TRACES_SAMPLER_ARG is ignored"); got != want {
			t.Errorf("with %q it is said: %v, want %v", env, got, want)
		}
	}
}

// What the distribution reads is no mistake in the environment of a service.
func TestCollectorVariablesAreThoseOfTheDistribution(t *testing.T) {
	found := make(map[string]bool)
	name := regexp.MustCompile(`ASYNC_INSPECT_[A-Z_]*[A-Z]`)
	var files []string
	for _, pattern := range []string{"../../distribution/config/*.yaml", "../../cmd/asyncinspect/*.go", "../../docs/scaling.md"} {
		some, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, some...)
	}
	if len(files) == 0 {
		t.Skip("the distribution is not here: the SDK is used as a module")
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range name.FindAllString(string(text), -1) {
			found[n] = true
		}
	}
	for _, n := range collectorVariables {
		if !found[ownPrefix+n] {
			t.Errorf("%s is not used there", n)
		}
		delete(found, ownPrefix+n)
	}
	for n := range found {
		if !slices.Contains(ownNames(), n) {
			t.Errorf("%s is used there, and the SDK would warn of it", n)
		}
	}
}

// An unknown variable is said, with the nearest name if there is one.
func TestUnknownVariablesAreSaid(t *testing.T) {
	for variable, nearest := range map[string]string{"ASYNC_INSPECT_XYZZY": "", "ASYNC_INSPECT_SAMPLNG": "ASYNC_INSPECT_SAMPLING"} {
		clearEnv(t)
		t.Setenv(variable, "7")
		var log strings.Builder
		c, err := newConfig([]Option{WithLogger(slog.New(slog.NewTextHandler(&log, nil)))})
		if err != nil {
			t.Fatal(err)
		}
		c.warnOfUnknown()
		if n := strings.Count(log.String(), "variable="+variable); n != 1 || strings.Contains(log.String(), "nearest=") != (nearest != "") || !strings.Contains(log.String(), nearest) {
			t.Errorf("of %s is said %q", variable, log.String())
		}
	}
}

// How many letters have to change: neighbours that are swapped are one.
func TestChangesOfWords(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "ABC", 3},
		{"MODE", "", 4},
		{"MODE", "MODE", 0},
		{"MDOE", "MODE", 1},
		{"MOD", "MODE", 1},
		{"MODES", "MODE", 1},
		{"MODE", "MXDE", 1},
		{"AB", "BC", 2},
		{"AB", "CA", 2},
		{"ABC", "BCA", 2},
		{"ABCD", "BADC", 2},
		{"AB", "BA", 1},
		{"KITTEN", "SITTING", 3},
	} {
		if got := changes(c.a, c.b); got != c.want {
			t.Errorf("from %q to %q are %d changes, want %d", c.a, c.b, got, c.want)
		}
		if got := changes(c.b, c.a); got != c.want {
			t.Errorf("from %q to %q are %d changes, want %d", c.b, c.a, got, c.want)
		}
	}
	if got := unknownVariables([]string{"ASYNC_INSPECT_ZZ=1", "ASYNC_INSPECT_AA=1", "ASYNC_INSPECT_MM=1"}); !slices.IsSorted(got) || len(got) != 3 {
		t.Errorf("unknown are %q, in that order", got)
	}
}
