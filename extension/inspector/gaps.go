package inspector

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/view"
)

// gap says what the components cannot know, and why. An answer with gaps about deadlocks
// that lists none is no all-clear.
type gap struct {
	About     string `json:"about"`
	Reason    string `json:"reason"`
	Status    string `json:"status"` // warning: something is wrong here; info: it is as configured, or nothing has come yet
	Component string `json:"component"`
	Message   string `json:"message"`
}

// What gaps are about.
const (
	aboutDeadlocks = "deadlocks"
	aboutTasks     = "tasks"
)

// Why there is a gap: a closed list.
const (
	gapNoComponent = "no_component" // no processor looks for it
	gapElsewhere   = "elsewhere"    // another collector gets the reports
	gapNoProcess   = "no_process"   // no process reports
	gapUnreported  = "unreported"   // processes are known, and their reports do not arrive at a processor
	gapIncomplete  = "incomplete"   // a part of the reports of processes does not arrive
	gapFull        = "full"         // a table is full
	gapStarting    = "starting"     // it has just started: processes may be there that have not reported to it yet
	gapUntold      = "untold"       // processes have open waits that they have not told it yet
)

// gapTopics and gapsThatWarn are the labels of the metric, which begins at 0 for each.
var (
	gapTopics    = []string{aboutDeadlocks, aboutTasks}
	gapsThatWarn = []string{gapNoComponent, gapUnreported, gapIncomplete, gapFull}
)

const (
	statusInfo = "info"
	// orderKnownAfter is for how long a component must know a process before another
	// one must know it, too.
	orderKnownAfter = 4 * heardTogether
	// startingFor is for how long after the start of a detector a process may be there
	// that it has not heard: four heartbeats.
	startingFor = 20 * time.Second
	// silentAfter, or heartbeatsMissed if they are longer apart, is after how long without
	// a report nothing is known of a process.
	silentAfter      = 20 * time.Second
	heartbeatsMissed = 4
	// processesNamed bounds the processes that a message names.
	processesNamed = 3
)

// componentCoverage is what a task_state or a detector hears.
type componentCoverage struct {
	component string
	kind      componentKind
	processes []view.Process // also those that are gone
	view.Coverage
}

// topic is what is unknown if a component of the kind hears nothing.
func (k componentKind) topic() string {
	if k == isDetector {
		return aboutDeadlocks
	}
	return aboutTasks
}

// gapsAbout are the gaps about one thing.
func gapsAbout(gaps []gap, topic string) []gap {
	about := []gap{}
	for _, g := range gaps {
		if g.About == topic {
			about = append(about, g)
		}
	}
	return about
}

// findGaps looks for what the components cannot know.
func (n *numbers) findGaps() []gap {
	gaps := n.withoutComponent()
	if g, found := n.withoutProcess(); found {
		gaps = append(gaps, g)
	}
	for i := range n.components {
		c := &n.components[i]
		gaps = append(gaps, n.unheard(c)...)
		if c.kind == isDetector {
			gaps = append(gaps, n.catchingUp(c)...)
		}
	}
	return append(gaps, n.fullTables()...)
}

// withoutComponent says for what there is no processor.
func (n *numbers) withoutComponent() []gap {
	var gaps []gap
	has := func(kind componentKind) bool {
		return slices.ContainsFunc(n.components, func(c componentCoverage) bool { return c.kind == kind })
	}
	// It is wrong if processes of the SDK are there of which more could be known.
	status := statusInfo
	if len(n.processes) > 0 || slices.ContainsFunc(n.components, func(c componentCoverage) bool { return len(c.Unreported) > 0 }) {
		status = statusWarning
	}
	elsewhere := slices.IndexFunc(n.components, func(c componentCoverage) bool { return c.Elsewhere })
	switch {
	case has(isDetector):
	case elsewhere >= 0 && len(n.processes) == 0:
		const to = "reports go to another collector (expect_reports is false); "
		component := n.components[elsewhere].component
		gaps = append(gaps,
			gap{aboutDeadlocks, gapElsewhere, statusInfo, component, to + "deadlocks are found there"},
			gap{aboutTasks, gapElsewhere, statusInfo, component, to + "tasks of the SDK are counted there"})
	default:
		gaps = append(gaps, gap{
			aboutDeadlocks, gapNoComponent, status, "",
			"no pipeline has a deadlock_detector, so nobody looks for deadlocks; put one before task_state",
		})
	}
	if !has(isTaskState) {
		gaps = append(gaps, gap{
			aboutTasks, gapNoComponent, status, "",
			"no pipeline has a task_state, so tasks are neither counted nor listed; put one after deadlock_detector",
		})
	}
	return gaps
}

// withoutProcess says whether there is no process whose deadlocks could be found. One
// that has said goodbye, or started again, is known to have none.
func (n *numbers) withoutProcess() (gap, bool) {
	lost, silent, goodbye := 0, 0, false
	for i := range n.processes {
		p := &n.processes[i]
		switch {
		case p.Status == fleet.Reporting && n.at.Sub(p.LastHeard) > max(silentAfter, heartbeatsMissed*p.Interval):
			silent++ // it is not lost yet: nobody else is heard, so the fault may be on the way
		case p.Status == fleet.Reporting:
			return gap{}, false
		case p.Status == fleet.Goodbye:
			goodbye = true
		case p.Status == fleet.Lost:
			lost++
		}
	}
	if goodbye && silent == 0 {
		return gap{}, false
	}
	g := gap{aboutDeadlocks, gapNoProcess, statusInfo, "", "no process of the SDK has reported to this collector"}
	switch {
	case silent > 0:
		g.Message = fmt.Sprintf("no process has reported of late; %d did before", silent+lost)
	case lost == 1:
		g.Message = "the only process that reported has fallen silent without a goodbye"
	case lost > 1:
		g.Message = fmt.Sprintf("all processes that reported, %d, have fallen silent without a goodbye", lost)
	}
	return g, true
}

// unheard says which processes do not reach a component, or only in part.
func (n *numbers) unheard(c *componentCoverage) []gap {
	var gaps []gap
	if unheard := n.unheardBy(c); len(unheard) > 0 {
		gaps = append(gaps, gap{c.kind.topic(), gapUnreported, statusWarning, c.component, fmt.Sprintf(
			"the reports of %s do not arrive at %s; the order must be deadlock_detector, task_state, then processors that sample or filter",
			named(unheard), c.component)})
	}
	var (
		partly []report.Process
		most   float64
	)
	_, whole := n.heardBy(c.kind)
	for i := range c.processes {
		if p := &c.processes[i]; p.Missing > 0 && !whole[p.Process] && (p.Status == fleet.Reporting || p.Status == fleet.Lost) {
			partly, most = append(partly, p.Process), max(most, p.Missing)
		}
	}
	if len(partly) > 0 {
		sortProcesses(partly)
		gaps = append(gaps, gap{c.kind.topic(), gapIncomplete, statusWarning, c.component, fmt.Sprintf(
			"%.0f %% of the reports of %s do not arrive at %s: another collector gets them, too, or a processor before it samples or drops them",
			100*most, named(partly), c.component)})
	}
	return gaps
}

// catchingUp says what a detector does not know yet after a start, or a reload of the
// configuration: heartbeats come every 5 s, and open waits are told again within 30 s.
func (n *numbers) catchingUp(c *componentCoverage) []gap {
	var gaps []gap
	if age := n.at.Sub(c.Since); !c.Since.IsZero() && age >= 0 && age < startingFor {
		gaps = append(gaps, gap{aboutDeadlocks, gapStarting, statusInfo, c.component, fmt.Sprintf(
			"%s started %.0f s ago; processes that ran before may not have reported to it yet", c.component, age.Seconds())})
	}
	var untold []report.Process
	waits := 0
	for i := range c.processes {
		if p := &c.processes[i]; p.Untold > 0 && p.Status == fleet.Reporting {
			untold, waits = append(untold, p.Process), waits+p.Untold
		}
	}
	if waits > 0 {
		sortProcesses(untold)
		gaps = append(gaps, gap{aboutDeadlocks, gapUntold, statusInfo, c.component, fmt.Sprintf(
			"%d open waits of %s are not known to %s yet; they are told again within 30 s", waits, named(untold), c.component)})
	}
	return gaps
}

// unheardBy are the processes that a component should hear and does not: their spans
// arrive there, or their reports arrive at components of the other kind only.
func (n *numbers) unheardBy(c *componentCoverage) []report.Process {
	known, whole := n.heardBy(c.kind)
	partly := make(map[report.Process]bool) // which is another gap
	for i := range c.processes {
		if c.processes[i].Missing > 0 {
			partly[c.processes[i].Process] = true
		}
	}
	unheard := slices.DeleteFunc(slices.Clone(c.Unreported), func(p report.Process) bool { return partly[p] || whole[p] })
	if !c.Elsewhere {
		for i := range n.processes {
			p := &n.processes[i]
			if p.Status == fleet.Reporting && !known[p.Process] && n.at.Sub(p.FirstHeard) >= orderKnownAfter {
				unheard = append(unheard, p.Process)
			}
		}
	}
	sortProcesses(unheard)
	return slices.Compact(unheard)
}

// heardBy returns the processes that components of a kind know, and those that report all
// to one of them: then it does no harm that another one does not hear them.
func (n *numbers) heardBy(kind componentKind) (known, whole map[report.Process]bool) {
	known, whole = make(map[report.Process]bool), make(map[report.Process]bool)
	for _, c := range n.components {
		if c.kind != kind {
			continue
		}
		for i := range c.processes {
			p := &c.processes[i]
			known[p.Process] = true
			if p.Status == fleet.Reporting && p.Missing == 0 {
				whole[p.Process] = true
			}
		}
	}
	return known, whole
}

// fullTables says where entries that find no room may hide something.
func (n *numbers) fullTables() []gap {
	var gaps []gap
	for _, c := range n.tables {
		if c.kind == isSampler {
			continue
		}
		for _, t := range c.tables {
			if c.kind == isDetector && t.Name == "deadlocks" {
				if more := t.Size - t.Limit; more > 0 {
					gaps = append(gaps, gap{
						aboutDeadlocks, gapFull, statusWarning, c.component,
						fmt.Sprintf("%d more deadlocks stand and are not listed; max_deadlocks of %s is %d", more, c.component, t.Limit),
					})
				}
				continue
			}
			if full(t) != statusFailed || slices.Contains(keepsTheLast[c.kind], t.Name) {
				continue
			}
			gaps = append(gaps, gap{
				c.kind.topic(), gapFull, statusWarning, c.component,
				fmt.Sprintf("the table %s of %s is full (%d); what finds no room is not seen", t.Name, c.component, t.Limit),
			})
		}
	}
	return gaps
}

func sortProcesses(list []report.Process) {
	slices.SortFunc(list, func(a, b report.Process) int {
		return compareProcesses(&view.Process{Process: a}, &view.Process{Process: b})
	})
}

// named writes some processes by their names.
func named(list []report.Process) string {
	var names []string
	for _, p := range list[:min(len(list), processesNamed)] {
		names = append(names, fmt.Sprintf("%s (%s)", p.Service, p.Instance))
	}
	text := strings.Join(names, ", ")
	if more := len(list) - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more processes", more)
	}
	return text
}

// twinComponents are components that get the same spans or reports.
type twinComponents struct {
	kind       componentKind
	components []string
}

// noteTwins notes a group of more than one.
func noteTwins[R any](n *numbers, kind componentKind, list []*source[R], group []int) {
	if len(group) < 2 {
		return
	}
	t := twinComponents{kind: kind}
	for _, i := range group {
		t.components = append(t.components, list[i].id)
	}
	n.twins = append(n.twins, t)
}

func (t *twinComponents) message() string {
	if t.kind == isDetector {
		return fmt.Sprintf("%s get the same reports: each deadlock is logged and sent by all of them, and counted once here; keep one", strings.Join(t.components, " and "))
	}
	return fmt.Sprintf("%s get the same spans; they are counted once here. One pipeline with several exporters costs less", strings.Join(t.components, " and "))
}

// coverage are the checks of /readyz about gaps and twins.
func (n *numbers) coverage() []healthCheck {
	var checks []healthCheck
	for _, g := range n.gaps {
		if g.Status == statusWarning && g.Reason != gapFull { // which has checks of its own
			checks = append(checks, healthCheck{Name: "coverage", Component: g.Component, Status: statusWarning, Message: g.Message})
		}
	}
	for _, t := range n.twins {
		checks = append(checks, healthCheck{Name: "pipelines", Component: t.components[0], Status: statusWarning, Message: t.message()})
	}
	return checks
}

// sayCoverage logs once what is wrong with the configuration and no processor can see:
// one that is missing, and two that get the same.
func (x *inspector) sayCoverage(n *numbers) {
	faults := make(map[string]bool)
	for _, g := range n.gaps {
		if g.Status == statusWarning && g.Reason == gapNoComponent {
			faults[g.Message] = true
		}
	}
	for _, t := range n.twins {
		faults[t.message()] = true
	}
	for _, fault := range slices.Sorted(maps.Keys(faults)) {
		if !x.coverage[fault] {
			x.logger.Warn("The pipelines are not as they should be", zap.String("reason", fault))
		}
	}
	x.coverage = faults
}
