// Package failure says on spans that something has failed, for all packages of the SDK.
package failure

import (
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/asyncinspect/asyncinspect/sdk/internal/wire"
)

// Status is the error of an HTTP request that failed by its status code.
type Status int

func (s Status) Error() string { return fmt.Sprintf("status %d %s", int(s), http.StatusText(int(s))) }

// Type is the value of error.type by the semantic conventions of HTTP.
func (s Status) Type() string { return strconv.Itoa(int(s)) }

// keepers counts who keeps the texts of errors out of spans.
var keepers atomic.Int64

// KeepTextsOut makes Record leave out the texts of errors, in the whole process, until end
// is called.
func KeepTextsOut() (end func()) {
	keepers.Add(1)
	return sync.OnceFunc(func() { keepers.Add(-1) })
}

// Record records err on a span: the status with its text, and an event. The texts are
// valid UTF-8, whoever exports the span. A Status is no exception, and its code says all.
func Record(span trace.Span, err error) {
	if _, ok := err.(Status); ok {
		span.SetStatus(codes.Error, "")
		return
	}
	if keepers.Load() > 0 {
		span.SetStatus(codes.Error, "")
		span.AddEvent(semconv.ExceptionEventName, trace.WithAttributes(semconv.ExceptionType(exceptionType(err))))
		return
	}
	text := err.Error()
	if utf8.ValidString(text) {
		span.SetStatus(codes.Error, text)
		span.RecordError(err)
		return
	}
	text = wire.Valid(text)
	span.SetStatus(codes.Error, text)
	span.AddEvent(semconv.ExceptionEventName, trace.WithAttributes(
		semconv.ExceptionType(exceptionType(err)), semconv.ExceptionMessage(text)))
}

// exceptionType is what RecordError of OpenTelemetry's SDK calls the type.
func exceptionType(err error) string {
	t := reflect.TypeOf(err)
	if t.PkgPath() == "" && t.Name() == "" {
		return t.String()
	}
	return t.PkgPath() + "." + t.Name()
}
