package taskstate

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/reporttest"
	"github.com/asyncinspect/asyncinspect/internal/view"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// sdkSpans are spans of a process of the SDK.
func sdkSpans(service string, epoch int64) ptrace.Traces {
	td := tasksOf(service, "order", 1, nil)
	attrs := td.ResourceSpans().At(0).Resource().Attributes()
	attrs.PutStr(taskspan.ServiceInstanceID, "1")
	attrs.PutInt(taskspan.ProcessEpoch, epoch)
	return td
}

// A process whose spans arrive without its reports is a gap, unless its reports are
// meant to go elsewhere. A process that reports is none, and neither is a service
// without the SDK.
func TestSpansWithoutReportsAreAGap(t *testing.T) {
	for name, expected := range map[string]bool{"expected": true, "elsewhere": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := defaultConfig()
				cfg.ExpectReports = expected
				p, _ := started(t, cfg)
				defer func() { require.NoError(t, p.Shutdown(context.Background())) }()
				epoch := time.Now().UnixNano()
				for i := range int64(7) {
					for _, td := range []ptrace.Traces{
						sdkSpans("shop", epoch), sdkSpans("bank", epoch+1), heartbeat("bank", "1", epoch+1, i+1, 9, 7), tasksOf("web", "GET /", 3, nil),
					} {
						require.NoError(t, p.ConsumeTraces(t.Context(), td))
					}
					time.Sleep(5 * time.Second)
				}
				want := view.Coverage{Since: time.Unix(0, epoch), Reports: 7, Elsewhere: !expected}
				if expected {
					want.Unreported = []report.Process{{Service: "shop", Instance: "1", Epoch: epoch}}
				}
				require.Equal(t, want, p.Coverage())
			})
		})
	}
}

// A lost process is counted once for each time that it falls silent; a goodbye and a new
// start are no loss. A service has a count from its first process on.
func TestLostProcessesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := started(t, defaultConfig())
		defer func() { require.NoError(t, p.Shutdown(context.Background())) }()
		epoch := time.Now().UnixNano()
		lost := func() map[string]int64 {
			counts := make(map[string]int64)
			for _, s := range p.Statistics().Services {
				counts[s.Service] = s.ProcessesLost
			}
			return counts
		}
		beat := func(service, instance string, epoch, sequence int64) {
			require.NoError(t, p.ConsumeTraces(t.Context(), heartbeat(service, instance, epoch, sequence, 0, 0)))
		}
		require.Empty(t, lost())
		beat("shop", "1", epoch, 1)
		beat("shop", "2", epoch, 1)
		beat("bank", "3", epoch, 1)
		beat("bank", "3", epoch+1, 1) // a new start of the same instance
		require.Equal(t, map[string]int64{"shop": 0, "bank": 0}, lost())
		sequence := int64(1)
		listening := func(seconds int) { // while another process reports
			for range seconds / 5 {
				time.Sleep(5 * time.Second)
				sequence++
				beat("mail", "4", epoch, sequence)
			}
		}
		listening(10)
		beat("bank", "3", epoch+1, 2)
		listening(10)
		require.Equal(t, map[string]int64{"shop": 2, "bank": 0, "mail": 0}, lost())
		beat("shop", "1", epoch, 2) // it is back
		require.Equal(t, map[string]int64{"shop": 2, "bank": 0, "mail": 0}, lost())
		listening(20)
		require.Equal(t, map[string]int64{"shop": 3, "bank": 1, "mail": 0}, lost())
	})
}

// How long the longest open wait has lasted, of those that are open now.
func TestTheLongestOpenWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := defaultConfig()
		cfg.MaxResources = 2
		p, _ := started(t, cfg)
		defer func() { require.NoError(t, p.Shutdown(context.Background())) }()
		process := report.Process{Service: "shop", Instance: "1", Epoch: time.Now().UnixNano()}
		sequence := int64(0)
		wait := func(id byte, lock string, ago time.Duration, open bool) {
			sequence++
			now := time.Now()
			require.NoError(t, p.ConsumeTraces(t.Context(), reporttest.Traces(&report.Report{
				Process: process, Sequence: sequence, Observed: now,
				Task: &report.Task{ID: report.TaskID{Trace: [16]byte{id}, Span: [8]byte{id}}, Name: "order", State: taskspan.Blocked, Start: now.Add(-time.Hour)},
				Wait: &report.Wait{
					ID: int64(id), Revision: 1, Open: open, Kind: taskspan.WaitMutex, ResourceID: lock, ResourceName: lock, Since: now.Add(-ago), Complete: true,
				},
			})))
		}
		longest := func() map[string]time.Duration {
			waits := make(map[string]time.Duration)
			for _, w := range p.Statistics().Waits {
				waits[w.Resource] = w.Longest
			}
			return waits
		}
		wait(1, "stock", 7*time.Minute, true)
		wait(2, "stock", 11*time.Minute, true)
		wait(3, "till", 3*time.Minute, true)
		wait(4, "past the limit", 5*time.Minute, true)
		wait(5, "past it, too", 13*time.Minute, true)
		require.Equal(t, map[string]time.Duration{"stock": 11 * time.Minute, "till": 3 * time.Minute, taskspan.OtherNames: 13 * time.Minute}, longest())
		merged := p.stats.resources.merged.Load()
		wait(2, "stock", 11*time.Minute, false)
		wait(3, "till", 3*time.Minute, false)
		require.Equal(t, map[string]time.Duration{"stock": 7 * time.Minute, "till": 0, taskspan.OtherNames: 13 * time.Minute}, longest())
		require.Equal(t, merged, p.stats.resources.merged.Load(), "reading counts nothing")
	})
}
