package inspect

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
)

// Helper marks the calling function as a helper, as [testing.T.Helper] does for tests:
// waits and tasks inside the function have the place of its caller. Call it first in a
// function that wraps a wait, such as the method of a pool that every caller uses:
//
//	func (p *Pool) Conn(ctx context.Context) (*Conn, error) {
//		inspect.Helper()
//		...
//
// Dependencies need no mark: a place is in the main module of the program wherever
// possible. The place of an acquired lock is always the call of Lock, even in a helper:
// finding the caller would cost more than the lock.
//
// Helper costs a few nanoseconds and may be called by several goroutines at once.
//
//go:noinline
func Helper() {
	if !compiledIn {
		return
	}
	_, pc := goid.GetWithPC()
	if pc != 0 && helperCalls.has(pc) {
		return
	}
	var caller [1]uintptr
	runtime.Callers(2, caller[:])
	if caller[0] == 0 {
		return
	}
	if _, known := helpers.LoadOrStore(placeOf(caller[0]).function, true); !known {
		// What was resolved before is the line of the helper.
		sites.clear()
		directPlaces.clear()
	}
	helperCalls.add(pc)
}

// helpers are the functions that have called Helper, by name: as many as the program has.
var helpers sync.Map // string -> true

func isHelper(p place) bool {
	_, is := helpers.Load(p.function)
	return is
}

// addressCache remembers return addresses of which something is known to be so. An
// address that finds its slot taken is forgotten, or makes the other one so.
type addressCache [1024]atomic.Uintptr

var (
	helperCalls  addressCache // calls of Helper whose function is marked
	directPlaces addressCache // calls of Begin and its like that are places themselves
)

func (c *addressCache) slot(pc uintptr) *atomic.Uintptr { return &c[(pc^pc>>10)%uintptr(len(c))] }

func (c *addressCache) has(pc uintptr) bool { return c.slot(pc).Load() == pc }
func (c *addressCache) add(pc uintptr)      { c.slot(pc).Store(pc) }

func (c *addressCache) clear() {
	for i := range c {
		c[i].Store(0)
	}
}
