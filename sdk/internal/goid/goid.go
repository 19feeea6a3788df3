// Package goid finds the id of the running goroutine, and the place its caller
// was called from, in about two nanoseconds, and who called that in one more each.
//
// The runtime keeps the id in its goroutine descriptor, at an offset that is
// its own affair. The package does not know the offset: at start it asks
// runtime.Stack for the ids of a few goroutines, which is slow and public, and
// searches their descriptors for the one word that agrees in all of them. The
// place is the return address of the caller's frame, found through the frame
// pointer and checked in the same way against runtime.Callers. If either fails,
// or the architecture is not known here, [Supported] is false and all answers
// are 0: the SDK then knows tasks by their contexts alone.
package goid

import (
	"bytes"
	"runtime"
	"strconv"
)

// probes is how many goroutines must agree about the offset. Ids are small
// numbers, so a single descriptor has many words that look like one.
const probes = 8

// offset of the id in the goroutine descriptor; 0: not supported.
var offset uintptr

func init() {
	if !arch {
		return
	}
	offset = findOffset()
	if !placeAgrees() || !framesAgree() {
		offset = 0
	}
}

// Supported reports whether the running goroutine and the place are known.
func Supported() bool { return offset != 0 }

// Get returns the id of the running goroutine, never 0, or 0 if the runtime is
// not understood. Ids are not used twice.
func Get() uint64 {
	if offset == 0 {
		return 0
	}
	return get(offset)
}

func findOffset() uintptr {
	candidates := agreeing(parse())
	for range probes - 1 {
		next := make(chan map[uintptr]bool)
		go func() { next <- agreeing(parse()) }()
		other := <-next
		for o := range candidates {
			if !other[o] {
				delete(candidates, o)
			}
		}
	}
	if len(candidates) != 1 {
		return 0
	}
	for o := range candidates {
		return o
	}
	return 0
}

// searched is how far into the descriptor the id is looked for. The descriptor
// is over 400 bytes long in every release since Go 1.5, so this stays inside.
const searched = 320

// agreeing returns the offsets at which the running goroutine's descriptor
// holds id.
func agreeing(id uint64) map[uintptr]bool {
	found := make(map[uintptr]bool)
	for o := uintptr(8); o < searched; o += 8 {
		if get(o) == id {
			found[o] = true
		}
	}
	return found
}

// parse reads the running goroutine's id from its stack trace, which begins
// "goroutine 42 [running]:".
func parse() uint64 {
	var buf [64]byte
	line := buf[:runtime.Stack(buf[:], false)]
	line = bytes.TrimPrefix(line, []byte("goroutine "))
	end := bytes.IndexByte(line, ' ')
	if end < 0 {
		return 0
	}
	id, err := strconv.ParseUint(string(line[:end]), 10, 64)
	if err != nil {
		return 0
	}
	return id
}

//go:noinline
func placeAgrees() bool {
	_, pc := GetWithPC()
	var want [1]uintptr
	runtime.Callers(2, want[:])
	return pc != 0 && pc == want[0]
}

//go:noinline
func framesAgree() bool { return deeper() }

//go:noinline
func deeper() bool {
	var got, want [2]uintptr // of functions that are not inlined: both ways see the same
	runtime.Callers(2, want[:])
	return Frames(&got[0], len(got)) == len(got) && got == want
}
