package inspect

import (
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"slices"

	"go.opentelemetry.io/otel/trace"

	"github.com/asyncinspect/asyncinspect/sdk/internal/wire"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

func placeInfo(pc uintptr) Place {
	p := placeOf(pc)
	return Place{Function: p.function, File: p.file, Line: p.line}
}

func placeInfos(pcs []uintptr) (infos []Place) {
	for _, pc := range pcs {
		infos = append(infos, placeInfo(pc))
	}
	return infos
}

// Tasks returns the live tasks of the default Inspector; see [Inspector.Tasks].
func Tasks() []TaskInfo { return Default().Tasks() }

// Tasks returns the live tasks, and the goroutines that wait without one, in the
// order of their start. It is for people and tests: it takes as long as there are
// tasks, and holds nobody up for longer than the copy of a shard.
func (ins *Inspector) Tasks() []TaskInfo {
	if !compiledIn || ins == nil {
		return nil
	}
	lookAtGuesses()
	at := now()
	var (
		infos []TaskInfo
		waits = make(map[uint64]waitView) // the innermost of each goroutine
	)
	for i := range table {
		s := &table[i]
		var tasks []*Task
		s.mu.Lock()
		for t := s.tasks.front; t != nil; t = t.next {
			if t.ins == ins {
				tasks = append(tasks, t)
			}
		}
		for w := s.waits.front; w != nil; w = w.next {
			if g := guessOf(w.call); g == nil || g.wasWaiting(at) {
				waits[w.goroutine] = w.view()
			}
		}
		s.mu.Unlock()
		for _, t := range tasks {
			infos = append(infos, t.info(waits))
		}
	}
	for g, w := range waits {
		if w.task == nil && Default() == ins {
			infos = append(infos, TaskInfo{
				State: taskspan.Blocked, Goroutine: g, Start: w.start.time(), Name: goroutineName(&w), Wait: w.info(),
			})
		}
	}
	slices.SortFunc(infos, func(a, b TaskInfo) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.SpanID, b.SpanID), cmp.Compare(a.Goroutine, b.Goroutine))
	})
	return infos
}

func (t *Task) info(waits map[uint64]waitView) TaskInfo {
	sc := t.SpanContext()
	i := TaskInfo{
		TraceID: sc.TraceID().String(), SpanID: sc.SpanID().String(), Name: t.Name(), State: taskspan.Running,
		Sampled: sc.IsSampled(), Start: t.start.time(), Goroutine: t.goroutine.Load(), Begun: placeInfo(t.begun),
	}
	if t.parent.IsValid() {
		i.ParentID = t.parent.String()
	}
	if w, ok := waits[i.Goroutine]; ok {
		i.State, i.Wait = taskspan.Blocked, w.info()
	}
	for _, p := range t.points.Load().list() {
		info := PointInfo{Time: p.at.time(), Name: p.name}
		for _, a := range p.attributes {
			if info.Attributes == nil {
				info.Attributes = make(map[string]any, len(p.attributes))
			}
			info.Attributes[string(a.Key)] = a.Value.AsInterface()
		}
		i.Points = append(i.Points, info)
	}
	return i
}

func (w *waitView) info() *WaitInfo {
	id, name := w.on.name().identity()
	var s holderSet
	w.holders(&s)
	i := &WaitInfo{
		Kind: w.kind, ResourceID: id, Resource: name, Since: w.start.time(),
		Cancellable: w.cancellable(), Place: placeInfo(w.site.place), Callers: placeInfos(w.site.callers), Need: s.need, Complete: s.complete, Inferred: s.inferred,
	}
	if at := w.deadline(); at != 0 {
		d := at.time()
		i.Deadline = &d
	}
	for _, h := range s.list {
		info := HolderInfo{Goroutine: h.goroutine, Weight: h.weight, Place: placeInfo(h.place)}
		t := h.task
		if t == nil {
			t = taskOn(h.goroutine)
		}
		if t != nil {
			info.Task, info.SpanID, info.Goroutine = t.Name(), t.SpanContext().SpanID().String(), t.goroutine.Load()
		}
		if g := h.running(); g != 0 {
			if _, waits := glanceAt(g); !waits {
				info.left(w, g)
			}
		}
		i.Holders = append(i.Holders, info)
	}
	return i
}

// left notes what is known of a holder that will not release what w is for.
func (i *HolderInfo) left(w *waitView, goroutine uint64) {
	last, ended := w.leftBy(goroutine)
	if i.Ended = ended; last.node != (wire.Node{}) {
		i.Task, i.SpanID = last.name, trace.SpanID(last.node.Span).String()
	}
}

// WriteJSON writes the live tasks as a JSON array.
func (ins *Inspector) WriteJSON(w io.Writer) error {
	tasks := ins.Tasks()
	if tasks == nil {
		tasks = []TaskInfo{}
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(tasks)
}

// TasksHandler answers with the live tasks as JSON. They name places in the code:
// do not show them to strangers.
func (ins *Inspector) TasksHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = ins.WriteJSON(w) // the client has gone
	})
}
