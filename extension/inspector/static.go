package inspector

import (
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

// contentSecurityPolicy lets a page load what comes from here, and nothing else.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; " +
	"connect-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// The built page is committed, so that go build needs no npm.
//
//go:embed all:ui/dist
var dist embed.FS

// staticPage serves the files of the page. A path that looks like no file is a view
// of it, and answered with its index.
type staticPage struct {
	files fs.FS
	names map[string]bool
	serve http.Handler
}

func newPage() (*staticPage, error) {
	files, err := fs.Sub(dist, "ui/dist")
	if err != nil {
		return nil, fmt.Errorf("open the page: %w", err)
	}
	p := &staticPage{files: files, names: make(map[string]bool), serve: http.FileServerFS(files)}
	err = fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			p.names[name] = true
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the files of the page: %w", err)
	}
	return p, nil
}

func (p *staticPage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
	switch {
	case p.names[name] && name != "index.html":
		if strings.HasPrefix(name, "assets/") {
			// Their names change with what is in them.
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		} else {
			w.Header().Set("Cache-Control", "no-cache")
		}
		p.serve.ServeHTTP(w, r)
	case path.Ext(name) == "" || name == "index.html":
		w.Header().Set("Cache-Control", "no-cache")
		http.ServeFileFS(w, withPath(r, "/"), p.files, "index.html")
	default:
		newProblem(http.StatusNotFound, "there is no %s", shortened(r.URL.Path)).write(w)
	}
}

// withPath keeps ServeFileFS from redirecting /index.html to itself.
func withPath(r *http.Request, to string) *http.Request {
	c := r.Clone(r.Context())
	c.URL.Path = to
	return c
}
