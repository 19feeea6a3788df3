package inspect

import (
	"strconv"
	"sync/atomic"
)

// dropReason says why something was not recorded. The list is closed: every
// place that drops anything counts it under one of these, and heartbeats tell
// the collector.
type dropReason int

const (
	dropMaxTasks       dropReason = iota // more live tasks than max_tasks: counted, but not listed
	dropMaxEvents                        // more inspection points than max_events: counted, but not kept
	dropTaskEvents                       // more inspection points of one task than max_task_events: the oldest is not kept
	dropUnlistedEvents                   // an inspection point of a task above max_tasks: counted, but not kept
	dropSpanEvents                       // more events of a task's span than OTEL_SPAN_EVENT_COUNT_LIMIT: the span says how many
	dropReportQueue                      // the report queue was full
	dropStuckWaits                       // more stuck waits than are reported
	dropLongTasks                        // more long tasks than are reported
	dropSpanExport                       // the span exporter failed or its queue was full
	dropSpanTable                        // more open spans than are followed
	dropLockOrders                       // more orders of locks than are known, or more locks held at a time
	dropHoldKinds                        // more kinds of holds than are known to be released by who took them, or not to be
	dropExternalHolds                    // more external locks held than are known
	dropLooks                            // goroutines were not looked at, since that would have cost too much
	dropReaders                          // more read locks held than are known
	dropReasons
)

func (r dropReason) String() string {
	return [...]string{
		"max_tasks", "max_events", "max_task_events", "unlisted_events", "span_events", "report_queue_full", "stuck_waits", "long_tasks",
		"span_export", "open_spans", "lock_orders", "hold_kinds", "external_holds", "goroutine_looks", "readers",
	}[r]
}

// droppedHold counts an external lock that is held and not known as such.
func droppedHold() { countDropped(dropExternalHolds) }

// countDropped counts what a table of the process had no room for.
func countDropped(r dropReason) {
	if ins := Default(); ins != nil {
		ins.drops.add(r, 1)
	}
}

type dropCounters [dropReasons]atomic.Int64

func (d *dropCounters) add(r dropReason, n int64) { d[r].Add(n) }

// list returns "reason=count" for each reason that occurred.
func (d *dropCounters) list() []string {
	var l []string
	for r := range dropReasons {
		if n := d[r].Load(); n > 0 {
			l = append(l, r.String()+"="+strconv.FormatInt(n, 10))
		}
	}
	return l
}

// countLockOrder counts an order of locks, or a lock that is held, for which there was no
// room.
func countLockOrder() { countDropped(dropLockOrders) }

// countHoldKind counts a kind of holds for which there was no room.
func countHoldKind() { countDropped(dropHoldKinds) }
