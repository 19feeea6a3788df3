package inspector

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// authenticates reports whether a client has to prove who it is, by credentials or by a
// certificate.
func (c *Config) authenticates() bool {
	return c.Auth.HasValue() || c.TLS.HasValue() && c.TLS.Get().ClientCAFile != ""
}

// onlyLocalhost answers requests to localhost and to loopback addresses only. It is for
// a server that listens on such an address and trusts whoever reaches it: a web page can
// let its own name resolve to 127.0.0.1 (DNS rebinding), and the browser then lets it read
// the answers. The Host header still has the page's name.
func onlyLocalhost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLocalhost(r.Host) {
			newProblem(http.StatusMisdirectedRequest,
				"host: %q is not localhost or a loopback address; without auth, an inspector on a loopback address answers no other name, and a proxy must set the Host header to localhost",
				shortened(r.Host)).write(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isLocalhost reports whether a host, with or without a port, is this machine whatever a
// name server says.
func isLocalhost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	return err == nil && address.Unmap().IsLoopback()
}

// isLoopback reports whether a server listens where only this machine can connect.
func isLoopback(address net.Addr) bool {
	tcp, is := address.(*net.TCPAddr)
	return is && tcp.IP.IsLoopback()
}
