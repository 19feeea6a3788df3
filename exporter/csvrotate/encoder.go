package csvrotate

import (
	"math"
	"slices"
	"strconv"
	"time"
	"unsafe"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/asyncinspect/asyncinspect/internal/classify"
	"github.com/asyncinspect/asyncinspect/internal/plausible"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// encoder turns batches into records. It only ever appends to buf, and what it
// needs besides is reused, so a row in steady state allocates nothing. It is used
// by one goroutine at a time.
type encoder struct {
	plan *plan
	buf  []byte

	span     ptrace.Span
	detector bool           // a detector says it
	tasks    classify.Rule  // for the other spans of its scope
	state    taskspan.State // of the span, "" if it is no task
	slots    []slot
	row      uint64 // the number of the span, which tells fresh slots from stale ones
	resource fixedCells
	scope    fixedCells
	scratch  []byte

	// capped and corrected say that a cell of this row shows less than the span claims:
	// of its weight, or of its times.
	capped, corrected bool

	// The last time that was written: most spans are of one minute, and of the next
	// time only the digits after the minutes are new.
	minute uint64
	clock  [len(timeLayout)]byte
}

// slot holds a wanted attribute if it was found on span number row.
type slot struct {
	value pcommon.Value
	row   uint64
}

// fixedCells are the cells that do not change within a resource or a scope.
type fixedCells struct {
	bytes []byte
	ends  []int
}

func (c *fixedCells) at(i int) []byte {
	from := 0
	if i > 0 {
		from = c.ends[i-1]
	}
	return c.bytes[from:c.ends[i]]
}

// batchCounts says what a batch came to.
type batchCounts struct {
	rows    int64
	reports int64 // spans of the report scope, which are never rows
	others  int64 // spans that are no rows of the kind that is asked for
	// Rows in which a weight or a duration was bounded.
	capped, corrected int64
}

func newEncoder(p *plan) *encoder {
	return &encoder{plan: p, slots: make([]slot, p.slots), minute: math.MaxUint64}
}

// encode fills buf with the rows of a batch.
func (e *encoder) encode(td ptrace.Traces) batchCounts {
	var n batchCounts
	e.buf = e.buf[:0]
	for i := range td.ResourceSpans().Len() {
		rs := td.ResourceSpans().At(i)
		e.fill(&e.resource, len(e.plan.resourceCells), func(c int) { e.plan.resourceCells[c](e, rs.Resource()) })
		for j := range rs.ScopeSpans().Len() {
			ss := rs.ScopeSpans().At(j)
			speaker := classify.ScopeOf(ss.Scope())
			if speaker == classify.Reports {
				n.reports += int64(ss.Spans().Len())
				continue
			}
			e.fill(&e.scope, len(e.plan.scopeCells), func(c int) { e.plan.scopeCells[c](e, ss.Scope()) })
			e.detector, e.tasks = speaker == classify.Detector, classify.Default().In(ss.Scope())
			e.spans(ss.Spans(), &n)
		}
	}
	// The batch must not live on in a buffer that waits for the next one.
	e.span = ptrace.Span{}
	clear(e.slots)
	return n
}

// fill makes the fixed cells of a resource or scope.
func (e *encoder) fill(c *fixedCells, n int, write func(int)) {
	c.bytes, c.ends = c.bytes[:0], c.ends[:0]
	from := len(e.buf)
	for i := range n {
		write(i)
		c.ends = append(c.ends, len(e.buf)-from)
	}
	c.bytes = append(c.bytes, e.buf[from:]...)
	e.buf = e.buf[:from]
}

func (e *encoder) spans(spans ptrace.SpanSlice, n *batchCounts) {
	for i := range spans.Len() {
		e.span = spans.At(i)
		e.find()
		row, state := e.plan.rows.judge(e)
		if !row {
			n.others++
			continue
		}
		e.state = state
		e.capped, e.corrected = false, false
		e.record()
		n.rows++
		if e.capped {
			n.capped++
		}
		if e.corrected {
			n.corrected++
		}
	}
}

// find walks over the span's attributes once and keeps those that are wanted.
func (e *encoder) find() {
	e.row++
	wanted := e.plan.wanted
	for key, v := range e.span.Attributes().All() {
		if len(key) >= len(wanted) {
			continue
		}
		for _, w := range wanted[len(key)] {
			if w.key == key {
				e.slots[w.slot] = slot{v, e.row}
				break
			}
		}
	}
}

// wanted returns the attribute in a slot, if the span has it.
func (e *encoder) wanted(i int) (pcommon.Value, bool) {
	return e.slots[i].value, e.slots[i].row == e.row
}

func (e *encoder) record() {
	from := len(e.buf)
	for i, c := range e.plan.cells {
		if i > 0 {
			e.buf = append(e.buf, ',')
		}
		c(e)
	}
	if len(e.buf) == from {
		// One column, and it is null: a bare line end would be no record at all.
		e.buf = append(e.buf, `""`...)
	}
	e.buf = append(e.buf, recordEnd...)
}

func (e *encoder) text(s string) { e.buf = appendText(e.buf, s, e.plan.defuse) }

func (e *encoder) attributeOf(attrs pcommon.Map, key string) {
	if v, ok := attrs.Get(key); ok {
		e.buf = appendValue(e.buf, v, e.plan.defuse)
	}
}

func (e *encoder) parentSpanID() {
	if id := e.span.ParentSpanID(); !id.IsEmpty() {
		e.buf = appendSpanID(e.buf, id)
	}
}

var kindNames = [...]string{"", "internal", "server", "client", "producer", "consumer"}

func (e *encoder) kind() {
	if k := int(e.span.Kind()); k > 0 && k < len(kindNames) {
		e.buf = append(e.buf, kindNames[k]...)
	}
}

func (e *encoder) statusCode() {
	switch e.span.Status().Code() {
	case ptrace.StatusCodeOk:
		e.buf = append(e.buf, "ok"...)
	case ptrace.StatusCodeError:
		e.buf = append(e.buf, "error"...)
	default:
		e.buf = append(e.buf, "unset"...)
	}
}

func (e *encoder) adjustedCount() float64 {
	weight, capped := plausible.Weight(e.span.TraceState().AsRaw())
	e.capped = e.capped || capped
	return weight
}

func (e *encoder) unixNano(t pcommon.Timestamp) {
	if t != 0 {
		e.buf = strconv.AppendUint(e.buf, uint64(t), 10)
	}
}

// duration is null if the span does not tell both ends.
func (e *encoder) duration() {
	if start, end := e.span.StartTimestamp(), e.span.EndTimestamp(); start != 0 && end != 0 {
		from, to, corrected := plausible.Times(start, end)
		e.corrected = e.corrected || corrected
		e.buf = strconv.AppendInt(e.buf, to-from, 10)
	}
}

const timeLayout = "2006-01-02T15:04:05.000000000Z"

// time writes RFC 3339 in UTC, always with nine digits, so that text sorts as time
// does.
func (e *encoder) time(t pcommon.Timestamp) {
	if t == 0 {
		return
	}
	second := uint64(t) / 1e9
	nanos, minute := uint32(uint64(t)-second*1e9), second/60
	if minute != e.minute {
		e.minute = minute
		time.Unix(int64(minute*60), 0).UTC().AppendFormat(e.clock[:0], timeLayout)
	}
	text := &e.clock
	putTwo(text[17:], uint32(second-minute*60))
	putTwo(text[20:], nanos/1e7)
	putTwo(text[22:], nanos/1e5%100)
	putTwo(text[24:], nanos/1e3%100)
	putTwo(text[26:], nanos/10%100)
	text[28] = byte('0' + nanos%10)
	n := len(e.buf)
	e.buf = slices.Grow(e.buf, len(text))[:n+len(text)]
	*(*[len(timeLayout)]byte)(e.buf[n:]) = *text
}

// putTwo writes a number below 100 in two digits.
func putTwo(dst []byte, n uint32) {
	_ = dst[1]
	dst[0], dst[1] = byte('0'+n/10), byte('0'+n%10)
}

func (e *encoder) attributes() {
	if attrs := e.span.Attributes(); attrs.Len() > 0 {
		e.buf = append(appendJSONMap(append(e.buf, '"'), attrs), '"')
	}
}

// asString shows scratch bytes as text, for as long as they do not change.
func asString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
