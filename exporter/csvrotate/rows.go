package csvrotate

import (
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// The values of rows.
const (
	rowsTasks     = "tasks"
	rowsSpans     = "spans"
	rowsDeadlocks = "deadlocks"
)

// rowKind is what a row is.
type rowKind uint8

const (
	taskRows rowKind = iota
	spanRows
	deadlockRows
)

func rowKindOf(name string) rowKind {
	switch name {
	case rowsSpans:
		return spanRows
	case rowsDeadlocks:
		return deadlockRows
	}
	return taskRows
}

// isRow says whether a span is a row. told is its async_inspect.task.state, "" if
// it has none. Spans of the report scope never come here: they tell of what has
// not ended.
func (k rowKind) isRow(span ptrace.Span, detector bool, told taskspan.State) bool {
	switch {
	case k == spanRows:
		return true
	case k == deadlockRows:
		// Each trace that is involved has a child of this name, too; the deadlock
		// itself is the root.
		return detector && span.Name() == taskspan.SpanDeadlock && span.ParentSpanID().IsEmpty()
	case detector:
		return told == taskspan.Lost
	}
	return told != "" || entersService(span)
}

// entersService says whether a span of a plain application is a task, as
// docs/protocol.md has it.
func entersService(span ptrace.Span) bool {
	kind := span.Kind()
	return kind == ptrace.SpanKindServer || kind == ptrace.SpanKindConsumer || span.ParentSpanID().IsEmpty()
}

// stateOf is the state of a span: the one that it tells if a span can have it,
// else the one that follows from its status if it is a task, else none.
func stateOf(span ptrace.Span, told taskspan.State) taskspan.State {
	switch {
	case told.Ended() || told == taskspan.Deadlocked:
		return told
	case told == "" && !entersService(span):
		return ""
	case span.Status().Code() == ptrace.StatusCodeError:
		return taskspan.Failed
	}
	return taskspan.Completed
}
