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
	count   int                 // of frames
	frames  [stackDepth]uintptr // what tells it from others
	stack   []uintptr           // as runtime.Callers gives it
	place   uintptr             // the line of the application that waits
	callers []uintptr           // who called that, at most taskspan.MaxCallers
	text    func() string
}

func (s *site) stacktrace() string { return s.text() }

// stackDepth is how much of a stack is looked at. The application may be far above what
// waits, below client libraries and their interceptors.
const stackDepth = 40

const (
	maxSites   = 4096
	siteProbes = 8 // slots in which a site can be
)

// sites are those that were seen last.
var sites siteTable

type siteTable [maxSites]atomic.Pointer[site]

func (t *siteTable) clear() {
	for i := range t {
		t[i].Store(nil)
	}
}

// siteHere returns the way to its caller.
func siteHere() *site {
	var words [stackDepth]uintptr
	frames := words[:goid.Frames(&words[0], len(words))]
	if len(frames) == 0 { // without frame pointers
		frames = words[:runtime.Callers(2, words[:])]
	}
	slot := hashFrames(frames)
	for probe := range uint64(siteProbes) {
		s := sites[(slot+probe)%maxSites].Load()
		if s == nil {
			break
		}
		if slices.Equal(s.frames[:s.count], frames) {
			return s
		}
	}
	return newSite(frames, slot)
}

func newSite(frames []uintptr, slot uint64) *site {
	stack := make([]uintptr, stackDepth)
	stack = stack[:runtime.Callers(3, stack)] // without Callers, newSite and siteHere
	s := &site{count: len(frames), stack: stack}
	copy(s.frames[:], frames)
	way := appendWay(nil, stack)
	if len(way) == 0 { // the goroutine was started with this very function
		way = wayOfWrapper(frames)
	}
	if len(way) > 0 {
		s.place, s.callers = way[0], way[1:]
	}
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

// placeOfTask returns the place of a task that a call of Begin or Go begins, which
// returns to pc. That is the call itself, if the main module made it; a call in a
// dependency or a helper is looked at as a wait is.
func placeOfTask(pc uintptr) uintptr {
	if pc != 0 && directPlaces.has(pc) {
		return pc
	}
	if p := placeOf(pc); p.from == fromMain && !isHelper(p) {
		directPlaces.add(pc)
		return pc
	}
	at := siteHere().place
	if placeOf(at).from <= fromStandard && pc != 0 {
		return pc // nobody of the application is there
	}
	return at
}
