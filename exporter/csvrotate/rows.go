package csvrotate

import (
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

// judge says whether the span of an encoder is a row, and its state; "" if it is no
// task. Spans of the report scope never come here: they tell of what has not ended.
func (k rowKind) judge(e *encoder) (row bool, state taskspan.State) {
	told, tells := e.wanted(e.plan.state)
	state, is := e.tasks.Task(e.span, told, tells)
	if e.detector && tells {
		state = taskspan.State(told.Str()) // of a task that may be live
	}
	switch k {
	case spanRows:
		return true, state
	case deadlockRows:
		// Each trace that is involved has a child of this name, too; the deadlock itself
		// is the root.
		return e.detector && e.span.Name() == taskspan.SpanDeadlock && e.span.ParentSpanID().IsEmpty(), state
	case taskRows:
	}
	if e.detector {
		is = state == taskspan.Lost
	}
	return is, state
}
