package inspect

import (
	"hash/maphash"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/internal/stacks"
)

// An open client span says that a call has begun, and not that anybody waits for its
// end: the span of a stream stays open while its goroutine works, and so does the span
// of a response whose body is read later. So the span is a guess, and a look at its
// goroutine decides: it waits for the answer while the call in which the span was
// started has not returned, and it is parked in a way in which one waits for others.
//
// A guess is told to the collector after two looks in a row have seen the same, and
// again after each further one; heartbeats do not prolong it.
type guess struct {
	mu sync.Mutex // guards all below; a leaf

	returned bool   // the call has returned: never a wait again
	agreeing int    // looks in a row that saw the goroutine wait
	saw      uint64 // a hash of its stack at the last of them
	waited   nanos  // the last time at which it was seen to wait; 0: never
	next     nanos  // when to look again
	looked   int    // how often, since that last changed anything
}

const (
	// guessAgain is after how long a first look is repeated.
	guessAgain = 200 * time.Millisecond
	// lookedAtAfter is how long the call of a guess takes without being looked at: most are over by then.
	lookedAtAfter = time.Second
	// guessKept is after how long without a look a guess is given up.
	guessKept = 2 * time.Minute
)

// due reports whether it is time to look.
func (g *guess) due(at nanos) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.returned && at >= g.next
}

func (g *guess) isReturned() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.returned
}

// giveUp says that the call has returned.
func (g *guess) giveUp() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.returned, g.agreeing = true, 0
}

// waiting reports whether the last look saw the goroutine wait: enough to be shown to
// somebody who looks at it himself.
func (g *guess) waiting() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.agreeing > 0
}

// wasWaiting is waiting as far as it was seen just now: what was seen before may not be
// so any more.
func (g *guess) wasWaiting(at nanos) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.agreeing > 0 && at.sub(g.waited) < lookedAtAfter
}

// believed returns the last time at which the goroutine was seen to wait, and whether
// looks agree enough for it to be told.
func (g *guess) believed(at nanos) (last nanos, is bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.waited, g.agreeing >= 2 && at.sub(g.waited) < guessKept
}

// judge learns from a look at the goroutine that has begun the call, which was taken just
// after one time, and sets the next by another.
func (g *guess) judge(s *site, seen stacks.Goroutine, taken, at nanos) {
	inside, answered := insideCall(s, seen.Frames, seen.CutShort)
	waits := inside && answered && answerStates[seen.State]
	stack := hashStack(seen.Frames)
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.returned:
		return
	case !inside:
		g.returned, g.agreeing = true, 0
		return
	case !waits: // it may the next time
		g.agreeing = 0
		g.again(at)
		return
	case g.agreeing >= 2:
		g.again(at)
	case g.agreeing == 1 && g.saw == stack || seen.Parked > 0:
		g.agreeing, g.looked = 2, 0
		g.again(at)
	default:
		g.agreeing, g.next = 1, at+nanos(guessAgain)
	}
	g.saw, g.waited = stack, taken
}

// again sets the next look: after 1, 2, 4 and 8 s, and then every 30 s.
func (g *guess) again(at nanos) {
	g.next = at + nanos(backOff(g.looked))
	g.looked++
}

// answerStates are those in which a goroutine may wait for an answer: not one that
// works, or sleeps, or waits for a lock, which somebody else has.
var answerStates = map[string]bool{
	"select": true, "chan receive": true, "IO wait": true, "syscall": true,
	"sync.Cond.Wait": true, "sync.WaitGroup.Wait": true, "semacquire": true,
	"select (durable)": true, "chan receive (durable)": true,
	"sync.Cond.Wait (durable)": true, "sync.WaitGroup.Wait (durable)": true, // in package synctest
}

var stackSeed = maphash.MakeSeed()

func hashStack(frames []stacks.Frame) uint64 {
	var h maphash.Hash
	h.SetSeed(stackSeed)
	for _, f := range frames {
		maphash.WriteComparable(&h, f)
	}
	return h.Sum64()
}

// clientLibraries are beginnings of the names of functions that make calls for the
// application: what they do inside of one call of the application is that call.
var clientLibraries = []string{
	"net/http.", "go.opentelemetry.io/", "google.golang.org/grpc.",
	"github.com/asyncinspect/asyncinspect/sdk/inspecthttp.",
}

// tracing is where spans start, on behalf of others.
const tracing = "go.opentelemetry.io/otel/"

const thisPackage = "github.com/asyncinspect/asyncinspect/sdk/inspect."

// inThisPackage leaves out its tests, which are applications.
func inThisPackage(f stacks.Frame) bool {
	return strings.HasPrefix(f.Function, thisPackage) && !strings.HasSuffix(f.File, "_test.go")
}

func inClientLibrary(f stacks.Frame) bool {
	return inThisPackage(f) || slices.ContainsFunc(clientLibraries, func(p string) bool { return strings.HasPrefix(f.Function, p) })
}

// insideCall reports whether a goroutine is inside of the call in which it came to a
// site, where a client span was started, and whether that call is what it waits in: it
// may have come to a primitive of this package on the way, which says so itself.
//
// Frames of the way to the site that are on its stack now, called from the same lines,
// have not returned, and the innermost of them decides. It has to be in the client
// library, above the line of the application that called it: any other line is another
// call, such as the one that receives from a stream. A library that is not known here
// is taken for the application; then it has to be the function that started the span,
// or the one that called this function to do it.
func insideCall(s *site, now []stacks.Frame, cutShort bool) (inside, answered bool) {
	way := s.calls()
	now = slices.DeleteFunc(slices.Clone(now), ofTheRuntime)
	innermost, at := common(now, way, len(s.stack) < stackDepth && !cutShort)
	if innermost == len(way) {
		return false, false
	}
	starter := indexOr(way, func(f stacks.Frame) bool { return !inThisPackage(f) && !strings.HasPrefix(f.Function, tracing) })
	outside := indexOr(way, func(f stacks.Frame) bool { return !inClientLibrary(f) })
	inside = innermost < outside || innermost <= starter+1
	return inside, !slices.ContainsFunc(now[:at], inThisPackage)
}

// common returns the innermost frame of the way that has not returned, as an index, and
// where it is on the stack; or as many as there are, if all have.
func common(now, way []stacks.Frame, whole bool) (innermost, at int) {
	for i := range len(way) + 1 {
		switch at = matches(now, way[i:], whole); {
		case at < 0:
			continue
		case i > 0 && at > 0 && now[at-1].Function == way[i-1].Function && now[at-1].File == way[i-1].File:
			return i - 1, at - 1 // the same function, on another line
		}
		return i, at
	}
	return len(way), 0
}

// indexOr is slices.IndexFunc with the length for none.
func indexOr(way []stacks.Frame, is func(stacks.Frame) bool) int {
	if i := slices.IndexFunc(way, is); i >= 0 {
		return i
	}
	return len(way)
}

// matches returns where a stack has the frames of a way, or -1. If both are whole, both
// end with the goroutine's own function.
func matches(now, way []stacks.Frame, whole bool) int {
	if len(way) == 0 && !whole {
		return -1
	}
	if whole {
		if at := len(now) - len(way); at >= 0 && slices.Equal(now[at:], way) {
			return at
		}
		return -1
	}
	for at := range len(now) - len(way) + 1 {
		if slices.Equal(now[at:at+len(way)], way) {
			return at
		}
	}
	return -1
}

// calls are the frames of the way to a site as a dump has them.
func (s *site) calls() (list []stacks.Frame) {
	frames := runtime.CallersFrames(s.stack)
	for {
		f, more := frames.Next()
		if call := (stacks.Frame{Function: f.Function, File: f.File, Line: f.Line}); f.Function != "" && !ofTheRuntime(call) {
			list = append(list, call)
		}
		if !more {
			return list
		}
	}
}

func ofTheRuntime(f stacks.Frame) bool {
	return strings.HasPrefix(f.Function, "runtime.") || f.File == "<autogenerated>"
}

// guessOf returns the guess that a wait for a call is, or nil.
func guessOf(call *remoteCall) *guess {
	if call != nil && call.guessed.Load() {
		return &call.guess
	}
	return nil
}
