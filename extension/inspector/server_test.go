package inspector

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/basicauthextension"
	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/bearertokenauthextension"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configauth"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/config/configtls"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/extension/extensiontest"
)

// everyPath has one of each kind that is served.
var everyPath = []string{"/", "/tasks", "/metrics", "/readyz", "/api/v1/overview", "/api/v1/tasks", "/api/v1/events", "/api/v1/openapi.yaml", "/api/nothing"}

func fetch(t testing.TB, client *http.Client, url string, header ...string) *http.Response {
	t.Helper()
	return fetchFrom(t, client, url, "", header...)
}

func withAuth(cfg *Config, id component.ID) *Config {
	cfg.Auth = configoptional.Some(confighttp.AuthConfig{Config: configauth.Config{AuthenticatorID: id}})
	return cfg
}

func startedExtension(t testing.TB, f extension.Factory, settings map[string]any) component.Component {
	t.Helper()
	cfg := f.CreateDefaultConfig()
	require.NoError(t, confmap.NewFromStringMap(settings).Unmarshal(cfg))
	e, err := f.Create(t.Context(), extensiontest.NewNopSettings(f.Type()), cfg)
	require.NoError(t, err)
	require.NoError(t, e.Start(t.Context(), componenttest.NewNopHost()))
	t.Cleanup(func() { require.NoError(t, e.Shutdown(context.Background())) })
	return e
}

// The authenticator covers every path, and /livez only if it is not opened.
func TestCredentialsAreAskedForEverywhere(t *testing.T) {
	bearer := startedExtension(t, bearertokenauthextension.NewFactory(), map[string]any{"token": "secret"})
	basic := startedExtension(t, basicauthextension.NewFactory(), map[string]any{"htpasswd": map[string]any{"inline": "ann:pass"}})
	for name, test := range map[string]struct {
		extension              component.Component
		right, wrong, callenge string
	}{
		"bearertokenauth": {bearer, "Bearer secret", "Bearer other", "Bearer "},
		"basicauth":       {basic, "Basic YW5uOnBhc3M=", "Basic YW5uOm90aGVy", "Basic "},
	} {
		t.Run(name, func(t *testing.T) {
			id := component.MustNewID(name)
			for _, open := range []bool{false, true} {
				cfg := withAuth(testConfig(), id)
				cfg.OpenLivez = open
				_, address := served(t, cfg, host{id: test.extension})
				for _, path := range append([]string{"/livez"}, everyPath...) {
					for _, credentials := range []string{"", test.wrong} {
						r := fetch(t, http.DefaultClient, "http://"+address+path, "Authorization", credentials)
						text := body(t, r)
						if path == "/livez" && open {
							require.Equal(t, http.StatusOK, r.StatusCode)
							continue
						}
						require.Equal(t, http.StatusUnauthorized, r.StatusCode, path)
						require.Equal(t, "application/problem+json", r.Header.Get("Content-Type"), path)
						require.True(t, strings.HasPrefix(r.Header.Get("WWW-Authenticate"), test.callenge))
						require.Contains(t, text, `"status":401`)
					}
					if path == "/api/v1/events" {
						continue
					}
					r := fetch(t, http.DefaultClient, "http://"+address+path, "Authorization", test.right)
					require.NotEmpty(t, body(t, r))
					require.NotEqual(t, http.StatusUnauthorized, r.StatusCode, path)
				}
			}
		})
	}
}

func TestItSpeaksTLS(t *testing.T) {
	certificate, key, pool := selfSigned(t)
	cfg := testConfig()
	server := configtls.NewDefaultServerConfig()
	server.CertPem, server.KeyPem = configopaque.String(certificate), configopaque.String(key)
	cfg.TLS = configoptional.Some(server)
	_, address := served(t, cfg, nil)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer client.CloseIdleConnections()
	r := fetch(t, client, "https://"+address+"/readyz")
	require.Equal(t, http.StatusOK, r.StatusCode, body(t, r))
	plain := fetch(t, http.DefaultClient, "http://"+address+"/readyz")
	require.Equal(t, http.StatusBadRequest, plain.StatusCode, body(t, plain))
}

func selfSigned(t *testing.T) (certificate, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	pool = x509.NewCertPool()
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool.AddCert(parsed)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})), pool
}

func TestAnAddressInUseIsAnError(t *testing.T) {
	_, address := served(t, testConfig(), nil)
	cfg := testConfig()
	cfg.NetAddr.Endpoint = address
	x := unstarted(t, cfg)
	require.ErrorContains(t, x.Start(t.Context(), host{}), "listen on "+address)
	require.NoError(t, x.Shutdown(t.Context()))
	missing := withAuth(testConfig(), component.MustNewID("nobody"))
	x = unstarted(t, missing)
	require.ErrorContains(t, x.Start(t.Context(), host{}), "nobody")
	require.NoError(t, x.Shutdown(t.Context()))
}

// Every answer keeps the browser from loading or running anything from elsewhere.
func TestEveryAnswerIsGuarded(t *testing.T) {
	x := unstarted(t, testConfig())
	for _, path := range append([]string{"/livez", "/nothing.js"}, everyPath...) {
		if path == "/api/v1/events" {
			continue
		}
		h := x.get(path).Header()
		policy := h.Get("Content-Security-Policy")
		require.Contains(t, policy, "default-src 'none'", path)
		require.NotContains(t, policy, "unsafe", path)
		require.NotContains(t, policy, "http", path)
		require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"), path)
	}
}

func TestThePageIsServedFromTheBinary(t *testing.T) {
	x := unstarted(t, testConfig())
	index, err := fs.ReadFile(dist, "ui/dist/index.html")
	require.NoError(t, err)
	for _, path := range []string{"/", "/index.html", "/tasks", "/deadlocks/abc"} {
		w := x.get(path)
		require.Equal(t, http.StatusOK, w.Code, path)
		require.Equal(t, string(index), w.Body.String(), path)
		require.Contains(t, w.Header().Get("Content-Type"), "text/html")
	}
	for _, path := range []string{"/nothing.js", "/assets/nothing.css", "/static.go", "/ui/dist/index.css"} {
		require.Equal(t, http.StatusNotFound, x.get(path).Code, path)
	}
	require.Equal(t, http.StatusTemporaryRedirect, x.get("/../go.mod").Code)
	for name := range x.page.names {
		w := x.get("/" + name)
		want, err := fs.ReadFile(x.page.files, name)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, w.Code, name)
		require.True(t, bytes.Equal(want, w.Body.Bytes()), name)
		if strings.HasPrefix(name, "assets/") {
			require.Contains(t, w.Header().Get("Cache-Control"), "immutable", name)
		}
	}
}

func TestNothingCanBeChanged(t *testing.T) {
	x := unstarted(t, testConfig())
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, "BREW"} {
		for _, path := range append([]string{"/livez"}, everyPath...) {
			if path == "/api/nothing" {
				continue
			}
			w := httptest.NewRecorder()
			x.handler().ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader("x")))
			require.Equal(t, http.StatusMethodNotAllowed, w.Code, path)
			require.Equal(t, "GET, HEAD", w.Header().Get("Allow"))
		}
	}
}

// Whatever cannot be used is a 400 that names the parameter.
func TestABadParameterIsNamed(t *testing.T) {
	x := unstarted(t, testConfig())
	deadlocked(t, x)
	cursor := *answers[taskList](t, x, "/api/v1/tasks?limit=1").NextCursor
	for target, parameter := range map[string]string{
		"/api/v1/tasks?stat=running":                           "stat",
		"/api/v1/tasks?state=stuck":                            "state",
		"/api/v1/tasks?state=running,":                         "state",
		"/api/v1/tasks?limit=1&limit=2":                        "limit",
		"/api/v1/tasks?limit=0":                                "limit",
		"/api/v1/tasks?limit=10001":                            "limit",
		"/api/v1/tasks?limit=99999999999999999999999999":       "limit",
		"/api/v1/tasks?limit=1e3":                              "limit",
		"/api/v1/tasks?min_age=-1s":                            "min_age",
		"/api/v1/tasks?min_age=-1":                             "min_age",
		"/api/v1/tasks?min_age=NaN":                            "min_age",
		"/api/v1/tasks?min_age=1e300":                          "min_age",
		"/api/v1/tasks?min_age=":                               "min_age",
		"/api/v1/tasks?live=1":                                 "live",
		"/api/v1/tasks?sort=colour":                            "sort",
		"/api/v1/tasks?trace=ABCDEF00000000000000000000000000": "trace",
		"/api/v1/tasks?trace=00000000000000000000000000000000": "trace",
		"/api/v1/tasks?format=xml":                             "format",
		"/api/v1/tasks?q=%ff":                                  "q",
		"/api/v1/tasks?q=%zz":                                  "query",
		"/api/v1/tasks?q=" + strings.Repeat("x", 257):          "q",
		"/api/v1/tasks?" + strings.Repeat("x", 20_000):         "query",
		"/api/v1/tasks?cursor=":                                "cursor",
		"/api/v1/tasks?cursor=x":                               "cursor",
		"/api/v1/tasks?cursor=e30":                             "cursor",
		"/api/v1/tasks?service=shop&cursor=" + cursor:          "cursor",
		"/api/v1/resources?cursor=" + cursor:                   "cursor",
		"/api/v1/tasks/1/2":                                    "trace",
		"/api/v1/tasks/" + strings.Repeat("1", 32) + "/2":      "span",
		"/api/v1/deadlocks/1":                                  "id",
		"/api/v1/graph?limit=-1":                               "limit",
		"/api/v1/graph?format=png":                             "format",
		"/api/v1/events?from=1":                                "from",
	} {
		w := x.get(target)
		require.Equal(t, http.StatusBadRequest, w.Code, target)
		require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"), target)
		var p problem
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &p), target)
		require.Equal(t, parameter, p.Parameter, target)
		require.Contains(t, p.Detail, parameter+": ", target)
		require.Less(t, len(p.Detail), 400, target)
	}
	require.Equal(t, http.StatusOK, x.get("/api/v1/tasks?limit=1&cursor="+cursor).Code)
}

// A request is answered or refused, whatever its query is.
func FuzzQuery(f *testing.F) {
	x := unstarted(f, testConfig())
	state, detector := numbersOfAFleet()
	x.RegisterTaskState("task_state", state)
	x.RegisterDeadlockDetector("deadlock_detector", detector)
	q := newQuery(httptest.NewRequest(http.MethodGet, "/api/v1/tasks", nil).URL)
	f.Add("tasks", "limit=1&cursor="+cursor{Query: q.identity(), At: time.Unix(1, 0), After: rowKey{Number: 1, Text: "a", ID: "b"}}.String())
	f.Add("tasks", "state=running&state=blocked,lost&min_age=1m30s&q=x&sort=-age&live=true&format=csv")
	f.Add("tasks/"+strings.Repeat("1", 32)+"/"+strings.Repeat("2", 16), "")
	f.Add("graph", "only=stuck&format=mermaid&limit=3&service=shop")
	f.Add("deadlocks", "status=past&cursor=eyJx")
	f.Add("resources", "kind=mutex&sort=name&min_age=NaN")
	handler := x.handler()
	f.Fuzz(func(t *testing.T, path, query string) {
		if path == "events" || strings.Contains(path, "%") {
			return // a stream does not end
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL.Path, r.URL.RawQuery = "/api/v1/"+path, query
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		switch w.Code {
		case http.StatusOK, http.StatusBadRequest, http.StatusNotFound, http.StatusMovedPermanently, http.StatusTemporaryRedirect:
		default:
			t.Fatalf("%q %q: %d %s", path, query, w.Code, w.Body)
		}
		if w.Code == http.StatusBadRequest {
			var p problem
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &p))
			require.NotEmpty(t, p.Parameter)
		}
	})
}

// A large answer is compressed for who wants it.
func TestAnswersAreCompressed(t *testing.T) {
	x, address := served(t, testConfig(), nil)
	deadlocked(t, x)
	x.forgetAll()
	r := fetch(t, &http.Client{Transport: &http.Transport{DisableCompression: true}}, "http://"+address+"/api/v1/tasks", "Accept-Encoding", "gzip")
	defer r.Body.Close()
	require.Equal(t, "gzip", r.Header.Get("Content-Encoding"))
	first, err := bufio.NewReader(r.Body).Peek(2)
	require.NoError(t, err)
	require.Equal(t, []byte{0x1f, 0x8b}, first)
}
