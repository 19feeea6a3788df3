package inspecthttp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"

	"github.com/asyncinspect/asyncinspect/sdk/internal/wire"
)

// The attributes of OpenTelemetry's stable semantic conventions for HTTP spans,
// https://opentelemetry.io/docs/specs/semconv/http/http-spans/.
const (
	requestMethod         = attribute.Key("http.request.method")
	requestMethodOriginal = attribute.Key("http.request.method_original")
	requestResendCount    = attribute.Key("http.request.resend_count")
	responseStatusCode    = attribute.Key("http.response.status_code")
	httpRoute             = attribute.Key("http.route")
	errorType             = attribute.Key("error.type")
	protocolVersion       = attribute.Key("network.protocol.version")
	peerAddress           = attribute.Key("network.peer.address")
	peerPort              = attribute.Key("network.peer.port")
	serverAddress         = attribute.Key("server.address")
	serverPort            = attribute.Key("server.port")
	clientAddress         = attribute.Key("client.address")
	urlScheme             = attribute.Key("url.scheme")
	urlPath               = attribute.Key("url.path")
	urlQuery              = attribute.Key("url.query")
	urlFull               = attribute.Key("url.full")
	userAgentOriginal     = attribute.Key("user_agent.original")
)

// otherMethod stands for all methods that are not known: anybody can send one of his own.
const otherMethod = "_OTHER"

// methods are the known ones: those of RFC 9110 and PATCH, unless the environment names
// others.
func methods() map[string]bool {
	list := []string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace,
	}
	if v := os.Getenv("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS"); v != "" {
		list = strings.Split(v, ",")
	}
	known := make(map[string]bool, len(list))
	for _, m := range list {
		known[strings.TrimSpace(m)] = true
	}
	return known
}

// method is the one of the request if it is known, and otherMethod else.
func (c *config) method(r *http.Request) string {
	m := r.Method
	if m == "" {
		m = http.MethodGet
	}
	if !c.methods[m] {
		return otherMethod
	}
	return m
}

// spanName is the name of a span without a route.
func spanName(method string) string {
	if method == otherMethod {
		return "HTTP"
	}
	return method
}

// attributes collects those of one span. What is empty is left out.
type attributes []attribute.KeyValue

func (a *attributes) text(key attribute.Key, v string) {
	if v != "" {
		*a = append(*a, key.String(wire.Valid(v)))
	}
}

func (a *attributes) number(key attribute.Key, v int) {
	if v > 0 {
		*a = append(*a, key.Int(v))
	}
}

func (a *attributes) original(r *http.Request, method string) {
	if method == otherMethod {
		a.text(requestMethodOriginal, wire.Name(r.Method))
	}
}

func (a *attributes) peer(address net.Addr) {
	if address != nil {
		a.peerText(address.String())
	}
}

func (a *attributes) peerText(address string) {
	host, port := splitHostPort(address)
	a.text(peerAddress, host)
	if host != "" {
		a.number(peerPort, port)
	}
}

// client are the attributes of a request that is about to be sent, beside those that are
// the same for every request.
func (c *config) client(r *http.Request, method string) []attribute.KeyValue {
	var a attributes
	a = append(a, requestMethod.String(method))
	a.original(r, method)
	a.text(urlScheme, r.URL.Scheme)
	a.text(serverAddress, r.URL.Hostname())
	a.number(serverPort, portOf(r.URL.Port(), r.URL.Scheme))
	a.text(urlFull, c.fullURL(r.URL))
	resends := 0
	for before := r.Response; before != nil && before.Request != nil; before = before.Request.Response {
		resends++
	}
	a.number(requestResendCount, resends)
	return a
}

// server are the attributes of a request that has been received, beside method and
// route.
func (c *config) server(r *http.Request, method string) []attribute.KeyValue {
	var a attributes
	a.original(r, method)
	of := originOf(r)
	a.text(urlScheme, of.scheme)
	a.text(urlPath, r.URL.EscapedPath())
	a.text(urlQuery, c.query(r.URL.RawQuery))
	host, port := splitHostPort(of.host)
	a.text(serverAddress, host)
	if host != "" {
		if port == 0 {
			port = portOf("", of.scheme)
		}
		a.number(serverPort, port)
	}
	a.text(clientAddress, of.client)
	a.peerText(r.RemoteAddr)
	a.text(protocolVersion, version(r.ProtoMajor, r.ProtoMinor))
	a.text(userAgentOriginal, wire.Name(r.UserAgent()))
	return a
}

// version is that of HTTP, as in "1.1" and "2".
func version(major, minor int) string {
	switch {
	case major <= 0:
		return ""
	case major == 1:
		return "1." + strconv.Itoa(minor)
	default:
		return strconv.Itoa(major)
	}
}

// origin is what the client asked, in front of all proxies as far as they tell.
type origin struct{ scheme, host, client string }

func originOf(r *http.Request) origin {
	o := forwarded(r.Header.Get("Forwarded"))
	first := func(name string) string {
		v, _, _ := strings.Cut(r.Header.Get(name), ",")
		return strings.TrimSpace(v)
	}
	if o.scheme == "" {
		o.scheme = first("X-Forwarded-Proto")
	}
	if o.scheme = strings.ToLower(o.scheme); o.scheme != "http" && o.scheme != "https" {
		o.scheme = "http"
		if r.TLS != nil {
			o.scheme = "https"
		}
	}
	if o.host == "" {
		o.host = first("X-Forwarded-Host")
	}
	if o.host == "" {
		o.host = r.Host
	}
	o.host = wire.Name(o.host)
	if o.client == "" {
		o.client = first("X-Forwarded-For")
	}
	if o.client == "" {
		o.client = r.RemoteAddr
	}
	o.client, _ = splitHostPort(wire.Name(o.client))
	return o
}

// forwarded reads the first hop of a Forwarded header (RFC 7239).
func forwarded(header string) (o origin) {
	hop, _, _ := strings.Cut(header, ",")
	for pair := range strings.SplitSeq(hop, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		value = strings.Trim(value, `"`)
		switch strings.ToLower(key) {
		case "proto":
			o.scheme = value
		case "host":
			o.host = value
		case "for":
			o.client = value
		}
	}
	return o
}

// splitHostPort splits "host:port", "[v6]:port" or a host alone; a port that is none
// is 0.
func splitHostPort(s string) (host string, port int) {
	host, text := s, ""
	if h, p, err := net.SplitHostPort(s); err == nil {
		host, text = h, p
	}
	return strings.Trim(host, "[]"), portOf(text, "")
}

// portOf is the port that is given, or that of the scheme, or 0.
func portOf(given, scheme string) int {
	if port, err := strconv.ParseUint(given, 10, 16); err == nil {
		return int(port)
	}
	switch {
	case given != "":
		return 0
	case scheme == "http":
		return 80
	case scheme == "https":
		return 443
	default:
		return 0
	}
}

const redacted = "REDACTED"

// fullURL is the URL without a user, a password and the values of its parameters.
func (c *config) fullURL(u *url.URL) string {
	safe := *u
	if u.User != nil {
		safe.User = url.UserPassword(redacted, redacted)
	}
	safe.RawQuery = c.query(u.RawQuery)
	return safe.String()
}

// secretParameters are those whose values the conventions want redacted.
var secretParameters = map[string]bool{
	"AWSAccessKeyId": true, "Signature": true, "sig": true, "X-Goog-Signature": true,
	"X-Amz-Signature": true, "X-Amz-Credential": true, "X-Amz-Security-Token": true,
}

// query is a query with redacted values; the names of the parameters and their order
// stay.
func (c *config) query(raw string) string {
	if raw == "" {
		return ""
	}
	parameters := strings.Split(raw, "&")
	for i, p := range parameters {
		name, _, hasValue := strings.Cut(p, "=")
		if !hasValue {
			continue
		}
		plain, err := url.QueryUnescape(name)
		if !c.queryValues || err != nil || secretParameters[plain] {
			parameters[i] = name + "=" + redacted
		}
	}
	return strings.Join(parameters, "&")
}

// transportErrorType is a name of low cardinality for the error of a request that got
// no response.
func transportErrorType(err error) string {
	var timeout net.Error
	var notFound *net.DNSError
	var network *net.OpError
	switch {
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.As(err, &notFound):
		return "*net.DNSError"
	case errors.As(err, &network):
		return "*net.OpError"
	default:
		return fmt.Sprintf("%T", err)
	}
}
