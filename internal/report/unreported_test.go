package report

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

func resourceOf(p Process) pcommon.Map {
	m := pcommon.NewMap()
	m.PutStr(taskspan.ServiceName, p.Service)
	m.PutStr(taskspan.ServiceInstanceID, p.Instance)
	m.PutInt(taskspan.ProcessEpoch, p.Epoch)
	return m
}

// A process counts as unreported once its spans have arrived for long enough without a
// report, and no longer than that.
func TestUnreportedProcesses(t *testing.T) {
	shop, bank := Process{"shop", "1", 5}, Process{"bank", "2", 7}
	at := func(seconds float64) time.Time { return now.Add(time.Duration(seconds * float64(time.Second))) }
	type step struct {
		at    float64
		spans []Process
		heard float64 // when the shop's last report came; 0: never
		lease time.Duration
		news  []Process
		list  []Process
	}
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"no report ever", []step{
			{at: 1, spans: []Process{shop}},
			{at: 20.9, spans: []Process{shop}},
			{at: 21, spans: []Process{shop}, news: []Process{shop}, list: []Process{shop}},
			{at: 22, spans: []Process{shop}, list: []Process{shop}}, // told once
			{at: 82, list: []Process{shop}},
			{at: 82.5}, // no span for more than a minute: forgotten
			{at: 83, spans: []Process{shop}},
		}},
		{"reports arrive", []step{
			{at: 1, spans: []Process{shop}, heard: 1, lease: 18 * time.Second},
			{at: 30, spans: []Process{shop}, heard: 29, lease: 18 * time.Second},
			{at: 60, spans: []Process{shop}, heard: 59, lease: 18 * time.Second},
		}},
		{"reports stop and come back", []step{
			{at: 1, spans: []Process{shop}, heard: 1, lease: 18 * time.Second},
			{at: 20, spans: []Process{shop}, heard: 1, lease: 18 * time.Second},
			{at: 22, spans: []Process{shop}, heard: 1, lease: 18 * time.Second, news: []Process{shop}, list: []Process{shop}},
			{at: 23, spans: []Process{shop}, heard: 22.5, lease: 18 * time.Second},
			{at: 42.9, spans: []Process{shop}, heard: 22.5, lease: 18 * time.Second},
			{at: 43, spans: []Process{shop}, heard: 22.5, lease: 18 * time.Second, news: []Process{shop}, list: []Process{shop}},
		}},
		{"long heartbeats", []step{
			{at: 1, spans: []Process{shop}, heard: 0.5, lease: 70 * time.Second},
			{at: 40, spans: []Process{shop}, heard: 0.5, lease: 70 * time.Second},
			{at: 70.9, spans: []Process{shop}, heard: 0.5, lease: 70 * time.Second},
			{at: 71, spans: []Process{shop}, heard: 0.5, lease: 70 * time.Second, news: []Process{shop}, list: []Process{shop}},
		}},
		{"the last spans of a process that has ended", []step{
			{at: 1, spans: []Process{shop}, heard: 1, lease: 18 * time.Second},
			{at: 3, spans: []Process{shop}, heard: 1, lease: 18 * time.Second},
			{at: 60, heard: 1, lease: 18 * time.Second},
		}},
		{"two processes", []step{
			{at: 2, spans: []Process{shop, bank}, heard: 2, lease: 18 * time.Second},
			{at: 22, spans: []Process{shop, bank}, heard: 21, lease: 18 * time.Second, news: []Process{bank}, list: []Process{bank}},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := Unreported{Limit: 2}
			for _, s := range c.steps {
				for _, p := range s.spans {
					u.Spans(resourceOf(p), at(s.at))
				}
				news := u.Check(at(s.at), func(p Process) (time.Time, time.Duration) {
					if p != shop || s.heard == 0 {
						return time.Time{}, 0
					}
					return at(s.heard), s.lease
				})
				require.Equal(t, s.news, news, "news at %v", s.at)
				require.Equal(t, s.list, u.List(), "list at %v", s.at)
			}
		})
	}
}

func TestUnreportedIgnoresOtherResources(t *testing.T) {
	u := Unreported{Limit: 9}
	plain := pcommon.NewMap()
	plain.PutStr(taskspan.ServiceName, "web")
	nameless := resourceOf(Process{"", "3", 9})
	for i := range 3 {
		u.Spans(plain, now.Add(time.Duration(i)*time.Minute/2))
		u.Spans(nameless, now.Add(time.Duration(i)*time.Minute/2))
	}
	require.Empty(t, u.Check(now.Add(time.Minute), func(Process) (time.Time, time.Duration) { return time.Time{}, 0 }))
	require.Zero(t, u.Refused())
}

// The table is bounded; when processes are forgotten there is room again.
func TestUnreportedIsBounded(t *testing.T) {
	u := Unreported{Limit: 3}
	never := func(Process) (time.Time, time.Duration) { return time.Time{}, 0 }
	process := func(i int) Process { return Process{Service: fmt.Sprint("s", i), Instance: "i", Epoch: 1} }
	for i := range 5 {
		u.Spans(resourceOf(process(i)), now)
		u.Spans(resourceOf(process(i)), now.Add(unreportedAfter))
	}
	require.Equal(t, int64(4), u.Refused())
	require.Len(t, u.Check(now.Add(unreportedAfter), never), 3)
	later := now.Add(unreportedAfter + spansForgotten + time.Second)
	require.Empty(t, u.Check(later, never))
	u.Spans(resourceOf(process(4)), later)
	u.Spans(resourceOf(process(4)), later.Add(unreportedAfter))
	require.Equal(t, []Process{process(4)}, u.Check(later.Add(unreportedAfter), never))
	require.Equal(t, int64(4), u.Refused())
}
