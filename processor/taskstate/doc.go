//go:generate go tool -modfile=../../internal/tools/go.mod mdatagen metadata.yaml

// Package taskstate is the task_state processor: it knows the state of every task.
//
// In: traces; task spans and report spans of the async-inspect protocol, and the
// spans of plain OTLP applications. Out: the same traces, with
// async_inspect.task.state on every task span and without report spans (unless
// forward_reports says otherwise), and a closing span for each task that was lost
// with its process.
//
// It keeps live tasks and processes (internal/fleet), the most interesting ended
// tasks ([endedTasks]), events of both and statistics ([statistics]), each within
// a configured limit and with a counter for what found no room. It shows them to
// the inspector (internal/view), as metrics of its own, and as a picture in the log.
//
// The way of an ordinary span is short: a look at its kind, parent and attributes,
// no lock, no allocation. Task spans are gathered per resource and applied under
// one lock each of statistics and ended tasks. Reports are rare; only they, and
// spans of tasks of reporting processes, take the lock of the fleet.
//
// On failure: a span that cannot be used is dropped and counted by reason if it is
// a report, and passed on unchanged if not. Errors of the next component are
// returned to the caller; what this processor has counted stays counted. Closing spans
// that it refuses are sent again ([lifecycle.Outlet]).
//
// # What is counted
//
// A process that sends heartbeats is counted from its heartbeats only: they carry
// totals since its start, by task name, whatever is sampled. Its spans are
// recognised by the resource attribute async_inspect.process.epoch or by any
// async_inspect.task.state on the span, and are never counted, not even by an
// instance of this processor that does not get its heartbeats. All heartbeats of
// one start of a process have the same trace id, so a load balancer that goes by
// trace id keeps them on one instance, and sums over instances are right. Where they
// carry durations, which resource or scope of the spans say by
// async_inspect.process.durations, those are not taken from spans either; sampled
// spans are the exemplars, and the sample that counts are spread like in native
// histograms. Spans of plain applications are counted by their adjusted count (tracestate ot=th).
//
// With a storage, totals and what has been counted of each process outlive a restart:
// they are written each second, and only what has been written is shown (keeper).
// Without one, a collector that restarts does not count again what was counted before: the first
// heartbeat of a process that has been counted is what later ones are compared with
// (internal/fleet).
// The totals of a process that ended stay in those of its service and task names, so
// nothing grows with uptime; what it had told is remembered for as long as there is room
// (max_processes), so that it is not counted twice if it comes back.
package taskstate
