// Package stacks reads what runtime.Stack writes about all goroutines: what each of
// them does, and in which calls.
//
// The text is made for people and its format is not promised. The parser believes
// what it understands and skips the rest: a goroutine whose entry it cannot read is
// not in the result, and a frame that it cannot read ends the frames of its goroutine.
package stacks

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

// Goroutine is one goroutine of a dump.
type Goroutine struct {
	ID uint64
	// State is what the runtime calls it, without notes such as the minutes: running,
	// runnable, sleep, select, chan receive, IO wait, sync.Mutex.Lock and so on.
	State string
	// Parked is for how long it has been in this state at least, in whole minutes.
	Parked time.Duration
	// Frames are its calls, the innermost first, at most [MaxFrames].
	Frames []Frame
	// CutShort says that outer frames are missing.
	CutShort bool
}

// MaxFrames bounds the frames of one goroutine.
const MaxFrames = 100

// Frame is one call.
type Frame struct {
	Function string // as runtime.Frame has it
	File     string
	Line     int
}

// Each calls fn for every goroutine of a dump, until fn returns false. Frames are
// read only for those that wanted names; for the others they are nil.
func Each(dump []byte, wanted func(id uint64) bool, fn func(Goroutine) bool) {
	for len(dump) > 0 {
		var entry []byte
		entry, dump = cutEntry(dump)
		g, body, ok := header(entry)
		if !ok {
			continue
		}
		if wanted(g.ID) {
			g.frames(body)
		}
		if !fn(g) {
			return
		}
	}
}

// cutEntry returns the first entry. Entries are separated by an empty line.
func cutEntry(dump []byte) (entry, rest []byte) {
	if i := bytes.Index(dump, []byte("\n\n")); i >= 0 {
		return dump[:i+1], dump[i+2:]
	}
	return dump, nil
}

// header reads a line such as
//
//	goroutine 42 [chan receive (nil chan), 5 minutes, locked to thread]:
func header(entry []byte) (g Goroutine, body []byte, ok bool) {
	line, body, _ := bytes.Cut(entry, []byte("\n"))
	line, ok = bytes.CutPrefix(bytes.TrimLeft(line, "\n"), []byte("goroutine "))
	if !ok {
		return g, nil, false
	}
	number, rest, ok := bytes.Cut(line, []byte(" "))
	if !ok {
		return g, nil, false
	}
	id, err := strconv.ParseUint(string(number), 10, 64)
	if err != nil || id == 0 {
		return g, nil, false
	}
	_, rest, ok = bytes.Cut(rest, []byte("["))
	if !ok {
		return g, nil, false
	}
	notes, _, ok := bytes.Cut(rest, []byte("]"))
	if !ok {
		return g, nil, false
	}
	state, more, _ := strings.Cut(string(notes), ", ")
	g.ID, g.State = id, state
	for note := range strings.SplitSeq(more, ", ") {
		if n, is := strings.CutSuffix(note, " minutes"); is {
			if minutes, err := strconv.ParseUint(n, 10, 24); err == nil {
				g.Parked = time.Duration(minutes) * time.Minute
			}
		}
	}
	return g, body, true
}

// frames reads pairs of lines such as
//
//	main.(*server).handle(0xc000010000, {0x1, 0x2})
//		/src/server.go:42 +0x1d
func (g *Goroutine) frames(body []byte) {
	g.CutShort = true // until the end has been seen
	text := string(body)
	for text != "" {
		var call, at string
		call, text, _ = strings.Cut(text, "\n")
		if call == "" || strings.HasPrefix(call, "created by ") {
			g.CutShort = false
			return
		}
		at, text, _ = strings.Cut(text, "\n")
		file, line, ok := place(at)
		// "...23 frames elided..." has no place below it, and neither has the note that
		// the stack of a running goroutine is not to be had.
		if !ok || len(g.Frames) == MaxFrames {
			return
		}
		g.Frames = append(g.Frames, Frame{Function: function(call), File: file, Line: line})
	}
	g.CutShort = len(g.Frames) == 0
}

// function is the name in a line of a call, without its arguments.
func function(call string) string {
	// Arguments have no parentheses, names may: (*T).
	if i := strings.LastIndexByte(call, '('); i > 0 {
		return call[:i]
	}
	return call
}

func place(at string) (file string, line int, ok bool) {
	at, ok = strings.CutPrefix(at, "\t")
	if !ok {
		return "", 0, false
	}
	if i := strings.LastIndex(at, " +0x"); i >= 0 {
		at = at[:i]
	}
	i := strings.LastIndexByte(at, ':')
	if i < 0 {
		return "", 0, false
	}
	n, err := strconv.ParseUint(at[i+1:], 10, 31)
	if err != nil {
		return "", 0, false
	}
	return at[:i], int(n), true
}
