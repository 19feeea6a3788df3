package taskstate

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/words"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

const (
	// pictureGroups bounds the blocked places that one picture shows.
	pictureGroups = 20
	// pictureHolders bounds the holders that it shows for each.
	pictureHolders = 3
	// goneShown is how long a lost process is shown.
	goneShown = 5 * time.Minute
)

// shownPicture is what was logged last.
type shownPicture struct{ text string }

// logPicture logs the live tasks if anything is blocked or has changed.
func (p *taskState) logPicture(now time.Time) {
	tasks, _ := p.fleetTasks()
	text, blocked := picture{tasks: tasks, processes: p.fleetProcesses(), series: p.stats.series()}.render(now)
	if !blocked && text == p.shown.text {
		return
	}
	p.shown.text = text
	// The end of the line keeps the log's own fields apart.
	p.logger.Info(text + "\n")
}

// picture is what is shown to a person at a terminal.
type picture struct {
	tasks     []*fleet.Task
	processes []fleet.Process
	series    []taskTotals
}

// render draws the picture, and says whether anything in it is blocked.
func (p picture) render(now time.Time) (text string, blocked bool) {
	slices.SortFunc(p.tasks, stuckLongestFirst)
	byID := make(map[report.TaskID]*fleet.Task, len(p.tasks))
	var sum fleet.Live
	for _, t := range p.tasks {
		byID[t.ID] = t
		if !t.RemoteParent.IsZero() {
			byID[t.RemoteParent] = t // who answers a remote call goes by the call's name, too
		}
	}
	live := liveByService(p.series, p.tasks)
	for _, l := range live {
		sum.Add(l)
	}
	var b strings.Builder
	groups := groupBlocked(p.tasks)
	// A heartbeat may be older than a wait.
	fmt.Fprintf(&b, "live tasks: %s running, %s blocked", words.Number(sum.Running), words.Number(max(sum.Blocked, waits(groups)-sum.Deadlocked)))
	if sum.Deadlocked > 0 {
		fmt.Fprintf(&b, ", %s deadlocked", words.Number(sum.Deadlocked))
	}
	p.services(&b, live)
	for i, g := range groups {
		if i == pictureGroups {
			fmt.Fprintf(&b, "\n\n  ... and %d more places where tasks are blocked", len(groups)-i)
			break
		}
		g.render(&b, byID, now)
	}
	p.gone(&b, now)
	return b.String(), len(groups) > 0
}

// services draws a table with a line for each service.
func (p picture) services(b *strings.Builder, live map[string]fleet.Live) {
	if len(p.series) == 0 && len(p.processes) == 0 {
		b.WriteString("\n\n  nothing has been seen yet")
		return
	}
	processes := make(map[string]int64)
	sums := make(map[string]*totals)
	for _, x := range p.processes {
		if x.Status == fleet.Reporting {
			processes[x.Service]++
			sums[x.Service] = &totals{}
		}
	}
	for _, s := range p.series {
		if sums[s.service] == nil {
			sums[s.service] = &totals{}
		}
		sums[s.service].add(s.totals)
	}
	services := make([]string, 0, len(sums))
	for name := range sums {
		services = append(services, name)
	}
	slices.Sort(services)
	b.WriteString("\n\n")
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "processes\trunning\tblocked\tdeadlocked\tcompleted\tfailed\tcancelled\tlost\t  service\n")
	for i, name := range services {
		s, l := sums[name], live[name]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t", orDash(processes[name]), words.Number(l.Running), words.Number(l.Blocked), words.Number(l.Deadlocked))
		for _, n := range s.ended {
			fmt.Fprintf(w, "%s\t", words.Number(int64(n+0.5)))
		}
		fmt.Fprintf(w, "  %s", words.OneLine(name))
		if i < len(services)-1 {
			fmt.Fprint(w, "\n")
		}
	}
	w.Flush()
}

// gone draws the processes that were lost lately.
func (p picture) gone(b *strings.Builder, now time.Time) {
	var lost []fleet.Process
	for _, x := range p.processes {
		if x.Status == fleet.Lost && now.Sub(x.LastHeard) < goneShown {
			lost = append(lost, x)
		}
	}
	slices.SortFunc(lost, func(a, b fleet.Process) int { return b.LastHeard.Compare(a.LastHeard) })
	for i, x := range lost {
		if i == pictureGroups {
			fmt.Fprintf(b, "\n  ... and %d more lost processes", len(lost)-i)
			return
		}
		if i == 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(b, "\n  LOST process %s (instance %s), last heard of at %s", words.OneLine(x.Service), words.OneLine(x.Instance), x.LastHeard.UTC().Format(time.TimeOnly))
	}
}

// blockedGroup is the tasks of one name that are blocked at one place on one
// resource, the longest first.
type blockedGroup struct {
	first *fleet.Task
	wait  *fleet.Wait
	count int
}

// groupBlocked expects the tasks sorted, those that wait for longest first.
func groupBlocked(tasks []*fleet.Task) []*blockedGroup {
	type key struct {
		service, instance, task, resource string
		kind                              taskspan.Kind
		file                              string
		line                              int
		state                             string
	}
	var groups []*blockedGroup
	known := make(map[key]*blockedGroup)
	for _, t := range tasks {
		for _, w := range t.Waits {
			k := key{t.Process.Service, t.Process.Instance, t.Name, w.ResourceID, w.Kind, w.Place.File, w.Place.Line, stateText(t)}
			if g := known[k]; g != nil {
				g.count++
				continue
			}
			g := &blockedGroup{first: t, wait: w, count: 1}
			known[k] = g
			groups = append(groups, g)
		}
	}
	// A deadlock comes first, and who waits for somebody before who waits for something
	// to happen: an idle worker is no trouble.
	slices.SortStableFunc(groups, func(a, b *blockedGroup) int { return a.rank() - b.rank() })
	return groups
}

// stateText is the state of a task and, if it is in a deadlock that is not certain, how
// sure that is.
func stateText(t *fleet.Task) string {
	switch c := t.Deadlock(); c {
	case "", taskspan.Certain:
		return string(t.Live())
	default:
		return string(t.Live()) + " (" + string(c) + " deadlock)"
	}
}

func (g *blockedGroup) rank() int {
	switch {
	case g.first.Deadlock() != "":
		return 0
	case len(g.wait.Holders) > 0 || g.wait.Kind == taskspan.WaitRemote:
		return 1
	}
	return 2
}

// waits counts the waits in all groups.
func waits(groups []*blockedGroup) (n int64) {
	for _, g := range groups {
		n += int64(g.count)
	}
	return n
}

func (g *blockedGroup) render(b *strings.Builder, byID map[report.TaskID]*fleet.Task, now time.Time) {
	t, w := g.first, g.wait
	fmt.Fprintf(b, "\n\n  %s  %s: %s", strings.ToUpper(stateText(t)), words.OneLine(t.Process.Service), words.OneLine(t.Name))
	if g.count > 1 {
		fmt.Fprintf(b, "  (%d tasks here, the longest shown)", g.count)
	}
	fmt.Fprintf(b, "\n    for       %s", words.Age(now.Sub(w.Since.Add(-t.Ahead))))
	if !w.Deadline.IsZero() {
		fmt.Fprintf(b, ", ends by itself at %s", w.Deadline.UTC().Format(time.TimeOnly))
	}
	fmt.Fprintf(b, "\n    waits on  %s %q", w.Kind, w.ResourceName)
	if !w.Place.IsZero() {
		fmt.Fprintf(b, "\n    at        %s", words.Place(w.Place))
	}
	if callers := words.Callers(w.Callers); callers != "" {
		fmt.Fprintf(b, "\n    called by %s", callers)
	}
	switch {
	case len(w.Holders) > 0 || w.Kind == taskspan.WaitSleep:
	case w.Kind == taskspan.WaitRemote:
		fmt.Fprintf(b, "\n    answered  by %s", answerer(w, byID))
	default:
		b.WriteString("\n    held by   nobody that is known")
	}
	for i, h := range w.Holders {
		label := "and by "
		if i == 0 {
			label = "held by"
		}
		if i == pictureHolders {
			fmt.Fprintf(b, "\n    and by    %d more", len(w.Holders)-i)
			break
		}
		fmt.Fprintf(b, "\n    %s   %s", label, holder(h, t, byID, now))
	}
	if !w.Complete && len(w.Holders) > 0 {
		b.WriteString("\n              and perhaps others")
	}
	fmt.Fprintf(b, "\n    trace     %x", t.ID.Trace)
}

// holder says who holds what is waited for, since when and from where.
func holder(h report.Holder, waiter *fleet.Task, byID map[report.TaskID]*fleet.Task, now time.Time) string {
	who := fmt.Sprintf("a task of trace %x", h.Task.Trace)
	known := byID[h.Task]
	switch {
	case h.Task == waiter.ID:
		who = "itself"
	case known != nil:
		who = words.OneLine(known.Process.Service + ": " + known.Name)
	case h.TaskName != "":
		who = words.OneLine(waiter.Process.Service + ": " + h.TaskName)
	}
	if h.Ended {
		who += ", which has ended without releasing it"
	}
	if !h.Since.IsZero() {
		who += " for " + words.Age(now.Sub(h.Since.Add(-waiter.Ahead)))
	}
	if !h.Place.IsZero() {
		who += ", taken at " + words.Place(h.Place)
	}
	if known != nil && known != waiter && len(known.Waits) > 0 {
		who += fmt.Sprintf("\n              which is %s itself, on %s %q", stateText(known), known.Waits[0].Kind, known.Waits[0].ResourceName)
	}
	return who
}

// answerer says who answers a remote call, if that is stuck itself and so known.
func answerer(w *fleet.Wait, byID map[report.TaskID]*fleet.Task) string {
	id, ok := report.RemoteCall(w.ResourceID)
	t := byID[id]
	if !ok || t == nil || len(t.Waits) == 0 {
		return "a task that is not stuck, or not known"
	}
	return fmt.Sprintf("%s\n              which is %s itself, on %s %q",
		words.OneLine(t.Process.Service+": "+t.Name), stateText(t), t.Waits[0].Kind, t.Waits[0].ResourceName)
}

func orDash(n int64) string {
	if n == 0 {
		return "-"
	}
	return words.Number(n)
}
