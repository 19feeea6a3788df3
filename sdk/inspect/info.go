package inspect

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// What the API consists of in every build, also in one with the tag noinspect.

// ScopeName is the instrumentation scope of task and wait spans.
const ScopeName = "github.com/asyncinspect/asyncinspect/sdk/inspect"

// Version of the SDK.
const Version = "0.1.0"

// PprofLabel is the key of the label that CPU and goroutine profiles show for
// the code of a task; its value is the task's name.
const PprofLabel = "async_inspect.task"

// Sampler decides about a whole trace by the name of its first task.
// ShouldSample is called concurrently.
type Sampler interface {
	ShouldSample(taskName string) bool
}

// AdaptiveConfig bounds the adaptive sampler. A zero field takes its default.
type AdaptiveConfig struct {
	MinRate        float64 // default 0.001
	MaxRate        float64 // default 0.1
	TargetOverhead float64 // share of the process's CPU time, default 0.02
}

// TaskInfo is a live task as it is seen at one moment.
type TaskInfo struct {
	TraceID   string         `json:"trace_id,omitempty"`
	SpanID    string         `json:"span_id,omitempty"`
	ParentID  string         `json:"parent_span_id,omitempty"`
	Name      string         `json:"name"`
	State     taskspan.State `json:"state"`
	Sampled   bool           `json:"sampled"`
	Start     time.Time      `json:"start"`
	Goroutine uint64         `json:"goroutine"`
	Begun     Place          `json:"begun"` // where it was started
	Wait      *WaitInfo      `json:"wait,omitempty"`
	Points    []PointInfo    `json:"points,omitempty"`
}

// WaitInfo is what a task waits for.
type WaitInfo struct {
	Kind       taskspan.Kind `json:"kind"`
	ResourceID string        `json:"resource_id"`
	Resource   string        `json:"resource"`
	Since      time.Time     `json:"since"`
	Deadline   *time.Time    `json:"deadline,omitempty"`
	// Cancellable reports whether the wait has no deadline but a context that can be
	// cancelled: it ends if a caller gives up.
	Cancellable bool `json:"cancellable,omitempty"`
	// Place is the line of the application that waits: in the main module, wherever
	// possible, and never in a function that calls Helper. Callers are the
	// application's functions that called it, at most two, the nearest first.
	Place   Place   `json:"place"`
	Callers []Place `json:"callers,omitempty"`
	// Holders must release before the wait can end. Complete reports whether no other
	// goroutine is known to be able to end it. Inferred reports whether part of the
	// wait is a guess: that the goroutine waits at all (an open client span), or that
	// the holder is the goroutine that releases (no hold of its kind has been released
	// yet, or no end of its kind used).
	Holders  []HolderInfo `json:"holders,omitempty"`
	Need     int64        `json:"need,omitempty"` // of their weight; 0: all
	Complete bool         `json:"complete"`
	Inferred bool         `json:"inferred,omitempty"`
}

// HolderInfo is a holder of the resource that a wait is for.
type HolderInfo struct {
	Task      string `json:"task,omitempty"` // its name; empty for a goroutine without a task
	SpanID    string `json:"span_id,omitempty"`
	Goroutine uint64 `json:"goroutine,omitempty"`
	Weight    int64  `json:"weight,omitempty"`
	Place     Place  `json:"place"` // where it was taken, if that is known
	// Ended reports that the task or the goroutine has ended without releasing the
	// resource. Task is then the name of the task that took it, if that is known.
	Ended bool `json:"ended,omitempty"`
}

// PointInfo is an inspection point.
type PointInfo struct {
	Time       time.Time      `json:"time"`
	Name       string         `json:"name"`
	Attributes map[string]any `json:"attributes,omitempty"`
}

// Place is a line of code.
type Place struct {
	Function string `json:"function,omitempty"`
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
}

// A Deadlock is a set of tasks of this process that wait for each other. If it is
// certain, they can never proceed.
type Deadlock struct {
	// Confidence is certain, or suspected if part of the deadlock is inferred. An open
	// client span may be taken for a wait. Or no hold of a kind (its name or, without
	// one, the place that took it) has been released yet, so a goroutine other than its
	// taker might release it. A mutex used as a signal, or permits that a parent
	// acquires for its workers, look like a deadlock until the first release. The same
	// applies to the end of a channel, which a parent may open for its producer, and to
	// a task of a WaitGroup.
	Confidence taskspan.Confidence
	// Cycle lists tasks that each wait for the next; the last waits for the first.
	Cycle []TaskInfo
	// Size is the number of tasks in the deadlock. Victims is the number of other tasks
	// that wait for one of them, directly or through other tasks.
	Size    int
	Victims int
	// Cancellable reports whether a wait in the deadlock ends if its context is
	// cancelled. Without such a wait, the deadlock lasts until the process ends.
	Cancellable bool
}

// String describes the deadlock, one line per task.
func (d Deadlock) String() string {
	var b strings.Builder
	if d.Confidence == taskspan.Suspected {
		b.WriteString("suspected ")
	}
	fmt.Fprintf(&b, "deadlock of %d", d.Size)
	if d.Victims > 0 {
		fmt.Fprintf(&b, ", with %d more blocked behind it", d.Victims)
	}
	if d.Cancellable {
		b.WriteString("; it ends only if a caller gives up")
	}
	for i, t := range d.Cycle {
		next := d.Cycle[(i+1)%len(d.Cycle)]
		fmt.Fprintf(&b, "\n  %q (goroutine %d) waits %v for %s %q at %s, held by %q (goroutine %d)",
			t.Name, t.Goroutine, time.Since(t.Wait.Since).Round(time.Millisecond),
			t.Wait.Kind, t.Wait.Resource, t.Wait.way(), next.Name, next.Goroutine)
		for _, h := range t.Wait.Holders {
			if h.Goroutine == next.Goroutine && h.Place.Function != "" {
				fmt.Fprintf(&b, " since %s", h.Place)
			}
		}
	}
	if d.Confidence == taskspan.Suspected {
		b.WriteString("\n  It is a deadlock if only the goroutine that took a lock or permit releases it, only the one that opened the end of a channel uses it, " +
			"and only its task takes itself off a group. That has not been seen yet of all of these.")
		if slices.ContainsFunc(d.Cycle, func(t TaskInfo) bool { return strings.HasPrefix(t.Wait.ResourceID, taskspan.ResourceExternal) }) {
			b.WriteString("\n  An external lock in it may end by itself: declare what ends it, with WithTTL or UntilReleased.")
		}
	}
	return b.String()
}

// String is function (file:line).
func (p Place) String() string {
	if p.Function == "" {
		return "an unknown place"
	}
	return fmt.Sprintf("%s (%s:%d)", shortFunction(p.Function), p.File, p.Line)
}

// way is the place of the wait with its callers.
func (w *WaitInfo) way() string {
	text := w.Place.String()
	for _, p := range w.Callers {
		text += " ← " + p.String()
	}
	return text
}

// MemoryStats says how full the SDK's tables are.
type MemoryStats struct {
	TaskCount  int64 `json:"task_count"` // live tasks
	MaxTasks   int64 `json:"max_tasks"`
	EventCount int64 `json:"event_count"` // inspection points that are kept
	MaxEvents  int64 `json:"max_events"`
	// TotalBytes estimates what live tasks, their points, open waits and unsent
	// reports take: their number times the size of each, without what attributes
	// and names point to.
	TotalBytes int64 `json:"total_bytes"`
}
