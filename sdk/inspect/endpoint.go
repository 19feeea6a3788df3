package inspect

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"
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
		return fmt.Errorf("%q is not supported; must be %s or %s", p, protocolGRPC, protocolHTTP)
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
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Opaque != "" || !validHost(u.Host):
		return nil, fmt.Errorf("%q is not an endpoint; must be host:port or a URL such as http://collector:4317", shownEndpoint(given))
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%q is not an endpoint; it must not have a user, query or fragment; send secrets as headers", shownEndpoint(given))
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, fmt.Errorf("%q has an invalid port; must be between 1 and 65535", shownEndpoint(given))
		}
	}
	return u, nil
}

// shownEndpoint is an endpoint without what may be secret in it.
func shownEndpoint(s string) string {
	if i := strings.IndexAny(s, "?#"); i >= 0 {
		s = s[:i+1] + "..."
	}
	if i := strings.LastIndex(s, "@"); i >= 0 {
		scheme, _, ok := strings.Cut(s[:i], "://")
		if ok {
			scheme += "://"
		} else {
			scheme = ""
		}
		s = scheme + "..." + s[i:]
	}
	return s
}

// validHost reports whether a host, with or without a port, is an address or a name
// that can be looked up.
func validHost(hostport string) bool {
	host := hostport
	if i := strings.LastIndexByte(hostport, ':'); i > strings.LastIndexByte(hostport, ']') {
		if host = hostport[:i]; i == len(hostport)-1 {
			return false // a colon without a port
		}
	}
	if address, ok := strings.CutPrefix(host, "["); ok {
		a, err := netip.ParseAddr(strings.TrimSuffix(address, "]"))
		return err == nil && a.Is6()
	}
	name := strings.TrimSuffix(host, ".")
	if name == "" || len(name) > 253 {
		return false
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, notOfName) {
			return false
		}
	}
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" {
		_, err := netip.ParseAddr(host) // no name ends in a number
		return err == nil
	}
	return true
}

// notOfName reports whether a character is in no host name. Names of containers have
// underscores.
func notOfName(r rune) bool {
	return r != '-' && r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r)
}

func loopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}
