package taskstate

import (
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/asyncinspect/asyncinspect/internal/classify"
	"github.com/asyncinspect/asyncinspect/internal/plausible"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/view"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// taskSpan is what is needed of the span of an ended task.
type taskSpan struct {
	id         report.TaskID
	parent     [8]byte
	name       string
	start, end int64   // unix nanoseconds
	weight     float64 // how many tasks it stands for
	blocked    time.Duration
	events     *spanEvents     // nil: it has none
	stats      *taskStatistics // set when it is counted
	state      endState
	// reported says that the process sends heartbeats: they count the task.
	reported bool
	// timed says that those heartbeats carry durations, too.
	timed bool
}

// spanEvents are the events of a span, as far as they are kept.
type spanEvents struct {
	kept []view.Event
	cut  int
}

// waitSpan is what is needed of the span of an ended wait.
type waitSpan struct {
	task     report.TaskID
	kind     taskspan.Kind
	resource string
	duration time.Duration
	end      int64
	weight   float64
}

// batch is what the spans of one resource come to. It is reused.
type batch struct {
	tasks []taskSpan
	waits []waitSpan
	// capped counts weights, and corrected times, that no span can have.
	capped, corrected int64
}

func (b *batch) reset() {
	// References to names and events must not outlive the batch.
	clear(b.tasks)
	clear(b.waits)
	*b = batch{tasks: b.tasks[:0], waits: b.waits[:0]}
}

// told is what the heartbeats of a process carry, so that its spans are not counted.
type told struct{ counts, durations bool }

// toldBy reads what a resource says of its process.
func toldBy(resource pcommon.Map) told {
	_, counts := resource.Get(taskspan.ProcessEpoch)
	return told{counts: counts, durations: durationsToldBy(resource)}
}

// durationsToldBy reads whether heartbeats carry durations, from the attributes of a
// resource or of an instrumentation scope.
func durationsToldBy(attrs pcommon.Map) bool {
	v, ok := attrs.Get(taskspan.ProcessDurations)
	return ok && v.Type() == pcommon.ValueTypeBool && v.Bool()
}

// read adds what the spans of an application come to, and writes their state on those
// that are tasks and do not carry one.
func (b *batch) read(spans ptrace.SpanSlice, rule classify.Rule, by told) {
	for i := range spans.Len() {
		span := spans.At(i)
		attrs := span.Attributes()
		said, says := attrs.Get(taskspan.TaskState)
		state, is := rule.Task(span, said, says)
		switch {
		case is && says:
			b.task(span, attrs, endStateOf(state), told{counts: true, durations: by.durations})
		case is:
			// Appending one would double the capacity.
			attrs.EnsureCapacity(attrs.Len() + 1)
			attrs.PutStr(taskspan.TaskState, string(state))
			b.task(span, attrs, endStateOf(state), by)
		case strings.HasPrefix(span.Name(), taskspan.WaitSpanPrefix):
			b.wait(span, attrs)
		}
	}
}

// measure reads the times and the weight of a span, within what a span can have.
func (b *batch) measure(span ptrace.Span) (start, end int64, weight float64) {
	start, end, corrected := plausible.Times(span.StartTimestamp(), span.EndTimestamp())
	if corrected {
		b.corrected++
	}
	weight, capped := plausible.Weight(span.TraceState().AsRaw())
	if capped {
		b.capped++
	}
	return start, end, weight
}

func (b *batch) task(span ptrace.Span, attrs pcommon.Map, state endState, by told) {
	start, end, weight := b.measure(span)
	t := taskSpan{
		id:   report.TaskID{Trace: span.TraceID(), Span: span.SpanID()},
		name: span.Name(), state: state, parent: span.ParentSpanID(),
		start: start, end: end, weight: weight, reported: by.counts, timed: by.durations,
	}
	if by.counts {
		if v, ok := attrs.Get(taskspan.TaskBlockedNS); ok && v.Type() == pcommon.ValueTypeInt && v.Int() > 0 {
			t.blocked = plausible.Duration(time.Duration(v.Int()))
		}
	}
	if span.Events().Len() > 0 {
		t.events = newSpanEvents(span.Events())
	}
	b.tasks = append(b.tasks, t)
}

func (b *batch) wait(span ptrace.Span, attrs pcommon.Map) {
	kind, ok := attrs.Get(taskspan.WaitKind)
	if !ok || kind.Type() != pcommon.ValueTypeStr {
		return
	}
	resource, ok := attrs.Get(taskspan.WaitResourceName)
	if !ok || resource.Type() != pcommon.ValueTypeStr {
		return
	}
	start, end, weight := b.measure(span)
	b.waits = append(b.waits, waitSpan{
		task: report.TaskID{Trace: span.TraceID(), Span: span.ParentSpanID()},
		kind: taskspan.Kind(kind.Str()), resource: resource.Str(),
		duration: time.Duration(end - start), end: end, weight: weight,
	})
}

// newSpanEvents copies the events of a span: inspection points, exceptions.
func newSpanEvents(events ptrace.SpanEventSlice) *spanEvents {
	n := min(events.Len(), maxTaskEvents)
	out := &spanEvents{kept: make([]view.Event, 0, n), cut: events.Len() - n}
	for i := range n {
		e := events.At(i)
		out.kept = append(out.kept, view.Event{At: e.Timestamp().AsTime(), Name: shorten(e.Name()), Detail: attributesText(e.Attributes())})
	}
	return out
}

// attributesText writes attributes as key=value, as far as they fit.
func attributesText(attrs pcommon.Map) string {
	if attrs.Len() == 0 {
		return ""
	}
	var b strings.Builder
	for key, v := range attrs.All() {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(shorten(key))
		b.WriteByte('=')
		if v.Type() == pcommon.ValueTypeStr {
			b.WriteString(shorten(v.Str()))
		} else {
			b.WriteString(shorten(v.AsString()))
		}
		if b.Len() >= taskspan.MaxStringBytes {
			break
		}
	}
	return shorten(b.String())
}

// shorten makes a text one that can be shown and be a label.
func shorten(s string) string { return report.Text(s, taskspan.MaxStringBytes) }
