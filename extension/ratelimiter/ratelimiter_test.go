package ratelimiter

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	collectorclient "go.opentelemetry.io/collector/client"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	grpcmetadata "google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/asyncinspect/asyncinspect/extension/ratelimiter/internal/metadata"
	"github.com/asyncinspect/asyncinspect/extension/ratelimiter/internal/metadatatest"
)

// clock is a time that only tests move.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.at }

func (c *clock) add(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.at = c.at.Add(d) }

func newTest(tb testing.TB, edit func(*Config)) (*rateLimiter, *clock) {
	tb.Helper()
	cfg := createDefaultConfig().(*Config)
	if edit != nil {
		edit(cfg)
	}
	require.NoError(tb, cfg.Validate())
	l, err := newRateLimiter(extensiontest.NewNopSettings(metadata.Type), cfg)
	require.NoError(tb, err)
	c := &clock{at: time.Unix(1000, 0)}
	l.now = c.now
	return l, c
}

func tenAMinute(c *Config) { c.Requests, c.Per, c.Burst = 10, time.Minute, 3 }

func TestEveryFieldIsRead(t *testing.T) {
	cfg := createDefaultConfig()
	require.NoError(t, confmap.NewFromStringMap(map[string]any{
		"requests": 1, "per": "2s", "burst": 3, "key": "header", "header": "X-Api-Key", "max_clients": 4, "exempt_paths": []any{"/livez"},
	}).Unmarshal(cfg))
	require.Equal(t, &Config{Requests: 1, Per: 2 * time.Second, Burst: 3, Key: KeyHeader, Header: "X-Api-Key", MaxClients: 4, ExemptPaths: []string{"/livez"}}, cfg)
	require.NoError(t, cfg.(*Config).Validate())
}

func TestAnErrorNamesItsField(t *testing.T) {
	for field, breakIt := range map[string]func(*Config){
		"requests: ":        func(c *Config) { c.Requests = 0 },
		"per: ":             func(c *Config) { c.Per = -1 },
		"burst: ":           func(c *Config) { c.Burst = -1 },
		"key: \"ip\"":       func(c *Config) { c.Key = "ip" },
		"header: \"\"":      func(c *Config) { c.Key = KeyHeader },
		"header: \"a b\"":   func(c *Config) { c.Key, c.Header = KeyHeader, "a b" },
		"header: is \"X\"":  func(c *Config) { c.Header = "X" },
		"max_clients: ":     func(c *Config) { c.MaxClients = 0 },
		"exempt_paths[1]: ": func(c *Config) { c.ExemptPaths = []string{"/a", "b"} },
	} {
		cfg := createDefaultConfig().(*Config)
		breakIt(cfg)
		require.ErrorContains(t, cfg.Validate(), field)
	}
}

// Three at once, then one every six seconds; and who waits as long as is said gets in.
func TestABurstAndThenTheRate(t *testing.T) {
	l, at := newTest(t, tenAMinute)
	who := textClient("a")
	for range 3 {
		_, ok := l.allow(who)
		require.True(t, ok)
	}
	for range 20 {
		retry, ok := l.allow(who)
		require.False(t, ok)
		require.InDelta(t, 6, retry.Seconds(), 0.03, "refusals cost nothing")
		at.add(retry - time.Millisecond)
		_, ok = l.allow(who)
		require.False(t, ok, "a millisecond too early")
		at.add(2 * time.Millisecond)
		_, ok = l.allow(who)
		require.True(t, ok)
	}
	at.add(time.Hour)
	for range 3 {
		_, ok := l.allow(who)
		require.True(t, ok)
	}
	_, ok := l.allow(who)
	require.False(t, ok, "no more than the burst, however long it was silent")
}

func TestOneClientDoesNotHurtAnother(t *testing.T) {
	l, _ := newTest(t, tenAMinute)
	for range 100 {
		l.allow(textClient("greedy"))
	}
	_, ok := l.allow(textClient("modest"))
	require.True(t, ok)
}

func TestClientsAreBounded(t *testing.T) {
	l, _ := newTest(t, func(c *Config) { tenAMinute(c); c.MaxClients = 10 })
	for range 5 {
		l.allow(textClient("old"))
	}
	for i := range 9 {
		l.allow(textClient(strconv.Itoa(i)))
	}
	_, ok := l.allow(textClient("old"))
	require.False(t, ok, "it is still known")
	for i := range 1000 {
		l.allow(textClient(strconv.Itoa(i)))
	}
	known, evicted := l.clients.size()
	require.Equal(t, 10, known)
	require.Greater(t, evicted, int64(900))
	_, ok = l.allow(textClient("old"))
	require.True(t, ok, "it was forgotten, and begins anew")
}

func TestWhoAClientIs(t *testing.T) {
	withSubject := collectorclient.NewContext(t.Context(), collectorclient.Info{Auth: auth{"username": "ann"}})
	for name, c := range map[string]struct {
		key     Key
		address string
		header  string
		ctx     context.Context
		want    string
	}{
		"address":               {key: KeyAddress, address: "192.0.2.1:80", want: "192.0.2.1"},
		"IPv6 is its /64":       {key: KeyAddress, address: "[2001:db8:1:2:3:4:5:6]:80", want: "2001:db8:1:2::"},
		"IPv4 in IPv6":          {key: KeyAddress, address: "[::ffff:192.0.2.1]:80", want: "192.0.2.1"},
		"a zone does not count": {key: KeyAddress, address: "[fe80::1%eth0]:80", want: "fe80::"},
		"a broken address":      {key: KeyAddress, address: "nonsense", want: "unknown"},
		"header":                {key: KeyHeader, address: "192.0.2.1:80", header: "abc", want: "abc"},
		"no header":             {key: KeyHeader, address: "192.0.2.1:80", want: "192.0.2.1"},
		"a huge header":         {key: KeyHeader, address: "192.0.2.1:80", header: strings.Repeat("x", 5000), want: strings.Repeat("x", longestKey)},
		"subject":               {key: KeySubject, address: "192.0.2.1:80", ctx: withSubject, want: "ann"},
		"no subject":            {key: KeySubject, address: "192.0.2.1:80", want: "192.0.2.1"},
		"all":                   {key: KeyAll, address: "192.0.2.1:80", want: "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			l, _ := newTest(t, func(cfg *Config) {
				if cfg.Key = c.key; c.key == KeyHeader {
					cfg.Header = "X-Key"
				}
			})
			ctx := c.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
			r.RemoteAddr = c.address
			r.Header.Set("X-Key", c.header)
			require.Equal(t, c.want, l.ofRequest(r).String())

			if address, err := netip.ParseAddrPort(c.address); err == nil {
				ctx = peer.NewContext(ctx, &peer.Peer{Addr: net.TCPAddrFromAddrPort(address)})
			}
			if c.header != "" {
				ctx = grpcmetadata.NewIncomingContext(ctx, grpcmetadata.Pairs("x-key", c.header))
			}
			require.Equal(t, c.want, l.ofCall(ctx).String())
		})
	}
}

type auth map[string]any

func (a auth) GetAttribute(name string) any { return a[name] }
func (a auth) GetAttributeNames() []string  { return nil }

func TestHTTPAnswers429(t *testing.T) {
	l, at := newTest(t, func(c *Config) { tenAMinute(c); c.ExemptPaths = []string{"/livez"} })
	handler := l.handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "in") }))
	ask := func(path string) *http.Response {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Result()
	}
	for range 3 {
		require.Equal(t, http.StatusOK, ask("/").StatusCode)
	}
	refused := ask("/")
	require.Equal(t, http.StatusTooManyRequests, refused.StatusCode)
	require.Equal(t, "6", refused.Header.Get("Retry-After"))
	require.Equal(t, "application/problem+json", refused.Header.Get("Content-Type"))
	var problem struct {
		Type, Title, Detail string
		Status              int
	}
	require.NoError(t, json.NewDecoder(refused.Body).Decode(&problem))
	require.Equal(t, 429, problem.Status)
	require.Contains(t, problem.Detail, "6 s")
	require.Equal(t, http.StatusOK, ask("/livez").StatusCode, "an exempt path")
	at.add(6 * time.Second)
	require.Equal(t, http.StatusOK, ask("/").StatusCode, "who obeys gets in")
	at.add(5*time.Second + 900*time.Millisecond)
	require.Equal(t, "1", ask("/").Header.Get("Retry-After"), "rounded up")
}

func TestManyGoroutines(t *testing.T) {
	l, _ := newTest(t, func(c *Config) { c.Requests, c.MaxClients = 50, 3 })
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 500 {
				l.allow(textClient(strconv.Itoa((g + i) % 5)))
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 4000, l.allowed.Load()+l.limited.Load())
	known, _ := l.clients.size()
	require.Equal(t, 3, known)

	one, _ := newTest(t, func(c *Config) { c.Requests, c.Key = 100, KeyAll })
	for range 8 {
		all.Go(func() {
			for range 500 {
				one.allow(client{})
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 100, one.allowed.Load(), "exactly the burst")
}

func TestTelemetryAndLog(t *testing.T) {
	tel := componenttest.NewTelemetry()
	defer func() { require.NoError(t, tel.Shutdown(context.Background())) }()
	set := extensiontest.NewNopSettings(metadata.Type)
	set.TelemetrySettings = tel.NewTelemetrySettings()
	core, logs := observer.New(zap.InfoLevel)
	set.Logger = zap.New(core)
	cfg := createDefaultConfig().(*Config)
	tenAMinute(cfg)
	cfg.MaxClients = 1
	l, err := newRateLimiter(set, cfg)
	require.NoError(t, err)
	at := &clock{at: time.Unix(1000, 0)}
	l.now = at.now
	require.NoError(t, l.Start(t.Context(), componenttest.NewNopHost()))
	for range 10 {
		l.allow(textClient("a"))
	}
	require.Equal(t, 1, logs.Len(), "once a minute")
	at.add(time.Minute)
	for range 13 {
		l.allow(textClient("a"))
	}
	l.allow(textClient("b"))
	require.Equal(t, 2, logs.Len())
	require.EqualValues(t, 7, logs.All()[1].ContextMap()["refused_since"])
	metadatatest.AssertEqualExtensionRateLimiterRequests(t, tel, []metricdata.DataPoint[int64]{
		{Value: 7, Attributes: attribute.NewSet(attribute.String("outcome", "allowed"))},
		{Value: 17, Attributes: attribute.NewSet(attribute.String("outcome", "limited"))},
	}, metricdatatest.IgnoreTimestamp())
	metadatatest.AssertEqualExtensionRateLimiterClients(t, tel, []metricdata.DataPoint[int64]{{Value: 1}}, metricdatatest.IgnoreTimestamp())
	metadatatest.AssertEqualExtensionRateLimiterEvictedClients(t, tel, []metricdata.DataPoint[int64]{{Value: 1}}, metricdatatest.IgnoreTimestamp())
	require.NoError(t, l.Shutdown(t.Context()))
}

func FuzzClient(f *testing.F) {
	f.Add("192.0.2.1:80", "key")
	f.Add("[fe80::1%lo]:1", "")
	f.Add(":", "\x00\xff")
	l, _ := newTest(f, func(c *Config) { c.Key, c.Header, c.MaxClients = KeyHeader, "X-Key", 8 })
	f.Fuzz(func(t *testing.T, address, header string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = address
		r.Header["X-Key"] = []string{header}
		who := l.ofRequest(r)
		require.LessOrEqual(t, len(who.text), longestKey)
		retry, ok := l.allow(who)
		require.True(t, ok || retry > 0 && retry.Seconds() < math.MaxInt32)
		known, _ := l.clients.size()
		require.LessOrEqual(t, known, 8)
	})
}

func BenchmarkHTTP(b *testing.B) {
	nothing := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	for name, c := range map[string]struct {
		requests, clients int
	}{"allowed/1 client": {1 << 30, 1}, "allowed/10000 clients": {1 << 30, 10_000}, "refused/1 client": {1, 1}} {
		b.Run(name, func(b *testing.B) {
			l, _ := newTest(b, func(cfg *Config) { cfg.Requests, cfg.Per = c.requests, time.Hour })
			handler := l.handler(nothing)
			requests := make([]*http.Request, c.clients)
			for i := range requests {
				requests[i] = httptest.NewRequest(http.MethodGet, "/", nil)
				requests[i].RemoteAddr = fmt.Sprintf("10.%d.%d.%d:80", i>>16, i>>8&255, i&255)
			}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				w := &discard{header: make(http.Header)}
				for i := 0; pb.Next(); i++ {
					handler.ServeHTTP(w, requests[i%len(requests)])
				}
			})
		})
	}
}

type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}

var _ component.Component = (*rateLimiter)(nil)
