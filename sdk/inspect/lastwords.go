package inspect

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
)

const (
	// lastWordsTime bounds how long panics wait for what they have to send: those that
	// end the process for certain once, all others together in each period.
	lastWordsTime   = 500 * time.Millisecond
	lastWordsPeriod = 10 * time.Second
)

// lastWords decides which panics are held up until the failed span and the counts
// have been sent. A panic that nobody recovers ends the process at once, and with it
// what has been recorded in the last seconds. Whether somebody recovers it further up
// cannot be known where a task ends. So a panic that may be recovered waits only if no
// task of its name has waited in this period, and if there is time left in the period:
// a server that recovers a thousand panics a second is not slowed down.
type lastWords struct {
	mu       sync.Mutex
	speaking int       // flushes in progress
	since    time.Time // when the first of them began
	spent    time.Duration
	period   time.Time        // when it began
	names    map[string]bool  // who has waited in this period; bounded as names of counts are
	parent   trace.SpanID     // of the last task that waited: a panic goes on to the task around it
	until    time.Time        // for panics that end the process; zero: none has come
	silent   chan struct{}    // closed when speaking is 0 again
	clock    func() time.Time // time.Now
}

var final = lastWords{clock: time.Now}

// begin returns until when a panic in t may wait; ok is false if it may not.
func (l *lastWords) begin(t *Task, fatal bool) (until time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.clock()
	if fatal {
		if l.until.IsZero() {
			l.until = at.Add(lastWordsTime)
		}
		until = l.until
	} else {
		if l.names == nil || l.speaking == 0 && at.Sub(l.period) >= lastWordsPeriod {
			l.period, l.spent, l.names = at, 0, make(map[string]bool)
		}
		spent := l.spent
		if l.speaking > 0 {
			spent += at.Sub(l.since)
		}
		name, id := t.name.name, t.spanID
		if l.names[name] && l.parent != id {
			return until, false
		}
		until = at.Add(lastWordsTime - spent)
		l.names[name], l.parent = true, t.parent
	}
	if !at.Before(until) {
		return until, false
	}
	if l.speaking == 0 {
		l.since, l.silent = at, make(chan struct{})
	}
	l.speaking++
	return until, true
}

// end returns a channel that is closed when nobody speaks any more.
func (l *lastWords) end() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.speaking--; l.speaking == 0 {
		l.spent += l.clock().Sub(l.since)
		close(l.silent)
	}
	return l.silent
}

// panicked ends the task as failed by a panic, and sends what would be lost with the
// process. The panic is fatal if nobody can recover it further up.
func (t *Task) panicked(value any, fatal bool) {
	if !t.end(&panicError{value: value}) && !fatal {
		return
	}
	if !fatal && handledAbove() {
		return
	}
	until, ok := final.begin(t, fatal)
	if !ok {
		return
	}
	ctx, cancel := context.WithDeadline(context.Background(), until)
	defer cancel()
	_ = t.ins.flush(ctx) // there is nobody to tell: the panic is what matters
	silent := final.end()
	if fatal {
		// The end of this goroutine is that of the others, which may be at it as well.
		select {
		case <-silent:
		case <-ctx.Done():
		}
	}
}

// handledAbove reports whether the running goroutine is one whose panics do not end
// the process, or are seen by the SDK once more before they do.
func handledAbove() bool {
	// The first function of the goroutine is the last of the stack, before runtime.goexit.
	pcs := make([]uintptr, 64)
	n := runtime.Callers(1, pcs)
	for n == len(pcs) {
		pcs = make([]uintptr, 4*len(pcs))
		n = runtime.Callers(1, pcs)
	}
	frames := runtime.CallersFrames(pcs[max(0, n-3):n])
	for {
		frame, more := frames.Next()
		switch name := frame.Function; {
		case name == "net/http.(*conn).serve",
			strings.HasPrefix(name, "net/http.(*timeoutHandler).ServeHTTP"),
			strings.HasSuffix(name, "http2serverConn).runHandler"),
			strings.HasSuffix(name, "http2.(*serverConn).runHandler"):
			return true // recovers the panics of handlers
		case strings.HasSuffix(name, "/inspect.(*Handle).run"):
			return true // see Handle.end
		}
		if !more {
			return false
		}
	}
}
