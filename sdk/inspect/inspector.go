package inspect

import (
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// An Inspector watches the tasks of a process and reports them. Start makes
// one; Shutdown ends it.
type Inspector struct {
	config   *config
	own      *sdktrace.TracerProvider // the provider, if it is ours
	resource *resource.Resource       // of the reports, and of the spans of own
	reporter *reporter                // tells the collector what is stuck
	steering *steering                // sets the sampling rate; nil if it is fixed

	// What the hot paths need, fixed at Start.
	tracer         trace.Tracer
	provider       trace.TracerProvider
	head           *headSampler // nil: somebody else's provider decides
	names          *names
	maxTasks       int64
	maxEvents      int64
	maxTaskEvents  int
	minWait        time.Duration
	backtraces     bool
	stopOrders     func() // nil: it does not want the orders of locks
	showErrorTexts func() // nil: they are shown
	labels         bool

	allocations bool
	viewsTasks  bool // the exporter gets views of tasks, see taskSpans

	stopped  atomic.Bool
	ended    chan struct{} // closed when Shutdown has finished; nil: it has never run
	endErr   error         // of Shutdown, written before ended is closed
	joinable sync.Once     // see checkPropagator
	checked  sync.Once     // of somebody else's provider, see checkIdentity

	unused       sdktrace.SpanExporter // of an Inspector that is off
	unusedClosed sync.Once

	_      [64]byte // what is written often stands apart from what is read often
	live   atomic.Int64
	events atomic.Int64

	keptPoints atomic.Int64
	crowded    atomic.Bool
	drops      dropCounters

	overhead overhead
}

var defaultInspector atomic.Pointer[Inspector]

// Default returns the Inspector that the package's functions use, or nil.
func Default() *Inspector {
	if !compiledIn {
		return nil
	}
	return defaultInspector.Load()
}

// running reports whether the Inspector makes tasks.
func (ins *Inspector) running() bool { return compiledIn && ins != nil && !ins.stopped.Load() }
