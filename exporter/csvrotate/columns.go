package csvrotate

import (
	"fmt"
	"strconv"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// cell appends the cell of one column for the current span of an encoder.
type cell func(*encoder)

// builtin is a column that has a name of ours.
type builtin struct {
	name    string
	compile func(*plan) cell
}

// builtins are all of them, in the order in which errors and the README list them.
var builtins = []builtin{
	{"trace_id", func(*plan) cell { return func(e *encoder) { e.buf = appendTraceID(e.buf, e.span.TraceID()) } }},
	{"span_id", func(*plan) cell { return func(e *encoder) { e.buf = appendSpanID(e.buf, e.span.SpanID()) } }},
	{"parent_span_id", func(*plan) cell { return (*encoder).parentSpanID }},
	{"name", func(*plan) cell { return func(e *encoder) { e.text(e.span.Name()) } }},
	{"kind", func(*plan) cell { return (*encoder).kind }},
	{"service", func(p *plan) cell { return p.resourceColumn(taskspan.ServiceName) }},
	{"instance", func(p *plan) cell { return p.resourceColumn(taskspan.ServiceInstanceID) }},
	{"state", func(*plan) cell { return func(e *encoder) { e.buf = append(e.buf, e.state...) } }},
	{"start", func(*plan) cell { return func(e *encoder) { e.time(e.span.StartTimestamp()) } }},
	{"end", func(*plan) cell { return func(e *encoder) { e.time(e.span.EndTimestamp()) } }},
	{"start_unix_nano", func(*plan) cell { return func(e *encoder) { e.unixNano(e.span.StartTimestamp()) } }},
	{"end_unix_nano", func(*plan) cell { return func(e *encoder) { e.unixNano(e.span.EndTimestamp()) } }},
	{"duration_ns", func(*plan) cell { return (*encoder).duration }},
	{"blocked_ns", func(p *plan) cell { return p.attributeColumn(taskspan.TaskBlockedNS) }},
	{"waits", func(p *plan) cell { return p.attributeColumn(taskspan.TaskWaits) }},
	{"longest_wait_ns", func(p *plan) cell { return p.attributeColumn(taskspan.TaskLongestWaitNS) }},
	{"wait_kind", func(p *plan) cell { return p.attributeColumn(taskspan.WaitKind) }},
	{"wait_resource", waitResourceColumn},
	{"wait_place", waitPlaceColumn},
	{"place", placeColumn},
	{"status_code", func(*plan) cell { return (*encoder).statusCode }},
	{"status_message", func(*plan) cell { return func(e *encoder) { e.text(e.span.Status().Message()) } }},
	{"error_type", func(p *plan) cell { return p.attributeColumn(taskspan.ErrorType) }},
	{"sampling_rate", func(*plan) cell { return func(e *encoder) { e.buf = appendFloat(e.buf, 1/e.adjustedCount()) } }},
	{"adjusted_count", func(*plan) cell { return func(e *encoder) { e.buf = appendFloat(e.buf, e.adjustedCount()) } }},
	{"scope_name", func(p *plan) cell {
		return p.scopeCell(func(e *encoder, s pcommon.InstrumentationScope) { e.text(s.Name()) })
	}},
	{"scope_version", func(p *plan) cell {
		return p.scopeCell(func(e *encoder, s pcommon.InstrumentationScope) { e.text(s.Version()) })
	}},
	{"attributes", func(*plan) cell { return (*encoder).attributes }},
	{"deadlock_id", func(p *plan) cell { return p.attributeColumn(taskspan.DeadlockID) }},
	{"confidence", func(p *plan) cell { return p.attributeColumn(taskspan.DeadlockConfidence) }},
	{"deadlock_kind", func(p *plan) cell { return p.attributeColumn(taskspan.DeadlockKind) }},
	{"size", func(p *plan) cell { return p.attributeColumn(taskspan.DeadlockSize) }},
	{"victims", func(p *plan) cell { return p.attributeColumn(taskspan.DeadlockVictims) }},
	{"services", func(p *plan) cell { return p.attributeColumn(taskspan.DeadlockServices) }},
	{"cycle", func(p *plan) cell { return p.attributeColumn(taskspan.DeadlockCycle) }},
	{"suggestion", func(p *plan) cell { return p.attributeColumn(taskspan.DeadlockSuggestion) }},
}

// defaultColumns are those of each value of rows.
var defaultColumns = map[string][]string{
	rowsTasks: {
		"trace_id", "span_id", "parent_span_id", "name", "service", "state", "start", "end", "start_unix_nano", "duration_ns",
		"blocked_ns", "wait_kind", "wait_resource", "wait_place", "status_code", "status_message", "sampling_rate", "adjusted_count",
	},
	rowsSpans: {
		"trace_id", "span_id", "parent_span_id", "name", "kind", "service", "state", "start", "end", "start_unix_nano", "duration_ns",
		"status_code", "status_message", "sampling_rate", "adjusted_count", "attributes",
	},
	rowsDeadlocks: {
		"deadlock_id", "trace_id", "span_id", "start", "end", "start_unix_nano", "duration_ns", "confidence", "deadlock_kind",
		"size", "victims", "services", "cycle", "suggestion",
	},
}

// Prefixes of columns that are attributes. A name with a dot and none of these is
// an attribute of the span; one without a dot is a built-in.
const (
	resourcePrefix  = "resource."
	scopePrefix     = "scope."
	attributePrefix = "attribute."
)

// plan is a list of columns, compiled. It does not change.
type plan struct {
	rows   rowKind
	defuse bool
	header []byte // with the byte-order mark, if asked for, and the record's end
	cells  []cell
	// wanted has, by the length of their keys, the attributes of spans that cells
	// need: one walk over a span's attributes finds them all.
	wanted [][]wantedKey
	slots  int
	state  int // the slot of async_inspect.task.state
	// Cells that are the same for all spans of a resource or scope are made once.
	resourceCells []func(*encoder, pcommon.Resource)
	scopeCells    []func(*encoder, pcommon.InstrumentationScope)
}

type wantedKey struct {
	key  string
	slot int
}

// newPlan compiles the columns of a configuration. Errors name the field.
func newPlan(cfg *Config) (*plan, error) {
	names := cfg.Columns
	if len(names) == 0 {
		names = defaultColumns[cfg.Rows]
	}
	p := &plan{rows: rowKindOf(cfg.Rows), defuse: cfg.DefuseFormulas}
	p.state = p.want(taskspan.TaskState)
	if cfg.BOM {
		p.header = append(p.header, bom...)
	}
	seen := make(map[string]bool, len(names))
	for i, name := range names {
		if seen[name] {
			return nil, fmt.Errorf("columns[%d]: %q is listed twice", i, name)
		}
		seen[name] = true
		c, err := p.compile(name)
		if err != nil {
			return nil, fmt.Errorf("columns[%d]: %w", i, err)
		}
		if i > 0 {
			p.header = append(p.header, ',')
		}
		p.cells = append(p.cells, c)
		p.header = appendText(p.header, name, p.defuse)
	}
	p.header = append(p.header, recordEnd...)
	return p, nil
}

func (p *plan) compile(name string) (cell, error) {
	for _, known := range builtins {
		if known.name == name {
			return known.compile(p), nil
		}
	}
	if key, ok := strings.CutPrefix(name, resourcePrefix); ok && key != "" {
		return p.resourceColumn(key), nil
	}
	if key, ok := strings.CutPrefix(name, scopePrefix); ok && key != "" {
		return p.scopeCell(func(e *encoder, s pcommon.InstrumentationScope) { e.attributeOf(s.Attributes(), key) }), nil
	}
	if key, ok := strings.CutPrefix(name, attributePrefix); ok && key != "" {
		return p.attributeColumn(key), nil
	}
	if strings.Contains(strings.Trim(name, "."), ".") {
		return p.attributeColumn(name), nil
	}
	known := make([]string, len(builtins))
	for i := range builtins {
		known[i] = builtins[i].name
	}
	return nil, fmt.Errorf("%q is not a known column; use %s; or resource.<key>, scope.<key>, attribute.<key>, or an attribute's key with a dot in it",
		name, strings.Join(known, ", "))
}

// want returns the slot in which an encoder finds the attribute of the span.
func (p *plan) want(key string) int {
	for len(p.wanted) <= len(key) {
		p.wanted = append(p.wanted, nil)
	}
	for _, w := range p.wanted[len(key)] {
		if w.key == key {
			return w.slot
		}
	}
	p.wanted[len(key)] = append(p.wanted[len(key)], wantedKey{key, p.slots})
	p.slots++
	return p.slots - 1
}

func (p *plan) attributeColumn(key string) cell {
	slot := p.want(key)
	return func(e *encoder) {
		if v, ok := e.wanted(slot); ok {
			e.buf = appendValue(e.buf, v, e.plan.defuse)
		}
	}
}

func (p *plan) resourceColumn(key string) cell {
	i := len(p.resourceCells)
	p.resourceCells = append(p.resourceCells, func(e *encoder, r pcommon.Resource) { e.attributeOf(r.Attributes(), key) })
	return func(e *encoder) { e.buf = append(e.buf, e.resource.at(i)...) }
}

func (p *plan) scopeCell(fill func(*encoder, pcommon.InstrumentationScope)) cell {
	i := len(p.scopeCells)
	p.scopeCells = append(p.scopeCells, fill)
	return func(e *encoder) { e.buf = append(e.buf, e.scope.at(i)...) }
}

// waitResourceColumn is what the task waited for: the wait that the span tells of,
// else the longest of its waits.
func waitResourceColumn(p *plan) cell {
	slots := []int{p.want(taskspan.WaitResourceName), p.want(taskspan.WaitResourceID), p.want(taskspan.TaskLongestWaitResource)}
	return func(e *encoder) {
		for _, slot := range slots {
			if v, ok := e.wanted(slot); ok {
				e.buf = appendValue(e.buf, v, e.plan.defuse)
				return
			}
		}
	}
}

// placeColumn is where the span's code.* attributes point: where a task was
// started, or where it waits.
func placeColumn(p *plan) cell {
	function, file, line := p.want(taskspan.CodeFunctionName), p.want(taskspan.CodeFilePath), p.want(taskspan.CodeLineNumber)
	return func(e *encoder) {
		place := e.scratch[:0]
		if v, ok := e.wanted(function); ok {
			place = append(place, v.Str()...)
		}
		if v, ok := e.wanted(file); ok {
			if len(place) > 0 {
				place = append(place, ' ')
			}
			place = append(place, v.Str()...)
			if v, ok := e.wanted(line); ok {
				place = strconv.AppendInt(append(place, ':'), v.Int(), 10)
			}
		}
		e.scratch = place
		e.text(asString(place))
	}
}

// waitPlaceColumn is the place of a span that tells of a wait. That of other spans
// is where their task was started.
func waitPlaceColumn(p *plan) cell {
	kind, place := p.want(taskspan.WaitKind), placeColumn(p)
	return func(e *encoder) {
		if _, ok := e.wanted(kind); ok {
			place(e)
		}
	}
}
