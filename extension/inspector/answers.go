package inspector

import (
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// What answers are made of; openapi.yaml says what each field means.

// instant is a time as the API writes it: UTC, null if it is not known.
type instant time.Time

func (t instant) MarshalJSON() ([]byte, error) {
	if time.Time(t).IsZero() {
		return []byte("null"), nil
	}
	return json.Marshal(time.Time(t).UTC())
}

func (t instant) String() string {
	if time.Time(t).IsZero() {
		return ""
	}
	return time.Time(t).UTC().Format(time.RFC3339Nano)
}

// seconds is a duration that cannot be negative: clocks may differ by more than we know.
func seconds(d time.Duration) float64 { return max(0, d.Seconds()) }

type placeAnswer struct {
	Function string `json:"function"`
	File     string `json:"file"`
	Line     int    `json:"line"`
	Stack    string `json:"stack,omitempty"`
}

func placeOf(p report.Place, stack bool) *placeAnswer {
	if p.IsZero() {
		return nil
	}
	a := &placeAnswer{Function: p.Function, File: p.File, Line: max(0, p.Line)}
	if stack {
		a.Stack = p.Stack
	}
	return a
}

func placesOf(places []report.Place) []placeAnswer {
	answers := make([]placeAnswer, 0, len(places))
	for _, p := range places {
		if a := placeOf(p, false); a != nil {
			answers = append(answers, *a)
		}
	}
	return answers
}

type taskRef struct {
	TraceID string `json:"trace_id"`
	SpanID  string `json:"span_id"`
	Known   bool   `json:"known"`
	Service string `json:"service"`
	Name    string `json:"name"`
	State   string `json:"state"`
}

func (p *picture) ref(id report.TaskID) taskRef {
	r := taskRef{TraceID: hex.EncodeToString(id.Trace[:]), SpanID: hex.EncodeToString(id.Span[:]), State: "unknown"}
	if service, name, state, ok := p.task(id); ok {
		r.Known, r.Service, r.Name, r.State = true, service, name, string(state)
	}
	return r
}

// refNamed is ref for a holder of what w is for, which is called by its name if its
// process has told that.
func (p *picture) refNamed(id report.TaskID, w *fleet.Wait, name string) taskRef {
	r := p.ref(id)
	if !r.Known {
		r.Service, r.Name = w.Process.Service, name
	}
	return r
}

// holderIn is what a wait says of one of its holders, or nil.
func holderIn(w *fleet.Wait, id report.TaskID) *report.Holder {
	for i := range w.Holders {
		if w.Holders[i].Task == id {
			return &w.Holders[i]
		}
	}
	return nil
}

// refOf names a task of a deadlock, which may be gone by now.
func (p *picture) refOf(t *fleet.Task) taskRef {
	r := p.ref(t.ID)
	if !r.Known {
		r.Service, r.Name, r.Known = t.Process.Service, t.Name, true
	}
	return r
}

type waitSummary struct {
	Kind          taskspan.Kind `json:"kind"`
	ResourceName  string        `json:"resource_name"`
	Since         instant       `json:"since"`
	WaitedSeconds float64       `json:"waited_seconds"`
	Holders       int           `json:"holders"`
	Holder        *taskRef      `json:"holder"`
}

func (p *picture) summarize(task report.TaskID, w *fleet.Wait, ahead time.Duration) *waitSummary {
	since := w.Since.Add(-ahead)
	s := &waitSummary{Kind: w.Kind, ResourceName: w.ResourceName, Since: instant(since), WaitedSeconds: seconds(p.at.Sub(since))}
	edges := p.holders[waitID{task, w.ID}]
	s.Holders = len(edges)
	if len(edges) > 0 {
		holder, name := p.edges[edges[0]].holder, ""
		if h := holderIn(w, holder); h != nil {
			name = h.TaskName
		}
		ref := p.refNamed(holder, w, name)
		s.Holder = &ref
	}
	return s
}

// longest returns the wait that has been open for longest.
func longest(waits []*fleet.Wait) *fleet.Wait {
	var first *fleet.Wait
	for _, w := range waits {
		if first == nil || w.Since.Before(first.Since) {
			first = w
		}
	}
	return first
}

type waitAnswer struct {
	ID            int64          `json:"id"`
	Revision      int64          `json:"revision"`
	Kind          taskspan.Kind  `json:"kind"`
	ResourceID    string         `json:"resource_id"`
	ResourceName  string         `json:"resource_name"`
	Since         instant        `json:"since"`
	WaitedSeconds float64        `json:"waited_seconds"`
	ConfirmedAt   instant        `json:"confirmed_at"`
	Deadline      instant        `json:"deadline"`
	Cancellable   bool           `json:"cancellable"`
	Need          int64          `json:"need"`
	Complete      bool           `json:"complete"`
	Inferred      bool           `json:"inferred"`
	Place         *placeAnswer   `json:"place"`
	Callers       []placeAnswer  `json:"callers"`
	Holders       []holderAnswer `json:"holders"`
}

type holderAnswer struct {
	Task       taskRef      `json:"task"`
	Since      instant      `json:"since"`
	Generation int64        `json:"generation"`
	Weight     int64        `json:"weight"`
	Place      *placeAnswer `json:"place"`
	Ended      bool         `json:"ended"` // without releasing it
}

// wait tells all of a wait, as of a time: now, or the end of the deadlock that it was part of.
func (p *picture) wait(w *fleet.Wait, ahead time.Duration, asOf time.Time) waitAnswer {
	own := func(t time.Time) instant { // in our clock
		if t.IsZero() {
			return instant{}
		}
		return instant(t.Add(-ahead))
	}
	a := waitAnswer{
		ID: w.ID, Revision: w.Revision, Kind: w.Kind, ResourceID: w.ResourceID, ResourceName: w.ResourceName,
		Since: own(w.Since), WaitedSeconds: seconds(asOf.Sub(w.Since.Add(-ahead))), ConfirmedAt: own(w.Confirmed()), Deadline: own(w.Deadline), Cancellable: w.Cancellable,
		Need: w.Need, Complete: w.Complete, Inferred: w.Inferred, Place: placeOf(w.Place, true), Callers: placesOf(w.Callers), Holders: []holderAnswer{},
	}
	for i := range w.Holders {
		h := &w.Holders[i]
		a.Holders = append(a.Holders, holderAnswer{
			Task: p.refNamed(h.Task, w, h.TaskName), Since: own(h.Since), Generation: h.Generation, Weight: h.Weight, Place: placeOf(h.Place, true),
			Ended: h.Ended,
		})
	}
	if len(w.Holders) == 0 { // those who hold it say so themselves
		for _, i := range p.holders[waitID{w.Task, w.ID}] {
			a.Holders = append(a.Holders, holderAnswer{Task: p.ref(p.edges[i].holder), Weight: 1})
		}
	}
	return a
}
