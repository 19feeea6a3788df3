package inspector

import (
	"slices"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/deadlock"
	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

type countsAnswer struct {
	Running        int64   `json:"running"`
	Blocked        int64   `json:"blocked"`
	Deadlocked     int64   `json:"deadlocked"`
	Suspected      int64   `json:"suspected"` // of those that are blocked
	StartedTotal   float64 `json:"started_total"`
	CompletedTotal float64 `json:"completed_total"`
	FailedTotal    float64 `json:"failed_total"`
	CancelledTotal float64 `json:"cancelled_total"`
	LostTotal      float64 `json:"lost_total"`
	EventsTotal    float64 `json:"events_total"`
}

// counts sums the tasks of the fleet.
func (n *numbers) counts() countsAnswer {
	var c countsAnswer
	for i := range n.tasks {
		t := &n.tasks[i]
		c.StartedTotal += t.Started
		c.CompletedTotal += t.Ended[taskspan.Completed]
		c.FailedTotal += t.Ended[taskspan.Failed]
		c.CancelledTotal += t.Ended[taskspan.Cancelled]
		c.LostTotal += t.Ended[taskspan.Lost]
	}
	for _, s := range n.services {
		c.EventsTotal += float64(s.Events)
	}
	var live fleet.Live
	for _, l := range n.live() {
		live.Add(l)
	}
	c.Running, c.Blocked, c.Deadlocked = live.Running, live.Blocked, live.Deadlocked
	for _, in := range n.inDeadlock() {
		c.Suspected += in[taskspan.Suspected]
	}
	return c
}

type processCounts struct {
	Reporting int `json:"reporting"`
	Lost      int `json:"lost"`
	Replaced  int `json:"replaced"`
	Goodbye   int `json:"goodbye"`
}

type deadlockCounts struct {
	Standing      int   `json:"standing"`
	Suspected     int   `json:"suspected"` // of those that stand
	FoundTotal    int64 `json:"found_total"`
	ResolvedTotal int64 `json:"resolved_total"`
	Tasks         int   `json:"tasks"`
	Victims       int   `json:"victims"`
}

func (n *numbers) deadlocks() deadlockCounts {
	c := deadlockCounts{Standing: len(n.standing), Victims: len(n.victims)}
	for _, totals := range n.totals {
		for _, f := range totals.Found {
			c.FoundTotal += f.Count
		}
		for _, k := range totals.Resolved {
			c.ResolvedTotal += k
		}
	}
	for _, dl := range n.standing {
		if dl.Confidence == deadlock.Suspected {
			c.Suspected++
		}
		c.Tasks += len(dl.Members())
	}
	return c
}

type samplerBudget struct {
	Processor string `json:"processor"`
	budgetAnswer
}

// coverageAnswer says which processes of the SDK a component hears.
type coverageAnswer struct {
	Component         string `json:"component"`
	Kind              string `json:"kind"`
	ReportsTotal      int64  `json:"reports_total"`
	Reporting         int    `json:"processes_reporting"`
	WithoutReports    int    `json:"processes_without_reports"`
	WithPartOfReports int    `json:"processes_with_part_of_reports"`
	ReportsElsewhere  bool   `json:"reports_elsewhere"`
}

func (n *numbers) coverageAnswers() []coverageAnswer {
	all := make([]coverageAnswer, 0, len(n.components))
	for i := range n.components {
		c := &n.components[i]
		a := coverageAnswer{
			Component: c.component, Kind: c.kind.String(), ReportsTotal: c.Reports, WithoutReports: len(n.unheardBy(c)), ReportsElsewhere: c.Elsewhere,
		}
		for j := range c.processes {
			p := &c.processes[j]
			if p.Status == fleet.Reporting {
				a.Reporting++
			}
			if p.Missing > 0 && (p.Status == fleet.Reporting || p.Status == fleet.Lost) {
				a.WithPartOfReports++
			}
		}
		all = append(all, a)
	}
	return all
}

type overviewAnswer struct {
	AsOf                   instant          `json:"as_of"`
	StartedAt              instant          `json:"started_at"`
	Ready                  bool             `json:"ready"`
	Tasks                  countsAnswer     `json:"tasks"`
	Processes              processCounts    `json:"processes"`
	Deadlocks              deadlockCounts   `json:"deadlocks"`
	Inversions             int              `json:"inversions"`
	Rates                  rates            `json:"rates"`
	Budgets                []samplerBudget  `json:"budgets"`
	StuckLongest           []taskAnswer     `json:"stuck_longest"`
	Components             []coverageAnswer `json:"components"`
	Gaps                   []gap            `json:"gaps"`
	Warnings               []healthCheck    `json:"warnings"`
	HistoryIntervalSeconds float64          `json:"history_interval_seconds"`
	History                []historyPoint   `json:"history"`
}

// maxStuckShown bounds the tasks of the overview.
const maxStuckShown = 5

// overview tells everything in numbers, without the history.
func (x *inspector) overview() overviewAnswer {
	n := x.numbers.get()
	health := x.readiness(n)
	status := n.statuses()
	a := overviewAnswer{
		AsOf: instant(n.at), StartedAt: instant(x.startedAt), Ready: health.Status != statusFailed, Tasks: n.counts(),
		Processes: processCounts{
			Reporting: status[fleet.Reporting], Lost: status[fleet.Lost], Replaced: status[fleet.Replaced], Goodbye: status[fleet.Goodbye],
		},
		Deadlocks: n.deadlocks(), Inversions: n.inversions, Rates: x.history.rates(), Budgets: []samplerBudget{}, StuckLongest: []taskAnswer{},
		Components: n.coverageAnswers(), Gaps: append([]gap{}, n.gaps...),
		Warnings:               slices.DeleteFunc(health.Checks, func(c healthCheck) bool { return c.Status == statusOK }),
		HistoryIntervalSeconds: x.cfg.History.Interval.Seconds(), History: []historyPoint{},
	}
	for _, s := range n.samplers {
		for _, b := range budgetsOf(&s.Sampling) {
			a.Budgets = append(a.Budgets, samplerBudget{s.id, b})
		}
	}
	return a
}

func (x *inspector) getOverview(q *query) (any, error) {
	if err := q.done(); err != nil {
		return nil, err
	}
	a := x.overview()
	a.History = x.history.points()
	a.StuckLongest = x.stuckLongest()
	return a, nil
}

// stuckLongest are the tasks that have been stuck for longest.
func (x *inspector) stuckLongest() []taskAnswer {
	p := x.picture.get()
	stuck := []taskAnswer{}
	key := p.taskKey("stuck")
	type keyed struct {
		key rowKey
		i   int
	}
	var order []keyed
	for i := range p.tasks {
		if t := &p.tasks[i]; t.Live() && len(t.Waits) > 0 {
			order = append(order, keyed{key(t, p.at), i})
		}
	}
	slices.SortFunc(order, func(a, b keyed) int { return a.key.compare(b.key, false) })
	for _, k := range order[:min(len(order), maxStuckShown)] {
		stuck = append(stuck, x.taskAnswer(p, &p.tasks[k.i], p.at, false))
	}
	return stuck
}

type rates struct {
	Started  float64 `json:"started_per_second"`
	Ended    float64 `json:"ended_per_second"`
	Failed   float64 `json:"failed_per_second"`
	Events   float64 `json:"events_per_second"`
	Received float64 `json:"received_spans_per_second"`
	Kept     float64 `json:"kept_spans_per_second"`
}

type historyPoint struct {
	At         instant `json:"at"`
	Running    int64   `json:"running"`
	Blocked    int64   `json:"blocked"`
	Deadlocked int64   `json:"deadlocked"`
	Deadlocks  int     `json:"deadlocks"`
	Processes  int     `json:"processes"`
	Rates      rates   `json:"rates"`
}

// sample is what a point of the history is made of: totals, of which the next one
// makes rates.
type sample struct {
	at                             time.Time
	started, ended, failed, events float64
	received, kept                 float64
	running, blocked, deadlocked   int64
	deadlocks, processesReporting  int
}

func (n *numbers) sample() sample {
	c := n.counts()
	s := sample{
		at: n.at, started: c.StartedTotal, ended: c.CompletedTotal + c.FailedTotal + c.CancelledTotal + c.LostTotal,
		failed: c.FailedTotal + c.LostTotal, events: c.EventsTotal, running: c.Running, blocked: c.Blocked, deadlocked: c.Deadlocked,
		deadlocks: len(n.standing), processesReporting: n.statuses()[fleet.Reporting],
	}
	for _, sampler := range n.samplers {
		s.received += float64(sampler.ReceivedSpans)
		s.kept += float64(sampler.LateKept)
		for _, o := range sampler.Outcomes {
			if o.Name == "kept" {
				s.kept += float64(o.Spans)
			}
		}
	}
	return s
}

// since are the rates between two samples. Totals may fall when a component leaves.
func (s *sample) since(o *sample) rates {
	took := s.at.Sub(o.at).Seconds()
	if took <= 0 {
		return rates{}
	}
	per := func(now, before float64) float64 { return max(0, now-before) / took }
	return rates{
		Started: per(s.started, o.started), Ended: per(s.ended, o.ended), Failed: per(s.failed, o.failed), Events: per(s.events, o.events),
		Received: per(s.received, o.received), Kept: per(s.kept, o.kept),
	}
}
