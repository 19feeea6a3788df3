package inspector

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/klauspost/compress/gzhttp"
	"go.opentelemetry.io/collector/component"
	"go.uber.org/zap"
)

// apiVersion is the version of openAPI.
const apiVersion = "1.0.0"

//go:embed openapi.yaml
var openAPI []byte

// maxHeaderBytes bounds the header of a request.
const maxHeaderBytes = 64 << 10

// routes are the paths that are served beside the page. openapi.yaml has the same.
func (x *inspector) routes() map[string]http.Handler {
	squeeze := func(h http.Handler) http.Handler { return x.gzip(h) }
	answer := func(f func(q *query) (any, error)) http.Handler {
		return squeeze(x.answer(func(q *query, _ *http.Request) (any, error) { return f(q) }))
	}
	return map[string]http.Handler{
		"/api/v1/overview":  answer(x.getOverview),
		"/api/v1/tasks":     answer(x.listTasks),
		"/api/v1/deadlocks": answer(x.listDeadlocks),
		"/api/v1/tasks/{trace}/{span}": squeeze(x.answer(func(q *query, r *http.Request) (any, error) {
			return x.getTask(q, r.PathValue("trace"), r.PathValue("span"))
		})),
		"/api/v1/deadlocks/{id}": squeeze(x.answer(func(q *query, r *http.Request) (any, error) {
			return x.getDeadlock(q, r.PathValue("id"))
		})),
		"/api/v1/inversions":   answer(x.listInversions),
		"/api/v1/graph":        answer(x.getGraph),
		"/api/v1/processes":    answer(x.listProcesses),
		"/api/v1/resources":    answer(x.listResources),
		"/api/v1/sampling":     answer(x.getSampling),
		"/api/v1/memory":       answer(x.getMemory),
		"/api/v1/config":       answer(x.getConfig),
		"/api/v1/events":       http.HandlerFunc(x.serveEvents),
		"/api/v1/openapi.yaml": squeeze(http.HandlerFunc(serveOpenAPI)),
		"/metrics":             x.metrics.handler(),
		"/livez":               http.HandlerFunc(x.serveLivez),
		"/readyz":              http.HandlerFunc(x.serveReadyz),
	}
}

// handler serves everything.
func (x *inspector) handler() http.Handler {
	mux := http.NewServeMux()
	for path, h := range x.routes() {
		mux.Handle(path, readOnly(h))
	}
	mux.Handle("/api/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		newProblem(http.StatusNotFound, "there is no %s; /api/v1/openapi.yaml lists what there is", shortened(r.URL.Path)).write(w)
	}))
	mux.Handle("/", readOnly(x.gzip(x.page)))
	return guarded(mux)
}

// guarded sets the headers that keep a browser from doing with an answer what it
// should not.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentSecurityPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

func readOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			newProblem(http.StatusMethodNotAllowed, "%s: nothing can be changed here, only GET and HEAD are answered", shortened(r.Method)).write(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// answer reads the parameters and writes what f makes of them.
func (x *inspector) answer(f func(q *query, r *http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := f(newQuery(r.URL), r)
		if err != nil {
			var p *problem
			if !errors.As(err, &p) {
				p = newProblem(http.StatusInternalServerError, "%v", err)
			}
			p.write(w)
			return
		}
		x.write(w, v)
	})
}

// write writes JSON, or a file.
func (x *inspector) write(w http.ResponseWriter, v any) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if file, ok := v.(text); ok {
		h.Set("Content-Type", file.contentType)
		h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", file.name))
		_, _ = w.Write([]byte(file.body)) // the client has gone
		return
	}
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		x.logger.Error("An answer cannot be written as JSON.", zap.Error(err))
		newProblem(http.StatusInternalServerError, "the answer cannot be written as JSON: %v", err).write(w)
		return
	}
	h.Set("Content-Type", "application/json")
	_, _ = w.Write(b.Bytes()) // the client has gone
}

func serveOpenAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(openAPI) // the client has gone
}

func newGzip() (func(http.Handler) http.HandlerFunc, error) {
	return gzhttp.NewWrapper(gzhttp.MinSize(1<<10), gzhttp.CompressionLevel(1))
}

// refused writes what confighttp refuses: bad credentials, a body that is too long.
func refused(challenge string) func(w http.ResponseWriter, r *http.Request, message string, status int) {
	return func(w http.ResponseWriter, _ *http.Request, message string, status int) {
		if status == http.StatusUnauthorized && challenge != "" {
			w.Header().Set("WWW-Authenticate", challenge)
		}
		newProblem(status, "%s", message).write(w)
	}
}

// challenge says to a browser which credentials are wanted.
func challenge(authenticator component.ID) string {
	switch name := authenticator.Type().String(); {
	case strings.Contains(name, "basic"):
		return `Basic realm="async-inspect", charset="UTF-8"`
	case strings.Contains(name, "bearer"), strings.Contains(name, "oidc"):
		return `Bearer realm="async-inspect"`
	}
	return ""
}

// open answers /livez before anything that asks for credentials.
func (x *inspector) open(next http.Handler) http.Handler {
	livez := guarded(readOnly(http.HandlerFunc(x.serveLivez)))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/livez" {
			livez.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}
