package inspect

import (
	"bytes"
	"runtime"
	"sync"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/internal/stacks"
)

// The runtime tells what a goroutine does only in a dump of all goroutines, for which
// it stops the world: about 10 µs for each goroutine. So looks are few: one serves
// everybody who wants to know, none is taken of more goroutines than a limit (see
// [WithLookLimit]), and all together take at most lookBudget a minute, or two looks at as
// many goroutines as the limit allows.
const (
	lookAtMost = 5_000                  // without an option
	lookBudget = 100 * time.Millisecond // a minute
	// lookBytes is what a goroutine takes in a dump, to begin with.
	lookBytes    = 2 << 10
	lookMaxBytes = 16 << 20 // or lookMaxEach for each goroutine of the limit
	lookMaxEach  = 4 << 10
	// lookCost is what a goroutine costs, until it has been measured.
	lookCost = 10 * time.Microsecond
)

// looks is the one lookout of the process.
var looks = newLookout()

// lookout takes dumps.
type lookout struct {
	mu     sync.Mutex // guards all below; held while a dump is taken and read
	budget time.Duration
	full   time.Duration // what it is at most, and gains in a minute
	filled nanos         // when the budget was last brought up to date
	cost   time.Duration // of one goroutine, as measured last
	bytes  int           // of one goroutine in the dump

	// Of the runtime; tests have others.
	stack func(buf []byte) int
	count func() int
}

func newLookout() *lookout {
	return &lookout{
		budget: lookBudget, full: lookBudget, filled: now(), cost: lookCost, bytes: lookBytes,
		stack: func(buf []byte) int { return runtime.Stack(buf, true) }, count: runtime.NumGoroutine,
	}
}

// look is what one dump says of the goroutines that were asked for.
type look struct {
	// at is the instant just before the dump.
	at nanos
	of map[uint64]stacks.Goroutine
	// whole says that every goroutine of the process is in the dump: one that was asked
	// for and is not in of has ended.
	whole bool
}

// gone reports whether a goroutine that was asked for has ended.
func (l *look) gone(goroutine uint64) bool {
	_, there := l.of[goroutine]
	return l.whole && !there
}

// lookRefusal is why no look was taken. The zero value: one was.
type lookRefusal string

const (
	tooManyGoroutines lookRefusal = "there are more goroutines than the limit"
	overLookBudget    lookRefusal = "it would take more time than the budget of a minute"
)

// take looks at some goroutines, unless there are more than limit, or it would cost too
// much.
func (l *lookout) take(wanted map[uint64]bool, limit int) (*look, lookRefusal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if twice := 2 * time.Duration(limit) * lookCost; twice > l.full {
		l.budget, l.full = l.budget+twice-l.full, twice
	}
	n := l.count()
	if n > limit {
		return nil, tooManyGoroutines
	}
	if !l.afford(time.Duration(n)*l.cost, now()) {
		return nil, overLookBudget
	}
	buf := make([]byte, min(64<<10+n*l.bytes, max(lookMaxBytes, limit*lookMaxEach)))
	seen := &look{at: now(), of: make(map[uint64]stacks.Goroutine, len(wanted))}
	size := l.stack(buf)
	took := now().sub(seen.at)
	l.budget -= took
	l.cost = took / time.Duration(max(n, 1))
	if seen.whole = size < len(buf); !seen.whole {
		l.bytes *= 2 // for the next one
	}
	all := 0
	stacks.Each(buf[:size], func(id uint64) bool { return wanted[id] }, func(g stacks.Goroutine) bool {
		if all++; wanted[g.ID] {
			seen.of[g.ID] = g
		}
		return true
	})
	// A dump of which the parser does not understand all says of nobody that it has ended.
	seen.whole = seen.whole && all == bytes.Count(buf[:size], []byte("\n\ngoroutine "))+1
	return seen, ""
}

// afford brings the budget up to date and says whether it is enough.
func (l *lookout) afford(cost time.Duration, at nanos) bool {
	if at > l.filled {
		gained := float64(at.sub(l.filled)) * l.full.Minutes()
		l.budget = min(l.budget+time.Duration(gained), l.full)
		l.filled = at
	}
	return cost <= l.budget
}
