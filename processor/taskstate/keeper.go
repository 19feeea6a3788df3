package taskstate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.uber.org/zap"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/keep"
	"github.com/asyncinspect/asyncinspect/internal/report"
)

// keeper keeps the totals in a storage: series and the counts of processes, each in a
// record. Everything that belongs together is written in one batch, so that after a crash
// no task is counted twice and none is missed: a heartbeat that has been merged is in
// both, the record of its process and those of its series, or in neither.
//
// It has one user at a time: Start, then its loop, then Shutdown.
type keeper struct {
	store  *keep.Store
	live   *liveTasks
	stats  *statistics
	logger *zap.Logger
	health *keep.Health

	processes map[report.Process]int // their records
	pending   map[int][]byte         // records that are to be written; nil: to be removed
	written   map[int]func()         // what is to be called then
}

// openKeeper reads what the storage has and continues from it. It returns since when the
// totals count.
func (p *taskState) openKeeper(ctx context.Context, host component.Host, now time.Time) (*keeper, time.Time, error) {
	store, err := keep.Open(ctx, host, *p.cfg.Storage, p.id, "totals")
	if err != nil {
		return nil, now, err
	}
	k := &keeper{
		store: store, live: p.live, stats: p.stats, logger: p.logger, health: keep.NewHealth(host, p.logger),
		processes: make(map[report.Process]int), pending: make(map[int][]byte), written: make(map[int]func()),
	}
	since, err := k.load(ctx, now)
	if err != nil {
		return nil, now, errors.Join(err, store.Close(ctx))
	}
	return k, since, nil
}

// load continues from what the storage has, and returns since when the totals count.
// Records that cannot be read are given up: the totals begin at 0.
func (k *keeper) load(ctx context.Context, now time.Time) (since time.Time, err error) {
	k.stats.store()
	k.live.mu.Lock()
	defer k.live.mu.Unlock()
	k.live.table.Remember()
	records := make(map[int]saved)
	err = k.store.Load(ctx, func(record int, value []byte) (err error) {
		records[record], err = decodeSaved(value)
		return err
	})
	if errors.Is(err, keep.ErrLayout) {
		k.logger.Error("Cannot read the stored totals; they begin at 0", zap.Error(err))
		clear(records)
		err = k.store.Clear(ctx)
	}
	if err != nil {
		return now, err
	}
	return k.restore(records, now)
}

func (k *keeper) restore(records map[int]saved, now time.Time) (since time.Time, err error) {
	known := false
	k.stats.restored = len(records) > 0
	var processes []fleet.Record
	for record, r := range records {
		switch {
		case r.Since != 0:
			known, since = true, time.Unix(0, r.Since).UTC()
		case r.Process != nil:
			k.processes[r.Process.Process] = record
			processes = append(processes, *r.Process)
		case k.stats.restore(record, &r):
			k.pending[record] = nil
		}
	}
	k.stats.trim()
	k.live.table.Restore(processes, now)
	if !known {
		since = now
		r := saved{Since: now.UnixNano()}
		k.pending[k.store.New()], err = r.encode()
	}
	return since, err
}

// save writes what has changed. What could not be written is kept for the next time.
func (k *keeper) save(ctx context.Context) error {
	changes := k.changes()
	for i := range changes {
		c := &changes[i]
		value, err := c.value.encode()
		if err != nil {
			return fmt.Errorf("encode totals: %w", err)
		}
		k.pending[c.record] = value
		if c.written != nil {
			k.written[c.record] = c.written
		}
	}
	if err := k.store.Write(ctx, k.pending); err != nil {
		return err
	}
	for _, written := range k.written {
		written()
	}
	clear(k.pending)
	clear(k.written)
	return nil
}

// changes copies what has changed, of processes and of their series at one instant.
func (k *keeper) changes() (out []change) {
	k.live.mu.Lock()
	defer k.live.mu.Unlock()
	k.live.table.Changed(func(id report.Process, r *fleet.Record) {
		record, known := k.processes[id]
		switch {
		case r != nil:
			if !known {
				record = k.store.New()
				k.processes[id] = record
			}
			out = append(out, change{record: record, value: saved{Process: r}})
		case known:
			delete(k.processes, id)
			k.pending[record] = nil
		}
	})
	// What is removed after this has its turn the next time, after it was written.
	for _, record := range k.stats.takeRemoved() {
		k.pending[record] = nil
		delete(k.written, record)
	}
	return k.stats.changes(out, k.store.New)
}

// tick writes once, and says once if that fails.
func (k *keeper) tick(ctx context.Context, _ time.Time) {
	k.health.Written(k.save(ctx))
}

// close writes a last time.
func (k *keeper) close(ctx context.Context) error {
	return errors.Join(k.save(ctx), k.store.Close(ctx))
}
