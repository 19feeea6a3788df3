// Package classify says what a span is: the end of a task, and in which state, or the
// word of a reporter or a detector. Every component that asks gets the same answer.
//
// A span with async_inspect.task.state is a task. Of the spans of plain applications a
// [Rule] says which are; task_state has it from its configuration and writes the state
// on those that are. Where that rule is not the default one, it also marks the scope, so
// that nobody after it goes by another rule.
package classify

import (
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// Scope says who speaks in the spans of an instrumentation scope.
type Scope uint8

// The speakers.
const (
	Application Scope = iota
	Reports           // of live tasks, by an SDK
	Detector          // about tasks, by a component of a collector
)

// ScopeOf reads the speaker from the name of a scope.
func ScopeOf(scope pcommon.InstrumentationScope) Scope {
	switch scope.Name() {
	case taskspan.ScopeReport:
		return Reports
	case taskspan.ScopeDetector:
		return Detector
	}
	return Application
}

// kinds are the kinds of spans by their names in configurations.
var kinds = map[string]ptrace.SpanKind{
	"server":   ptrace.SpanKindServer,
	"consumer": ptrace.SpanKindConsumer,
	"client":   ptrace.SpanKindClient,
	"producer": ptrace.SpanKindProducer,
	"internal": ptrace.SpanKindInternal,
}

// IsKind reports whether a configuration may name a kind of spans so.
func IsKind(name string) bool { _, ok := kinds[name]; return ok }

// Rule says which spans of plain applications are tasks. The zero value: none.
type Rule struct {
	kinds uint32 // bit i: spans of kind i
	roots bool   // spans without a parent
}

// DefaultKinds and DefaultRoots are the rule where no other one is configured.
var DefaultKinds = []string{"server", "consumer"}

// DefaultRoots is described at DefaultKinds.
const DefaultRoots = true

// NewRule makes a rule. Unknown names are ignored.
func NewRule(names []string, roots bool) Rule {
	r := Rule{roots: roots}
	for _, name := range names {
		if kind, ok := kinds[name]; ok {
			r.kinds |= 1 << kind
		}
	}
	return r
}

var byDefault = NewRule(DefaultKinds, DefaultRoots)

// Default returns the rule where no other one is configured.
func Default() Rule { return byDefault }

// In is the rule for the spans of a scope: if a task_state has marked it, that has
// decided.
func (r Rule) In(scope pcommon.InstrumentationScope) Rule {
	if v, ok := scope.Attributes().Get(taskspan.TasksMarked); ok && v.Type() == pcommon.ValueTypeBool && v.Bool() {
		return Rule{}
	}
	return r
}

// Mark notes on a scope that the rule has decided about its spans. There is no need to if
// it is the default one.
func (r Rule) Mark(scope pcommon.InstrumentationScope) {
	if r != byDefault {
		scope.Attributes().PutBool(taskspan.TasksMarked, true)
	}
}

// Task says whether an application's span is a task and in which state it has ended.
// told is its async_inspect.task.state, if it has that. A state that no task can end in
// is none, but only tasks carry the attribute.
func (r Rule) Task(span ptrace.Span, told pcommon.Value, tells bool) (state taskspan.State, is bool) {
	if tells && told.Type() == pcommon.ValueTypeStr {
		if state = taskspan.State(told.Str()); state.Ended() {
			return state, true
		}
	}
	if !tells && !r.covers(span) {
		return "", false
	}
	if span.Status().Code() == ptrace.StatusCodeError {
		return taskspan.Failed, true
	}
	return taskspan.Completed, true
}

func (r Rule) covers(span ptrace.Span) bool {
	kind := uint32(span.Kind())
	return kind < 32 && r.kinds&(1<<kind) != 0 || r.roots && span.ParentSpanID().IsEmpty()
}
