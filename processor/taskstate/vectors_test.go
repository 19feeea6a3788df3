package taskstate

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/internal/view"
	"github.com/asyncinspect/asyncinspect/processor/taskstate/internal/metadata"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

const vectors = "../../testdata/protocol"

// scenario is a .want.json file; its README describes the fields.
type scenario struct {
	Says  string       `json:"says"`
	Post  []string     `json:"post"`
	Then  string       `json:"then"`
	Known []wantedTask `json:"tasks"`

	Running    int64 `json:"running"`
	Blocked    int64 `json:"blocked"`
	Deadlocked int64 `json:"deadlocked"`

	Started   float64 `json:"started"`
	Completed float64 `json:"completed"`
	Failed    float64 `json:"failed"`
	Cancelled float64 `json:"cancelled"`
	Lost      float64 `json:"lost"`

	Durations       float64 `json:"durations,omitempty"`
	DurationSeconds float64 `json:"duration_seconds,omitempty"`

	Processes    map[string]int                `json:"processes"`
	Reports      map[taskspan.ReportKind]int64 `json:"reports"`
	Dropped      map[string]int64              `json:"dropped"`
	Forwarded    int                           `json:"forwarded"`
	ClosingSpans int                           `json:"closing_spans"`
}

type wantedTask struct {
	ID     string         `json:"id"`
	Name   string         `json:"name"`
	State  taskspan.State `json:"state"`
	Reason string         `json:"reason,omitempty"`
	Waits  []wantedWait   `json:"waits"`
}

type wantedWait struct {
	ID       int64         `json:"id"`
	Revision int64         `json:"revision"`
	Kind     taskspan.Kind `json:"kind"`
	Resource string        `json:"resource"`
	Complete bool          `json:"complete"`
	Holders  int           `json:"holders"`

	Need     int64          `json:"need,omitempty"`
	Inferred bool           `json:"inferred,omitempty"`
	HeldBy   []wantedHolder `json:"held_by,omitempty"`
}

// wantedHolder is a holder of which a link tells more than its span, its acquisition and
// its place.
type wantedHolder struct {
	Task   string `json:"task"`
	Name   string `json:"name,omitempty"`
	Weight int64  `json:"weight,omitempty"`
	Ended  bool   `json:"ended,omitempty"`
}

// body reads a vector and moves its times to the present, as its README says.
func body(tb testing.TB, name string) ptrace.Traces {
	tb.Helper()
	raw, err := os.ReadFile(filepath.Join(vectors, name))
	require.NoError(tb, err)
	now := strconv.FormatInt(time.Now().Unix()/100, 10)
	raw = bytes.ReplaceAll(raw, []byte("17672256"), []byte(now))
	raw = bytes.ReplaceAll(raw, []byte("1700000000000000000"), []byte(now+"00000000000"))
	td, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(raw)
	require.NoError(tb, err, name)
	return td
}

// started makes a processor in front of a sink and starts it.
func started(tb testing.TB, cfg *Config) (*taskState, *consumertest.TracesSink) {
	tb.Helper()
	sink := &consumertest.TracesSink{}
	p, err := newProcessor(processortest.NewNopSettings(metadata.Type), cfg, sink)
	require.NoError(tb, err)
	require.NoError(tb, p.Start(context.Background(), componenttest.NewNopHost()))
	return p, sink
}

func defaultConfig() *Config { return createDefaultConfig().(*Config) }

func TestProtocolVectors(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(vectors, "*.want.json"))
	require.NoError(t, err)
	used := make(map[string]bool)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".want.json"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			require.NoError(t, err)
			var want scenario
			decoder := json.NewDecoder(bytes.NewReader(raw))
			decoder.DisallowUnknownFields()
			require.NoError(t, decoder.Decode(&want))
			for _, name := range want.Post {
				used[name] = true
			}
			synctest.Test(t, func(t *testing.T) {
				got := play(t, want)
				got.Says, got.Post, got.Then = want.Says, want.Post, want.Then
				require.Equal(t, want, got, want.Says)
			})
		})
	}
	all, err := filepath.Glob(filepath.Join(vectors, "*.json"))
	require.NoError(t, err)
	for _, file := range all {
		if !strings.HasSuffix(file, ".want.json") {
			require.True(t, used[filepath.Base(file)], "no scenario posts %s", file)
		}
	}
}

// play posts the bodies and says what came of it.
func play(t *testing.T, s scenario) scenario {
	p, sink := started(t, defaultConfig())
	for _, name := range s.Post {
		require.NoError(t, p.ConsumeTraces(context.Background(), body(t, name)))
	}
	forwarded := sink.SpanCount()
	then, err := time.ParseDuration(s.Then)
	require.NoError(t, err)
	time.Sleep(then)
	synctest.Wait()

	got := scenario{
		Known: []wantedTask{}, Processes: map[string]int{}, Dropped: map[string]int64{},
		Reports: map[taskspan.ReportKind]int64{}, Forwarded: forwarded, ClosingSpans: sink.SpanCount() - forwarded,
	}
	summary := p.Summary()
	got.Running, got.Blocked = summary.Live[taskspan.Running], summary.Live[taskspan.Blocked]
	got.Deadlocked = summary.Live[taskspan.Deadlocked]
	got.Started = summary.Started
	got.Completed, got.Failed = summary.Ended[taskspan.Completed], summary.Ended[taskspan.Failed]
	got.Cancelled, got.Lost = summary.Ended[taskspan.Cancelled], summary.Ended[taskspan.Lost]
	for _, s := range p.Statistics().Tasks {
		got.Durations += s.Durations.Count
		got.DurationSeconds += s.Durations.Sum
	}
	for status, n := range summary.Processes {
		got.Processes[status.String()] = n
	}
	for kind, n := range summary.Reports {
		if n > 0 {
			got.Reports[kind] = n
		}
	}
	for reason, n := range summary.Dropped {
		got.Dropped[reason.String()] = n
	}
	tasks, _ := p.Tasks(view.TaskQuery{})
	for _, task := range tasks {
		known := wantedTask{
			ID: taskText(task.ID), Name: task.Name, State: task.State, Reason: task.Reason, Waits: []wantedWait{},
		}
		for _, w := range task.Waits {
			wait := wantedWait{
				ID: w.ID, Revision: w.Revision, Kind: w.Kind, Resource: w.ResourceName, Complete: w.Complete, Holders: len(w.Holders),
				Need: w.Need, Inferred: w.Inferred,
			}
			for _, h := range w.Holders {
				held := wantedHolder{taskText(h.Task), h.TaskName, h.Weight, h.Ended}
				if held.Name != "" || held.Weight > 1 || held.Ended {
					wait.HeldBy = append(wait.HeldBy, held)
				}
			}
			known.Waits = append(known.Waits, wait)
		}
		got.Known = append(got.Known, known)
	}
	require.NoError(t, p.Shutdown(context.Background()))
	return got
}

func taskText(id report.TaskID) string {
	return hex.EncodeToString(id.Trace[:]) + "/" + hex.EncodeToString(id.Span[:])
}
