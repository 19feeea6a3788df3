package inspect

import (
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// An Inspector watches the tasks of a process and reports them. Start makes
// one; Shutdown ends it.
type Inspector struct {
	// What the hot paths need, fixed at Start.
	tracer     trace.Tracer
	provider   trace.TracerProvider
	head       *headSampler // nil: somebody else's provider decides
	names      *names
	openSpans  *openSpans
	maxTasks   int64
	minWait    time.Duration
	backtraces bool
	labels     bool

	stopped atomic.Bool

	reporter *reporter // tells the collector what is stuck

	_      [64]byte // what is written often stands apart from what is read often
	live   atomic.Int64
	events atomic.Int64
	drops  dropCounters
}

var defaultInspector atomic.Pointer[Inspector]

// Default returns the Inspector that the package's functions use, or nil.
func Default() *Inspector { return defaultInspector.Load() }

// running reports whether the Inspector makes tasks.
func (ins *Inspector) running() bool { return ins != nil && !ins.stopped.Load() }
