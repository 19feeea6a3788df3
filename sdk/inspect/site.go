package inspect

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
)

// A site is a way of calls that has come to a wait. Most waits come to one of few
// sites, so who waits does not unwind its stack, which takes half a microsecond and
// more: it reads the return addresses of its frames, which tell sites apart in some
// nanoseconds, and finds the one that was unwound when they were first seen.
//
// A site does not change once it is made.
type site struct {
	depth  int                    // how much of the stack is wanted
	count  int                    // of frames
	frames [1 + deepStack]uintptr // with the depth, what tells it from others
	stack  []uintptr              // as runtime.Callers gives it
	place  uintptr                // the line of the application that waits
	text   func() string
}

func (s *site) stacktrace() string { return s.text() }

const (
	shallowStack = 6  // enough to get past this package to the line that waits
	deepStack    = 32 // with backtraces, and for what lies below a client library
)

const (
	maxSites   = 4096
	siteProbes = 8 // slots in which a site can be
)

// sites are those that were seen last.
var sites [maxSites]atomic.Pointer[site]

// siteOf returns the way to the caller of its caller, up to a depth.
func siteOf(depth int) *site {
	var words [1 + deepStack]uintptr
	frames := words[:goid.Frames(&words[0], 1+depth)]
	if len(frames) == 0 { // without frame pointers
		frames = words[:runtime.Callers(2, words[:1+depth])]
	}
	slot := hashFrames(frames)
	for probe := range uint64(siteProbes) {
		s := sites[(slot+probe)%maxSites].Load()
		if s == nil {
			break
		}
		if s.depth == depth && slices.Equal(s.frames[:s.count], frames) {
			return s
		}
	}
	return newSite(frames, depth, slot)
}

func newSite(frames []uintptr, depth int, slot uint64) *site {
	stack := make([]uintptr, depth)
	stack = stack[:runtime.Callers(4, stack)] // without Callers, newSite, siteOf and its caller
	s := &site{depth: depth, count: len(frames), stack: stack, place: firstOutside(stack)}
	copy(s.frames[:], frames)
	s.text = sync.OnceValue(func() string { return stacktrace(stack) })
	for probe := range uint64(siteProbes) {
		if sites[(slot+probe)%maxSites].CompareAndSwap(nil, s) {
			return s
		}
	}
	sites[slot%maxSites].Store(s) // in the place of another one, which can be made again
	return s
}

// hashFrames mixes as FNV-1a does, a word at a time.
func hashFrames(frames []uintptr) uint64 {
	h := uint64(14695981039346656037)
	for _, pc := range frames {
		h = (h ^ uint64(pc)) * 1099511628211
	}
	return h ^ h>>29
}
