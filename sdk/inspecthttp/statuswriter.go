package inspecthttp

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// statusWriter remembers the status of a response.
type statusWriter struct {
	http.ResponseWriter
	code     int  // 0: not written
	hijacked bool // the connection is the handler's own, and what it writes is not seen
}

// status is the one that the client gets: 200 if the handler has written none.
func (w *statusWriter) status() int {
	if w.code == 0 {
		return http.StatusOK
	}
	return w.code
}

func (w *statusWriter) WriteHeader(code int) {
	// Informational headers can come before the real ones.
	if w.code == 0 && (code >= http.StatusOK || code == http.StatusSwitchingProtocols) {
		w.code = code
	}
	w.ResponseWriter.WriteHeader(code)
}

// ReadFrom keeps the server's way of sending files without copying them.
func (w *statusWriter) ReadFrom(r io.Reader) (int64, error) { return io.Copy(w.ResponseWriter, r) }

// Unwrap lets [http.ResponseController] through.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack hands over the connection, and notes it.
func (w *flusherHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := w.Hijacker.Hijack()
	w.hijacked = w.hijacked || err == nil
	return conn, rw, err
}

// The writers of a server have more methods, which handlers ask for by type assertion:
// those of a Flusher, on HTTP/1 of a Hijacker, on HTTP/2 of a Pusher.
type (
	flusher struct {
		statusWriter
		http.Flusher
	}
	flusherHijacker struct {
		statusWriter
		http.Flusher
		http.Hijacker
	}
	flusherPusher struct {
		statusWriter
		http.Flusher
		http.Pusher
	}
)

// remember returns a writer that does all that w does, and where it remembers the status.
func remember(w http.ResponseWriter) (http.ResponseWriter, *statusWriter) {
	f, flushes := w.(http.Flusher)
	h, hijacks := w.(http.Hijacker)
	p, pushes := w.(http.Pusher)
	switch {
	case flushes && hijacks:
		all := &flusherHijacker{statusWriter{ResponseWriter: w}, f, h}
		return all, &all.statusWriter
	case flushes && pushes:
		all := &flusherPusher{statusWriter{ResponseWriter: w}, f, p}
		return all, &all.statusWriter
	case flushes:
		all := &flusher{statusWriter{ResponseWriter: w}, f}
		return all, &all.statusWriter
	default:
		s := &statusWriter{ResponseWriter: w}
		return s, s
	}
}
