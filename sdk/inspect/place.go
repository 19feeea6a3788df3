package inspect

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"go.opentelemetry.io/otel/attribute"

	"github.com/asyncinspect/asyncinspect/sdk/internal/wire"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// place is a line of code. Places are kept as return addresses until somebody
// wants to read them.
type place struct {
	function string // as in code.function.name: with the package's path
	file     string
	line     int

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
	p := place{function: wire.Valid(frame.Function), file: wire.Valid(frame.File), line: frame.Line}
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

// firstOutside returns the first address that is not in the runtime, in package
// sync, in this SDK or in an instrumentation: the line of the application that
// waits. Our own tests count as the application.
func firstOutside(pcs []uintptr) uintptr {
	for _, pc := range pcs {
		if p := placeOf(pc); !ours(p) {
			return pc
		}
	}
	return 0
}

// notTheApplication are beginnings of function names.
var notTheApplication = []string{
	"runtime.", "sync.", "internal/sync.", "net/http.",
	"go.opentelemetry.io/otel/", "go.opentelemetry.io/contrib/", "google.golang.org/grpc.",
	"github.com/asyncinspect/asyncinspect/sdk/inspect.", "github.com/asyncinspect/asyncinspect/sdk/inspecthttp.",
}

func ours(p place) bool {
	return !strings.HasSuffix(p.file, "_test.go") &&
		slices.ContainsFunc(notTheApplication, func(prefix string) bool { return strings.HasPrefix(p.function, prefix) })
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

// stacktrace writes the stack as Go does, without the frames of the SDK on top.
func stacktrace(stack []uintptr) string {
	var b strings.Builder
	for i, pc := range stack {
		if !ours(placeOf(pc)) {
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
	return wire.Cut(b.String(), taskspan.MaxStackBytes)
}
