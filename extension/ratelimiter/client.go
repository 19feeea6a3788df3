package ratelimiter

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"

	collectorclient "go.opentelemetry.io/collector/client"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// client is who sends requests: an address, or a text. Where neither is known all
// share the empty one.
type client struct {
	address netip.Addr
	text    string
}

func (c client) String() string {
	if c.text != "" {
		return c.text
	}
	if c.address.IsValid() {
		return c.address.String()
	}
	return "unknown"
}

// longestKey is how much of a header counts: what is longer is cut, so that nobody
// fills the memory.
const longestKey = 256

func textClient(text string) client {
	return client{text: text[:min(len(text), longestKey)]}
}

// addressClient is the client at an address. Who has one IPv6 address has all of its
// /64, so these count as one.
func addressClient(address netip.Addr) client {
	address = address.Unmap().WithZone("")
	if address.Is6() {
		if p, err := address.Prefix(64); err == nil {
			address = p.Addr()
		}
	}
	return client{address: address}
}

// ofRequest says who has sent an HTTP request. Who does not say it, by the header or by
// authenticating, counts by address.
func (l *rateLimiter) ofRequest(r *http.Request) client {
	switch l.cfg.Key {
	case KeyAll:
		return client{}
	case KeyHeader:
		if text := r.Header.Get(l.cfg.Header); text != "" {
			return textClient(text)
		}
	case KeySubject:
		if text := subject(r.Context()); text != "" {
			return textClient(text)
		}
	}
	if from, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		return addressClient(from.Addr())
	}
	return client{}
}

// ofCall says who makes a gRPC call.
func (l *rateLimiter) ofCall(ctx context.Context) client {
	switch l.cfg.Key {
	case KeyAll:
		return client{}
	case KeyHeader:
		if values := metadata.ValueFromIncomingContext(ctx, l.cfg.Header); len(values) > 0 && values[0] != "" {
			return textClient(values[0])
		}
	case KeySubject:
		if text := subject(ctx); text != "" {
			return textClient(text)
		}
	}
	if p, ok := peer.FromContext(ctx); ok {
		if tcp, ok := p.Addr.(*net.TCPAddr); ok {
			return addressClient(tcp.AddrPort().Addr())
		}
	}
	return client{}
}

// subject is who has authenticated, by the names that authenticators use.
func subject(ctx context.Context) string {
	auth := collectorclient.FromContext(ctx).Auth
	if auth == nil {
		return ""
	}
	for _, name := range []string{"subject", "username"} {
		switch v := auth.GetAttribute(name).(type) {
		case nil:
		case string:
			if v != "" {
				return v
			}
		default:
			return fmt.Sprint(v)
		}
	}
	return ""
}
