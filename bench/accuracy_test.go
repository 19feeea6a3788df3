package bench

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/honeycombio/dynsampler-go"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/asyncinspect/asyncinspect/processor/adaptivesampler"
)

// How well samplers meet a budget. All run in a time of their own on the same stream.
// The table of the component's README is what this prints:
//
//	go -C bench test -run TestAccuracy . -accuracy
var accuracy = flag.Bool("accuracy", false, "print the tables of budget accuracy, for all loads")

// keeper is a sampler that meets a budget of spans each second.
type keeper interface {
	offer(key int, rnd *rand.Rand) // a trace of one span
	flush()                        // ten times a second
	kept() int
	stop()
}

var keepers = []struct {
	name  string
	start func(t *testing.T, goal int) keeper
}{
	{"adaptive_sampler", newOurs},
	{"EMA", func(t *testing.T, goal int) keeper {
		return newDynsampler(t, &dynsampler.EMAThroughput{GoalThroughputPerSec: goal})
	}},
	{"windowed", func(t *testing.T, goal int) keeper {
		return newDynsampler(t, &dynsampler.WindowedThroughput{GoalThroughputPerSec: float64(goal)})
	}},
}

// ours is the component, in a pipeline.
type ours struct {
	consumer.Traces
	shutdown func()
	batch    ptrace.Traces
	spans    ptrace.SpanSlice
	sum      int
}

func newOurs(t *testing.T, goal int) keeper {
	o := new(ours)
	next, err := consumer.NewTraces(func(_ context.Context, td ptrace.Traces) error {
		o.sum += td.SpanCount()
		return nil
	})
	require.NoError(t, err)
	factory := adaptivesampler.NewFactory()
	cfg := factory.CreateDefaultConfig()
	require.NoError(t, confmap.NewFromStringMap(map[string]any{
		"target": map[string]any{"spans_per_second": goal}, "min_rate": 0, "policies": []any{},
		"decision_delay": "1s", "trace_timeout": "5s",
	}).Unmarshal(cfg))
	p, err := factory.CreateTraces(t.Context(), processortest.NewNopSettings(factory.Type()), cfg, next)
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
	o.Traces, o.shutdown = p, func() { require.NoError(t, p.Shutdown(context.Background())) }
	o.fresh()
	return o
}

func (o *ours) fresh() {
	o.batch = ptrace.NewTraces()
	rs := o.batch.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", "s")
	o.spans = rs.ScopeSpans().AppendEmpty().Spans()
}

func (o *ours) offer(key int, rnd *rand.Rand) {
	s := o.spans.AppendEmpty()
	var id pcommon.TraceID
	binary.BigEndian.PutUint64(id[:], rnd.Uint64())
	binary.BigEndian.PutUint64(id[8:], rnd.Uint64())
	s.SetTraceID(id)
	s.SetName(fmt.Sprint("root ", key))
}

func (o *ours) flush() {
	_ = o.ConsumeTraces(context.Background(), o.batch)
	o.fresh()
}

func (o *ours) kept() int { return o.sum }
func (o *ours) stop()     { o.shutdown() }

// dynamic is a sampler of the library that Refinery and adaptive_tail_sampling decide
// with, with its defaults: an integer rate for each key, by the counts of intervals
// before. A key that it does not know is kept.
type dynamic struct {
	dynsampler.Sampler
	sum int
}

func newDynsampler(t *testing.T, s dynsampler.Sampler) keeper {
	require.NoError(t, s.Start())
	return &dynamic{Sampler: s}
}

func (d *dynamic) offer(key int, rnd *rand.Rand) {
	if rnd.IntN(max(1, d.GetSampleRate(fmt.Sprint("root ", key)))) == 0 {
		d.sum++
	}
}

func (*dynamic) flush()      {}
func (d *dynamic) kept() int { return d.sum }
func (d *dynamic) stop()     { _ = d.Stop() }

// drive offers a load for each second, and returns what was kept in each.
func drive(t *testing.T, start func(*testing.T, int) keeper, goal, keys int, perSecond []int) (kept []int) {
	synctest.Test(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(7, 7))
		k := start(t, goal)
		defer k.stop()
		for _, n := range perSecond {
			before := k.kept()
			for tenth := range 10 {
				for range n*(tenth+1)/10 - n*tenth/10 {
					k.offer(rnd.IntN(keys), rnd)
				}
				k.flush()
				time.Sleep(100 * time.Millisecond)
				synctest.Wait()
			}
			kept = append(kept, k.kept()-before)
		}
	})
	return kept
}

func constant(n, seconds int) []int {
	load := make([]int, seconds)
	for i := range load {
		load[i] = n
	}
	return load
}

func sum(of []int) (total int) {
	for _, n := range of {
		total += n
	}
	return total
}

// In the steady state a sampler keeps what it was asked for, at any load and with any
// number of keys.
func TestAccuracyOfTheBudget(t *testing.T) {
	const goal, warm = 300, 60
	keys, loads := []int{5, 500}, []float64{1.67}
	if *accuracy {
		keys, loads = []int{1, 5, 50, 500, 10_000}, []float64{1.67, 10, 100}
	}
	table := newTable("keys", "load / goal", keepers[0].name, keepers[1].name, keepers[2].name)
	for _, k := range keys {
		for _, times := range loads {
			row := []any{k, fmt.Sprintf("%gx", times)}
			for _, sampler := range keepers {
				kept := drive(t, sampler.start, goal, k, constant(int(goal*times), warm+20))
				achieved := float64(sum(kept[warm:])) / (20 * goal)
				row = append(row, fmt.Sprintf("%.3f", achieved))
				if sampler.name == "adaptive_sampler" {
					require.InDelta(t, 1, achieved, 0.02, "%d keys, %gx", k, times)
				}
			}
			table.row(row...)
		}
	}
	table.print()
}

// After a step in the load a sampler keeps no more than its burst above the budget.
func TestAccuracyAfterAStep(t *testing.T) {
	const goal, warm, burst = 100, 60, 2
	steps := []int{10}
	if *accuracy {
		steps = []int{10, 100}
	}
	table := newTable("step", "sampler", "kept above the budget, at most", "seconds until within 10 %")
	for _, times := range steps {
		for _, sampler := range keepers {
			load := append(constant(goal, warm), constant(goal*times, 90)...)
			kept := drive(t, sampler.start, goal, 10, load)[warm:]
			excess, worst, settled := 0, 0, 0
			for i, n := range kept {
				excess += n - goal
				worst = max(worst, excess)
				// Over ten seconds: each of them alone is a matter of luck.
				if i+10 <= len(kept) && math.Abs(float64(sum(kept[i:i+10]))/10/goal-1) > 0.1 {
					settled = i + 1
				}
			}
			after := fmt.Sprint(settled)
			if settled+10 > len(kept) {
				after = fmt.Sprint("more than ", len(kept)-10)
			}
			table.row(fmt.Sprint("x", times), sampler.name, fmt.Sprintf("%.1f s of budget", float64(worst)/goal), after)
			if sampler.name == "adaptive_sampler" {
				require.LessOrEqual(t, worst, burst*goal+1)
			}
		}
	}
	table.print()
}

// table prints Markdown.
type table struct{ lines []string }

func newTable(columns ...string) *table {
	return &table{[]string{
		"| " + strings.Join(columns, " | ") + " |", strings.Repeat("|---", len(columns)) + "|",
	}}
}

func (t *table) row(cells ...any) {
	line := "|"
	for _, c := range cells {
		line += fmt.Sprint(" ", c, " |")
	}
	t.lines = append(t.lines, line)
}

func (t *table) print() {
	if *accuracy {
		fmt.Fprintln(os.Stdout, strings.Join(t.lines, "\n")+"\n")
	}
}
