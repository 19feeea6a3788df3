package deadlockdetector

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"

	"github.com/asyncinspect/asyncinspect/internal/deadlock"
	"github.com/asyncinspect/asyncinspect/internal/hosttest"
	"github.com/asyncinspect/asyncinspect/internal/report"
)

var storageID = component.MustNewID("file_storage")

// totalsOf are the found deadlocks of all kinds, and those that are over, that readers see.
func (f *fixture) totalsOf() (found, over int64) {
	t := f.DetectorTotals()
	for _, n := range t.Found {
		found += n.Count
	}
	for _, n := range t.Resolved {
		over += n
	}
	return found, over
}

// settled waits for an evaluation.
func settled() {
	time.Sleep(time.Second)
	synctest.Wait()
}

// beat is a heartbeat that says whether an earlier one was acknowledged.
func (s *speaker) beat(acknowledged bool) *report.Report {
	r := s.heartbeat()
	r.Heartbeat.Acknowledged = &acknowledged
	return r
}

// A deadlock that was found before the collector was started again is not counted again.
func TestADeadlockIsCountedOnceOverARestart(t *testing.T) {
	yes, no := true, false
	for name, c := range map[string]struct {
		acknowledged *bool // what the heartbeat says; nil: nothing
		beats        bool  // whether there is one at all
		first        bool  // it comes before the wait
		formed       time.Duration
		atOnce, late int64 // counted after a second, and after the time for a first heartbeat
	}{
		"another collector has known it":               {&yes, true, true, -time.Hour, 0, 0},
		"it says so after the wait":                    {&yes, true, false, -time.Hour, 0, 0},
		"nobody has known it":                          {&no, true, true, -time.Hour, 1, 1},
		"nobody has, which is said after the wait":     {&no, true, false, -time.Hour, 1, 1},
		"it does not say":                              {nil, true, true, -time.Hour, 1, 1},
		"no heartbeat comes":                           {nil, false, false, -time.Hour, 0, 1},
		"it formed after the start":                    {&yes, true, true, 0, 1, 1},
		"it formed after the start, without heartbeat": {nil, false, false, 0, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := start(t, defaultConfig(), nil, componenttest.NewNopHost())
				defer f.stopped(t)
				s := newSpeaker("shop")
				s.began = s.began.Add(c.formed)
				s.process.Epoch = s.began.Add(-time.Minute).UnixNano()
				beat := func() {
					if !c.beats {
						return
					}
					r := s.heartbeat()
					r.Heartbeat.WaitIDs, r.Heartbeat.Revisions = []int64{1}, []int64{1}
					r.Heartbeat.Acknowledged = c.acknowledged
					f.consume(t, r)
				}
				if c.first {
					beat()
				}
				f.consume(t, s.waits(1, true, "x", 1)) // it waits for itself
				if !c.first {
					beat()
				}
				settled()
				standing, _ := f.Deadlocks()
				require.Len(t, standing, 1)
				found, _ := f.totalsOf()
				require.Equal(t, c.atOnce, found)
				time.Sleep(firstHeartbeat)
				settled()
				found, _ = f.totalsOf()
				require.Equal(t, c.late, found)
			})
		})
	}
}

// One that ends before its process has been heard is counted with its end.
func TestADeadlockThatEndsAtOnceIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, defaultConfig(), nil, componenttest.NewNopHost())
		defer f.stopped(t)
		s := newSpeaker("shop")
		s.began = s.began.Add(-time.Hour)
		f.consume(t, s.waits(1, true, "x", 1))
		settled()
		f.consume(t, s.waits(1, false, "x", 1))
		settled()
		found, over := f.totalsOf()
		require.Equal(t, [2]int64{1, 1}, [2]int64{found, over})
	})
}

// With a storage the counts go on after a restart, and a deadlock that was found before
// is known by its id. One that formed while the collector was down is new.
func TestCountsOfDeadlocksOutliveTheCollector(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *fixture){
		"stopped": func(t *testing.T, f *fixture) { f.stopped(t) },
		"killed":  func(_ *testing.T, f *fixture) { f.loop.Stop() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := new(hosttest.Storage)
				host := &hosttest.Host{Extensions: map[component.ID]component.Component{storageID: disk}}
				cfg := defaultConfig()
				cfg.Storage = &storageID
				expect := func(f *fixture, found, over int64) {
					t.Helper()
					settled()
					gotFound, gotOver := f.totalsOf()
					require.Equal(t, [2]int64{found, over}, [2]int64{gotFound, gotOver})
				}
				f := start(t, cfg, nil, host)
				s := newSpeaker("shop")
				both := func() { f.consume(t, s.beat(true), s.waits(1, true, "x", 1), s.waits(2, true, "y", 2)) }
				f.consume(t, s.beat(false), s.waits(1, true, "x", 1), s.waits(2, true, "y", 2), s.waits(3, true, "z", 3))
				expect(f, 3, 0)
				f.consume(t, s.waits(3, false, "z", 3))
				expect(f, 3, 1)
				end(t, f)

				f = start(t, cfg, nil, host)
				expect(f, 3, 1)
				both()
				expect(f, 3, 1)
				f.consume(t, s.waits(1, false, "x", 1))
				expect(f, 3, 2)
				f.consume(t, s.waits(4, true, "w", 4)) // it began long before this start
				expect(f, 4, 2)
				end(t, f)

				// Found again after it was over, so it is another one.
				f = start(t, cfg, nil, host)
				f.consume(t, s.beat(true))
				r := s.waits(1, true, "x", 1)
				r.Wait.ID = 11
				f.consume(t, r)
				expect(f, 5, 2)
				// What has not been found again within a minute is forgotten.
				require.Len(t, f.totals.before, 2)
				for range foundAgain/(10*time.Second) + 1 {
					beat := s.beat(true)
					beat.Heartbeat.WaitIDs, beat.Heartbeat.Revisions = []int64{11}, []int64{1}
					f.consume(t, beat)
					time.Sleep(10 * time.Second)
				}
				settled()
				require.Empty(t, f.totals.before)
				end(t, f)

				f = start(t, cfg, nil, host)
				expect(f, 5, 2)
				require.Len(t, f.totals.before, 1)
				f.stopped(t)
				if name == "stopped" {
					require.Zero(t, disk.Open())
				}
			})
		})
	}
}

// What cannot be written is not shown, and is when it can.
func TestABrokenStorageIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := new(hosttest.Storage)
		host := &hosttest.Host{Extensions: map[component.ID]component.Component{storageID: disk}}
		cfg := defaultConfig()
		cfg.Storage = &storageID
		f := start(t, cfg, nil, host)
		s := newSpeaker("shop")
		for i := range byte(2) {
			disk.Fail(errors.New("disk full"))
			f.consume(t, s.waits(10+i, true, "x", 10+i))
			for range 3 {
				settled()
				found, _ := f.totalsOf()
				require.EqualValues(t, i, found)
			}
			disk.Fail(nil)
			settled()
			found, _ := f.totalsOf()
			require.EqualValues(t, i+1, found)
		}
		require.Len(t, f.logs.FilterMessageSnippet("Cannot write totals").All(), 2)
		require.Len(t, f.logs.FilterMessageSnippet("written again").All(), 2)
		require.Equal(t, []componentstatus.Status{
			componentstatus.StatusRecoverableError, componentstatus.StatusOK, componentstatus.StatusRecoverableError, componentstatus.StatusOK,
		}, host.Statuses())
		f.stopped(t)
	})
}

func TestCountsThatCannotBeReadBeginAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := new(hosttest.Storage)
		host := &hosttest.Host{Extensions: map[component.ID]component.Component{storageID: disk}}
		cfg := defaultConfig()
		cfg.Storage = &storageID
		f := start(t, cfg, nil, host)
		s := newSpeaker("shop")
		f.consume(t, s.waits(1, true, "x", 1))
		f.stopped(t)
		disk.Put("record/0", []byte(`{`))
		f = start(t, cfg, nil, host)
		require.Len(t, f.logs.FilterMessageSnippet("Cannot read the stored totals").All(), 1)
		found, _ := f.totalsOf()
		require.Zero(t, found)
		f.stopped(t)

		delete(host.Extensions, storageID)
		err := f.totals.start(context.Background(), host, cfg.Storage, f.id, time.Now())
		require.ErrorContains(t, err, `storage: extension "file_storage" is not in service::extensions`)
	})
}

// Every kind, confidence and ending is kept under its name.
func TestEveryCountIsKept(t *testing.T) {
	disk := new(hosttest.Storage)
	host := &hosttest.Host{Extensions: map[component.ID]component.Component{storageID: disk}}
	open := func() *totals {
		counts := newTotals(func(report.Process) (bool, bool) { return true, false }, nil)
		require.NoError(t, counts.start(context.Background(), host, &storageID, component.MustNewID("deadlock_detector"), time.Now()))
		return counts
	}
	first := open()
	for i := range deadlock.Kinds {
		for j := range deadlock.Confidences {
			first.now.found[i][j] = int64(1 + 10*i + j)
		}
	}
	for i := range deadlock.Endings {
		first.now.resolved[i] = int64(100 + i)
	}
	first.changed = true
	first.write(context.Background())
	require.Equal(t, first.now, first.shown())
	require.Equal(t, first.now, open().shown())
}
