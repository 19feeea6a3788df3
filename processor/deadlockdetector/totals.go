package deadlockdetector

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.uber.org/zap"

	"github.com/asyncinspect/asyncinspect/internal/deadlock"
	"github.com/asyncinspect/asyncinspect/internal/keep"
	"github.com/asyncinspect/asyncinspect/internal/report"
)

const (
	// firstHeartbeat is the time within which a process that reports sends a heartbeat.
	firstHeartbeat = 6 * time.Second
	// foundAgain is the time after a start within which reports of all waits come again.
	// What stood before and has not been found by then is over.
	foundAgain = time.Minute
)

// counts are found deadlocks by kind and confidence, and those that are over by ending.
type counts struct {
	found    [len(deadlock.Kinds)][len(deadlock.Confidences)]int64
	resolved [len(deadlock.Endings)]int64
}

func (c *counts) addFound(dl *deadlock.Deadlock) {
	i, j := slices.Index(deadlock.Kinds[:], dl.Kind), slices.Index(deadlock.Confidences[:], dl.Confidence)
	if i >= 0 && j >= 0 {
		c.found[i][j]++
	}
}

func (c *counts) addResolved(how deadlock.Ending) {
	if i := slices.Index(deadlock.Endings[:], how); i >= 0 {
		c.resolved[i]++
	}
}

// totals count each deadlock once, also if it is found again after a restart of the
// collector. Without a storage it is known by its processes: if another collector, or
// this one before a restart, has acknowledged their heartbeats, a deadlock that stood when
// we started has been counted. With a storage it is known by its id.
//
// What is shown has been written, as in task_state.
type totals struct {
	started time.Time
	// heard says of a process whether a heartbeat has come, and whether somebody has
	// acknowledged one before.
	heard func(report.Process) (heard, before bool)

	store  *keep.Store // nil: none
	record int
	logger *zap.Logger
	health *keep.Health

	// Only count's.
	now     counts
	waiting []*deadlock.Deadlock     // to be counted when their processes have been heard
	counted map[deadlock.ID]struct{} // of those that stand
	before  map[deadlock.ID]struct{} // that stood before the start, and have not been found again
	changed bool                     // since it was written

	mu      sync.Mutex // guards written
	written counts
}

// savedTotals are what a storage has.
type savedTotals struct {
	Found    map[deadlock.Kind]map[deadlock.Confidence]int64
	Resolved map[deadlock.Ending]int64
	Standing []deadlock.ID
}

func newTotals(heard func(report.Process) (heard, before bool), logger *zap.Logger) *totals {
	return &totals{
		heard: heard, logger: logger,
		counted: make(map[deadlock.ID]struct{}), before: make(map[deadlock.ID]struct{}),
	}
}

// start continues from the storage, if there is one.
func (t *totals) start(ctx context.Context, host component.Host, storage *component.ID, of component.ID, now time.Time) error {
	t.started, t.health = now, keep.NewHealth(host, t.logger)
	if storage == nil {
		return nil
	}
	store, err := keep.Open(ctx, host, *storage, of, "totals")
	if err != nil {
		return err
	}
	saved, record := savedTotals{}, -1
	err = store.Load(ctx, func(n int, value []byte) error {
		record = n
		return json.Unmarshal(value, &saved)
	})
	if errors.Is(err, keep.ErrLayout) {
		t.logger.Error("Cannot read the stored totals; they begin at 0", zap.Error(err))
		saved, record, err = savedTotals{}, -1, store.Clear(ctx)
	}
	if err != nil {
		return errors.Join(err, store.Close(ctx))
	}
	if record < 0 {
		record = store.New()
	}
	t.store, t.record = store, record
	t.restore(&saved)
	return nil
}

func (t *totals) restore(saved *savedTotals) {
	for i, kind := range deadlock.Kinds {
		for j, confidence := range deadlock.Confidences {
			t.now.found[i][j] = saved.Found[kind][confidence]
		}
	}
	for i, how := range deadlock.Endings {
		t.now.resolved[i] = saved.Resolved[how]
	}
	for _, id := range saved.Standing {
		t.before[id] = struct{}{}
	}
	t.written = t.now
}

// count counts what an evaluation has found, and what is over.
func (t *totals) count(ctx context.Context, found, ended []*deadlock.Deadlock, now time.Time) {
	for _, dl := range found {
		if dl.Added == nil && !dl.Raised {
			t.waiting = append(t.waiting, dl)
		}
	}
	over := make(map[deadlock.ID]bool, len(ended))
	for _, dl := range ended {
		over[dl.ID] = true
	}
	t.waiting = slices.DeleteFunc(t.waiting, func(dl *deadlock.Deadlock) bool {
		new, known := t.isNew(dl, now)
		if !known && !over[dl.ID] {
			return false
		}
		if new {
			t.now.addFound(dl)
		}
		t.counted[dl.ID] = struct{}{}
		t.changed = true
		return true
	})
	for _, dl := range ended {
		delete(t.counted, dl.ID)
		t.now.addResolved(dl.How)
		t.changed = true
	}
	if len(t.before) > 0 && now.Sub(t.started) > foundAgain {
		clear(t.before)
		t.changed = true
	}
	t.write(ctx)
}

// isNew reports whether nobody has counted a deadlock. It is not known while a process of
// it may still say so.
func (t *totals) isNew(dl *deadlock.Deadlock, now time.Time) (isNew, known bool) {
	if _, stood := t.before[dl.ID]; stood {
		delete(t.before, dl.ID)
		return false, true
	}
	if t.store != nil || !dl.Since.Before(t.started) {
		return true, true
	}
	known = true
	for _, task := range dl.Core {
		heard, before := t.heard(task.Process)
		if heard && !before {
			return true, true
		}
		known = known && heard
	}
	return !known, known || now.Sub(dl.Found) >= firstHeartbeat
}

// write writes what has changed, and then shows it.
func (t *totals) write(ctx context.Context) {
	if !t.changed {
		return
	}
	if t.store != nil {
		err := t.save(ctx)
		t.health.Written(err)
		if err != nil {
			return
		}
	}
	t.changed = false
	t.mu.Lock()
	defer t.mu.Unlock()
	t.written = t.now
}

func (t *totals) save(ctx context.Context) error {
	saved := savedTotals{
		Found: make(map[deadlock.Kind]map[deadlock.Confidence]int64), Resolved: make(map[deadlock.Ending]int64),
		Standing: append(slices.Collect(maps.Keys(t.counted)), slices.Collect(maps.Keys(t.before))...),
	}
	for i, kind := range deadlock.Kinds {
		saved.Found[kind] = make(map[deadlock.Confidence]int64)
		for j, confidence := range deadlock.Confidences {
			saved.Found[kind][confidence] = t.now.found[i][j]
		}
	}
	for i, how := range deadlock.Endings {
		saved.Resolved[how] = t.now.resolved[i]
	}
	value, err := json.Marshal(saved)
	if err != nil {
		return err
	}
	return t.store.Write(ctx, map[int][]byte{t.record: value})
}

// shown returns the counts for readers.
func (t *totals) shown() counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.written
}

func (t *totals) close(ctx context.Context) error {
	if t.store == nil {
		return nil
	}
	return t.store.Close(ctx)
}
