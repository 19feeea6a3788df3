package fleet

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/internal/report"
)

// deploy is a process with so many task names that says goodbye.
func deploy(table *Table, instance string, names int, when float64) {
	s := newSpeaker(instance)
	r := s.beat(at(when))
	r.Heartbeat.ByName = make(map[string]report.NameCounts)
	for i := range names {
		r.Heartbeat.ByName[fmt.Sprintf("%s %d", instance, i)] = report.NameCounts{Counts: report.Counts{Started: 3, Completed: 2}, Running: 1}
	}
	table.Apply(r, at(when))
	bye := s.beat(at(when + 1))
	bye.Heartbeat.Final, bye.Heartbeat.ByName = true, r.Heartbeat.ByName
	table.Apply(bye, at(when+1))
}

// The records of processes that are gone are bounded in names, too: the oldest go.
func TestNamesOfGoneProcessesAreBounded(t *testing.T) {
	table := NewTable(Limits{Processes: 1000, Tasks: 10, Waits: 10}, func(Event) {})
	const names = 200
	fit := MaxGoneNames / names
	for i := range fit {
		deploy(table, fmt.Sprint(i), names, float64(10*i))
	}
	require.Equal(t, fit*names, table.GoneNames())
	require.Zero(t, table.Counters().ProcessesGone)
	for i := range 3 {
		deploy(table, fmt.Sprint("one more ", i), names, float64(10*(fit+i)))
	}
	_, gone, _, _ := table.Sizes()
	require.Equal(t, fit, gone)
	require.EqualValues(t, 3, table.Counters().ProcessesGone)
	require.NotContains(t, table.processes, newSpeaker("2").process)
	require.Contains(t, table.processes, newSpeaker("3").process)
	table.check(t)
}

// Records end after a day, for what is older than that is refused, and not before.
func TestRecordsOfGoneProcessesEnd(t *testing.T) {
	table := NewTable(Limits{Processes: 10, Tasks: 10, Waits: 10}, func(Event) {})
	deploy(table, "a", 5, 0)
	deploy(table, "b", 7, 100)
	size := func(when float64) [2]int {
		table.Advance(at(when))
		table.check(t)
		_, gone, _, _ := table.Sizes()
		return [2]int{gone, table.GoneNames()}
	}
	day := goneFor.Seconds()
	require.Equal(t, [2]int{2, 12}, size(day+1))
	require.Equal(t, [2]int{1, 7}, size(day+2))
	require.Equal(t, [2]int{0, 0}, size(day+102))
	require.Empty(t, table.processes)
	require.Empty(t, table.newest)
	require.Zero(t, table.Counters().ProcessesGone, "none made room for another")
}
