package inspector

import (
	"encoding/csv"
	"fmt"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/internal/deadlock"
	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/view"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// Tasks of a suspected deadlock are blocked, and say that it is suspected.
func TestASuspectedDeadlockIsNoState(t *testing.T) {
	x := unstarted(t, testConfig())
	p := connected(t, x)
	s := shop()
	one, other := waits(s, 1, "south", 2), waits(s, 2, "north", 1)
	one.Wait.Inferred, other.Wait.Inferred = true, true
	p.consume(t, one, other, waits(s, 3, "north", 1))
	require.Eventually(t, func() bool { return len(x.registry.readNumbers(time.Now()).standing) == 1 }, 10*time.Second, 10*time.Millisecond)
	suspected := taskspan.Suspected
	for _, task := range answers[taskList](t, x, "/api/v1/tasks?live=true").Tasks {
		require.Equal(t, taskspan.Blocked, task.State, task.Name)
		if task.Name == "move 3" {
			require.Nil(t, task.Confidence)
		} else {
			require.Equal(t, &suspected, task.Confidence, task.Name)
		}
	}
	o := answers[overviewAnswer](t, x, "/api/v1/overview")
	require.Zero(t, o.Tasks.Deadlocked)
	require.EqualValues(t, 2, o.Tasks.Suspected)
	require.EqualValues(t, 2, o.Tasks.Blocked, "also before the first heartbeat")
	require.Equal(t, 1, o.Deadlocks.Suspected)
	require.Zero(t, answers[taskList](t, x, "/api/v1/tasks?state=deadlocked").Total)
	text := x.scrape(asText).Body.String()
	require.Contains(t, text, `async_inspect_tasks_in_deadlock{confidence="suspected",service="shop"} 2`+"\n")
	require.Contains(t, text, `async_inspect_tasks_in_deadlock{confidence="certain",service="shop"} 0`+"\n")
}

func names(list taskList) []string {
	var out []string
	for _, t := range list.Tasks {
		out = append(out, t.Name)
	}
	return out
}

func TestTasksAreFilteredAndSorted(t *testing.T) {
	x := unstarted(t, testConfig())
	deadlocked(t, x)
	web := slices.Repeat([]string{"GET /"}, 7)
	for query, want := range map[string][]string{
		"":                                 append([]string{"move 4", "move 3", "move 2", "move 1"}, web...),
		"live=true&sort=name":              {"move 1", "move 2", "move 3", "move 4"},
		"live=true&sort=-name":             {"move 4", "move 3", "move 2", "move 1"},
		"live=false":                       web,
		"state=deadlocked":                 {"move 2", "move 1"},
		"state=blocked,deadlocked&q=nORTH": {"move 3", "move 2"},
		"state=completed&service=%3Dweb":   web,
		"service=shop&name=move+3":         {"move 3"},
		"min_age=30":                       {"move 4", "move 3", "move 2", "move 1"},
		"min_age=20m":                      nil,
		"q=stock.go&sort=-blocked":         {"move 4", "move 3", "move 2", "move 1"},
		"q=" + idOf(taskOf(2)).SpanID:      {"move 2"},
		"trace=" + idOf(taskOf(1)).TraceID: {"move 1"},
		"live=true&sort=state&limit=2":     {"move 3", "move 4"},
	} {
		list := answers[taskList](t, x, "/api/v1/tasks?"+query)
		require.Equal(t, want, names(list), query)
		if !strings.Contains(query, "limit") {
			require.Equal(t, len(want), list.Total, query)
		}
	}
}

// The pages of every order are all tasks, once each, while others come and go.
func TestPagesHaveEveryTaskOnce(t *testing.T) {
	x := unstarted(t, testConfig())
	state := new(fakeState)
	now := time.Now()
	for i := range 97 {
		task := view.Task{
			ID: taskOf(i), Name: []string{"a", "b", "\xff"}[i%3], Service: "shop", State: taskspan.Running, Start: now.Add(-time.Duration(i/2) * time.Second), StateSince: now,
		}
		switch i % 4 {
		case 1:
			task.State, task.End = taskspan.Failed, now.Add(-time.Duration(i%5)*time.Second)
		case 2:
			task.State = taskspan.Blocked
			task.Waits = []*fleet.Wait{{Task: task.ID, Wait: report.Wait{ID: 1, Since: now.Add(-time.Duration(i%7) * time.Second)}}}
		}
		state.tasks = append(state.tasks, task)
	}
	x.RegisterTaskState("task_state", state)
	for _, sort := range taskSorts {
		seen := make(map[string]int)
		cursor := ""
		for pages := 0; ; pages++ {
			require.Less(t, pages, 30, sort)
			list := answers[taskList](t, x, "/api/v1/tasks?limit=7&sort="+sort+cursor)
			for _, task := range list.Tasks {
				seen[task.SpanID]++
			}
			if list.NextCursor == nil {
				break
			}
			cursor = "&cursor=" + *list.NextCursor
			gone := state.tasks[0]
			state.tasks = append(state.tasks[1:], gone) // in another order each time
		}
		require.Len(t, seen, 97, sort)
		for span, n := range seen {
			require.Equal(t, 1, n, "%s %s", sort, span)
		}
	}
}

func TestATaskTellsItsWholeStory(t *testing.T) {
	x := unstarted(t, testConfig())
	deadlocked(t, x)
	get := func(n int) taskDetail {
		id := idOf(taskOf(n))
		return answers[taskDetail](t, x, "/api/v1/tasks/"+id.TraceID+"/"+id.SpanID)
	}
	one := get(1)
	require.Equal(t, taskspan.Deadlocked, one.Task.State)
	require.NotNil(t, one.Task.DeadlockID)
	require.Equal(t, "https://traces.example/trace/"+one.Task.TraceID+"?span="+one.Task.SpanID, one.Task.TraceURL)
	require.Equal(t, "cycle", one.ChainEnd)
	require.Len(t, one.Chain, 2)
	require.Equal(t, "move 2", one.Chain[1].Task.Name)
	require.Len(t, one.Waits, 1)
	require.Equal(t, "south", one.Waits[0].ResourceName)
	require.Equal(t, "main.move", one.Waits[0].Place.Function)
	require.Equal(t, "move 2", one.Waits[0].Holders[0].Task.Name)
	require.Equal(t, "main.take", one.Waits[0].Holders[0].Place.Function)
	require.Equal(t, 2, one.WaitersTotal)
	require.Equal(t, []string{"move 3", "move 2"}, []string{one.Waiters[0].Task.Name, one.Waiters[1].Task.Name})
	require.Equal(t, []string{"running", "blocked"}, []string{one.Events[0].Name, one.Events[1].Name})

	three := get(3)
	require.Equal(t, "cycle", three.ChainEnd)
	require.Len(t, three.Chain, 3)
	require.Nil(t, three.Task.DeadlockID)

	four := get(4)
	require.Equal(t, "running", four.ChainEnd, "its holder is not known to wait")
	require.False(t, four.Chain[1].Task.Known)
}

func TestADeadlockIsTold(t *testing.T) {
	x := unstarted(t, testConfig())
	p := deadlocked(t, x)
	list := answers[deadlockList](t, x, "/api/v1/deadlocks")
	require.Len(t, list.Deadlocks, 1)
	require.EqualValues(t, 1, list.FoundTotal)
	d := list.Deadlocks[0]
	require.Equal(t, deadlock.Certain, d.Confidence)
	require.Contains(t, d.Story, "DEADLOCK  2 tasks of shop")
	require.Contains(t, d.Suggestion, `"north" before "south"`)
	require.Equal(t, 1, d.Victims)
	require.Equal(t, "move 3", d.VictimTasks[0].Name)
	require.Equal(t, d.ID, answers[deadlockAnswer](t, x, "/api/v1/deadlocks/"+d.ID).ID)
	require.Empty(t, answers[deadlockList](t, x, "/api/v1/deadlocks?status=past").Deadlocks)
	require.Empty(t, answers[deadlockList](t, x, "/api/v1/deadlocks?service=bank").Deadlocks)

	over := waits(shop(), 1, "south", 2)
	over.Process.Epoch, over.Wait.Open = p.epoch, false
	p.consume(t, over)
	require.Eventually(t, func() bool { return len(x.readNumbers(time.Now()).standing) == 0 }, 10*time.Second, 10*time.Millisecond)
	past := answers[deadlockAnswer](t, x, "/api/v1/deadlocks/"+d.ID)
	require.False(t, past.Standing)
	require.Equal(t, deadlock.Released, past.How)
	require.Len(t, past.Members, 2)
	require.EqualValues(t, 1, answers[deadlockList](t, x, "/api/v1/deadlocks?status=past").ResolvedTotal)
}

func TestTheGraphKnowsItsCycle(t *testing.T) {
	x := unstarted(t, testConfig())
	deadlocked(t, x)
	g := answers[graphAnswer](t, x, "/api/v1/graph")
	roles := make(map[string]role)
	for _, n := range g.Nodes {
		roles[n.Task.Name] = n.Role
	}
	require.Equal(t, map[string]role{"move 1": roleCycle, "move 2": roleCycle, "move 3": roleVictim, "move 4": roleNone, "": roleNone}, roles)
	require.Equal(t, 4, g.EdgesTotal)
	require.Equal(t, []role{roleCycle, roleCycle, roleVictim, roleNone}, []role{g.Edges[0].Role, g.Edges[1].Role, g.Edges[2].Role, g.Edges[3].Role})
	cut := answers[graphAnswer](t, x, "/api/v1/graph?limit=2")
	require.True(t, cut.Truncated)
	require.Len(t, cut.Edges, 2)
	require.Len(t, cut.Nodes, 2)
	require.Equal(t, 3, answers[graphAnswer](t, x, "/api/v1/graph?only=stuck").EdgesTotal)
	require.Zero(t, answers[graphAnswer](t, x, "/api/v1/graph?service=bank").EdgesTotal)
}

// A holder that has reported nothing itself has the name that its waiter's process tells.
func TestTheGraphNamesHolders(t *testing.T) {
	x := unstarted(t, testConfig())
	p := connected(t, x)
	s := shop()
	told, mute := waits(s, 1, "stock", 8), waits(s, 2, "till", 9)
	told.Wait.Holders[0].TaskName = "stocktaking"
	p.consume(t, told, mute)
	names := make(map[string]taskRef)
	for _, n := range answers[graphAnswer](t, x, "/api/v1/graph").Nodes {
		names[n.ID] = n.Task
	}
	of := func(n int) taskRef { return names[taskOf(n).String()] }
	require.Equal(t, [2]string{"shop", "stocktaking"}, [2]string{of(8).Service, of(8).Name})
	require.False(t, of(8).Known)
	require.Equal(t, "unknown", of(8).State)
	require.Empty(t, of(9).Name)
	require.Equal(t, "move 1", of(1).Name)
	dot := x.get("/api/v1/graph?format=dot").Body.String()
	require.Contains(t, dot, `[label="shop: stocktaking"`)
	require.Contains(t, dot, `[label="not known: `+of(9).SpanID)
}

// A task that waits for a deadlocked one or for a free one is no victim.
func TestWhoCanGoOnIsNoVictim(t *testing.T) {
	x := unstarted(t, testConfig())
	p := connected(t, x)
	s := shop()
	either := waits(s, 3, "pool", 1, 5)
	either.Wait.Kind, either.Wait.Need = taskspan.WaitSemaphore, 1
	p.consume(t, waits(s, 1, "south", 2), waits(s, 2, "north", 1), either, waits(s, 4, "behind", 3))
	require.Eventually(t, func() bool { return len(x.readNumbers(time.Now()).standing) == 1 }, 10*time.Second, 10*time.Millisecond)
	require.Empty(t, answers[deadlockList](t, x, "/api/v1/deadlocks").Deadlocks[0].VictimTasks)
}

// Graphviz and Mermaid get names as text, whatever is in them.
func TestGraphsAreWrittenSafely(t *testing.T) {
	g := &graphAnswer{
		Nodes: []graphNode{{ID: "a", Role: roleCycle, Task: taskRef{Known: true, Service: "x\"]; evil [label=\"", Name: "<b>`\\\n%%{init}"}}, {ID: "b", Task: taskRef{SpanID: "1"}}},
		Edges: []graphEdge{{Waiter: "a", Holder: "b", Kind: "mutex", ResourceName: "\"|]\\"}},
	}
	dot, mermaid := graphDOT(g).body, graphMermaid(g).body
	require.Contains(t, dot, `"a" [label="x\"]; evil [label=\": <b>`)
	require.Contains(t, dot, `"a" -> "b" [label="mutex \"|]\\", style=dashed];`)
	require.Contains(t, mermaid, "n0[\"x#34;]; evil [label=#34;: #60;b#62;#96;#92;\uFFFD%%{init}\"]")
	require.Contains(t, mermaid, `n0 -.->|"mutex #34;|]#92;"| n1`)
	if program, err := exec.LookPath("dot"); err == nil {
		run := exec.Command(program, "-Tsvg")
		run.Stdin = strings.NewReader(dot)
		out, err := run.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
}

func TestFilesAreCSV(t *testing.T) {
	x := unstarted(t, testConfig())
	deadlocked(t, x)
	for target, rows := range map[string]int{"tasks": 11, "deadlocks": 2, "resources": 3} {
		w := x.get("/api/v1/" + target + "?format=csv")
		require.Equal(t, fmt.Sprintf("attachment; filename=%q", target+".csv"), w.Header().Get("Content-Disposition"))
		read, err := csv.NewReader(w.Body).ReadAll()
		require.NoError(t, err)
		require.Len(t, read, rows+1, target)
		for _, row := range read {
			for _, c := range row {
				require.False(t, c != "" && strings.ContainsRune("=+@", rune(c[0])), "%q would be run by a spreadsheet", c)
			}
		}
	}
}

func TestContentionIsSummed(t *testing.T) {
	x := unstarted(t, testConfig())
	deadlocked(t, x)
	list := answers[resourceList](t, x, "/api/v1/resources")
	require.Len(t, list.Resources, 3)
	north := list.Resources[0]
	require.Equal(t, "north", north.ResourceName)
	require.Equal(t, 2, north.Waiting)
	require.InDelta(t, 25, north.WaitingSeconds, 5)
	require.Equal(t, []string{"move 3", "move 2"}, []string{north.Waiters[0].Name, north.Waiters[1].Name})
	require.Len(t, north.Holders, 1)
	require.Equal(t, "move 1", north.Holders[0].Name)
	require.Equal(t, []string{"north", "south", "till"}, func() (out []string) {
		for _, r := range answers[resourceList](t, x, "/api/v1/resources?sort=name").Resources {
			out = append(out, r.ResourceName)
		}
		return out
	}())
	page := answers[resourceList](t, x, "/api/v1/resources?limit=2")
	require.Len(t, answers[resourceList](t, x, "/api/v1/resources?limit=2&cursor="+url.QueryEscape(*page.NextCursor)).Resources, 1)
}

// Times are in the clock of the collector.
func TestClocksThatAreAheadAreTakenBack(t *testing.T) {
	x := unstarted(t, testConfig())
	ahead, now := 3*time.Hour, time.Now()
	theirs := now.Add(ahead)
	x.RegisterTaskState("task_state", &fakeState{tasks: []view.Task{{
		ID: taskOf(1), Service: "shop", State: taskspan.Blocked, Start: theirs.Add(-time.Minute), StateSince: theirs.Add(-time.Second), ClockAhead: ahead,
		Waits: []*fleet.Wait{{Task: taskOf(1), Wait: report.Wait{ID: 1, Since: theirs.Add(-time.Second), Deadline: theirs.Add(time.Minute)}, Last: theirs}},
	}}})
	id := idOf(taskOf(1))
	d := answers[taskDetail](t, x, "/api/v1/tasks/"+id.TraceID+"/"+id.SpanID)
	require.InDelta(t, 60, d.Task.AgeSeconds, 10)
	require.WithinDuration(t, now.Add(time.Minute), time.Time(d.Waits[0].Deadline), time.Millisecond)
	require.InDelta(t, 1, d.Waits[0].WaitedSeconds, 10)
	require.EqualValues(t, 3*3600, d.ClockAheadSeconds)
	require.EqualValues(t, 1, answers[overviewAnswer](t, x, "/api/v1/overview").StuckLongest[0].OpenWaits)
}

// What a detector alone knows is shown, too.
func TestADetectorAloneIsEnough(t *testing.T) {
	x := unstarted(t, testConfig())
	_, detector := numbersOfAFleet()
	dl := detector.standing[0]
	for i, task := range dl.Core {
		detector.edges = append(detector.edges, deadlock.Edge{Waiter: task, Wait: dl.Waits[task.ID][0], Holder: dl.Core[(i+1)%2].ID, Known: dl.Core[(i+1)%2]})
	}
	x.RegisterDeadlockDetector("deadlock_detector", detector)
	g := answers[graphAnswer](t, x, "/api/v1/graph")
	require.Equal(t, 2, g.EdgesTotal)
	require.Equal(t, roleCycle, g.Edges[0].Role)
	require.EqualValues(t, 2, answers[overviewAnswer](t, x, "/api/v1/overview").Tasks.Deadlocked)
	require.Len(t, answers[deadlockList](t, x, "/api/v1/deadlocks").Deadlocks[0].Members, 2)
}

func TestTheHistoryKeepsTheLast(t *testing.T) {
	h := newHistory(3)
	require.Empty(t, h.points())
	at := time.Unix(1000, 0)
	for i := range 5 {
		h.add(sample{at: at.Add(time.Duration(i) * 2 * time.Second), started: float64(i * i), running: int64(i)})
	}
	points := h.points()
	require.Len(t, points, 3)
	for i, p := range points {
		require.EqualValues(t, i+2, p.Running)
		require.EqualValues(t, float64(2*(i+2)-1)/2, p.Rates.Started)
	}
	require.Equal(t, points[2].Rates, h.rates())
	require.Zero(t, h.add(sample{at: at.Add(time.Hour)}).Rates.Started, "a total that has fallen is no rate")
}

// A thousand who ask at the same time cost the components one reading.
func TestReadingsAreShared(t *testing.T) {
	reads := 0
	s := &shared[int]{read: func(time.Time) *int { reads++; return &reads }}
	for range 1000 {
		s.get()
	}
	require.LessOrEqual(t, reads, 3)
	before := reads
	s.forget(time.Now().Add(2 * keptFor))
	s.get()
	require.Equal(t, before+1, reads)
}
