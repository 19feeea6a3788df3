package taskstate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor/processortest"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/hosttest"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/reporttest"
	"github.com/asyncinspect/asyncinspect/internal/view"
	"github.com/asyncinspect/asyncinspect/processor/taskstate/internal/metadata"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

var storageID = component.MustNewID("file_storage")

// collectors are starts of one collector, one after the other, with one storage.
type collectors struct {
	tb   testing.TB
	cfg  *Config
	disk *hosttest.Storage
	host *hosttest.Host
	logs *observer.ObservedLogs
	*taskState
}

func newCollectors(tb testing.TB) *collectors {
	disk := new(hosttest.Storage)
	c := &collectors{
		tb: tb, cfg: defaultConfig(), disk: disk,
		host: &hosttest.Host{Extensions: map[component.ID]component.Component{storageID: disk}},
	}
	c.cfg.Storage = &storageID
	c.start()
	return c
}

func (c *collectors) start() {
	c.tb.Helper()
	set := processortest.NewNopSettings(metadata.Type)
	set.ID = component.MustNewIDWithName("task_state", "kept")
	core, logs := observer.New(zapcore.InfoLevel)
	set.Logger, c.logs = zap.New(core), logs
	var err error
	c.taskState, err = newProcessor(set, c.cfg, new(consumertest.TracesSink))
	require.NoError(c.tb, err)
	require.NoError(c.tb, c.Start(context.Background(), c.host))
}

// kill ends the collector as kill -9 does: nothing more is written.
func (c *collectors) kill() {
	c.keeping.Stop()
	c.loop.Stop()
}

func (c *collectors) stop() { require.NoError(c.tb, c.Shutdown(context.Background())) }

func (c *collectors) take(td ptrace.Traces) {
	c.tb.Helper()
	require.NoError(c.tb, c.ConsumeTraces(context.Background(), td))
}

// written waits until everything has been written.
func (c *collectors) written() {
	time.Sleep(2 * tick)
	synctest.Wait()
}

// beat is a heartbeat of a process that has counted everything once.
func beat(p report.Process, sequence int64, edit func(*report.Heartbeat)) ptrace.Traces {
	acknowledged := sequence > 1
	h := &report.Heartbeat{Interval: 5 * time.Second, Part: 1, Parts: 1, Acknowledged: &acknowledged}
	edit(h)
	return reporttest.Traces(&report.Report{Process: p, Sequence: sequence, Observed: time.Now(), Heartbeat: h})
}

func named(name string, n report.NameCounts) func(*report.Heartbeat) {
	return func(h *report.Heartbeat) { h.ByName = map[string]report.NameCounts{name: n} }
}

// Everything that is counted is the same after a restart, whether the collector was
// stopped or killed, and goes on from there.
func TestTotalsOutliveTheCollector(t *testing.T) {
	for name, end := range map[string]func(*collectors){
		"stopped": (*collectors).stop,
		"killed":  func(c *collectors) { c.written(); c.kill() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCollectors(t)
				epoch := time.Now().UnixNano()
				lives := report.Process{Service: "orders", Instance: "lives", Epoch: epoch}
				ended := report.Process{Service: "orders", Instance: "ended", Epoch: epoch + 1}
				dies := report.Process{Service: "bank", Instance: "dies", Epoch: epoch + 2}
				durations := report.Durations{Seconds: 41, Buckets: [taskspan.DurationBuckets]int64{2: 5, 9: 6}}
				c.take(beat(lives, 1, func(h *report.Heartbeat) {
					h.ByName = map[string]report.NameCounts{
						"order": {Counts: report.Counts{Started: 31, Completed: 11, Failed: 7, Cancelled: 3}, Running: 8, Blocked: 2, Durations: durations},
						"ship":  {Counts: report.Counts{Started: 5}, Running: 5},
					}
					h.Events, h.Dropped = 19, map[string]int64{"max_tasks": 4}
				}))
				c.take(beat(ended, 1, func(h *report.Heartbeat) {
					named("order", report.NameCounts{Counts: report.Counts{Started: 13, Completed: 12}})(h)
					h.Final = true
				}))
				c.take(beat(dies, 1, named("pay", report.NameCounts{Counts: report.Counts{Started: 17, Completed: 14}, Running: 3})))
				c.take(tasksOf("plain", "GET /", 3, func(i int, s ptrace.Span) {
					s.TraceState().FromRaw("ot=th:c") // each stands for four
					if i == 0 {
						s.Status().SetCode(ptrace.StatusCodeError)
					}
				}))
				c.take(reporttest.Traces(
					waitReport(lives, 2, true), waitReport(lives, 3, false),
				))
				c.written()
				before, summary := withoutExemplars(c.Statistics()), c.Summary()
				require.EqualValues(t, 31+5+13+17+3*4, summary.Started)
				end(c)

				c.start()
				require.False(t, before.Restored)
				before.Restored = true
				require.Equal(t, before, withoutExemplars(c.Statistics()))
				after := c.Summary()
				require.Equal(t, summary.Started, after.Started)
				require.Equal(t, summary.Ended, after.Ended)
				require.Equal(t, summary.Live, after.Live)
				require.Equal(t, map[fleet.Status]int{fleet.Reporting: 2, fleet.Goodbye: 1}, after.Processes)

				// They go on: one speaks, one's last words come late, one is never heard of again.
				c.take(beat(lives, 9, func(h *report.Heartbeat) {
					h.ByName = map[string]report.NameCounts{
						"order": {Counts: report.Counts{Started: 37, Completed: 23, Failed: 7, Cancelled: 3}, Running: 4, Durations: durations},
						"ship":  {Counts: report.Counts{Started: 5, Completed: 5}},
					}
					h.Events, h.Dropped = 21, map[string]int64{"max_tasks": 9}
				}))
				c.take(beat(ended, 4, named("order", report.NameCounts{Counts: report.Counts{Started: 14, Completed: 14}})))
				for range 4 { // the lease of the dead one
					time.Sleep(5 * time.Second)
					c.take(beat(lives, 10, func(*report.Heartbeat) {}))
				}
				c.written()
				after = c.Summary()
				require.EqualValues(t, summary.Started+6+1, after.Started)
				require.EqualValues(t, summary.Ended[taskspan.Completed]+12+5+1, after.Ended[taskspan.Completed])
				require.EqualValues(t, 3, after.Ended[taskspan.Lost], "the tasks of the process that ended while nobody listened")
				statistics := c.Statistics()
				for _, s := range statistics.Services {
					if s.Service == dies.Service {
						require.EqualValues(t, 1, s.ProcessesLost, "also if it died while nobody listened")
						continue
					}
					require.Equal(t, lives.Service, s.Service)
					require.EqualValues(t, 21, s.Events)
					require.Equal(t, map[string]int64{"max_tasks": 9}, s.Dropped)
				}
				require.EqualValues(t, 0, c.taken())
				c.stop()
				if name == "stopped" {
					require.Zero(t, c.disk.Open())
				}
			})
		})
	}
}

func (c *collectors) taken() int64 {
	_, counters := c.fleetTasks()
	return counters.TakenOver
}

func waitReport(p report.Process, sequence int64, open bool) *report.Report {
	since := time.Now().Add(-3 * time.Second)
	return &report.Report{
		Process: p, Sequence: sequence, Observed: time.Now(),
		Task: &report.Task{ID: report.TaskID{Trace: [16]byte{9}, Span: [8]byte{9}}, Name: "order", State: taskspan.Blocked, Start: since},
		Wait: &report.Wait{ID: 4, Revision: sequence, Open: open, Kind: taskspan.WaitMutex, ResourceID: "m", ResourceName: "stock", Since: since},
	}
}

// withoutExemplars are statistics without what is not kept.
func withoutExemplars(s view.Statistics) view.Statistics {
	for i := range s.Tasks {
		clear(s.Tasks[i].Durations.Exemplars[:])
	}
	for i := range s.Waits {
		clear(s.Waits[i].Stuck.Exemplars[:])
		clear(s.Waits[i].Sampled.Exemplars[:])
	}
	return s
}

// Whatever happens to the collector and its disk, no total that somebody has read falls,
// and when all is well again the totals are what the processes have done.
func TestNoTotalEverFalls(t *testing.T) {
	for seed := range int64(30) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rnd := rand.New(rand.NewSource(seed))
				c := newCollectors(t)
				type process struct {
					report.Process
					sequence, started, completed int64
				}
				processes := make([]*process, 4)
				for i := range processes {
					processes[i] = &process{Process: report.Process{Service: fmt.Sprint("s", i%2), Instance: fmt.Sprint(i), Epoch: time.Now().UnixNano()}}
				}
				speak := func(p *process) {
					p.sequence++
					p.started += rnd.Int63n(50)
					p.completed += rnd.Int63n(p.started - p.completed + 1)
					c.take(beat(p.Process, p.sequence, named(fmt.Sprint("t", p.started%3), report.NameCounts{}))) // names come
					c.take(beat(p.Process, p.sequence+1, named("work", report.NameCounts{
						Counts: report.Counts{Started: p.started, Completed: p.completed}, Running: p.started - p.completed,
					})))
					p.sequence++
				}
				read := make(map[string]float64)
				look := func(after string) {
					now := make(map[string]float64)
					for _, s := range c.Statistics().Tasks {
						now[s.Service+"/"+s.Name+" started"] = s.Started
						now[s.Service+"/"+s.Name+" durations"] = s.Durations.Count
						for state, n := range s.Ended {
							now[s.Service+"/"+s.Name+" "+string(state)] = n
						}
					}
					for series, n := range read {
						require.GreaterOrEqual(t, now[series], n, "%s fell after %s", series, after)
					}
					maps.Copy(read, now)
				}
				broken := errors.New("broken disk")
				for range 120 {
					step := [...]string{"a heartbeat", "a heartbeat", "a heartbeat", "a second", "a second", "a kill", "a stop", "a broken disk", "a mended disk"}[rnd.Intn(9)]
					switch step {
					case "a heartbeat":
						speak(processes[rnd.Intn(len(processes))])
					case "a second":
						time.Sleep(tick)
						synctest.Wait()
					case "a kill":
						c.kill()
						c.disk.Fail(nil)
						c.start()
					case "a stop":
						c.disk.Fail(nil)
						c.stop()
						c.start()
					case "a broken disk":
						c.disk.Fail(broken)
					case "a mended disk":
						c.disk.Fail(nil)
					}
					look(step)
				}
				c.disk.Fail(nil)
				want := make(map[string]float64)
				for _, p := range processes {
					speak(p)
					want[p.Service+"/work started"] += float64(p.started)
				}
				c.written()
				look("the end")
				for series, n := range want {
					require.Equal(t, n, read[series], series)
				}
				c.stop()
			})
		})
	}
}

// While the disk is broken the metrics stay, it is said once, and again when it works.
func TestABrokenStorageIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCollectors(t)
		p := report.Process{Service: "orders", Instance: "1", Epoch: time.Now().UnixNano()}
		counts := func(n int64) func(*report.Heartbeat) {
			return named("order", report.NameCounts{Counts: report.Counts{Started: n, Completed: n}})
		}
		c.take(beat(p, 1, counts(3)))
		c.written()
		require.EqualValues(t, 3, c.Summary().Started)
		shown := int64(3)
		for i := range int64(2) {
			c.disk.Fail(errors.New("disk full"))
			for k := range int64(3) {
				c.take(beat(p, 2+10*i+k, counts(8+10*i+k)))
				c.written()
				require.EqualValues(t, shown, c.Summary().Started)
			}
			c.disk.Fail(nil)
			c.written()
			shown = 10 + 10*i
			require.EqualValues(t, shown, c.Summary().Started)
		}
		require.Len(t, c.logs.FilterMessageSnippet("Cannot write totals").All(), 2)
		require.Len(t, c.logs.FilterMessageSnippet("written again").All(), 2)
		require.Equal(t, []componentstatus.Status{
			componentstatus.StatusRecoverableError, componentstatus.StatusOK, componentstatus.StatusRecoverableError, componentstatus.StatusOK,
		}, c.host.Statuses())
		c.stop()
	})
}

// Nothing is written while nothing changes, and what changes is written alone.
func TestOnlyWhatHasChangedIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCollectors(t)
		for i := range int64(20) {
			p := report.Process{Service: fmt.Sprint("s", i), Instance: "1", Epoch: time.Now().UnixNano()}
			c.take(beat(p, 1, named("order", report.NameCounts{Counts: report.Counts{Started: 3 + i}})))
		}
		c.written()
		before := c.disk.Writes()
		c.written()
		require.Equal(t, before, c.disk.Writes())
		p := report.Process{Service: "s7", Instance: "1", Epoch: time.Now().Add(-4 * tick).UnixNano()}
		c.take(beat(p, 2, named("order", report.NameCounts{Counts: report.Counts{Started: 99}})))
		c.written()
		require.Equal(t, 3, c.disk.Writes()-before, "the head, the process and its series")
		c.stop()
	})
}

// Records that cannot be read cost the totals and not the collector.
func TestTotalsThatCannotBeReadBeginAnew(t *testing.T) {
	for name, spoil := range map[string]string{
		"no JSON":                      `{`,
		"another kind":                 `{"Cake":{}}`,
		"a histogram of other buckets": `{"Task":{"Service":"a","Name":"b","Durations":{"Count":1,"Fixed":[1,2]}}}`,
		"a bucket that is none":        `{"Wait":{"Service":"a","Stuck":{"Count":1,"Native":{"999":1}}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCollectors(t)
				p := report.Process{Service: "orders", Instance: "1", Epoch: time.Now().UnixNano()}
				c.take(beat(p, 1, named("order", report.NameCounts{Counts: report.Counts{Started: 31}})))
				c.stop()
				c.disk.Put("record/1", []byte(spoil))
				c.start()
				require.Len(t, c.logs.FilterMessageSnippet("Cannot read the stored totals").All(), 1)
				require.Empty(t, c.Statistics().Tasks)
				// It counts what is new, and keeps that.
				c.take(beat(p, 2, named("order", report.NameCounts{Counts: report.Counts{Started: 33}})))
				c.take(beat(p, 3, named("order", report.NameCounts{Counts: report.Counts{Started: 38}})))
				c.stop()
				c.start()
				require.Zero(t, c.logs.Len())
				require.EqualValues(t, 5, c.Summary().Started)
				c.stop()
			})
		})
	}
}

// Names beyond a lowered limit are one series, in the storage as well.
func TestNamesBeyondALoweredLimitAreCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCollectors(t)
		p := report.Process{Service: "orders", Instance: "1", Epoch: time.Now().UnixNano()}
		c.take(beat(p, 1, func(h *report.Heartbeat) {
			h.ByName = make(map[string]report.NameCounts)
			for i := range int64(5) {
				h.ByName[fmt.Sprint("t", i)] = report.NameCounts{Counts: report.Counts{Started: 1 << i}}
			}
		}))
		c.stop()
		c.cfg.MaxTaskNames = 2
		for range 3 {
			c.start()
			require.EqualValues(t, 31, c.Summary().Started)
			require.Len(t, c.Statistics().Tasks, 3, "two names and other")
			c.stop()
		}
	})
}

// A process that nobody can have counted is counted from its start, if it is younger than
// the storage: it may have started while the collector was down, with an SDK that does not
// say whether it was acknowledged.
func TestAProcessThatStartedWhileTheCollectorWasDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCollectors(t)
		storageSince := time.Now()
		c.stop()
		time.Sleep(time.Minute)
		c.start()
		for name, age := range map[string]time.Duration{"old": time.Hour, "young": 30 * time.Second} {
			epoch := time.Now().Add(-age)
			require.Equal(t, name == "old", epoch.Before(storageSince))
			p := report.Process{Service: name, Instance: "1", Epoch: epoch.UnixNano()}
			c.take(beat(p, 7, func(h *report.Heartbeat) {
				named("order", report.NameCounts{Counts: report.Counts{Started: 31}})(h)
				h.Acknowledged = nil
			}))
		}
		c.written()
		for _, s := range c.Statistics().Tasks {
			require.EqualValues(t, map[string]float64{"old": 0, "young": 31}[s.Service], s.Started, s.Service)
		}
		c.stop()
	})
}

func TestStartSaysThatTheStorageIsMissing(t *testing.T) {
	cfg := defaultConfig()
	cfg.Storage = &storageID
	p, err := newProcessor(processortest.NewNopSettings(metadata.Type), cfg, new(consumertest.TracesSink))
	require.NoError(t, err)
	err = p.Start(context.Background(), new(hosttest.Host))
	require.ErrorContains(t, err, `storage: extension "file_storage" is not in service::extensions`)
	require.NoError(t, p.Shutdown(context.Background()))
}

// A series that is removed takes its record with it, also if it was removed while it was
// written for the first time: a name that comes back is counted once after a restart.
func TestARemovedSeriesLeavesNoRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCollectors(t)
		records := func() (tasks int) {
			for _, value := range c.disk.Data() {
				r, err := decodeSaved(value)
				if err == nil && r.Task != nil {
					tasks++
				}
			}
			return tasks
		}
		plain := func(n int) { c.take(tasksOf("plain", "GET /", n, nil)) }
		plain(7)
		c.written()
		require.Equal(t, 1, records())
		time.Sleep(c.cfg.TaskRetention + 3*c.cfg.CleanupInterval)
		c.written()
		require.Empty(t, c.Statistics().Tasks)
		require.Zero(t, records())
		plain(5)
		c.written()
		require.Equal(t, 1, records())
		c.stop()
		c.start()
		require.EqualValues(t, 5, c.Summary().Started)

		c.stats.add("other", &batch{tasks: []taskSpan{{name: "t", weight: 3}}})
		made := c.stats.changes(nil, func() int { return 77 })
		require.Len(t, made, 1)
		svc := c.stats.service("other")
		require.True(t, svc.cutTask())
		require.Equal(t, []int{77}, c.stats.takeRemoved())
		c.stop()
	})
}
