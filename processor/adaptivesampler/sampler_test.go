package adaptivesampler

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/asyncinspect/asyncinspect/internal/threshold"
)

var epoch = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// load makes traces.
type load struct {
	rnd *rand.Rand
}

func newLoad(seed uint64) *load { return &load{rand.New(rand.NewPCG(seed, 1))} }

func (l *load) trace() (id pcommon.TraceID) {
	binary.BigEndian.PutUint64(id[:8], l.rnd.Uint64())
	binary.BigEndian.PutUint64(id[8:], l.rnd.Uint64())
	return id
}

// add adds a trace of n spans below a service, its root last.
func (l *load) add(td ptrace.Traces, id pcommon.TraceID, service, name string, n int, edit func(i int, s ptrace.Span)) {
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", service)
	rs.SetSchemaUrl("https://opentelemetry.io/schemas/1.30.0")
	spans := rs.ScopeSpans().AppendEmpty()
	spans.Scope().SetName("scope of " + service)
	for i := range n {
		s := spans.Spans().AppendEmpty()
		s.SetTraceID(id)
		s.SetSpanID([8]byte{byte(i), byte(i >> 8), byte(i >> 16), 1})
		s.SetStartTimestamp(pcommon.NewTimestampFromTime(epoch))
		s.SetEndTimestamp(pcommon.NewTimestampFromTime(epoch.Add(time.Millisecond)))
		s.SetName("step")
		s.SetParentSpanID([8]byte{9, 9})
		if i == n-1 {
			s.SetName(name)
			s.SetParentSpanID(pcommon.SpanID{})
		}
		if edit != nil {
			edit(i, s)
		}
	}
}

// sim runs a sampler in a time of its own.
type sim struct {
	*sampler
	t    *testing.T
	now  time.Time
	kept []ptrace.Span
	tds  []ptrace.Traces
}

func newSim(t *testing.T, edit func(*Config)) *sim {
	t.Helper()
	cfg := defaultConfig()
	cfg.Policies, cfg.NumShards, cfg.Record = nil, 2, Record{}
	if edit != nil {
		edit(cfg)
	}
	require.NoError(t, cfg.Validate())
	limit, err := cfg.Memory.bytes()
	require.NoError(t, err)
	return &sim{sampler: newSampler(cfg, limit), t: t, now: epoch}
}

func (s *sim) consume(td ptrace.Traces) { s.take(s.ingest(td, s.now)) }

func (s *sim) take(out *output) {
	if out == nil {
		return
	}
	s.tds = append(s.tds, out.td)
	for _, rs := range out.td.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, span := range ss.Spans().All() {
				s.kept = append(s.kept, span)
			}
		}
	}
}

// second lets a second pass, and returns how many spans came out.
func (s *sim) second() int {
	before := len(s.kept)
	s.now = s.now.Add(time.Second)
	s.take(s.sampler.tick(s.now, false))
	return len(s.kept) - before
}

func (s *sim) drain() {
	s.take(s.sampler.tick(s.now, true))
	s.check()
}

// check holds the books against what there is.
func (s *sim) check() {
	s.t.Helper()
	var bytes, spans, traces int64
	batches := make(map[*batch]bool)
	for _, sh := range s.shards {
		before := traces
		for slot, t := range sh.all {
			require.Equal(s.t, slot, sh.index[t.trace])
			traces++
			spans += int64(t.spans)
			bytes += traceSize
			for g := range t.segments {
				batches[g.batch] = true
			}
		}
		require.EqualValues(s.t, traces-before, len(sh.index))
		require.EqualValues(s.t, sh.slots, len(sh.free)+len(sh.index))
	}
	for b := range batches {
		bytes += b.fixed
		refs, open := int32(0), int32(0)
		for i := range b.parts {
			p := &b.parts[i]
			if p.fate != gone {
				bytes += p.bytes
			}
			if p.fate == waiting {
				refs++
				open += p.spans
			}
		}
		require.Equal(s.t, refs, b.refs.Load())
		require.Equal(s.t, open, b.spans.Load())
	}
	require.Equal(s.t, bytes, s.bytes.Load(), "bytes")
	require.Equal(s.t, traces, s.sampler.pending.Load(), "pending traces")
	c := &s.counts
	out := c.late[0].Load() + c.late[1].Load() + spans
	for i := range outcomes {
		out += c.spans[i].Load()
	}
	require.Equal(s.t, c.spansIn.Load(), out, "each span has one outcome")
	require.EqualValues(s.t, len(s.kept), c.spans[kept].Load()+c.late[1].Load(), "spans that are kept come out")
}

// adjusted sums what the kept spans that match stand for.
func (s *sim) adjusted(match func(ptrace.Span) bool) (sum float64) {
	for _, span := range s.kept {
		if match(span) {
			sum += threshold.AdjustedCount(span.TraceState().AsRaw())
		}
	}
	return sum
}

func isRoot(s ptrace.Span) bool { return s.ParentSpanID().IsEmpty() }

// The budget is met in steady state, whatever the number of keys and the load.
func TestTheBudgetIsMet(t *testing.T) {
	for _, keys := range []int{1, 5, 50, 500, 10_000} {
		for _, times := range []float64{1.67, 10, 100} {
			const goal = 1000
			if keys == 10_000 && times < 100 {
				continue // fewer spans than keys
			}
			s := newSim(t, func(c *Config) { c.Target.SpansPerSecond, c.MinRate, c.TraceTimeout = goal, 0, 5*time.Second })
			l := newLoad(uint64(keys))
			total, seconds := 0, 20
			if times == 100 {
				seconds = 6
			}
			for second := range seconds + 3 {
				td := ptrace.NewTraces()
				for range int(goal * times / 4) {
					l.add(td, l.trace(), "s", fmt.Sprint("root ", l.rnd.IntN(keys)), 4, nil)
				}
				s.consume(td)
				if n := s.second(); second >= 3 {
					total += n
				}
			}
			achieved := float64(total) / float64(goal*seconds)
			require.InDelta(t, 1, achieved, 0.02, "%d keys, %gx", keys, times)
			s.drain()
			require.Zero(t, s.bytes.Load())
		}
	}
}

// After a step nothing overshoots: what comes at once is at most the burst.
func TestAStepIsNoOvershoot(t *testing.T) {
	for _, times := range []int{10, 100} {
		const goal = 100
		s := newSim(t, func(c *Config) { c.Target.SpansPerSecond, c.MinRate = goal, 0 })
		l := newLoad(1)
		var sent []int
		for second := range 30 {
			n := goal
			if second >= 10 {
				n *= times
			}
			td := ptrace.NewTraces()
			for range n / 2 {
				l.add(td, l.trace(), "s", "root", 2, nil)
			}
			s.consume(td)
			sent = append(sent, s.second())
		}
		for from := range sent {
			sum := 0
			for to := from; to < len(sent); to++ {
				sum += sent[to]
				require.LessOrEqual(t, sum, goal*(to-from+1)+2*goal+2, "from %d to %d: the burst is two seconds and a trace", from, to)
			}
		}
	}
}

func TestEveryKeyStaysWithinItsRates(t *testing.T) {
	rare := 0.5
	s := newSim(t, func(c *Config) {
		c.Target.SpansPerSecond, c.MinRate, c.MaxRate = 50, 0.01, 0.4
		c.Policies = []Policy{{Name: "vip", Type: PolicyAttribute, Attribute: Attribute{Key: "tenant", Values: []string{"a"}}, MinRate: &rare}}
	})
	l := newLoad(2)
	for range 20 {
		td := ptrace.NewTraces()
		for i := range 2000 {
			l.add(td, l.trace(), "s", fmt.Sprint("root", i%7), 1, func(_ int, sp ptrace.Span) {
				if i%20 == 0 {
					sp.Attributes().PutStr("tenant", "a")
				}
			})
		}
		s.consume(td)
		s.second()
	}
	require.True(t, s.budget.Load().Infeasible, "the floors alone are more than the budget")
	for _, span := range s.kept {
		p := 1 / threshold.AdjustedCount(span.TraceState().AsRaw())
		_, vip := span.Attributes().Get("tenant")
		low, high := 0.01, 0.4
		if vip {
			low, high = 0.5, 0.5
		}
		require.GreaterOrEqual(t, p, low-1e-9)
		require.LessOrEqual(t, p, high+1e-9)
	}
}

var unbiasedRuns = flag.Int("runs", 400, "runs of TestCountsAreUnbiased")

// Per key the adjusted counts add up to the truth, over many runs, with a budget that
// cuts, memory that is short and shedding all at once.
func TestCountsAreUnbiased(t *testing.T) {
	const traces = 120
	runs := float64(*unbiasedRuns)
	var sums, squares [3]float64
	var truth [3]float64
	for run := range uint64(*unbiasedRuns) {
		s := newSim(t, func(c *Config) { c.Target.SpansPerSecond, c.MinRate, c.Memory.LimitMiB = 40, 0, 1 })
		s.limit = 250_000
		s.shedding.Store(threshold.Of(0.8))
		l := newLoad(run)
		var perKey [3]float64
		for part := range 3 {
			td := ptrace.NewTraces()
			for i := range traces {
				key := i % 10 / 4 // 4:4:2
				l.add(td, l.trace(), "s", fmt.Sprint("root", key), 1+key*3, nil)
				if run == 0 && part >= 0 {
					truth[key]++
				}
			}
			s.consume(td)
			s.second()
			s.check()
		}
		for range 4 {
			s.second()
		}
		s.drain()
		for key := range perKey {
			perKey[key] = s.adjusted(func(sp ptrace.Span) bool { return isRoot(sp) && sp.Name() == fmt.Sprint("root", key) })
			sums[key] += perKey[key]
			squares[key] += perKey[key] * perKey[key]
		}
		require.NotZero(t, s.counts.traces[evicted].Load()+s.counts.traces[shed].Load())
	}
	for key := range truth {
		mean := sums[key] / runs
		sigma := math.Sqrt((squares[key]/runs - mean*mean) / runs)
		require.InDelta(t, truth[key], mean, 4*sigma, "key %d", key)
		require.Less(t, sigma, truth[key]/5, "the test is too weak")
	}
}

// The same test finds an estimator that is biased: one that goes on after the first
// trace that does not fit, which favours small ones.
func TestABiasedEstimatorIsFound(t *testing.T) {
	biased := func(due []candidate, budget float64) (keep []int, level float64) {
		order := make([]int, len(due))
		for i := range order {
			order[i] = i
		}
		slices.SortFunc(order, func(a, b int) int { return int(math.Copysign(1, due[a].u-due[b].u)) })
		level = 1
		for _, i := range order {
			if budget -= due[i].cost[0]; budget < 0 {
				budget += due[i].cost[0]
				continue
			}
			keep, level = append(keep, i), due[i].u
		}
		return keep, level
	}
	rnd := rand.New(rand.NewPCG(5, 5))
	const runs = 4000
	var honest, wrong, sumHonest, sumWrong float64
	for range runs {
		due := make([]candidate, 50)
		for i := range due {
			due[i] = candidate{u: rnd.Float64(), key: "k", cost: cost{float64(1 + i%5*4), 0, 1}}
		}
		a := allocator{max: 1, strict: true, allocation: Fair, maxKeys: 10}
		a.share(due, cost{100, math.Inf(1), math.Inf(1)})
		for _, c := range due {
			if c.u < c.p {
				sumHonest += 1 / c.p
			}
		}
		keep, level := biased(due, 100)
		for range keep {
			sumWrong += 1 / level
		}
	}
	honest, wrong = sumHonest/runs, sumWrong/runs
	require.InDelta(t, 50, honest, 1.5)
	require.Greater(t, math.Abs(wrong-50), 4.0)
}

func TestATraceIsKeptIfItsRandomnessReachesItsThreshold(t *testing.T) {
	s := newSim(t, func(c *Config) { c.Target.SpansPerSecond, c.MinRate = 100, 0 })
	l := newLoad(3)
	for range 10 {
		td := ptrace.NewTraces()
		for i := range 500 {
			l.add(td, l.trace(), "s", "root", 2, func(_ int, sp ptrace.Span) {
				switch i % 4 {
				case 1: // has been sampled at 1/2, if that can be
					if threshold.Randomness(sp.TraceID()) >= threshold.Total/2 {
						sp.TraceState().FromRaw("ot=th:8,a=b")
					}
				case 2:
					sp.TraceState().FromRaw("ot=rv:ffffffffffffff")
				case 3:
					sp.TraceState().FromRaw("garbage;;ot=th:zz,=")
				}
			})
		}
		s.consume(td)
		s.second()
	}
	s.drain()
	require.NotEmpty(t, s.kept)
	explicit := 0
	for _, span := range s.kept {
		state := threshold.Read(span.TraceState().AsRaw())
		r := threshold.Randomness(span.TraceID())
		if state.Explicit {
			explicit++
			r = state.Randomness
		}
		require.True(t, state.Sampled)
		require.GreaterOrEqual(t, r, state.Threshold)
		if len(span.TraceState().AsRaw()) > 3 && span.TraceState().AsRaw()[len(span.TraceState().AsRaw())-3:] == "a=b" {
			require.GreaterOrEqual(t, state.Threshold, uint64(threshold.Total/2), "it never falls")
		}
	}
	require.NotZero(t, explicit)
}

// Errors come out as long as they alone fit, however short memory is for the rest.
func TestErrorsSurviveAnOverload(t *testing.T) {
	s := newSim(t, func(c *Config) { c.Policies, c.Target.SpansPerSecond = defaultPolicies(), 100 })
	s.limit = 1 << 20
	l := newLoad(4)
	errors := 0
	for range 30 {
		td := ptrace.NewTraces()
		for i := range 400 {
			l.add(td, l.trace(), "s", "root", 4, func(j int, sp ptrace.Span) {
				sp.Attributes().PutStr("some.attribute", "with a value of some length")
				if i%40 == 0 && j == 1 {
					errors++
					sp.Status().SetCode(ptrace.StatusCodeError)
				}
			})
		}
		s.consume(td)
		require.LessOrEqual(t, s.bytes.Load(), s.limit)
		s.second()
	}
	s.drain()
	got := 0
	for _, span := range s.kept {
		if span.Status().Code() == ptrace.StatusCodeError {
			got++
		}
	}
	require.Equal(t, errors, got)
	require.NotZero(t, s.counts.traces[evicted].Load())
	require.Zero(t, s.counts.traces[evictedBad].Load())
}

func TestWhenErrorsAloneAreTooMuchTheyAreCounted(t *testing.T) {
	s := newSim(t, func(c *Config) { c.Policies = defaultPolicies() })
	s.limit = 200_000
	l := newLoad(4)
	for range 5 {
		td := ptrace.NewTraces()
		for range 500 {
			l.add(td, l.trace(), "s", "root", 1, func(_ int, sp ptrace.Span) { sp.Status().SetCode(ptrace.StatusCodeError) })
		}
		s.consume(td)
		require.LessOrEqual(t, s.bytes.Load(), s.limit)
	}
	s.drain()
	require.NotZero(t, s.counts.traces[evictedBad].Load())
}

func TestLateSpansFollowTheDecision(t *testing.T) {
	s := newSim(t, func(c *Config) { c.Target.SpansPerSecond, c.MinRate = 50, 0 })
	l := newLoad(5)
	var ids []pcommon.TraceID
	td := ptrace.NewTraces()
	for range 500 {
		ids = append(ids, l.trace())
		l.add(td, ids[len(ids)-1], "s", "root", 1, nil)
	}
	s.consume(td)
	for range 4 {
		s.second()
	}
	before := make(map[pcommon.TraceID]string)
	for _, span := range s.kept {
		before[span.TraceID()] = span.TraceState().AsRaw()
	}
	s.kept = nil
	late := ptrace.NewTraces()
	for _, id := range ids {
		l.add(late, id, "s", "late", 1, func(_ int, sp ptrace.Span) { sp.SetParentSpanID([8]byte{1}) })
	}
	s.consume(late)
	require.Len(t, s.kept, len(before))
	for _, span := range s.kept {
		require.Equal(t, before[span.TraceID()], span.TraceState().AsRaw())
	}
	require.EqualValues(t, len(ids)-len(before), s.counts.late[0].Load())
}

// Whatever the shards and the batches, the result is the same.
func TestTheResultDoesNotDependOnShardsOrBatches(t *testing.T) {
	run := func(shards, pieces int) []string {
		s := newSim(t, func(c *Config) { c.NumShards, c.Target.SpansPerSecond, c.MinRate = shards, 100, 0 })
		l := newLoad(6)
		for range 5 {
			td := ptrace.NewTraces()
			for i := range 300 {
				l.add(td, l.trace(), fmt.Sprint("s", i%3), fmt.Sprint("root", i%5), 3, nil)
			}
			split := make([]ptrace.Traces, pieces)
			for i := range split {
				split[i] = ptrace.NewTraces()
			}
			n := 0
			for _, rs := range td.ResourceSpans().All() {
				for _, span := range rs.ScopeSpans().At(0).Spans().All() {
					to := split[n%pieces].ResourceSpans().AppendEmpty()
					rs.Resource().CopyTo(to.Resource())
					span.CopyTo(to.ScopeSpans().AppendEmpty().Spans().AppendEmpty())
					n++
				}
			}
			for _, piece := range split {
				s.consume(piece)
			}
			s.second()
		}
		for range 4 {
			s.second()
		}
		s.drain()
		var result []string
		for _, span := range s.kept {
			result = append(result, fmt.Sprint(span.TraceID(), span.SpanID(), span.TraceState().AsRaw()))
		}
		slices.Sort(result)
		return result
	}
	want := run(1, 1)
	require.NotEmpty(t, want)
	require.Equal(t, want, run(7, 1))
	require.Equal(t, want, run(3, 5))
}

// What comes out is what came in, but for the tracestate and what is recorded.
func TestThePayloadIsUnchanged(t *testing.T) {
	s := newSim(t, func(c *Config) { c.Target.SpansPerSecond, c.Record = 1e6, Record{Policy: true, Rate: true} })
	l := newLoad(7)
	td := ptrace.NewTraces()
	l.add(td, l.trace(), "s", "root", 3, func(i int, sp ptrace.Span) {
		sp.Attributes().PutInt("i", int64(i))
		sp.SetDroppedAttributesCount(3)
		sp.Events().AppendEmpty().SetName("event")
		sp.Links().AppendEmpty().SetTraceID([16]byte{1})
		sp.SetFlags(0x101)
	})
	scope := td.ResourceSpans().At(0).ScopeSpans().At(0)
	scope.SetSchemaUrl("scope schema")
	scope.Scope().Attributes().PutStr("a", "b")
	scope.Scope().SetDroppedAttributesCount(2)
	want := ptrace.NewTraces()
	td.CopyTo(want)
	s.consume(td)
	s.drain()
	got := s.tds[0]
	for _, span := range got.ResourceSpans().At(0).ScopeSpans().At(0).Spans().All() {
		require.Equal(t, "ot=th:0", span.TraceState().AsRaw())
		span.TraceState().FromRaw("")
		if isRoot(span) {
			rate, _ := span.Attributes().Get(attributeRate)
			require.EqualValues(t, 1, rate.Double())
			span.Attributes().Remove(attributeRate)
		}
	}
	marshal := ptrace.JSONMarshaler{}
	wantJSON, _ := marshal.MarshalTraces(want)
	gotJSON, _ := marshal.MarshalTraces(got)
	require.JSONEq(t, string(wantJSON), string(gotJSON))
}

// Two instances with rates of their own keep sets of which one contains the other.
func TestTwoInstancesKeepNestedSets(t *testing.T) {
	keptBy := func(rate float64) map[pcommon.TraceID]bool {
		s := newSim(t, func(c *Config) { c.SamplingRate, c.Target = &rate, Target{} })
		l := newLoad(8)
		td := ptrace.NewTraces()
		for range 1000 {
			l.add(td, l.trace(), "s", "root", 1, nil)
		}
		s.consume(td)
		s.drain()
		ids := make(map[pcommon.TraceID]bool)
		for _, span := range s.kept {
			ids[span.TraceID()] = true
		}
		return ids
	}
	small, large := keptBy(0.1), keptBy(0.3)
	require.InDelta(t, 100, len(small), 40)
	for id := range small {
		require.True(t, large[id])
	}
}

// Workloads that have broken others.
func TestWorkloads(t *testing.T) {
	for name, run := range map[string]func(s *sim, l *load){
		"a trace of 50,000 spans": func(s *sim, l *load) {
			td := ptrace.NewTraces()
			l.add(td, l.trace(), "s", "root", 50_000, nil)
			s.consume(td)
		},
		"an attribute of a megabyte": func(s *sim, l *load) {
			td := ptrace.NewTraces()
			l.add(td, l.trace(), "s", "root", 3, func(_ int, sp ptrace.Span) { sp.Attributes().PutStr("big", string(make([]byte, 1<<20))) })
			s.consume(td)
		},
		"roots that never come": func(s *sim, l *load) {
			for range 40 {
				td := ptrace.NewTraces()
				l.add(td, l.trace(), "s", "root", 3, func(_ int, sp ptrace.Span) { sp.SetParentSpanID([8]byte{1}) })
				s.consume(td)
				s.second()
			}
			require.LessOrEqual(s.t, s.sampler.pending.Load(), int64(31), "they are decided after the timeout")
		},
		"ten thousand traces interleaved": func(s *sim, l *load) {
			td := ptrace.NewTraces()
			spans := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans()
			ids := make([]pcommon.TraceID, 10_000)
			for i := range ids {
				ids[i] = l.trace()
			}
			for i := range 3 {
				for _, id := range ids {
					sp := spans.AppendEmpty()
					sp.SetTraceID(id)
					if i < 2 {
						sp.SetParentSpanID([8]byte{1})
					}
				}
			}
			s.consume(td)
		},
		"a million keys": func(s *sim, l *load) {
			for range 5 {
				td := ptrace.NewTraces()
				for range 5000 {
					l.add(td, l.trace(), "s", fmt.Sprint(l.rnd.Uint64()), 1, nil)
				}
				s.consume(td)
				s.second()
			}
			require.LessOrEqual(s.t, len(s.budget.Load().Groups), s.cfg.MaxKeys+1)
		},
		"sequential trace ids": func(s *sim, l *load) {
			td := ptrace.NewTraces()
			for i := range 2000 {
				var id pcommon.TraceID
				binary.BigEndian.PutUint64(id[8:], uint64(i+1))
				l.add(td, id, "s", "root", 1, nil)
			}
			s.consume(td)
		},
		"nothing": func(s *sim, _ *load) { s.consume(ptrace.NewTraces()) },
		"times from nowhere": func(s *sim, l *load) {
			td := ptrace.NewTraces()
			l.add(td, l.trace(), "s", "root", 3, func(i int, sp ptrace.Span) {
				sp.SetStartTimestamp(math.MaxUint64)
				sp.SetEndTimestamp(pcommon.Timestamp(i))
			})
			s.consume(td)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSim(t, func(c *Config) { c.Policies, c.Memory.MaxTraceMiB = defaultPolicies(), 2 })
			run(s, newLoad(9))
			s.check()
			for range 4 {
				s.second()
				s.check()
			}
			s.drain()
			require.Zero(t, s.bytes.Load())
			require.Zero(t, s.sampler.pending.Load())
		})
	}
}

// Traces that wait for long do not hold on to the batches that they came in.
func TestBatchesAreCompacted(t *testing.T) {
	s := newSim(t, func(c *Config) { c.Target.SpansPerSecond, c.MinRate = 10, 0 })
	l := newLoad(10)
	for range 20 {
		td := ptrace.NewTraces()
		l.add(td, l.trace(), "s", "root", 1, func(_ int, sp ptrace.Span) { sp.SetParentSpanID([8]byte{1}) })
		for range 999 {
			l.add(td, l.trace(), "s", "root", 1, nil)
		}
		s.consume(td)
		s.second()
		s.check()
	}
	for range 3 {
		s.second()
	}
	require.EqualValues(t, 20, s.sampler.pending.Load())
	require.Less(t, s.bytes.Load(), int64(60_000), "20 spans are left of 20,000")
	require.NotZero(t, s.counts.compacted.Load())
	s.drain()
}

func TestTheOverheadControllerSettles(t *testing.T) {
	rate := 1.0
	for range 50 {
		rate = nextRate(rate, 0.10*rate, 0.02) // the cost is in proportion to what is taken in
	}
	require.InDelta(t, 0.2, rate, 0.03)
	for range 100 {
		rate = nextRate(rate, 0.005*rate, 0.02)
	}
	require.EqualValues(t, 1, rate)
}
