package inspector

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/bearertokenauthextension"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/config/configtls"
)

func TestWhatLocalhostIs(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:9090": true, "LocalHost:1": true,
		"127.0.0.1": true, "127.0.0.1:9090": true, "127.8.9.1:2": true, "[::1]": true, "[::1]:9090": true, "[::ffff:127.0.0.1]:3": true,
		"evil.example": false, "evil.example:9090": false, "localhost.evil.example": false, "evil.localhost": false,
		"127.0.0.1.evil.example:9090": false, "127.0.0.1@evil.example": false, "10.0.0.1:9090": false, "0.0.0.0:9090": false,
		"[::2]:9090": false, "[::]": false, "2130706433": false, "127.1": false, "": false, ":9090": false, "localhost:9090:1": false,
	} {
		require.Equal(t, want, isLocalhost(host), "%q", host)
	}
}

// A page whose name resolves to a loopback address reads nothing: not from the API, not
// from the metrics, not a stream and not a probe.
func TestAnotherNameForALoopbackAddressGetsNoAnswer(t *testing.T) {
	for _, open := range []bool{false, true} {
		cfg := testConfig()
		cfg.OpenLivez = open
		_, address := served(t, cfg, nil)
		for _, path := range append([]string{"/livez"}, everyPath...) {
			r := fetchFrom(t, http.DefaultClient, "http://"+address+path, "evil.example:9090")
			text := body(t, r)
			require.Equal(t, http.StatusMisdirectedRequest, r.StatusCode, path)
			require.Equal(t, "application/problem+json", r.Header.Get("Content-Type"))
			require.NotEmpty(t, r.Header.Get("Content-Security-Policy"))
			require.Contains(t, text, `evil.example:9090`)
			if path == "/api/v1/events" || path == "/api/nothing" {
				continue
			}
			for _, host := range []string{"", "localhost:1", "[::1]"} {
				r = fetchFrom(t, http.DefaultClient, "http://"+address+path, host)
				require.Equal(t, http.StatusOK, r.StatusCode, path)
				require.NotEmpty(t, body(t, r))
			}
		}
	}
}

// Whoever has proved who he is may use any name, and so may those to whom the server is
// open beyond this machine: there, names are the network's matter.
func TestAnyNameIsAnsweredBehindCredentialsAndOnOtherAddresses(t *testing.T) {
	bearer := startedExtension(t, bearertokenauthextension.NewFactory(), map[string]any{"token": "secret"})
	id := component.MustNewID("bearertokenauth")
	_, address := served(t, withAuth(testConfig(), id), host{id: bearer})
	r := fetchFrom(t, http.DefaultClient, "http://"+address+"/", "inspector.example", "Authorization", "Bearer secret")
	require.NotEmpty(t, body(t, r))
	require.Equal(t, http.StatusOK, r.StatusCode)

	cfg := testConfig()
	cfg.NetAddr.Endpoint = "0.0.0.0:0"
	_, address = served(t, cfg, nil)
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	r = fetchFrom(t, http.DefaultClient, "http://127.0.0.1:"+port+"/", "inspector.example")
	require.NotEmpty(t, body(t, r))
	require.Equal(t, http.StatusOK, r.StatusCode)
}

// Certificates of clients are credentials; one of the server is none.
func TestWhatAuthenticates(t *testing.T) {
	certificate, key, _ := selfSigned(t)
	file := filepath.Join(t.TempDir(), "ca.crt")
	require.NoError(t, os.WriteFile(file, []byte(certificate), 0o600))
	cfg := testConfig()
	require.False(t, cfg.authenticates())
	server := configtls.NewDefaultServerConfig()
	server.CertPem, server.KeyPem = configopaque.String(certificate), configopaque.String(key)
	cfg.TLS = configoptional.Some(server)
	require.False(t, cfg.authenticates())
	cfg.TLS.Get().ClientCAFile = file
	require.True(t, cfg.authenticates())
	require.True(t, withAuth(testConfig(), component.MustNewID("x")).authenticates())
}

// fetchFrom asks with a Host header; an empty one is that of the URL.
func fetchFrom(t testing.TB, client *http.Client, url, host string, header ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	r.Host = host
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := client.Do(r)
	require.NoError(t, err)
	return answer
}
