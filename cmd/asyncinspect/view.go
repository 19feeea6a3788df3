package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/lipgloss"
)

const (
	headLines = 4
	footLines = 1
)

var (
	bold    = lipgloss.NewStyle().Bold(true)
	faint   = lipgloss.NewStyle().Faint(true)
	chosen  = lipgloss.NewStyle().Reverse(true)
	alarm   = lipgloss.NewStyle().Foreground(lipgloss.AdaptiveColor{Light: "160", Dark: "203"}).Bold(true)
	warning = lipgloss.NewStyle().Foreground(lipgloss.AdaptiveColor{Light: "130", Dark: "215"})
	good    = lipgloss.NewStyle().Foreground(lipgloss.AdaptiveColor{Light: "28", Dark: "78"})
	colors  = map[string]lipgloss.Style{
		"running": good, "blocked": warning, "deadlocked": alarm, "failed": alarm, "lost": alarm,
		"completed": faint, "cancelled": faint,
	}
)

// View implements [tea.Model].
func (m *model) View() string {
	body := m.text.View()
	if m.screen == tasksScreen {
		body = m.table()
	}
	return m.head() + body + "\n" + m.foot()
}

func (m *model) head() string {
	o := &m.overview
	suspected := ""
	if o.Tasks.Suspected > 0 {
		suspected = fmt.Sprintf(" (%d suspected)", o.Tasks.Suspected)
	}
	counts := fmt.Sprintf("%s  %s running  %s blocked%s  %s deadlocked   %.1f tasks/s  %.1f failed/s   %d processes",
		bold.Render("async-inspect"), good.Render(fmt.Sprint(o.Tasks.Running)), warning.Render(fmt.Sprint(o.Tasks.Blocked)), suspected,
		alarm.Render(fmt.Sprint(o.Tasks.Deadlocked)), o.Rates.Started, o.Rates.Failed, o.Processes.Reporting)
	if o.Processes.Lost > 0 {
		counts += alarm.Render(fmt.Sprintf(", %d lost", o.Processes.Lost))
	}
	var second string
	switch {
	case m.err != nil && m.answered.IsZero():
		second = alarm.Render(clean(m.err.Error()))
	case m.err != nil:
		second = alarm.Render(fmt.Sprintf("no answer since %s: %s", m.answered.Format(time.TimeOnly), clean(m.err.Error())))
	case o.Deadlocks.Standing > 0:
		second = alarm.Render(fmt.Sprintf("deadlocks that stand: %d, tasks stuck behind them: %d; press d", o.Deadlocks.Standing, o.Deadlocks.Victims))
	case len(o.Warnings) > 0: // gaps that are faults are among them
		second = warning.Render(clean(o.Warnings[0].Component + ": " + o.Warnings[0].Message))
	}
	third := ""
	if m.screen == tasksScreen {
		third = m.which()
	}
	return lines(m.width, counts, second, third)
}

// which says what the table is a part of.
func (m *model) which() string {
	if m.searching {
		return m.search.View()
	}
	text := fmt.Sprintf("%d tasks", m.tasks.Total)
	if len(m.tasks.Tasks) < m.tasks.Total {
		text = fmt.Sprintf("%d of %d tasks", len(m.tasks.Tasks), m.tasks.Total)
	}
	if f := filters[m.filter]; f != "" {
		text += ", " + strings.ReplaceAll(f, ",", " or ")
	}
	if q := m.search.Value(); q != "" {
		text += fmt.Sprintf(", with %q", q)
	}
	text += ", by " + strings.TrimPrefix(orders[m.order], "-")
	if m.paused {
		text += warning.Render(", paused")
	}
	return text
}

func (m *model) foot() string {
	keys := "↑↓ enter: a task · d: deadlocks · f: filter · s: sort · /: search · p: pause · ?: help · q: quit"
	if m.screen != tasksScreen {
		keys = "esc: back · ↑↓ pgup pgdown: scroll · d: deadlocks · p: pause · q: quit"
	}
	return faint.Render(cut(keys, m.width))
}

// lines puts each into a line of its own, and one below.
func lines(width int, all ...string) string {
	var b strings.Builder
	for _, l := range all {
		b.WriteString(lipgloss.NewStyle().MaxWidth(width).Render(l))
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	return b.String()
}

// rows is how many tasks the window has room for.
func (m *model) rows() int { return max(1, m.height-headLines-footLines-1) }

func (m *model) table() string {
	const state, duration = 10, 8
	left := m.width - state - 2*duration - 5
	name, waits := max(12, left*2/5), max(10, left*2/5)
	at := max(0, left-name-waits)
	row := func(cells ...string) string {
		return strings.TrimRight(fmt.Sprintf("%s %s %s %s %s %s", pad(cells[0], state), pad(cells[1], name), padLeft(cells[2], duration),
			padLeft(cells[3], duration), pad(cells[4], waits), pad(cells[5], at)), " ")
	}
	var b strings.Builder
	b.WriteString(faint.Render(row("state", "task", "for", "age", "waits for", "at")))
	tasks, rows := m.tasks.Tasks, m.rows()
	first := max(0, min(m.cursor-rows/2, len(tasks)-rows))
	for i := first; i < first+rows; i++ {
		b.WriteByte('\n')
		if i >= len(tasks) {
			continue
		}
		t := &tasks[i]
		place, inState := "", ""
		if t.Place != nil {
			place = t.Place.line()
		}
		if t.Live {
			inState = seconds(t.InState)
		}
		waits := t.WaitingFor.String()
		if t.WaitingFor != nil && t.WaitingFor.Holder != nil && (t.WaitingFor.Holder.Known || t.WaitingFor.Holder.Name != "") {
			waits += " held by " + t.WaitingFor.Holder.Name
		}
		text := row(t.State, t.Service+": "+t.Name, inState, seconds(t.Age), waits, place)
		if i == m.cursor {
			text = chosen.Render(text)
		} else {
			text = colors[t.State].Render(text[:len(t.State)]) + text[len(t.State):]
		}
		b.WriteString(text)
	}
	if len(tasks) == 0 && m.err == nil && !m.answered.IsZero() {
		none := []string{"", "No task is like that. Services that send reports to this collector show up by themselves."}
		if unknown := m.overview.Gaps.about("tasks"); len(unknown) > 0 {
			none = append([]string{"", "Tasks are not known:"}, unknown...)
		}
		for i := range none {
			none[i] = clean(none[i])
		}
		return lines(m.width, none...)
	}
	return b.String()
}

// fill writes what a screen of text shows.
func (m *model) fill() {
	text := ""
	switch m.screen {
	case taskScreen:
		text = m.taskText()
	case deadlocksScreen:
		text = m.deadlocksText()
	case helpScreen:
		text = help
	}
	m.text.SetContent(lipgloss.NewStyle().Width(m.width).Render(clean(text)))
}

func (m *model) taskText() string {
	if m.detail == nil {
		return "…"
	}
	d := m.detail
	t := &d.Task
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("%s: %s is %s", t.Service, t.Name, t.state())
	line("")
	line("  runs for    %s, blocked for %s of it", seconds(t.Age), seconds(t.Blocked))
	if t.Thread > 0 {
		line("  goroutine   %d", t.Thread)
	}
	if t.Place != nil {
		line("  at          %s", t.Place)
	}
	line("  trace       %s  %s", t.TraceID, t.TraceURL)
	if t.Reason != "" {
		line("  ended by    %s", t.Reason)
	}
	if t.DeadlockID != nil {
		line("  deadlock    it is part of one, press d")
	}
	for _, w := range d.Waits {
		line("\nwaits for %s for %s", named(w.Kind, w.Resource), seconds(w.Waited))
		if w.Place != nil {
			line("  at          %s", w.Place)
		}
		for i := range w.Callers {
			line("  called by   %s", &w.Callers[i])
		}
		for _, h := range w.Holders {
			line("  held by     %s", &h.Task)
			if h.Place != nil {
				line("  taken at    %s", h.Place)
			}
			if h.Ended {
				line("              which has ended without releasing it")
			}
		}
		if len(w.Holders) == 0 {
			line("  held by     nobody that is known")
		}
	}
	if len(d.Chain) > 1 {
		line("\nwhy it does not go on")
		for _, link := range d.Chain {
			line("  %s%s", &link.Task, waitsText(link.WaitingFor))
		}
		line("  %s", chainEnds[d.ChainEnd])
	}
	if d.WaitersTotal > 0 {
		line("\n%d wait for it", d.WaitersTotal)
		for _, w := range d.Waiters {
			line("  %s for %s at %s", &w.Task, seconds(w.Waited), w.Place)
		}
	}
	if len(d.Events) > 0 {
		line("\nwhat happened")
		for _, e := range d.Events {
			at := e.At
			if parsed, err := time.Parse(time.RFC3339Nano, e.At); err == nil {
				at = parsed.Local().Format("15:04:05.000")
			}
			line("  %s  %s  %s", at, e.Name, e.Detail)
		}
	}
	if t.Place != nil && t.Place.Stack != "" {
		line("\nstack\n%s", t.Place.Stack)
	}
	return b.String()
}

var chainEnds = map[string]string{
	"running": "who runs, as far as is known",
	"unknown": "and nobody knows who holds that",
	"cycle":   "and so the circle is closed",
	"cut":     "and so on",
}

func waitsText(w *waitSummary) string {
	if w == nil {
		return ""
	}
	return " waits for " + w.String() + ", held by"
}

func (m *model) deadlocksText() string {
	unknown := m.deadlocks.Gaps.about("deadlocks")
	if len(m.deadlocks.Deadlocks) == 0 && len(unknown) == 0 {
		return "No tasks wait for each other in a circle."
	}
	var b strings.Builder
	for _, why := range unknown {
		fmt.Fprintf(&b, "It is not known whether a deadlock stands that is not listed: %s\n\n", why)
	}
	for i, d := range m.deadlocks.Deadlocks {
		if i == 0 && !d.Standing {
			b.WriteString("None stands now. These are over:\n\n")
		} else if i > 0 && !d.Standing && m.deadlocks.Deadlocks[i-1].Standing {
			b.WriteString("These are over:\n\n")
		}
		b.WriteString(strings.TrimRight(d.Story, "\n") + "\n\n")
	}
	return b.String()
}

const help = `up, down, j, k, pgup, pgdown, g, G   move
enter                                the task: its waits, who holds what, who waits for it
d                                    deadlocks, as stories
f                                    filter: all, stuck, running, completed, failed, cancelled, lost
s                                    sort: who is stuck for longest, age, time blocked, name, service
/                                    search in names, locks, places and ids; esc ends it
p, space                             pause, and go on
r                                    ask now
t, esc                               back to the table
q, Ctrl-C                            quit

blocked      waits for something for longer than a second
deadlocked   part of a certain deadlock: a circle of waits that all stood at one instant
suspected    blocked, and part of a deadlock if the assumption in its story (d) is true
`

// seconds writes a duration as 850ms, 4.2s, 3m20s, 5h12m.
func seconds(s float64) string {
	switch d := time.Duration(s * float64(time.Second)); {
	case s < 1:
		return d.Round(time.Millisecond).String()
	case s < 10:
		return fmt.Sprintf("%.1fs", s)
	case s < 3600:
		return d.Round(time.Second).String()
	default:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
}

// cut cuts a text to a width, in cells of the terminal.
func cut(text string, width int) string {
	if lipgloss.Width(text) <= width {
		return text
	}
	runes := []rune(text)
	for len(runes) > 0 && lipgloss.Width(string(runes))+1 > width {
		runes = runes[:len(runes)-1]
	}
	if width <= 0 {
		return ""
	}
	return string(runes) + "…"
}

func pad(text string, width int) string {
	text = cut(clean(strings.ReplaceAll(text, "\n", " ")), width)
	return text + strings.Repeat(" ", max(0, width-lipgloss.Width(text)))
}

func padLeft(text string, width int) string {
	text = cut(text, width)
	return strings.Repeat(" ", max(0, width-lipgloss.Width(text))) + text
}
