package deadlock

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// interlocked are two cycles that share task 2: it waits for 1 and 3, which both wait for
// it. Tasks 1 and 3 are of different processes.
func interlocked(first, second *speaker) []*report.Report {
	return []*report.Report{
		first.stuck(1, 0, 4, taskspan.WaitMutex, "x", nil, 2),
		second.stuck(2, 0, 4, taskspan.WaitRWMutexWrite, "y", nil, 1, 3),
		second.stuck(3, 0, 4, taskspan.WaitMutex, "z", nil, 2),
	}
}

// A task leaves a deadlock, and the others are stuck without it: the deadlock goes on with
// them, under its name, and ends when they go.
func TestADeadlockGoesOnWithoutATask(t *testing.T) {
	for how, leave := range map[string]func(d *Detector, s *speaker){
		"its wait ends": func(d *Detector, s *speaker) {
			d.Apply(s.stuck(1, 0, 7, taskspan.WaitMutex, "x", func(r *report.Report) { r.Wait.Open = false }, 2), at(7))
		},
		"it waits for somebody who runs": func(d *Detector, s *speaker) {
			d.Apply(s.stuck(1, 0, 7, taskspan.WaitMutex, "x", func(r *report.Report) { r.Wait.Revision = 2 }, 77), at(7))
		},
		"it has ended": func(d *Detector, s *speaker) {
			end := s.runs(1, 7)
			end.Task.State = taskspan.Cancelled
			d.Apply(end, at(7))
		},
		"its process says goodbye": func(d *Detector, s *speaker) {
			r := s.beat(7)
			r.Heartbeat.Final = true
			d.Apply(r, at(7))
		},
	} {
		t.Run(how, func(t *testing.T) {
			first, second := newSpeaker("a"), newSpeaker("b")
			d, found := detect(t, append(interlocked(first, second), first.beat(6, 1), second.beat(6, 2, 3))...)
			require.Len(t, found, 1)
			require.Len(t, found[0].Core, 3)
			require.Equal(t, Distributed, found[0].Kind)
			leave(d, first)
			again, ended := d.Evaluate(at(7))
			require.Empty(t, again)
			require.Empty(t, ended)
			standing := d.Standing(nil)
			require.Len(t, standing, 1)
			require.Equal(t, found[0].ID, standing[0].ID)
			require.Equal(t, found[0].Found, standing[0].Found)
			require.Equal(t, map[report.TaskID]bool{id(2): true, id(3): true}, core(standing[0]))
			require.Equal(t, Local, standing[0].Kind)
			require.Equal(t, []string{"b"}, standing[0].Services)
			require.Equal(t, 2, standing[0].Cycle)
			require.Nil(t, d.Deadlocked(id(1)))
			require.Empty(t, d.Past(nil))

			d.Apply(second.stuck(3, 0, 8, taskspan.WaitMutex, "z", func(r *report.Report) { r.Wait.Open = false }, 2), at(8))
			again, ended = d.Evaluate(at(8))
			require.Empty(t, again)
			require.Len(t, ended, 1)
			require.Equal(t, found[0].ID, ended[0].ID)
			require.Equal(t, Released, ended[0].How)
			require.Empty(t, d.Standing(nil))
		})
	}
}

// The task that leaves held two deadlocks together: one goes on, the other one is new.
func TestADeadlockFallsInTwo(t *testing.T) {
	s := newSpeaker("a")
	d, found := detect(t,
		s.mutex(1, "u", 2), s.stuck(2, 0, 1, taskspan.WaitRWMutexWrite, "v", nil, 1, 3),
		s.stuck(3, 0.5, 1, taskspan.WaitRWMutexWrite, "w", nil, 2, 4),
		s.stuck(4, 0, 1, taskspan.WaitRWMutexWrite, "x", nil, 3, 5), s.mutex(5, "y", 4))
	require.Len(t, found, 1)
	require.Len(t, found[0].Core, 5)
	d.Apply(s.stuck(3, 0.5, 2, taskspan.WaitRWMutexWrite, "w", func(r *report.Report) { r.Wait.Open = false }, 2, 4), at(2))
	news, ended := d.Evaluate(at(2))
	require.Empty(t, ended)
	require.Len(t, news, 1)
	require.Nil(t, news[0].Added)
	require.Len(t, d.Standing(nil), 2)
	require.Equal(t, d.Deadlocked(id(1)), d.Deadlocked(id(2)))
	require.Equal(t, d.Deadlocked(id(4)), d.Deadlocked(id(5)))
	ids := map[ID]bool{d.Deadlocked(id(1)).ID: true, d.Deadlocked(id(4)).ID: true}
	require.Equal(t, map[ID]bool{found[0].ID: true, news[0].ID: true}, ids)
	for _, dl := range d.Standing(nil) {
		require.Len(t, dl.Core, 2)
	}
}

// One task leaves while another one comes: the deadlock goes on, and the newcomer is told.
func TestATaskTakesThePlaceOfAnother(t *testing.T) {
	s := newSpeaker("a")
	d, found := detect(t, interlocked(s, s)...)
	require.Len(t, found, 1)
	d.Apply(s.stuck(1, 0, 5, taskspan.WaitMutex, "x", func(r *report.Report) { r.Wait.Open = false }, 2), at(5))
	d.Apply(s.stuck(2, 0, 5, taskspan.WaitRWMutexWrite, "y", func(r *report.Report) { r.Wait.Revision = 2 }, 3, 4), at(5))
	d.Apply(s.stuck(4, 4.5, 5, taskspan.WaitMutex, "w", nil, 2), at(5))
	d.Apply(s.beat(6, 3, 4), at(6))
	d.Apply(s.stuck(2, 0, 6, taskspan.WaitRWMutexWrite, "y", func(r *report.Report) { r.Wait.Revision = 2 }, 3, 4), at(6))
	grown, ended := d.Evaluate(at(6))
	require.Empty(t, ended)
	require.Len(t, grown, 1)
	require.Equal(t, found[0].ID, grown[0].ID)
	require.Len(t, grown[0].Added, 1)
	require.Equal(t, id(4), grown[0].Added[0].ID)
	require.Equal(t, map[report.TaskID]bool{id(2): true, id(3): true, id(4): true}, core(d.Standing(nil)[0]))
}

// A wait is over at its deadline, whatever was heard of it later.
func TestADeadlineCutsTheProof(t *testing.T) {
	for _, c := range []struct {
		deadline float64
		want     int
	}{{4.9, 0}, {5, 1}, {5.1, 1}} {
		s := newSpeaker("a")
		first := s.stuck(1, 0, 1, taskspan.WaitMutex, "x", func(r *report.Report) { r.Wait.Deadline = at(c.deadline) }, 2)
		d, found := detect(t, first, s.stuck(2, 4, 5, taskspan.WaitMutex, "y", nil, 1))
		require.Empty(t, found)
		d.Apply(s.beat(7, 1, 2), at(7))
		found, _ = d.Evaluate(at(7))
		require.Len(t, found, c.want, "deadline at %v", c.deadline)
	}
}

// Since when a holder has held is a proof only if the holder says so. Otherwise it is known
// from the first report on.
func TestAHolderProvesNothingFromBeforeItTookTheLock(t *testing.T) {
	for _, c := range []struct {
		name   string
		taken  []float64 // by each holder; below 0: unknown
		proved bool
	}{
		{"before both waits", []float64{0.25, 0.5}, true},
		{"one at the end of the other wait", []float64{0.5, 3}, true},
		{"one after the other wait was seen last", []float64{0.5, 3.1}, false},
		{"one at an unknown time", []float64{0.5, -1}, false},
		{"the other one at an unknown time", []float64{-1, 0.5}, false},
	} {
		s := newSpeaker("a")
		// It was seen last at 3 s; the other one is seen first at 4 s.
		first := s.stuck(1, 1, 3, taskspan.WaitMutex, "x", nil, 2)
		second := s.stuck(2, 0, 4, taskspan.WaitRWMutexWrite, "y", func(r *report.Report) {
			r.Wait.Holders = []report.Holder{held(1), held(3)}
			for i, sec := range c.taken {
				if sec >= 0 {
					r.Wait.Holders[i].Since = at(sec)
				}
			}
		})
		_, found := detect(t, first, second)
		require.Equal(t, c.proved, len(found) == 1, c.name)
	}
}
