package taskstate

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/asyncinspect/asyncinspect/internal/report"
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
				want := view.Coverage{Reports: 7, Elsewhere: !expected}
				if expected {
					want.Unreported = []report.Process{{Service: "shop", Instance: "1", Epoch: epoch}}
				}
				require.Equal(t, want, p.Coverage())
			})
		})
	}
}
