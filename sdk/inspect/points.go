package inspect

import (
	"context"
	"slices"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/asyncinspect/asyncinspect/sdk/internal/wire"
)

// Point marks a place that a task has passed. Points are counted exactly. The newest
// ones of a live task are kept and shown with it; see [WithMaxTaskEvents] and
// [WithMaxEvents]. On a sampled task they are events of its span, within
// OTEL_SPAN_EVENT_COUNT_LIMIT.
func Point(ctx context.Context, name string, attrs ...attribute.KeyValue) {
	if t := TaskFromContext(ctx); t != nil {
		t.Point(name, attrs...)
	}
}

// Point is the function Point for this task.
func (t *Task) Point(name string, attrs ...attribute.KeyValue) {
	if !compiledIn || t == nil || t.ended() || !t.ins.running() {
		return
	}
	t.ins.events.Add(1)
	if t.tracked {
		t.keptPoints().add(t, point{at: now(), name: name, attributes: attrs})
	} else {
		t.ins.drops.add(dropUnlistedEvents, 1)
	}
	if t.recording() {
		validAttributes(&attrs)
		t.span.AddEvent(wire.Valid(name), trace.WithAttributes(attrs...))
	}
}

// keptPoints is made for the first point: most tasks have none.
func (t *Task) keptPoints() *points {
	if p := t.points.Load(); p != nil {
		return p
	}
	t.points.CompareAndSwap(nil, new(points))
	return t.points.Load()
}

type point struct {
	at         nanos
	name       string
	attributes []attribute.KeyValue
}

// points is a ring of the newest points of a task.
type points struct {
	mu    sync.Mutex
	ring  []point
	first int // the oldest
}

// add keeps a point. At a limit the oldest of the task makes room, which is counted as
// a drop, as is a point that finds nothing to replace.
func (p *points) add(t *Task, one point) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.ended() {
		return // and has released its points, or is about to
	}
	ins := t.ins
	reason := dropTaskEvents
	if len(p.ring) < ins.maxTaskEvents {
		if ins.keptPoints.Add(1) <= ins.maxEvents {
			if p.first > 0 { // room again, after some have been replaced
				p.ring = slices.Concat(p.ring[p.first:], p.ring[:p.first])
				p.first = 0
			}
			p.ring = append(p.ring, one)
			return
		}
		ins.keptPoints.Add(-1)
		reason = dropMaxEvents
	}
	ins.drops.add(reason, 1)
	if len(p.ring) == 0 {
		return
	}
	p.ring[p.first] = one
	p.first = (p.first + 1) % len(p.ring)
}

// release forgets the points of a task that has ended.
func (p *points) release(ins *Inspector) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	ins.keptPoints.Add(-int64(len(p.ring)))
	p.ring, p.first = nil, 0
}

// list returns the points, oldest first.
func (p *points) list() []point {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return append(append([]point(nil), p.ring[p.first:]...), p.ring[:p.first]...)
}
