package inspect

import (
	"fmt"
	"runtime"
	"strings"
	"sync"

	"go.opentelemetry.io/otel/attribute"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
	"github.com/asyncinspect/asyncinspect/sdk/internal/wire"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// place is a line of code. Places are kept as return addresses until somebody
// wants to read them.
type place struct {
	function string // as in code.function.name: with the package's path
	file     string
	line     int
	from     codeOrigin

	attributes []attribute.KeyValue // the same, ready for a span
}

// places remembers resolved addresses; it is bounded by the size of the program.
var places sync.Map // uintptr -> place

// placeOf resolves a return address, as runtime.Callers gives them.
func placeOf(pc uintptr) place {
	if pc == 0 {
		return place{}
	}
	if p, ok := places.Load(pc); ok {
		return p.(place)
	}
	frame, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	p := place{
		function: withoutWrapper(frame.Function), file: frame.File, line: frame.Line,
		from: sources().of(frame.Function, frame.File),
	}
	if p.function == "runtime.goexit" {
		p.from = fromSDK // every goroutine has it, so it says nothing
	}
	if p.function != "" {
		p.attributes = []attribute.KeyValue{
			attribute.String(taskspan.CodeFunctionName, p.function),
			attribute.String(taskspan.CodeFilePath, p.file),
			attribute.Int(taskspan.CodeLineNumber, p.line),
		}
	}
	places.Store(pc, p)
	return p
}

// ours reports whether a place says nothing of who is there: it is in the SDK or in the
// standard library.
func ours(p place) bool { return p.from < fromDependency }

// appendWay appends to way the place that a stack is at, as far as the application is
// concerned, and up to taskspan.MaxCallers callers of it. The place is the first frame of the
// main module, or, failing that, of a module without a version, or, failing that, of a
// dependency. Functions that call [Helper] are passed over.
func appendWay(way, stack []uintptr) []uintptr {
	best, helper := fromSDK, fromSDK
	for _, pc := range stack {
		if p := placeOf(pc); isHelper(p) {
			helper = max(helper, p.from)
		} else {
			best = max(best, p.from)
		}
	}
	only := best < fromDependency && helper > best // there is nothing but helpers
	if only {
		best = helper
	}
	if best == fromSDK {
		return way
	}
	of := best
	for _, pc := range stack {
		p := placeOf(pc)
		if p.from < of || !only && isHelper(p) {
			continue
		}
		if way = append(way, pc); len(way) > taskspan.MaxCallers || best == fromStandard {
			break
		}
		of = min(best, fromLocal) // a caller may be in any module of the application
	}
	return way
}

// placeHere returns the place of the function that calls its caller; see appendWay.
func placeHere() uintptr {
	var stack, words [16]uintptr
	way := appendWay(nil, stack[:runtime.Callers(3, stack[:])])
	if len(way) == 0 {
		way = wayOfWrapper(words[:goid.Frames(&words[0], len(words))])
	}
	if len(way) == 0 {
		return 0
	}
	return way[0]
}

// wayOfWrapper returns the way of a goroutine that was started with a function of this
// package. There is nothing else on its stack but the function that the compiler makes of
// the go statement, which runtime.Callers leaves out and frame pointers show.
func wayOfWrapper(frames []uintptr) []uintptr {
	if way := appendWay(nil, frames); len(way) > 0 {
		return way
	}
	entries := make([]uintptr, len(frames)) // another function may be inlined into it
	for i, pc := range frames {
		if f := runtime.FuncForPC(pc - 1); f != nil {
			entries[i] = f.Entry() + 1
		}
	}
	return appendWay(nil, entries)
}

// withoutWrapper returns a function's name without the function that the compiler makes of
// a statement such as "go sem.Acquire(ctx, 1)": the line is that of the statement.
func withoutWrapper(function string) string {
	for _, kind := range []string{".gowrap", ".deferwrap"} {
		if i := strings.LastIndex(function, kind); i > 0 && strings.Trim(function[i+len(kind):], "0123456789") == "" {
			return function[:i]
		}
	}
	return function
}

// shortFunction is a function's name without the path of its package.
func shortFunction(function string) string {
	return function[strings.LastIndexByte(function, '/')+1:]
}

// placeAttributes are the code.* attributes of a return address.
func placeAttributes(pc uintptr) []attribute.KeyValue {
	p := placeOf(pc)
	if p.function == "" {
		return nil
	}
	return p.attributes
}

// callerTexts writes places as callers of a wait.
func callerTexts(pcs []uintptr) []string {
	texts := make([]string, len(pcs))
	for i, pc := range pcs {
		texts[i] = wire.Caller(wirePlace(pc))
	}
	return texts
}

// stacktrace writes the stack as Go does, without the frames of the SDK on top.
func stacktrace(stack []uintptr) string {
	var b strings.Builder
	for i, pc := range stack {
		if placeOf(pc).from != fromSDK {
			stack = stack[i:]
			break
		}
	}
	frames := runtime.CallersFrames(stack)
	for {
		f, more := frames.Next()
		if f.Function != "" {
			fmt.Fprintf(&b, "%s\n\t%s:%d\n", f.Function, f.File, f.Line)
		}
		if !more || b.Len() > taskspan.MaxStackBytes {
			break
		}
	}
	return b.String()[:min(b.Len(), taskspan.MaxStackBytes)]
}
