package inspect

import (
	"context"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/asyncinspect/asyncinspect/sdk/internal/wire"
)

// pointsPerTask bounds the inspection points that one live task keeps: its newest.
const pointsPerTask = 32

// Point marks a place that a task has passed. Points are counted exactly; the newest
// ones of a live task are kept and shown with it, and on a sampled task they are
// events of its span.
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
	first int
}

func (p *points) add(t *Task, one point) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.ended() {
		return // and has released its points, or is about to
	}
	ins := t.ins
	if len(p.ring) < pointsPerTask {
		if ins.keptPoints.Add(1) <= ins.maxEvents {
			p.ring = append(p.ring, one)
			return
		}
		ins.keptPoints.Add(-1)
		if len(p.ring) == 0 {
			ins.drops.add(dropMaxEvents, 1)
			return
		}
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
	p.ring = nil
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
