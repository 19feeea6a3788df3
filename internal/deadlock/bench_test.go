package deadlock

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

func bigID(n int) (t report.TaskID) {
	binary.BigEndian.PutUint64(t.Trace[:], uint64(n)+1)
	binary.BigEndian.PutUint64(t.Span[:], uint64(n)+1)
	return t
}

// crowd is a fleet in which tasks wait for two holders each, in convoys: groups of a
// hundred behind one who waits for the leader of another group, and so on, down to
// one who runs. Nothing is deadlocked.
func crowd(tasks int) (*Detector, *speaker) {
	d := New(Limits{
		Limits:    fleet.Limits{Processes: 10, Tasks: 2 * tasks, Waits: 2 * tasks, Edges: 4 * tasks},
		Deadlocks: 100,
	}, skew)
	s := newSpeaker("a")
	for n := range tasks {
		d.Apply(s.waitsBehind(n, tasks), at(1))
	}
	return d, s
}

func (s *speaker) waitsBehind(n, tasks int) *report.Report {
	leader := n - n%100
	if leader == n {
		leader = n + 100 // the last one runs
	}
	r := s.stuck(0, 0, 1, taskspan.WaitRWMutexWrite, "lock", nil)
	r.Task.ID, r.Wait.ID = bigID(n), int64(n)
	r.Wait.Holders = []report.Holder{
		{Task: bigID(leader), Generation: 1, Weight: 1},
		{Task: bigID(min(leader+100, tasks)), Generation: 1, Weight: 1},
	}
	return r
}

// A million edges, all of them new: what a detector that has just started does.
func BenchmarkEvaluateAll(b *testing.B) {
	const tasks = 500_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	d, _ := crowd(tasks)
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ResetTimer()
	for b.Loop() {
		b.StopTimer()
		for n := range tasks {
			d.touch(bigID(n))
		}
		b.StartTimer()
		if found, _ := d.Evaluate(at(2)); len(found) > 0 {
			b.Fatal("there is no deadlock")
		}
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(d.Table().Edges()), "B/edge")
}

// Fifty waits, a hundred edges, that have come since the last evaluation, in a graph
// of a million edges.
func BenchmarkEvaluateChange(b *testing.B) {
	const tasks = 500_000
	d, s := crowd(tasks)
	d.Evaluate(at(2))
	rnd := rand.New(rand.NewPCG(1, 1))
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		// Their leaders are near the end of the line, as most are in life.
		for range 50 {
			n := tasks - 1 - rnd.IntN(2000)
			r := s.waitsBehind(n, tasks)
			d.Apply(r, at(2))
			d.touch(r.Task.ID)
		}
		b.StartTimer()
		if found, _ := d.Evaluate(at(2)); len(found) > 0 {
			b.Fatal("there is no deadlock")
		}
	}
}
