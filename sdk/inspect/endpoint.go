package inspect

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"strings"
)

const (
	protocolGRPC = "grpc"
	protocolHTTP = "http/protobuf"

	defaultGRPC = "localhost:4317"
	defaultHTTP = "localhost:4318"
	tracesPath  = "/v1/traces"
)

func checkProtocol(p string) error {
	if p != protocolGRPC && p != protocolHTTP {
		return fmt.Errorf("%q is not supported; there are %s and %s", p, protocolGRPC, protocolHTTP)
	}
	return nil
}

// target is the URL of the endpoint. The variable for traces is taken as it is, as
// the specification says; to the others the path of traces is added.
func (c *config) target() string {
	standard := defaultGRPC
	if c.protocol == protocolHTTP {
		standard = defaultHTTP
	}
	u, err := endpointURL(cmp.Or(c.endpoint, c.fallback, standard), c.insecure)
	if err != nil {
		panic(err) // the configuration has been checked
	}
	exact := c.endpoint == "" && c.fallbackExact
	switch {
	case c.protocol == protocolGRPC:
		u.Path = ""
	case exact && u.Path == "":
		u.Path = "/"
	case !exact && !strings.HasSuffix(u.Path, tracesPath):
		u.Path = strings.TrimRight(u.Path, "/") + tracesPath
	}
	return u.String()
}

func checkEndpoint(s string) error {
	_, err := endpointURL(s, false)
	return err
}

// endpointURL reads a URL, whose scheme says whether there is TLS, or host:port,
// which means TLS as everywhere in OpenTelemetry, unless the host is this one or
// insecure is set.
func endpointURL(s string, insecure bool) (*url.URL, error) {
	given := s
	if !strings.Contains(s, "://") {
		scheme := "https://"
		if host, _, err := net.SplitHostPort(s); err == nil && (insecure || loopback(host)) {
			scheme = "http://"
		}
		s = scheme + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" {
		return nil, fmt.Errorf("%q is not an endpoint; it is host:port or a URL such as http://collector:4317", given)
	}
	return u, nil
}

func loopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}
