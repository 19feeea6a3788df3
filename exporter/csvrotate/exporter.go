package csvrotate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.uber.org/zap"

	"github.com/asyncinspect/asyncinspect/exporter/csvrotate/internal/metadata"
)

const (
	// tickEvery is how often time is looked at: for rotation of an idle file, and
	// for retention.
	tickEvery = time.Second
	// compressAgain is how long a file that could not be compressed is left alone.
	compressAgain = time.Minute
	// keepBuffer is the largest buffer that is kept for the next batch.
	keepBuffer = 16 << 20
)

// csvExporter is the shell: it owns the goroutines, the clock, the status and the
// telemetry. Batches are encoded side by side; the writer has one user at a time.
type csvExporter struct {
	cfg       *Config
	id        component.ID
	logger    *zap.Logger
	telemetry *metadata.TelemetryBuilder
	plan      *plan
	counts    *counts
	encoders  sync.Pool
	host      component.Host

	// gate holds a token while somebody uses writer and failing. It is a channel
	// so that waiting for a disk that hangs ends with the context.
	gate    chan struct{}
	writer  *writer // nil before start and after shutdown
	failing [sources]bool

	stopClock   context.CancelFunc
	stopWorking context.CancelFunc
	clockDone   chan struct{} // closed when the clock has stopped
	finishDone  chan struct{} // closed when the finisher has stopped
	workDone    chan struct{} // closed when the compressor has stopped
	lastCall    chan struct{} // closed when no more files will be finished
}

// source is what can fail and recover by itself.
type source int

const (
	writing   source = iota // of batches
	syncing                 // of the open file, at intervals
	ending                  // of files that are due
	finishing               // of files that have ended
	sources
)

func newExporter(set exporter.Settings, cfg *Config) (*csvExporter, error) {
	p, err := newPlan(cfg)
	if err != nil {
		return nil, err
	}
	builder, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, fmt.Errorf("create telemetry of %s: %w", set.ID, err)
	}
	return &csvExporter{
		cfg: cfg, id: set.ID, logger: set.Logger, telemetry: builder, plan: p, counts: newCounts(),
		encoders: sync.Pool{New: func() any { return newEncoder(p) }},
		gate:     make(chan struct{}, 1),
	}, nil
}

func (e *csvExporter) start(_ context.Context, host component.Host) error {
	e.host = host
	w, err := openDirectory(systemDisk{}, e.cfg, e.plan.header, e.logger, e.counts, time.Now())
	if err != nil {
		return err
	}
	if err := e.registerTelemetry(); err != nil {
		err = errors.Join(fmt.Errorf("register telemetry of %s: %w", e.id, err), w.finishLast(time.Now()))
		w.lock.release()
		return err
	}
	if _, ok := freeBytes(e.cfg.Directory); !ok && e.cfg.MinFreeBytes > 0 {
		e.logger.Warn("The free space of this file system cannot be told, so min_free_bytes does nothing.",
			zap.String("directory", e.cfg.Directory))
	}
	e.writer = w
	clock, stopClock := context.WithCancel(context.Background())
	work, stopWorking := context.WithCancel(context.Background())
	e.stopClock, e.stopWorking = stopClock, stopWorking
	e.clockDone, e.finishDone = make(chan struct{}), make(chan struct{})
	e.workDone, e.lastCall = make(chan struct{}), make(chan struct{})
	go e.keepTime(clock)
	go e.finishEnded(clock, w)
	go e.compressFinished(work, w)
	return nil
}

// shutdown finishes the open file and lets the directory go. When its context ends
// before that, as it does when a disk hangs, what is written is whole all the same,
// and the next start finishes it.
func (e *csvExporter) shutdown(ctx context.Context) error {
	defer e.telemetry.Shutdown()
	if e.stopClock == nil {
		return nil
	}
	e.stopClock()
	closed := make(chan error, 1)
	go func() {
		<-e.clockDone
		<-e.finishDone
		closed <- e.closeWriter()
	}()
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
		e.stopWorking()
		// Compression heeds this, a disk may not.
		select {
		case err := <-closed:
			return err
		case <-time.After(100 * time.Millisecond):
			return fmt.Errorf("finish the open file in %s: %w", e.cfg.Directory, ctx.Err())
		}
	}
}

func (e *csvExporter) closeWriter() error {
	_ = e.enter(context.Background())
	w := e.writer
	e.writer = nil
	err := w.finishLast(time.Now())
	e.leave()
	close(e.lastCall)
	<-e.workDone
	e.stopWorking()
	w.lock.release()
	return err
}

func (e *csvExporter) enter(ctx context.Context) error {
	select {
	case e.gate <- struct{}{}:
		return nil
	default:
	}
	select {
	case e.gate <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the file: %w", ctx.Err())
	}
}

func (e *csvExporter) leave() { <-e.gate }

// consume writes a batch. Every error is one that a retry may overcome.
func (e *csvExporter) consume(ctx context.Context, td ptrace.Traces) error {
	enc := e.encoders.Get().(*encoder)
	n := enc.encode(td)
	var err error
	if n.rows > 0 {
		err = e.write(ctx, enc.buf, n.rows)
	}
	if err == nil {
		e.counts.reports.Add(n.reports)
		e.counts.others.Add(n.others)
		e.counts.capped.Add(n.capped)
		e.counts.corrected.Add(n.corrected)
	}
	if cap(enc.buf) <= keepBuffer {
		e.encoders.Put(enc)
	}
	return err
}

var errStopped = errors.New("the exporter has been shut down")

func (e *csvExporter) write(ctx context.Context, records []byte, rows int64) error {
	if err := e.enter(ctx); err != nil {
		e.counts.failed(failedTimeout)
		return err
	}
	if e.writer == nil {
		e.leave()
		return errStopped
	}
	err := e.writer.write(records, rows, time.Now())
	event := e.judge(writing, err)
	e.leave()
	e.report(event)
	return err
}

// judge returns what there is to be said about our health, nil if it is as it was.
// The caller is in the gate, and reports when it has left it.
func (e *csvExporter) judge(from source, err error) *componentstatus.Event {
	if was := e.failing[from]; was == (err != nil) {
		return nil
	}
	e.failing[from] = err != nil
	if err != nil {
		return componentstatus.NewRecoverableErrorEvent(err)
	}
	if e.failing != [sources]bool{} {
		return nil
	}
	return componentstatus.NewEvent(componentstatus.StatusOK)
}

func (e *csvExporter) report(event *componentstatus.Event) {
	if event == nil {
		return
	}
	if err := event.Err(); err != nil {
		e.logger.Error("What has to be written cannot be; it is tried again, and rows wait in the queue.", zap.Error(err))
	} else {
		e.logger.Info("Everything is written again.")
	}
	componentstatus.ReportStatus(e.host, event)
}

// keepTime does what time does until the clock is stopped.
func (e *csvExporter) keepTime(ctx context.Context) {
	defer close(e.clockDone)
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	var flush <-chan time.Time // never, unless the interval syncs
	if e.cfg.Fsync == fsyncInterval {
		ticker := time.NewTicker(e.cfg.FlushInterval)
		defer ticker.Stop()
		flush = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if e.enter(ctx) != nil {
				return
			}
			event := e.judge(ending, e.writer.tick(time.Now()))
			e.leave()
			e.report(event)
		case <-flush:
			if e.flush(ctx) != nil {
				return
			}
		}
	}
}

// flush syncs the open file, while batches go on being written to it.
func (e *csvExporter) flush(ctx context.Context) error {
	if err := e.enter(ctx); err != nil {
		return err
	}
	f := e.writer.file
	if f == nil || f.synced == f.size {
		e.leave()
		return nil
	}
	size := f.size
	e.leave()

	err := f.Sync()
	if errors.Is(err, os.ErrClosed) {
		return nil // it has been finished meanwhile, and synced by that
	}

	if enterErr := e.enter(ctx); enterErr != nil {
		return enterErr
	}
	if err == nil {
		f.synced = max(f.synced, size)
	} else {
		e.counts.failed(failedSync)
	}
	event := e.judge(syncing, err)
	e.leave()
	e.report(event)
	return nil
}

// finishEnded finishes files that have ended: it syncs them outside the gate, while
// the next file is written.
func (e *csvExporter) finishEnded(ctx context.Context, w *writer) {
	defer close(e.finishDone)
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.toFinish:
		case <-again.C:
		}
		if e.enter(ctx) != nil {
			return
		}
		f := w.ended
		e.leave()
		if f == nil {
			continue
		}
		err := f.Sync()
		if e.enter(ctx) != nil {
			return
		}
		var event *componentstatus.Event
		if w.ended == f { // else somebody could not wait, and has finished it
			err = w.finish(err, time.Now())
			event = e.judge(finishing, err)
			if err != nil {
				again.Reset(endAgain)
			}
		}
		e.leave()
		e.report(event)
	}
}

// compressFinished compresses what has been finished, one file at a time, until
// the last call and then what is left.
func (e *csvExporter) compressFinished(ctx context.Context, w *writer) {
	defer close(e.workDone)
	if e.cfg.Compression == compressNone {
		<-e.lastCall
		return
	}
	again := time.NewTimer(0) // files of an earlier run may wait
	defer again.Stop()
	for last := false; !last; {
		select {
		case <-w.toCompress:
		case <-again.C:
		case <-e.lastCall:
			last = true
		}
		for {
			more, err := e.compressOldest(ctx, w)
			if err != nil && ctx.Err() == nil {
				e.counts.failed(failedCompress)
				e.logger.Warn("A finished file could not be compressed; it stays as it is and is tried again.", zap.Error(err))
				again.Reset(compressAgain)
			}
			if err != nil || !more {
				break
			}
		}
	}
}

// compressOldest compresses one file, outside the gate. It reports whether there
// was one.
func (e *csvExporter) compressOldest(ctx context.Context, w *writer) (bool, error) {
	if err := e.enter(ctx); err != nil {
		return false, err
	}
	f, ok := w.index.uncompressed()
	e.leave()
	if !ok {
		return false, nil
	}
	size, err := compressFile(ctx, w.disk, w.path(f.stamp, suffixCSV), w.path(f.stamp, compressedSuffix(e.cfg.Compression)), e.cfg.Compression)
	if enterErr := e.enter(ctx); enterErr != nil {
		return false, enterErr
	}
	defer e.leave()
	if err == nil {
		return true, w.replaced(f, size)
	}
	if errors.Is(err, os.ErrNotExist) && !exists(w.path(f.stamp, suffixCSV)) {
		w.index.remove(f) // somebody has deleted it
		return true, nil
	}
	return false, err
}
