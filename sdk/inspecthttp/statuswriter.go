package inspecthttp

import (
	"io"
	"net/http"
)

// statusWriter remembers the status of a response.
type statusWriter struct {
	http.ResponseWriter
	code int // 0: not written
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

// full is the writer with the interfaces that handlers ask for by type assertion and
// that the writer of the server has: a Flusher, on HTTP/1 a Hijacker, on HTTP/2 a
// Pusher.
func (w *statusWriter) full() http.ResponseWriter {
	flusher, flushes := w.ResponseWriter.(http.Flusher)
	hijacker, hijacks := w.ResponseWriter.(http.Hijacker)
	pusher, pushes := w.ResponseWriter.(http.Pusher)
	switch {
	case flushes && hijacks:
		return struct {
			*statusWriter
			http.Flusher
			http.Hijacker
		}{w, flusher, hijacker}
	case flushes && pushes:
		return struct {
			*statusWriter
			http.Flusher
			http.Pusher
		}{w, flusher, pusher}
	case flushes:
		return struct {
			*statusWriter
			http.Flusher
		}{w, flusher}
	default:
		return w
	}
}
