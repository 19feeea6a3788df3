package inspector

import (
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/asyncinspect/asyncinspect/internal/deadlock"
	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/view"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// maxScrapes bounds the concurrent scrapes, for Prometheus and other clients each.
const maxScrapes = 4

// The metrics that users build on, and what they say.
var (
	tasksTotal = family("async_inspect_tasks_total", counter,
		"Tasks started. Exact for processes that send heartbeats, adjusted by the sampling threshold for others.", "service", "task")
	tasksEnded = family("async_inspect_tasks_ended_total", counter,
		"Tasks ended, by the state in which they did.", "service", "task", "state")
	tasksByState = family("async_inspect_tasks_by_state", gauge,
		"Live tasks by state: running, blocked or deadlocked.", "service", "state")
	taskDuration = family("async_inspect_task_duration_seconds", histogramType,
		"How long tasks took, from their spans, each counted for those that its sampling threshold stands for.", "service", "task")
	eventsTotal = family("async_inspect_events_total", counter,
		"Inspection points that tasks have passed. Changes of state are none.", "service")
	deadlocksFound = family("async_inspect_deadlocks_found_total", counter,
		"Deadlocks found. One that is found again after a restart is not counted again.", "kind", "confidence")
	// It has the name that guides use. OpenMetrics has no counter without _total, so it is
	// untyped; its type does not matter to a query.
	deadlocksDetected = family("async_inspect_deadlocks_detected", untyped,
		"The same as async_inspect_deadlocks_found_total, under another name.", "kind", "confidence")
	deadlocksResolved = family("async_inspect_deadlocks_resolved_total", counter,
		"Deadlocks that are over, by how they ended.", "how")
	deadlocksActive = family("async_inspect_deadlocks_active", gauge,
		"Deadlocks that stand now.", "confidence")
	deadlockTasks = family("async_inspect_deadlock_tasks", gauge,
		"Tasks in deadlocks that stand, and tasks stuck behind them.", "role")
	tasksInDeadlock = family("async_inspect_tasks_in_deadlock", gauge,
		"Live tasks in standing deadlocks, by confidence. Those of certain ones are deadlocked, the others blocked.", "service", "confidence")
	inversionsKnown = family("async_inspect_lock_order_inversions", gauge,
		"Potential deadlocks that are remembered: orders of locks that contradict each other.")
	blockedSeconds = family("async_inspect_task_blocked_seconds", histogramType,
		"How long reported waits took that have ended. Exact; only waits that lasted long enough to be reported, usually 1 s.", "service", "kind", "resource")
	waitSeconds = family("async_inspect_task_wait_seconds", histogramType,
		"How long waits took, from the wait spans of sampled tasks, each counted for those that it stands for.", "service", "kind", "resource")
	waitsOpen = family("async_inspect_waits_open", gauge,
		"Reported waits that are open now.", "service", "kind", "resource")
	waitLongest = family("async_inspect_wait_longest_seconds", gauge,
		"How long the longest of the reported waits that are open now has lasted.", "service", "kind", "resource")
	processesNow = family("async_inspect_processes", gauge,
		"Processes of the fleet by status; of those that are gone the newest are remembered.", "status")
	processesLost = family("async_inspect_processes_lost_total", counter,
		"Processes that fell silent without a goodbye, since the start of the collector, also those that came back.", "service")
	gapsKnown = family("async_inspect_gaps", gauge,
		"Faults for which not all deadlocks or tasks can be known: a missing processor, reports that do not arrive, a full table.", "about", "reason")
	reportsDropped = family("async_inspect_reports_dropped_total", counter,
		"Reports that a component could not use, by reason.", "component", "reason")
	sdkDropped = family("async_inspect_sdk_dropped_total", counter,
		"What the SDK dropped before sending, by reason.", "service", "reason")
	sdkOverhead = family("async_inspect_sdk_overhead_ratio", ratio,
		"CPU time of the SDK by that of its process, over the last heartbeat: the highest of the reporting processes of a service.", "service")
	sdkRate = family("async_inspect_sdk_sampling_ratio", ratio,
		"Sampling rate of the SDK: the lowest of the reporting processes of a service.", "service")
	tableSize = family("async_inspect_table_size", gauge,
		"Entries in each bounded table.", "component", "table")
	tableLimit = family("async_inspect_table_limit", gauge,
		"Most entries in each bounded table.", "component", "table")
	samplingRate = family("async_inspect_sampling_ratio", ratio,
		"Rate at which traces of a key are kept, in the last decision interval.", "processor", "key")
	samplingBudget = family("async_inspect_sampling_budget_per_second", gauge,
		"What a sampler may let through each second, in spans, bytes or traces.", "processor", "kind")
	samplingSpent = family("async_inspect_sampling_spent_per_second", gauge,
		"What it has let through each second of the last minute.", "processor", "kind")
	samplingInfeasible = family("async_inspect_sampling_budget_infeasible", ratio,
		"1 if the lowest rates alone take more than the budget.", "processor")
	samplingTraces = family("async_inspect_sampling_traces_total", counter,
		"Traces by what became of them.", "processor", "outcome")
	samplingSpans = family("async_inspect_sampling_spans_total", counter,
		"Spans by what became of their traces.", "processor", "outcome")
	samplingReceived = family("async_inspect_sampling_received_spans_total", counter,
		"Spans that a sampler received.", "processor")
	samplingPassed = family("async_inspect_sampling_passed_spans_total", counter,
		"Spans that are never sampled: reports, and what detectors add.", "processor")
	samplingRefused = family("async_inspect_sampling_refused_spans_total", counter,
		"Spans that were kept and lost, because the next component refused them.", "processor")
	samplingLate = family("async_inspect_sampling_late_spans_total", counter,
		"Spans that came after the decision about their trace.", "processor", "decision")
	samplingOverhead = family("async_inspect_sampling_overhead_ratio", ratio,
		"Share of all cores that a sampler uses.", "processor")
	samplingEviction = family("async_inspect_sampling_eviction_ratio", ratio,
		"Share of new traces that is refused because memory is short.", "processor")
	samplingShedding = family("async_inspect_sampling_shedding_ratio", ratio,
		"Share of new traces that is refused because the sampler uses more CPU than it may.", "processor")
	heapBytes = family("async_inspect_heap_bytes", gauge, "Heap of the collector.")
	buildInfo = family("async_inspect_build_info", ratio, "Always 1.", "version")
)

// userMetrics writes what the components say for a scraper.
type userMetrics struct {
	numbers  func() *numbers
	version  string
	admitted admission
	logger   *zap.Logger
}

func newMetrics(version string, maxSeries int, read func() *numbers, logger *zap.Logger) *userMetrics {
	return &userMetrics{numbers: read, version: version, admitted: newAdmission(maxSeries), logger: logger}
}

// handler answers in the text format, in OpenMetrics or as protobuf. Those who ask for
// one of the latter two are taken for a Prometheus.
func (m *userMetrics) handler() http.Handler {
	of := func(scraped bool) http.Handler {
		registry := prometheus.NewRegistry()
		registry.MustRegister(scrape{m, scraped})
		return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
			EnableOpenMetrics: true, MaxRequestsInFlight: maxScrapes, ErrorLog: zap.NewStdLog(m.logger), ErrorHandling: promhttp.HTTPErrorOnError,
		})
	}
	others, scrapers := of(false), of(true)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		accept := r.Header.Get("Accept")
		if strings.Contains(accept, "application/openmetrics-text") || strings.Contains(accept, "application/vnd.google.protobuf") {
			scrapers.ServeHTTP(w, r)
			return
		}
		others.ServeHTTP(w, r)
	})
}

// scrape writes the metrics, for a Prometheus or for others.
type scrape struct {
	*userMetrics
	scraped bool
}

// Describe says nothing: an overflow series has other labels than the rest.
func (scrape) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m scrape) Collect(out chan<- prometheus.Metric) {
	n := m.numbers()
	w := newWriter(&m.admitted, m.scraped, n.restored)
	w.tasks(n)
	w.waits(n)
	w.deadlocks(n)
	w.processes(n)
	w.samplers(n)
	w.tables(n)
	w.value(buildInfo, 1, m.version)
	w.value(heapBytes, float64(readCollectorMemory().HeapBytes))
	w.send(out)
}

func (w *writer) tasks(n *numbers) {
	for i := range n.tasks {
		t := &n.tasks[i]
		w.value(tasksTotal, t.Started, t.Service, t.Name)
		for _, state := range taskStates {
			if state.Ended() {
				w.value(tasksEnded, t.Ended[state], t.Service, t.Name, string(state))
			}
		}
		w.histogram(taskDuration, &t.Durations, t.Service, t.Name)
	}
	for service, l := range n.live() {
		w.value(tasksByState, float64(l.Running), service, string(taskspan.Running))
		w.value(tasksByState, float64(l.Blocked), service, string(taskspan.Blocked))
		w.value(tasksByState, float64(l.Deadlocked), service, string(taskspan.Deadlocked))
	}
	for service, in := range n.inDeadlock() {
		for _, confidence := range deadlock.Confidences {
			w.value(tasksInDeadlock, float64(in[confidence]), service, string(confidence))
		}
	}
	for _, s := range n.services {
		w.value(eventsTotal, float64(s.Events), s.Service)
		w.value(processesLost, float64(s.ProcessesLost), s.Service)
		for reason, k := range s.Dropped {
			w.value(sdkDropped, float64(k), s.Service, reason)
		}
	}
}

func (w *writer) waits(n *numbers) {
	for i := range n.waits {
		s := &n.waits[i]
		w.value(waitsOpen, float64(s.Open), s.Service, string(s.Kind), s.Resource)
		w.value(waitLongest, seconds(s.Longest), s.Service, string(s.Kind), s.Resource)
		if s.Stuck.Count > 0 || s.Open > 0 { // so that it begins at 0
			w.histogram(blockedSeconds, &s.Stuck, s.Service, string(s.Kind), s.Resource)
		}
		if s.Sampled.Count > 0 {
			w.histogram(waitSeconds, &s.Sampled, s.Service, string(s.Kind), s.Resource)
		}
	}
}

func (w *writer) deadlocks(n *numbers) {
	found := make(map[[2]string]float64)
	resolved := make(map[deadlock.Ending]float64)
	active := make(map[string]float64)
	// They are there before the first one, also where no detector is.
	for _, f := range noDetector.Found {
		found[[2]string{string(f.Kind), string(f.Confidence)}] = 0
		active[string(f.Confidence)] = 0
	}
	for how := range noDetector.Resolved {
		resolved[how] = 0
	}
	for _, totals := range n.totals {
		for _, f := range totals.Found {
			found[[2]string{string(f.Kind), string(f.Confidence)}] += float64(f.Count)
		}
		for how, k := range totals.Resolved {
			resolved[how] += float64(k)
		}
	}
	counts := n.deadlocks()
	for _, dl := range n.standing {
		active[string(dl.Confidence)]++
	}
	for of, k := range found {
		w.value(deadlocksFound, k, of[0], of[1])
		w.value(deadlocksDetected, k, of[0], of[1])
	}
	for how, k := range resolved {
		w.value(deadlocksResolved, k, string(how))
	}
	for confidence, k := range active {
		w.value(deadlocksActive, k, confidence)
	}
	w.value(deadlockTasks, float64(counts.Tasks), "core")
	w.value(deadlockTasks, float64(counts.Victims), "victim")
	w.value(inversionsKnown, float64(n.inversions))
}

func (w *writer) processes(n *numbers) {
	for status, k := range n.statuses() {
		w.value(processesNow, float64(k), fleet.Status(status).String())
	}
	overhead, rate := make(map[string]float64), make(map[string]float64)
	for i := range n.processes {
		p := &n.processes[i]
		if p.Status != fleet.Reporting {
			continue
		}
		overhead[p.Service] = max(overhead[p.Service], finite(p.Overhead))
		if before, known := rate[p.Service]; !known || p.Rate < before {
			rate[p.Service] = finite(p.Rate)
		}
	}
	for service, v := range overhead {
		w.value(sdkOverhead, v, service)
	}
	for service, v := range rate {
		w.value(sdkRate, v, service)
	}
	known := make(map[[2]string]float64)
	for _, about := range gapTopics {
		for _, reason := range gapsThatWarn {
			known[[2]string{about, reason}] = 0
		}
	}
	for _, g := range n.gaps {
		if g.Status == statusWarning {
			known[[2]string{g.About, g.Reason}]++
		}
	}
	for of, k := range known {
		w.value(gapsKnown, k, of[0], of[1])
	}
	for _, c := range n.dropped {
		for reason, k := range c.dropped {
			w.value(reportsDropped, float64(k), c.component, reason.String())
		}
	}
}

func (w *writer) samplers(n *numbers) {
	for i := range n.samplers {
		s := &n.samplers[i]
		for _, k := range s.Keys {
			w.value(samplingRate, k.Rate, s.id, k.Key)
		}
		for _, b := range s.Budgets {
			w.value(samplingBudget, b.Asked, s.id, b.Kind)
			w.value(samplingSpent, b.Spent, s.id, b.Kind)
		}
		for _, o := range s.Outcomes {
			w.value(samplingTraces, float64(o.Traces), s.id, o.Name)
			w.value(samplingSpans, float64(o.Spans), s.id, o.Name)
		}
		infeasible := 0.0
		if s.Infeasible {
			infeasible = 1
		}
		w.value(samplingInfeasible, infeasible, s.id)
		w.value(samplingReceived, float64(s.ReceivedSpans), s.id)
		w.value(samplingPassed, float64(s.PassedSpans), s.id)
		w.value(samplingRefused, float64(s.RefusedSpans), s.id)
		w.value(samplingLate, float64(s.LateKept), s.id, "kept")
		w.value(samplingLate, float64(s.LateDropped), s.id, "dropped")
		w.value(samplingOverhead, s.Overhead, s.id)
		w.value(samplingEviction, s.EvictionRate, s.id)
		w.value(samplingShedding, s.SheddingRate, s.id)
	}
}

func (w *writer) tables(n *numbers) {
	for _, c := range n.tables {
		for _, t := range c.tables {
			w.value(tableSize, float64(t.Size), c.component, t.Name)
			if t.Limit > 0 {
				w.value(tableLimit, float64(t.Limit), c.component, t.Name)
			}
		}
	}
}

// noDetector are the totals of a detector that has found nothing.
var noDetector = func() view.DetectorTotals {
	t := view.DetectorTotals{Resolved: make(map[deadlock.Ending]int64)}
	for _, kind := range deadlock.Kinds {
		for _, confidence := range deadlock.Confidences {
			t.Found = append(t.Found, view.FoundTotal{Kind: kind, Confidence: confidence})
		}
	}
	for _, how := range deadlock.Endings {
		t.Resolved[how] = 0
	}
	return t
}()

func (m *userMetrics) series() int { return m.admitted.size() }

func (m *userMetrics) limit() int { return m.admitted.limit * len(families) }
