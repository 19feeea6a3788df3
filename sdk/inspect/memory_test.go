//go:build !noinspect

package inspect

import (
	"context"
	"testing"
	"time"
	"unsafe"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/asyncinspect/asyncinspect/sdk/internal/sender"
	"github.com/asyncinspect/asyncinspect/sdk/internal/wire"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// hangingClient uploads nothing until it is let go.
type hangingClient struct {
	*reportSink
	entered chan struct{}
	goOn    chan struct{}
}

func (c hangingClient) UploadTraces(context.Context, []*tracepb.ResourceSpans) error {
	c.entered <- struct{}{}
	<-c.goOn
	return nil
}

// Everything that the SDK keeps counts with its own size.
func TestWhatIsKeptTakesMemory(t *testing.T) {
	client := hangingClient{new(reportSink), make(chan struct{}, 8), make(chan struct{})}
	s := sender.Start(sender.Config{Client: client, Limit: 50, Timeout: time.Hour, Dropped: func() {}, Failed: func(error) {}})
	send := func(n uint64) {
		report := wire.Task{Name: "work"}
		s.Send(sender.Key{Kind: taskspan.ReportTask, ID: n}, report.Encode())
	}
	send(0)
	within(t, client.entered, "the first export") // which is no longer queued

	watched(t)
	ins := &Inspector{maxTasks: 70, maxEvents: 900, reporter: &reporter{sender: s}}
	before := ins.MemoryStats()
	if before.MaxTasks != 70 || before.MaxEvents != 900 {
		t.Errorf("the limits are %+v", before)
	}
	actors := []*actor{newActor(t), newActor(t), newActor(t)}
	var waits []*wait
	for _, step := range []struct {
		what  string
		do    func()
		bytes uintptr
	}{
		{"3 tasks", func() { ins.live.Add(3) }, 3 * unsafe.Sizeof(Task{})},
		{"7 points", func() { ins.keptPoints.Add(7) }, 7 * unsafe.Sizeof(point{})},
		{"4 points that are not kept", func() { ins.events.Add(4) }, 0},
		{"5 waits of 3 goroutines", func() {
			for i := range 5 {
				actors[i%3].does(func() {
					waits = append(waits, beginWait(context.Background(), taskspan.WaitIO, &thing{id: "disk", called: "disk"}))
				})
			}
		}, 5 * (unsafe.Sizeof(wait{}) + unsafe.Sizeof(openWait{}))},
		{"2 readers without a slot", func() { moreReaderCount.Add(2) }, 2 * moreReaderBytes},
		{"6 reports", func() {
			for i := range uint64(6) {
				send(i + 1)
			}
		}, 6 * reportBytes},
	} {
		was := ins.MemoryStats()
		step.do()
		if took := ins.MemoryStats().TotalBytes - was.TotalBytes; took != int64(step.bytes) {
			t.Errorf("%s take %d bytes, want %d", step.what, took, step.bytes)
		}
	}
	if m := ins.MemoryStats(); m.TaskCount != 3 || m.EventCount != 7 {
		t.Errorf("it counts %+v", m)
	}
	for _, w := range waits {
		endWait(w)
	}
	moreReaderCount.Add(-2)
	close(client.goOn)
	if err := s.Close(context.Background()); err != nil {
		t.Error(err)
	}
	ins.live.Store(0)
	ins.keptPoints.Store(0)
	if after := ins.MemoryStats(); after.TotalBytes != before.TotalBytes {
		t.Errorf("afterwards it takes %d bytes, before %d", after.TotalBytes, before.TotalBytes)
	}
}
