//go:build !noinspect

package inspect

import (
	"testing"
	"time"
)

func TestCostMeter(t *testing.T) {
	var m costMeter
	for _, test := range []struct {
		spent time.Duration
		cpu   time.Duration
		share float64
		used  time.Duration
	}{
		{0, time.Second, 0, time.Second},
		{20 * time.Millisecond, 2 * time.Second, 0.02, time.Second},
		{20 * time.Millisecond, 3 * time.Second, 0, time.Second},
		{5 * time.Second, 4 * time.Second, 1, time.Second}, // a measurement is off: never above all
		{5 * time.Second, 4 * time.Second, 0, 0},           // the process did nothing
	} {
		share, used := m.read(int64(test.spent), test.cpu)
		if share != test.share || used != test.used {
			t.Errorf("spent %v of %v: share %v of %v, want %v of %v", test.spent, test.cpu, share, used, test.share, test.used)
		}
	}
}

// The cost of tasks is measured, by timing some of them.
func TestTasksAreMeasured(t *testing.T) {
	ins, _ := newSeen(t)
	const n = 100 * measuredTasks
	for range n {
		_, task := ins.Begin(t.Context(), "x")
		task.End(nil)
	}
	if ins.overhead.spentNS.Load() == 0 {
		t.Errorf("%d tasks cost nothing", n)
	}
	ins.lookAtOverhead()
	if processCPU() > 0 && ins.overheadShare() <= 0 {
		t.Errorf("the share is %v", ins.overheadShare())
	}
}

func TestSpentOnTaskIsBounded(t *testing.T) {
	ins := new(Inspector)
	ins.spentOnTask(time.Hour)
	if got := time.Duration(ins.overhead.spentNS.Load()); got != longestMeasured*measuredTasks {
		t.Errorf("one task that was suspended counts %v", got)
	}
}
