package inspector

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/asyncinspect/asyncinspect/internal/deadlock"
	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/view"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

func known(service, instance string, status fleet.Status, missing float64) view.Process {
	return view.Process{
		Process: report.Process{Service: service, Instance: instance, Epoch: 7}, Status: status, Missing: missing,
		FirstHeard: time.Now().Add(-time.Minute), LastHeard: time.Now(),
	}
}

// The API, /readyz and the metrics say what cannot be known, so an empty table does not
// look like a healthy fleet.
func TestWhatCannotBeKnown(t *testing.T) {
	shop, bank := known("shop", "1", fleet.Reporting, 0), known("bank", "2", fleet.Reporting, 0)
	fresh := shop
	fresh.FirstHeard = time.Now()
	partly := known("bank", "2", fleet.Reporting, 0.52)
	quiet := func(ago, interval time.Duration) view.Process {
		p := known("mail", interval.String(), fleet.Reporting, 0)
		p.LastHeard, p.Interval = p.LastHeard.Add(-ago), interval
		return p
	}
	behind, gone := bank, known("bank", "1", fleet.Goodbye, 0)
	behind.Untold, gone.Untold = 4, 3
	type processes = []view.Process
	type state struct {
		processes
		view.Coverage
		tables []view.Table
	}
	mail := report.Process{Service: "mail", Instance: "3", Epoch: 9}
	type told struct{ about, reason, status, component, message string }
	const order = "; the order must be deadlock_detector, task_state, then processors that sample or filter"
	for _, c := range []struct {
		name     string
		state    *state
		detector *state
		gaps     []told
	}{
		{"all is well", &state{processes: processes{shop, bank}}, &state{processes: processes{shop, bank}}, nil},
		{"nothing is configured", nil, nil, []told{
			{"deadlocks", "no_component", "info", "", "no pipeline has a deadlock_detector"},
			{"tasks", "no_component", "info", "", "no pipeline has a task_state"},
			{"deadlocks", "no_process", "info", "", "no process of the SDK has reported"},
		}},
		{"no detector", &state{processes: processes{shop}}, nil, []told{
			{"deadlocks", "no_component", "warning", "", "nobody looks for deadlocks"},
		}},
		{"no detector, and spans without reports", &state{Coverage: view.Coverage{Unreported: []report.Process{mail}}}, nil, []told{
			{"deadlocks", "no_component", "warning", "", "nobody looks for deadlocks"},
			{"deadlocks", "no_process", "info", "", "no process of the SDK has reported"},
			{"tasks", "unreported", "warning", "task_state", "the reports of mail (3) do not arrive at task_state" + order},
		}},
		{"a gateway", &state{Coverage: view.Coverage{Elsewhere: true}}, nil, []told{
			{"deadlocks", "elsewhere", "info", "task_state", "deadlocks are found there"},
			{"tasks", "elsewhere", "info", "task_state", "tasks of the SDK are counted there"},
			{"deadlocks", "no_process", "info", "", "no process of the SDK has reported"},
		}},
		{"no task_state", nil, &state{processes: processes{shop}}, []told{
			{"tasks", "no_component", "warning", "", "tasks are neither counted nor listed"},
		}},
		{"nobody reports yet", new(state), new(state), []told{
			{"deadlocks", "no_process", "info", "", "no process of the SDK has reported to this collector"},
		}},
		{
			"all said goodbye", &state{processes: processes{known("shop", "1", fleet.Goodbye, 0)}},
			&state{processes: processes{known("shop", "1", fleet.Goodbye, 0)}}, nil,
		},
		{
			"all are lost", &state{processes: processes{known("shop", "1", fleet.Lost, 0), known("shop", "2", fleet.Lost, 0)}},
			&state{processes: processes{known("shop", "1", fleet.Lost, 0), known("shop", "2", fleet.Lost, 0)}},
			[]told{
				{"deadlocks", "no_process", "info", "", "all processes that reported, 2, have fallen silent"},
			},
		},
		{
			"nobody is heard any more", &state{processes: processes{quiet(21*time.Second, 5*time.Second), quiet(50*time.Second, 10*time.Second), known("shop", "2", fleet.Lost, 0)}},
			&state{processes: processes{quiet(21*time.Second, 5*time.Second), quiet(50*time.Second, 10*time.Second)}},
			[]told{
				{"deadlocks", "no_process", "info", "", "no process has reported of late; 3 did before"},
			},
		},
		{
			"one said goodbye, and one is not heard any more", &state{processes: processes{known("shop", "1", fleet.Goodbye, 0), quiet(21*time.Second, 5*time.Second)}},
			&state{processes: processes{known("shop", "1", fleet.Goodbye, 0), quiet(21*time.Second, 5*time.Second)}},
			[]told{
				{"deadlocks", "no_process", "info", "", "no process has reported of late; 1 did before"},
			},
		},
		{
			"one said goodbye, and one was lost", &state{processes: processes{known("shop", "1", fleet.Goodbye, 0), known("shop", "2", fleet.Lost, 0)}},
			&state{processes: processes{known("shop", "1", fleet.Goodbye, 0), known("shop", "2", fleet.Lost, 0)}}, nil,
		},
		{
			"one of two is heard", &state{processes: processes{shop, quiet(41*time.Second, 10*time.Second)}},
			&state{processes: processes{shop, quiet(41*time.Second, 10*time.Second)}}, nil,
		},
		{"long heartbeats", &state{processes: processes{quiet(39*time.Second, 10*time.Second)}}, &state{processes: processes{quiet(39*time.Second, 10*time.Second)}}, nil},
		{"one is lost", &state{processes: processes{shop, known("shop", "2", fleet.Lost, 0)}}, &state{processes: processes{shop, known("shop", "2", fleet.Lost, 0)}}, nil},
		{"the detector comes last", &state{processes: processes{shop, bank}}, &state{Coverage: view.Coverage{Unreported: []report.Process{shop.Process}}}, []told{
			{"deadlocks", "unreported", "warning", "deadlock_detector", "the reports of bank (2), shop (1) do not arrive at deadlock_detector" + order},
		}},
		{"the detector keeps the reports", new(state), &state{processes: processes{shop}}, []told{
			{"tasks", "unreported", "warning", "task_state", "the reports of shop (1) do not arrive at task_state" + order},
		}},
		{"a process that has just begun", &state{processes: processes{fresh}}, &state{processes: processes{bank}}, []told{
			{"tasks", "unreported", "warning", "task_state", "the reports of bank (2) do not arrive at task_state" + order},
		}},
		{"half of the reports are missing", &state{processes: processes{shop, partly}}, &state{processes: processes{shop, partly}}, []told{
			{"tasks", "incomplete", "warning", "task_state", "52 % of the reports of bank (2) do not arrive at task_state: another collector gets them, too"},
			{"deadlocks", "incomplete", "warning", "deadlock_detector", "52 % of the reports of bank (2) do not arrive at deadlock_detector"},
		}},
		{"some of the reports of a lost process came", &state{processes: processes{shop}, Coverage: view.Coverage{Unreported: []report.Process{mail}}}, &state{
			processes: processes{shop, {Process: mail, Status: fleet.Lost, Missing: 0.9}}, Coverage: view.Coverage{Unreported: []report.Process{mail}},
		}, []told{
			{"tasks", "unreported", "warning", "task_state", "the reports of mail (3) do not arrive at task_state" + order},
			{"deadlocks", "incomplete", "warning", "deadlock_detector", "90 % of the reports of mail (3)"},
		}},
		{"a start a moment ago", &state{processes: processes{shop}, Coverage: view.Coverage{Since: time.Now()}}, &state{
			processes: processes{shop}, Coverage: view.Coverage{Since: time.Now().Add(-19 * time.Second)},
		}, []told{
			{"deadlocks", "starting", "info", "deadlock_detector", "deadlock_detector started 19 s ago; processes that ran before"},
		}},
		{"a start a while ago", &state{processes: processes{shop}}, &state{
			processes: processes{shop}, Coverage: view.Coverage{Since: time.Now().Add(-startingFor)},
		}, nil},
		{"waits that were told to nobody", &state{processes: processes{shop, behind}}, &state{processes: processes{shop, behind, gone}}, []told{
			{"deadlocks", "untold", "info", "deadlock_detector", "4 open waits of bank (2) are not known to deadlock_detector yet; they are told again within 30 s"},
		}},
		{
			"a table is full", &state{processes: processes{shop}},
			&state{processes: processes{shop}, tables: []view.Table{{Name: "waits", Size: 30, Limit: 30}, {Name: "past_deadlocks", Size: 9, Limit: 9}, {Name: "tasks", Size: 39, Limit: 40}}},
			[]told{{"deadlocks", "full", "warning", "deadlock_detector", "the table waits of deadlock_detector is full (30)"}},
		},
		{
			"more deadlocks stand than are listed", &state{processes: processes{shop}},
			&state{processes: processes{shop}, tables: []view.Table{{Name: "deadlocks", Size: 57, Limit: 50}}},
			[]told{{"deadlocks", "full", "warning", "deadlock_detector", "7 more deadlocks stand and are not listed; max_deadlocks of deadlock_detector is 50"}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := unstarted(t, testConfig())
			components := []coverageAnswer{}
			if c.state != nil {
				x.RegisterTaskState("task_state", &fakeState{processes: c.state.processes, coverage: c.state.Coverage, summary: view.Summary{Tables: c.state.tables}})
				components = append(components, coverageAnswer{Component: "task_state", Kind: "task_state"})
			}
			if c.detector != nil {
				x.RegisterDeadlockDetector("deadlock_detector", &fakeDetector{processes: c.detector.processes, coverage: c.detector.Coverage, tables: c.detector.tables})
				components = append(components, coverageAnswer{Component: "deadlock_detector", Kind: "deadlock_detector"})
			}
			o := answers[overviewAnswer](t, x, "/api/v1/overview")
			require.Len(t, o.Gaps, len(c.gaps), "%+v", o.Gaps)
			warnings, deadlocks := 0, 0
			for i, want := range c.gaps {
				g := o.Gaps[i]
				require.Equal(t, told{want.about, want.reason, want.status, want.component, g.Message}, told{g.About, g.Reason, g.Status, g.Component, g.Message})
				require.Contains(t, g.Message, want.message)
				if g.Status == statusWarning {
					warnings++
				}
				if g.About == aboutDeadlocks {
					deadlocks++
				}
			}
			require.Len(t, answers[deadlockList](t, x, "/api/v1/deadlocks?status=standing").Gaps, deadlocks)
			code, h := readyz(t, x)
			require.Equal(t, http.StatusOK, code)
			require.Equal(t, warnings > 0, h.Status == statusWarning, "%+v", h)
			require.Len(t, o.Components, len(components))
			for i, want := range components {
				require.Equal(t, want.Component, o.Components[i].Component)
				require.Equal(t, want.Kind, o.Components[i].Kind)
			}
			sum := 0
			text := x.scrape(asText).Body.String()
			for _, about := range gapTopics {
				for _, reason := range gapsThatWarn {
					n := 0
					for _, want := range c.gaps {
						if want.about == about && want.reason == reason && want.status == statusWarning {
							n++
						}
					}
					sum += n
					require.Contains(t, text, `async_inspect_gaps{about="`+about+`",reason="`+reason+`"} `+string('0'+rune(n))+"\n")
				}
			}
			require.Equal(t, warnings, sum, "each reason that warns has a series")
		})
	}
}

// The overview says what each component hears.
func TestWhatEachComponentHears(t *testing.T) {
	x := unstarted(t, testConfig())
	x.RegisterTaskState("task_state/a", &fakeState{
		processes: []view.Process{known("shop", "1", fleet.Reporting, 0.5), known("shop", "2", fleet.Goodbye, 0), known("bank", "3", fleet.Reporting, 0), known("bank", "4", fleet.Lost, 0.7)},
		coverage:  view.Coverage{Reports: 41, Unreported: []report.Process{{Service: "mail", Instance: "5", Epoch: 1}}},
	})
	x.RegisterDeadlockDetector("deadlock_detector", &fakeDetector{
		processes: []view.Process{known("shop", "1", fleet.Reporting, 0)}, coverage: view.Coverage{Reports: 17},
	})
	require.Equal(t, []coverageAnswer{
		{Component: "task_state/a", Kind: "task_state", ReportsTotal: 41, Reporting: 2, WithoutReports: 1, WithPartOfReports: 2},
		{Component: "deadlock_detector", Kind: "deadlock_detector", ReportsTotal: 17, Reporting: 1, WithoutReports: 1},
	}, answers[overviewAnswer](t, x, "/api/v1/overview").Components)
}

// A detector alone knows the processes, and the story of a deadlock names as many
// victims as the answer.
func TestADetectorAloneKnowsTheProcesses(t *testing.T) {
	x := unstarted(t, testConfig())
	_, detector := numbersOfAFleet()
	detector.processes = []view.Process{known("shop", "1", fleet.Reporting, 0), known("shop", "2", fleet.Lost, 0)}
	detector.standing[0].Victims, detector.standing[0].Behind = 5, []report.TaskID{taskOf(4), taskOf(6)}
	x.RegisterDeadlockDetector("deadlock_detector", detector)
	o := answers[overviewAnswer](t, x, "/api/v1/overview")
	require.Equal(t, processCounts{Reporting: 1, Lost: 1}, o.Processes)
	dl := answers[deadlockList](t, x, "/api/v1/deadlocks").Deadlocks[0]
	require.Equal(t, 5, dl.Victims)
	require.Len(t, dl.VictimTasks, 2)
	require.Contains(t, dl.Story, "5 more tasks are stuck behind it")
	require.Equal(t, 3, o.Deadlocks.Victims, "each task once, whatever it is behind")
}

// twinned are two task_states and two detectors that hear the same processes, a moment
// apart, of which the second is a little behind.
func twinned(x *inspector) (one, two *fakeState, a, b *fakeDetector) {
	one, a = numbersOfAFleet()
	two, b = numbersOfAFleet()
	for i := range one.processes {
		one.processes[i].FirstHeard = time.Unix(100, 0)
		two.processes[i].FirstHeard = time.Unix(100, 9e6)
	}
	two.statistics.Tasks[0].Started = 996
	two.statistics.Tasks[0].Ended[taskspan.Completed] = 897
	two.statistics.Services[0] = view.ServiceStatistics{Service: "shop", Events: 40, Dropped: map[string]int64{"queue_full": 6}, ProcessesLost: 5}
	two.statistics.Waits[0].Open, two.statistics.Waits[0].Longest = 11, 70*time.Second
	two.statistics.Restored = true
	two.statistics.Tasks = append(two.statistics.Tasks, view.TaskStatistics{Service: "mail", Name: "send", Started: 13})
	a.processes, b.processes = one.processes, two.processes
	b.totals.Found[0].Count = 3
	a.inversions = []*deadlock.Inversion{{Orders: []deadlock.Order{{Service: "shop"}}}}
	b.inversions = []*deadlock.Inversion{{Orders: []deadlock.Order{{Service: "shop"}}}, {Orders: []deadlock.Order{{Service: "bank"}}}}
	x.RegisterTaskState("task_state", one)
	x.RegisterTaskState("task_state", two)
	x.RegisterDeadlockDetector("deadlock_detector/a", a)
	x.RegisterDeadlockDetector("deadlock_detector/b", b)
	return one, two, a, b
}

// Components that get the same spans, from two pipelines or one behind the other, count
// each task and each deadlock once, and that is a warning.
func TestWhatTwoComponentsGetIsCountedOnce(t *testing.T) {
	x := unstarted(t, testConfig())
	one, _, _, _ := twinned(x)
	text := x.scrape(asText).Body.String()
	for _, line := range []string{
		`async_inspect_tasks_total{service="shop",task="order"} 1000`,
		`async_inspect_tasks_total{service="mail",task="send"} 13`,
		`async_inspect_tasks_ended_total{service="shop",state="completed",task="order"} 900`,
		`async_inspect_tasks_by_state{service="shop",state="running"} 80`,
		`async_inspect_tasks_by_state{service="shop",state="deadlocked"} 2`,
		`async_inspect_task_duration_seconds_count{service="shop",task="order"} 10`,
		`async_inspect_task_blocked_seconds_sum{kind="mutex",resource="stock",service="shop"} 3`,
		`async_inspect_events_total{service="shop"} 42`,
		`async_inspect_sdk_dropped_total{reason="queue_full",service="shop"} 6`,
		`async_inspect_waits_open{kind="mutex",resource="stock",service="shop"} 11`,
		`async_inspect_wait_longest_seconds{kind="mutex",resource="stock",service="shop"} 71.5`,
		`async_inspect_processes_lost_total{service="shop"} 6`,
		`async_inspect_deadlocks_detected{confidence="certain",kind="local"} 5`,
		`async_inspect_deadlocks_resolved_total{how="released"} 4`,
		`async_inspect_deadlocks_active{confidence="certain"} 1`,
		`async_inspect_lock_order_inversions 2`,
		`async_inspect_processes{status="reporting"} 2`,
	} {
		require.Contains(t, text, line+"\n")
	}
	require.True(t, x.numbers.get().restored)
	require.EqualValues(t, 5, answers[deadlockList](t, x, "/api/v1/deadlocks").FoundTotal)
	require.Equal(t, 2, answers[inversionList](t, x, "/api/v1/inversions").Total)
	_, h := readyz(t, x)
	var said []string
	for _, c := range h.Checks {
		if c.Name == "pipelines" {
			require.Equal(t, statusWarning, c.Status)
			said = append(said, c.Message)
		}
	}
	require.Len(t, said, 2)
	require.Contains(t, said[0], "task_state and task_state#2 get the same spans; they are counted once here")
	require.Contains(t, said[1], "deadlock_detector/a and deadlock_detector/b get the same reports")

	// They are known as twins from now on, also when the processes have been forgotten.
	one.processes = nil
	require.Contains(t, x.scrape(asText).Body.String(), `async_inspect_tasks_total{service="shop",task="order"} 1000`+"\n")
}

// Services without the SDK have no processes; there a task that both know tells.
func TestPlainSpansOfTwoPipelinesAreCountedOnce(t *testing.T) {
	of := func(started float64, tasks ...int) *fakeState {
		s := &fakeState{statistics: view.Statistics{Tasks: []view.TaskStatistics{{Service: "web", Name: "GET /", Started: started}}}}
		for _, n := range tasks {
			s.tasks = append(s.tasks, view.Task{ID: taskOf(n), Service: "web", State: taskspan.Completed})
		}
		return s
	}
	for _, c := range []struct {
		name     string
		one, two *fakeState
		want     string
		twins    int
	}{
		{"the same spans", of(14, 5, 4, 3), of(11, 3, 2), "14", 1},
		{"the second is ahead", of(11, 3, 2), of(14, 5, 4, 3), "14", 1},
		{"different spans", of(14, 5, 4, 3), of(11, 8, 9), "25", 0},
		{"nothing yet", of(0), of(0), "0", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := unstarted(t, testConfig())
			x.RegisterTaskState("task_state", c.one)
			x.RegisterTaskState("task_state", c.two)
			require.Contains(t, x.scrape(asText).Body.String(), `async_inspect_tasks_total{service="web",task="GET /"} `+c.want+"\n")
			require.Len(t, x.numbers.get().twins, c.twins)
		})
	}
}

// A component that stops is nobody's twin.
func TestATwinThatStops(t *testing.T) {
	x := unstarted(t, testConfig())
	one, _ := numbersOfAFleet()
	two, _ := numbersOfAFleet()
	x.RegisterTaskState("task_state", one)
	remove := x.RegisterTaskState("task_state", two)
	x.forgetAll()
	require.Len(t, x.numbers.get().twins, 1)
	remove()
	x.forgetAll()
	require.Empty(t, x.numbers.get().twins)
	require.Empty(t, x.taskStates.twins)
}

// Faults of the configuration that no processor can see are logged, once.
func TestFaultsOfTheConfigurationAreLogged(t *testing.T) {
	x := unstarted(t, testConfig())
	core, logs := observer.New(zap.WarnLevel)
	x.logger = zap.New(core)
	say := func() {
		x.forgetAll()
		x.sayCoverage(x.numbers.get())
	}
	remove := x.RegisterTaskState("task_state", &fakeState{processes: []view.Process{known("shop", "1", fleet.Reporting, 0.5)}})
	say()
	say()
	require.Equal(t, 1, logs.Len(), "the processor itself logs that reports are missing")
	require.Contains(t, logs.All()[0].ContextMap()["reason"], "no pipeline has a deadlock_detector")
	remove()
	say()
	twinned(x)
	say()
	say()
	require.Equal(t, 3, logs.Len())
}

// A full list of deadlocks hides none. Those beyond it are counted.
func TestDeadlocksThatAreNotListed(t *testing.T) {
	for size, want := range map[int]string{49: "", 50: "", 51: "1 more deadlocks stand and are not listed; max_deadlocks of d is 50"} {
		n := numbers{tables: []componentTables{{"d", isDetector, []view.Table{{Name: "deadlocks", Size: size, Limit: 50}}}}}
		gaps := n.fullTables()
		require.Equal(t, want != "", len(gaps) == 1, "%d", size)
		if want != "" {
			require.Equal(t, want, gaps[0].Message)
		}
	}
}

// What one detector does not hear, or only in part, is no gap if another one hears it.
func TestAnotherDetectorHearsIt(t *testing.T) {
	shop, bank := known("shop", "1", fleet.Reporting, 0), known("bank", "2", fleet.Reporting, 0.5)
	whole := bank
	whole.Missing = 0
	for _, c := range []struct {
		name    string
		other   []view.Process
		reasons []string
	}{
		{"all of it", []view.Process{shop, whole}, nil},
		{"one process", []view.Process{shop}, []string{gapIncomplete}},
		{"in part, too", []view.Process{shop, bank}, []string{gapIncomplete, gapIncomplete}},
		{"nothing", nil, []string{gapUnreported, gapIncomplete, gapUnreported}},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := unstarted(t, testConfig())
			x.RegisterTaskState("task_state", &fakeState{processes: []view.Process{shop, whole}})
			x.RegisterDeadlockDetector("deadlock_detector/a", &fakeDetector{
				processes: []view.Process{bank}, coverage: view.Coverage{Unreported: []report.Process{shop.Process}},
			})
			x.RegisterDeadlockDetector("deadlock_detector/b", &fakeDetector{processes: c.other})
			var reasons []string
			for _, g := range answers[deadlockList](t, x, "/api/v1/deadlocks").Gaps {
				reasons = append(reasons, g.Reason)
			}
			require.Equal(t, c.reasons, reasons)
		})
	}
}
