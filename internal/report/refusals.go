package report

import (
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

const (
	// maxRefused bounds the processes that Refusals remembers; the oldest go first.
	maxRefused = 1024
	// refusalPause is between two refusals that are news, or processes with ever new
	// names could fill a log.
	refusalPause = time.Second
)

// Refusals decides which refused reports are worth a line in a log: the first of each
// process. The zero value is ready. It is safe for concurrent use.
type Refusals struct {
	mu    sync.Mutex // guards all below
	known map[Process]struct{}
	order []Process // of known, oldest first
	last  time.Time // when something was news
}

// News reports whether a refused report is the first of its process. If the last news
// was less than a second ago the answer is no, and a later refusal is the news.
func (r *Refusals) News(p Process, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.known[p]; known || !r.last.IsZero() && now.Sub(r.last) < refusalPause && !now.Before(r.last) {
		return false
	}
	if r.known == nil {
		r.known = make(map[Process]struct{})
	}
	if len(r.order) >= maxRefused {
		delete(r.known, r.order[0])
		r.order = append(r.order[:0], r.order[1:]...)
	}
	r.known[p] = struct{}{}
	r.order = append(r.order, p)
	r.last = now
	return true
}

// Claimed is what a resource says of its process, for a log; it may be no process.
func Claimed(resource pcommon.Map) Process {
	var (
		f fields
		p Process
	)
	if v, ok := resource.Get(taskspan.ServiceName); ok {
		p.Service = f.cut(v.AsString(), taskspan.MaxStringBytes)
	}
	if v, ok := resource.Get(taskspan.ServiceInstanceID); ok {
		p.Instance = f.cut(v.AsString(), taskspan.MaxStringBytes)
	}
	if v, ok := resource.Get(taskspan.ProcessEpoch); ok && v.Type() == pcommon.ValueTypeInt {
		p.Epoch = v.Int()
	}
	return p
}
