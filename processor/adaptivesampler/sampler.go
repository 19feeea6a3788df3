package adaptivesampler

import (
	"encoding/binary"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/asyncinspect/asyncinspect/internal/threshold"
)

// sampler is the core: pending traces in shards, and the decisions. It has no clock
// (time is an argument), no goroutine, no log, and calls nobody.
type sampler struct {
	cfg      *Config
	rules    *rules
	shards   []*shard
	limit    int64 // bytes
	maxTrace int64
	counts   counts
	splitter sync.Pool

	bytes   atomic.Int64 // accounted
	pending atomic.Int64 // traces
	// eviction and shedding are thresholds that a new trace has to reach, unless a
	// policy protects it.
	eviction, shedding atomic.Uint64
	relieving          sync.Mutex // one at a time makes room

	// The rest is used by one tick at a time.
	ticking   sync.Mutex
	allocator allocator
	due       []candidate
	touched   []*batch
	lastTick  time.Time
	carry     cost
	minute    window
	extra     atomicCost // kept beside the ticks: late spans and large traces
	rates     atomic.Pointer[map[string]float64]
	budget    atomic.Pointer[budgetState]
}

// budgetState is what the last tick could spend, and did.
type budgetState struct {
	Target, Spent cost
	Infeasible    bool
	Groups        []group
	PerSecond     cost // spent, of the last minute
}

// atomicCost is a cost that many add to.
type atomicCost [len(cost{})]atomic.Int64

func (c *atomicCost) add(spans int32, bytes int64, traces int64) {
	c[0].Add(int64(spans))
	c[1].Add(bytes)
	c[2].Add(traces)
}

func (c *atomicCost) take() (t cost) {
	for i := range c {
		t[i] = float64(c[i].Swap(0))
	}
	return t
}

func newSampler(cfg *Config, limit int64) *sampler {
	s := &sampler{cfg: cfg, rules: compile(cfg), limit: limit, maxTrace: int64(cfg.Memory.MaxTraceMiB) << 20}
	n := cfg.NumShards
	if n == 0 {
		n = runtime.GOMAXPROCS(0)
	}
	for range n {
		s.shards = append(s.shards, newShard(cfg.DecisionCache, n))
	}
	s.splitter.New = func() any { return newSplitter(s.rules) }
	lowest, highest := cfg.MinRate, cfg.MaxRate
	if cfg.SamplingRate != nil {
		lowest, highest = *cfg.SamplingRate, *cfg.SamplingRate
	}
	s.allocator = allocator{min: lowest, max: highest, allocation: cfg.Allocation, strict: cfg.Enforcement == Strict, maxKeys: cfg.MaxKeys}
	s.rates.Store(&map[string]float64{})
	s.budget.Store(new(budgetState))
	return s
}

func shardOf(trace pcommon.TraceID, shards int) int {
	return int(binary.LittleEndian.Uint64(trace[4:12]) * 0x9e3779b97f4a7c15 >> 32 % uint64(shards))
}

func (s *sampler) shardOf(trace pcommon.TraceID) *shard {
	return s.shards[shardOf(trace, len(s.shards))]
}

// ingest takes a batch. What it returns, if anything, goes on at once: spans that come
// late, of traces that have been kept.
func (s *sampler) ingest(td ptrace.Traces, now time.Time) *output {
	split := s.splitter.Get().(*splitter)
	defer s.splitter.Put(split)
	b := split.split(td)
	s.counts.spansIn.Add(int64(len(b.places)))
	s.bytes.Add(b.fixed + b.bytes)
	in := arrival{batch: b, now: now.UnixNano(), late: split.late[:0]}
	// Each shard is locked once for all that the batch has for it.
	split.sort(b, len(s.shards))
	for n, sh := range s.shards {
		parts := split.of(n)
		if len(parts) == 0 {
			continue
		}
		sh.mu.Lock()
		for _, i := range parts {
			s.take(sh, &in, i)
		}
		sh.mu.Unlock()
	}
	s.letGo(b)
	if len(in.late) > 0 {
		s.takeOut(b, in.late, s.output(&in))
	}
	split.late = in.late
	if b.held {
		s.ease(b)
	} else {
		split.recycle(b)
	}
	if s.bytes.Load() > s.limit {
		s.relieve()
	}
	return in.out
}

// arrival is a batch that is being taken in.
type arrival struct {
	batch *batch
	now   int64
	out   *output   // what goes on at once
	late  []keeping // what goes on at once, too
}

func (s *sampler) output(in *arrival) *output {
	if in.out == nil {
		in.out = newOutput(s.cfg.Record)
	}
	return in.out
}

// take adds a part to its trace, with the shard locked.
func (s *sampler) take(sh *shard, in *arrival, i int32) {
	b := in.batch
	p := &b.parts[i]
	var t *pending
	slot, known := sh.index[p.trace]
	if known {
		t = sh.at(slot)
	} else {
		if bar, was, decided := sh.decided.get(p.trace); decided {
			s.late(in, i, bar, was)
			return
		}
		incoming, randomness := sampledBefore(p.trace, p.state)
		protected := s.rules.protects(p.bits | s.rules.latencyBits(p.end.AsTime().Sub(p.start.AsTime())))
		eviction, shedding := s.eviction.Load(), s.shedding.Load()
		if bar := max(eviction, shedding); !protected && randomness < bar {
			why := shed
			if randomness < eviction {
				why = evicted
			}
			s.refuse(sh, b, p, why)
			return
		}
		slot, t = sh.open(p, incoming, randomness, in.now+int64(s.cfg.TraceTimeout))
		if !protected {
			t.floor = max(eviction, shedding)
		}
		s.pending.Add(1)
		s.bytes.Add(traceSize)
	}
	if t.spans == 0 || p.rooted && !t.rooted {
		// The root knows best with which threshold the trace came.
		incoming, randomness := sampledBefore(p.trace, p.state)
		t.incoming, t.randomness = max(t.incoming, incoming), randomness
		if t.incoming > t.randomness {
			t.incoming = 0
		}
	}
	b.held = true
	t.add(segment{b, i})
	t.spans += p.spans
	t.bytes += p.bytes
	t.bits |= p.bits
	t.start, t.end = min(t.start, p.start), max(t.end, p.end)
	t.protected = t.protected || s.rules.protects(t.bits|s.rules.latencyBits(t.end.AsTime().Sub(t.start.AsTime())))
	if p.rooted && !t.rooted {
		t.rooted, t.key = true, p.key
		sh.byRoot.push(deadline{slot, t.generation, in.now + int64(s.cfg.DecisionDelay)})
	}
	if t.bytes > s.maxTrace && !t.deciding {
		s.decideNow(sh, slot, s.output(in))
	}
}

// late handles spans of a trace that has been decided.
func (s *sampler) late(in *arrival, i int32, bar uint64, was bool) {
	p := &in.batch.parts[i]
	if !was {
		s.counts.late[0].Add(int64(p.spans))
		s.drop(in.batch, p)
		return
	}
	s.counts.late[1].Add(int64(p.spans))
	s.extra.add(p.spans, p.bytes, 0)
	p.became(gone)
	in.late = append(in.late, keeping{i, bar, nil})
}

// refuse drops the first part of a trace that finds no room.
func (s *sampler) refuse(sh *shard, b *batch, p *part, why outcome) {
	s.counts.count(why, p.spans)
	sh.decided.dropped.put(p.trace, 0)
	s.drop(b, p)
}

// moved lets go of a part that has been moved out of its batch, with its shard locked.
func (s *sampler) moved(b *batch, p *part) {
	p.became(gone)
	s.bytes.Add(-p.bytes)
	b.spans.Add(-p.spans)
	s.letGo(b)
}

// drop lets go of a part, with its shard locked. It stays in its batch, and accounted.
func (s *sampler) drop(b *batch, p *part) {
	p.became(garbage)
	b.garbage.Add(p.bytes)
	b.spans.Add(-p.spans)
	s.letGo(b)
}

// letGo ends a reference to a batch.
func (s *sampler) letGo(b *batch) {
	if b.refs.Add(-1) == 0 {
		s.bytes.Add(-b.fixed - b.garbage.Load())
	}
}

// discard lets go of a pending trace, and of its parts by letGo, with its shard locked.
func (s *sampler) discard(sh *shard, slot int32, why outcome, letGo func(*batch, *part)) {
	t := sh.at(slot)
	s.counts.count(why, t.spans)
	sh.decided.dropped.put(t.trace, 0)
	for g := range t.segments {
		letGo(g.batch, g.of())
	}
	s.forget(sh, slot)
}

func (s *sampler) forget(sh *shard, slot int32) {
	s.bytes.Add(-traceSize)
	s.pending.Add(-1)
	sh.close(slot)
}

// decideNow decides about a trace that has become too large to wait, by the rate that
// its key had in the last tick.
func (s *sampler) decideNow(sh *shard, slot int32, out *output) {
	s.counts.early.Add(1)
	t := sh.at(slot)
	spans := t.spans
	c := s.candidate(0, slot, t)
	switch {
	case c.forced:
		c.p = c.policy.rate
	case !c.dropped:
		c.p = s.allocator.max
		if rate, known := (*s.rates.Load())[t.key]; known {
			c.p = rate
		}
	}
	take := func(g segment, bar uint64) {
		p := g.of()
		s.extra.add(0, p.bytes, 0)
		out.keep(g.batch, p, bar, c.policy)
		s.moved(g.batch, p)
	}
	if s.settle(sh, &c, take) == kept {
		s.extra.add(spans, 0, 1)
	}
}

// stuckPolicy keeps the traces that a detector has something to say about.
var stuckPolicy = policy{name: "detector", override: true, rate: 1}

// stuck keeps a trace, whatever else is decided: a detector has a span in it.
func (s *sampler) stuck(trace pcommon.TraceID) {
	sh := s.shardOf(trace)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if slot, pending := sh.index[trace]; pending {
		t := sh.at(slot)
		t.stuck, t.protected = true, true
	} else if _, _, decided := sh.decided.get(trace); !decided {
		sh.decided.kept.put(trace, 0)
	}
}

// candidate is what a decision about a trace needs to know.
func (s *sampler) candidate(shard, slot int32, t *pending) candidate {
	policy := s.rules.first(t.bits | s.rules.latencyBits(t.end.AsTime().Sub(t.start.AsTime())))
	key := t.key
	if !t.rooted {
		g := t.first
		resource := g.batch.td.ResourceSpans().At(int(g.of().resource)).Resource().Attributes()
		key = string(s.rules.key(nil, resource, ptrace.Span{}, false))
		t.key = key
	}
	c := candidate{
		shard: shard, slot: slot, cost: cost{float64(t.spans), float64(t.bytes), 1}, key: key, policy: policy,
		u: 1 - float64(t.randomness)/threshold.Total,
	}
	if t.stuck {
		c.policy = &stuckPolicy
	}
	if c.policy != nil {
		c.forced, c.dropped = c.policy.override, c.policy.drop
	}
	return c
}

// guard is added to thresholds that were computed: a float64 has fewer bits than they.
const guard = 16

// settle carries out a decision, with the shard locked: the trace is kept if and only
// if its randomness reaches the threshold that it is kept with. take is given its parts
// then.
func (s *sampler) settle(sh *shard, c *candidate, take func(g segment, bar uint64)) outcome {
	t := sh.at(c.slot)
	if c.dropped && !s.cfg.DryRun {
		s.discard(sh, c.slot, dropPolicy, s.drop)
		return dropPolicy
	}
	bar := threshold.Of(c.p)
	if bar > 0 {
		bar = min(bar+guard, threshold.Total)
	}
	bar = max(bar, t.incoming, t.floor)
	if t.randomness < bar && !s.cfg.DryRun {
		s.discard(sh, c.slot, dropped, s.drop)
		return dropped
	}
	how := kept
	if t.randomness < bar {
		how, bar = dropped, t.incoming // dry run: it goes on as it came
		if c.dropped {
			how = dropPolicy
		}
	}
	s.counts.count(how, t.spans)
	sh.decided.kept.put(t.trace, bar)
	for g := range t.segments {
		take(g, bar)
	}
	s.forget(sh, c.slot)
	return how
}

// tick decides about the traces that are due and returns what is kept; nil: nothing.
// With all set, every pending trace is due.
func (s *sampler) tick(now time.Time, all bool) *output {
	s.ticking.Lock()
	defer s.ticking.Unlock()
	s.counts.ticks.Add(1)
	s.due = s.due[:0]
	for i, sh := range s.shards {
		s.gather(int32(i), sh, now, all)
	}
	budget, target, extra := s.grant(now)
	infeasible := s.allocator.share(s.due, budget)
	out := newOutput(s.cfg.Record)
	spent := extra
	next := 0
	for i, sh := range s.shards {
		sh.mu.Lock()
		for ; next < len(s.due) && s.due[next].shard == int32(i); next++ {
			c := &s.due[next]
			t := sh.at(c.slot)
			c.cost = cost{float64(t.spans), float64(t.bytes), 1} // spans may have come since
			for g := range t.segments {
				s.touch(g.batch)
			}
			take := func(g segment, bar uint64) {
				g.of().became(gone)
				g.batch.keeping = append(g.batch.keeping, keeping{g.part, bar, c.policy})
			}
			if s.settle(sh, c, take) == kept {
				spent.add(c.cost)
				if !c.forced {
					s.allocator.groups[c.group].kept += c.cost[0]
				}
			}
		}
		sh.mu.Unlock()
	}
	s.account(now, budget, target, spent, extra, infeasible)
	for _, b := range s.touched {
		s.takeOut(b, b.keeping, out)
		b.touched, b.keeping = false, b.keeping[:0]
		s.ease(b)
	}
	clear(s.touched)
	s.touched = s.touched[:0]
	s.relax()
	if out.spans == 0 {
		return nil
	}
	return out
}

// touch notes that a tick decides about a part of a batch.
func (s *sampler) touch(b *batch) {
	if !b.touched {
		b.touched = true
		s.touched = append(s.touched, b)
	}
}

// takeOut takes what is kept out of a batch. Nobody else touches these parts: they
// belong to no pending trace any more. Where at least half of a batch is kept and the
// rest is dropped, the batch itself goes on.
func (s *sampler) takeOut(b *batch, keep []keeping, out *output) {
	var spans int32
	var bytes int64
	for _, k := range keep {
		spans += b.parts[k.part].spans
		bytes += b.parts[k.part].bytes
	}
	switch n := int32(len(keep)); {
	case n == 0:
		return
	case int(spans)*2 >= len(b.places) && b.refs.CompareAndSwap(n, 0):
		out.passOn(b, keep)
		bytes += b.fixed + b.garbage.Load()
	default:
		for _, k := range keep {
			out.keep(b, &b.parts[k.part], k.bar, k.policy)
		}
		if b.refs.Add(-n) == 0 {
			bytes += b.fixed + b.garbage.Load()
		}
	}
	b.spans.Add(-spans)
	s.bytes.Add(-bytes)
}

// gather collects the due traces of a shard. They stay in it, for spans of theirs may
// come until they are settled.
func (s *sampler) gather(n int32, sh *shard, now time.Time, all bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	at := now.UnixNano()
	if all {
		at = math.MaxInt64
	}
	for _, queue := range []*fifo{&sh.byRoot, &sh.byStart} {
		for d, ok := queue.pop(at); ok; d, ok = queue.pop(at) {
			if t := sh.at(d.slot); sh.live(d) && !t.deciding {
				t.deciding = true
				s.due = append(s.due, s.candidate(n, d.slot, t))
			}
		}
	}
}

// grant returns what this tick may spend: its share of the targets, and what was left
// or overspent before. extra is what has been kept beside the ticks since the last.
func (s *sampler) grant(now time.Time) (budget, target, extra cost) {
	dt := s.cfg.DecisionInterval.Seconds()
	if !s.lastTick.IsZero() {
		dt = min(now.Sub(s.lastTick).Seconds(), 10*dt)
	}
	s.lastTick = now
	extra = s.extra.take()
	for i, perSecond := range s.targets() {
		if perSecond <= 0 {
			budget[i] = math.Inf(1)
			continue
		}
		target[i] = perSecond * max(dt, 0)
		budget[i] = target[i] + s.carry[i] - extra[i]
	}
	return budget, target, extra
}

func (s *sampler) targets() cost {
	return cost{s.cfg.Target.SpansPerSecond, s.cfg.Target.BytesPerSecond, s.cfg.Target.TracesPerSecond}
}

// account carries on what is left, at most a burst of it, and what was overspent, for
// as long as a burst.
func (s *sampler) account(now time.Time, budget, target, spent, extra cost, infeasible bool) {
	for i, perSecond := range s.targets() {
		if perSecond <= 0 {
			continue
		}
		most := perSecond * s.cfg.Burst.Seconds()
		s.carry[i] = max(-most, min(most, budget[i]-(spent[i]-extra[i])))
	}
	rates := make(map[string]float64, len(s.allocator.groups))
	for i := range s.allocator.groups {
		rates[s.allocator.groups[i].key] = s.allocator.groups[i].p
	}
	if len(rates) > 0 {
		s.rates.Store(&rates)
	}
	s.minute.add(now, spent)
	s.budget.Store(&budgetState{
		Target: target, Spent: spent, Infeasible: infeasible, Groups: slices.Clone(s.allocator.groups), PerSecond: s.minute.perSecond(now),
	})
}
