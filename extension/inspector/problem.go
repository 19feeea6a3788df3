package inspector

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// problem is an error as RFC 9457 writes it.
type problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Parameter string `json:"parameter,omitempty"`
}

func (p *problem) Error() string { return p.Detail }

func newProblem(status int, format string, args ...any) *problem {
	return &problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: fmt.Sprintf(format, args...)}
}

// badParameter says what is wrong with a parameter, and names it.
func badParameter(name, format string, args ...any) *problem {
	p := newProblem(http.StatusBadRequest, "%s: %s", name, fmt.Sprintf(format, args...))
	p.Parameter = name
	return p
}

func (p *problem) write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client has gone
}
