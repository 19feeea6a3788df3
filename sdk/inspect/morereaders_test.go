//go:build !noinspect

package inspect

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// crowd lets n goroutines hold a read lock of a lock of their own until the test ends.
func crowd(t testing.TB, n int) *RWMutex {
	t.Helper()
	m := new(RWMutex)
	var in, out sync.WaitGroup
	release := make(chan struct{})
	in.Add(n)
	for range n {
		out.Go(func() {
			m.RLock()
			in.Done()
			<-release
			m.RUnlock()
		})
	}
	in.Wait()
	t.Cleanup(func() {
		close(release)
		out.Wait()
	})
	return m
}

// However many read locks are held elsewhere, a writer's wait knows its reader.
func TestReadersAreKnownAmongManyOthers(t *testing.T) {
	before := moreReaderCount.Load()
	t.Run("", func(t *testing.T) {
		watched(t)
		n := 4 * readerBuckets * bucketSlots
		if !testing.Short() {
			n = 20_000
		}
		crowd(t, n)
		if full := moreReaderCount.Load() - before; full < int64(n-readerBuckets*bucketSlots) {
			t.Fatalf("%d readers found no slot, want at least %d", full, n-readerBuckets*bucketSlots)
		}
		const rings = 20
		ctx, cancel := context.WithCancel(t.Context())
		var out sync.WaitGroup
		t.Cleanup(func() {
			cancel()
			out.Wait()
		})
		for range rings {
			// A read lock taken twice, around a writer.
			m := stage{used: true}.rwmutex()
			locked, again := make(chan struct{}), make(chan struct{})
			out.Go(func() {
				m.RLock()
				defer m.RUnlock()
				close(locked)
				<-again
				if m.RLockContext(ctx) == nil {
					m.RUnlock()
				}
			})
			<-locked
			out.Go(func() {
				if m.LockContext(ctx) == nil {
					m.Unlock()
				}
			})
			for deadline := time.Now().Add(30 * time.Second); m.gate.Load() == nil; runtime.Gosched() {
				if time.Now().After(deadline) {
					t.Fatal("a writer is not pending after 30 s")
				}
			}
			close(again)
		}
		var found []Deadlock
		for deadline := time.Now().Add(time.Minute); len(found) < rings; runtime.Gosched() {
			if found = Deadlocks(); time.Now().After(deadline) {
				t.Fatalf("%d of %d deadlocks are found after a minute", len(found), rings)
			}
		}
		for _, d := range found {
			if d.Size != 2 || d.Confidence != taskspan.Certain || strings.Count(d.String(), "morereaders_test.go:") < 4 {
				t.Errorf("want two that wait, certain, and the places of both waits and both holds: %v", d)
			}
		}
	})
	if after := moreReaderCount.Load(); after != before {
		t.Errorf("%d readers are left behind", after-before)
	}
}

// fullBucket takes all slots in the bucket of a goroutine for another lock.
func fullBucket(t *testing.T, goroutine uint64) {
	t.Helper()
	key := newReaderKey()
	for {
		slot, ok := bucketOf(goroutine).enter(key)
		if !ok {
			return
		}
		t.Cleanup(func() { slot.key().CompareAndSwap(uint64(key), 0) })
	}
}

func TestReadersBeyondTheSlots(t *testing.T) {
	const limit = 3
	was := moreReaderLimit.Swap(moreReaderCount.Load() + limit)
	t.Cleanup(func() { moreReaderLimit.Store(was) })
	ins := quietInspector(t)
	defaultInspector.Store(ins)
	t.Cleanup(func() { defaultInspector.Store(nil) })
	base := moreReaderCount.Load()

	var m, other RWMutex
	actors := make([]*actor, limit+1)
	for i := range actors {
		actors[i] = newActor(t)
		fullBucket(t, actors[i].id)
	}
	writer := newActor(t)
	for _, step := range []struct {
		what       string
		actor      int
		lock       *RWMutex
		read       bool // take it, and not release it
		all, known int  // readers of m
		untracked  int64
		count      int64 // over all locks
		dropped    int64
	}{
		{"a first one", 0, &m, true, 1, 1, 0, 1, 0},
		{"the same again", 0, &m, true, 2, 1, 0, 1, 0},
		{"a second one", 1, &m, true, 3, 2, 0, 2, 0},
		{"one of another lock", 2, &other, true, 3, 2, 0, 3, 0},
		{"one too many", 3, &m, true, 4, 2, 1, 3, 1},
		{"the same, which is known", 1, &m, true, 5, 2, 1, 3, 1},
		{"and gone", 1, &m, false, 4, 2, 1, 3, 1},
		{"and gone for good", 1, &m, false, 3, 1, 1, 2, 1},
		{"the first one, once", 0, &m, false, 2, 1, 1, 2, 1},
		{"for which there is room again", 1, &m, true, 3, 2, 1, 3, 1},
		{"the one too many leaves", 3, &m, false, 2, 2, 0, 3, 1},
		{"the other lock", 2, &other, false, 2, 2, 0, 2, 1},
		{"the second one", 1, &m, false, 1, 1, 0, 1, 1},
		{"the first one", 0, &m, false, 0, 0, 0, 0, 1},
	} {
		if step.read {
			actors[step.actor].does(step.lock.RLock)
		} else {
			actors[step.actor].does(step.lock.RUnlock)
		}
		known := 0
		if more := m.more.Load(); more != nil {
			var set holderSet
			more.holders(&set)
			known = len(set.list)
			for _, h := range set.list {
				if h.place == 0 || h.generation == 0 || h.goroutine != actors[0].id && h.goroutine != actors[1].id {
					t.Errorf("%s: a holder is %+v", step.what, h)
				}
			}
		}
		free := false
		writer.does(func() {
			if free = m.TryLock(); free {
				m.Unlock()
			}
		})
		got := []int64{int64(known), m.untracked.Load(), moreReaderCount.Load() - base, ins.drops[dropReaders].Load()}
		want := []int64{int64(step.known), step.untracked, step.count, step.dropped}
		if !slices.Equal(got, want) || free != (step.all == 0) {
			t.Errorf("%s: known, untracked, in all and dropped are %v, want %v; free %v, want %v",
				step.what, got, want, free, step.all == 0)
		}
	}
	if l := ins.drops.list(); !slices.Contains(l, "readers=1") {
		t.Errorf("dropped is %v, want readers=1 among them", l)
	}
}

// A map does not shrink, so one that has been large is not kept.
func TestReadersBeyondTheSlotsLeaveLittleBehind(t *testing.T) {
	base := moreReaderCount.Load()
	var r moreReaders
	small, large := r.shardOf(1), r.shardOf(2)
	for i := range uint64(smallMap + 1) {
		r.enter(1+i%smallMap*moreReaderShards, 0)
		r.enter(2+i*moreReaderShards, 0)
	}
	if small.most != smallMap || large.most != smallMap+1 || moreReaderCount.Load() != base+2*smallMap+1 {
		t.Fatalf("%d and %d goroutines, %d in all", small.most, large.most, moreReaderCount.Load()-base)
	}
	for range smallMap + 1 {
		r.leaveAny()
		r.leaveAny()
	}
	if small.of == nil || large.of != nil || len(small.of) > 0 || moreReaderCount.Load() != base {
		t.Errorf("the small map is %v, the large one %v, %d in all; want empty, nil and 0", small.of, large.of, moreReaderCount.Load()-base)
	}
	if _, ok := r.leaveAny(); ok {
		t.Error("somebody left who was not there")
	}
}

// A read lock beyond the slots can be released by another goroutine, too, and its kind
// is then known to be handed over.
func TestReadersBeyondTheSlotsAreHandedOver(t *testing.T) {
	forgetHolds(t)
	base := moreReaderCount.Load()
	taker, releaser := newActor(t), newActor(t)
	fullBucket(t, taker.id)
	m := NewRWMutex(unique("beyond the slots"))
	taker.does(m.RLock)
	taker.does(m.RLock)
	releaser.does(m.RUnlock)
	if m.TryLock() {
		t.Fatal("locked for writing beside a reader")
	}
	if !m.res.Load().handedOver() || !m.misnamed.Load() {
		t.Error("the hand-over is not known")
	}
	taker.does(m.RUnlock)
	if !m.TryLock() || m.misnamed.Load() {
		t.Fatal("not free in the end, or misnamed without a reader")
	}
	m.Unlock()
	if n := moreReaderCount.Load() - base; n != 0 {
		t.Errorf("%d are left behind", n)
	}
}

// A report has room for a few holders. Where all have to leave, those that are stuck
// are among them and say it all; where some have to, the rest would count.
func TestFewHoldersOfMany(t *testing.T) {
	r := new(reporter)
	at := map[uint64]nanos{40: 7, 12: 5, 33: 9}
	for g, start := range at {
		r.views = append(r.views, waitView{goroutine: g, start: start})
	}
	holders := func(n int) (l []holder) {
		for i := range n {
			l = append(l, holder{goroutine: uint64(n - i), generation: 3})
		}
		return l
	}
	for _, one := range []struct {
		n    int
		need int64
		want []uint64 // the first ones
		all  bool
	}{
		{taskspan.MaxHolders, 0, []uint64{32, 31, 30, 29}, true}, // as they are
		{taskspan.MaxHolders, 2, []uint64{32, 31, 30, 29}, true},
		{taskspan.MaxHolders + 1, 0, []uint64{12, 33, 1, 2}, true},
		{50, 0, []uint64{12, 40, 33, 1}, true},
		{50, 1, []uint64{12, 40, 33, 1}, false},
	} {
		some, all := r.few(holders(one.n), one.need)
		var got []uint64
		for _, h := range some[:4] {
			got = append(got, h.goroutine)
		}
		if len(some) != min(one.n, taskspan.MaxHolders) || all != one.all || !slices.Equal(got, one.want) {
			t.Errorf("%d holders, need %d: %d begin with %v, all %v; want %v, %v",
				one.n, one.need, len(some), got, all, one.want, one.all)
		}
	}
}

// The few are the first of all in order, however the list comes, and the list is left as
// it is.
func TestFewHoldersAreTheFirstOfAll(t *testing.T) {
	r := &reporter{views: []waitView{{goroutine: 61, start: 9}, {goroutine: 17, start: 4}, {goroutine: 77, start: 9}}}
	want := []string{"17.2", "17.5", "61.3", "77.1"} // those that are stuck, then by goroutine and generation
	all := []holder{{goroutine: 77, generation: 1}, {goroutine: 17, generation: 5}, {goroutine: 61, generation: 3}, {goroutine: 17, generation: 2}}
	for g := uint64(2); len(all) < 50; g += 4 {
		all = append(all, holder{goroutine: g, generation: 8}, holder{goroutine: g, generation: 7})
		want = append(want, fmt.Sprintf("%d.7", g), fmt.Sprintf("%d.8", g))
	}
	want = want[:taskspan.MaxHolders]
	random := rand.New(rand.NewPCG(3, 5))
	for range 40 {
		random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		before := slices.Clone(all)
		some, _ := r.few(all, 0)
		var got []string
		for _, h := range some {
			got = append(got, fmt.Sprintf("%d.%d", h.goroutine, h.generation))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
		if !slices.Equal(all, before) {
			t.Fatal("the list has changed")
		}
	}
	// What an earlier reading says of them is what it says of their goroutines.
	some, _ := r.few(all, 0)
	other := holder{goroutine: 17, generation: 1}
	earlier := append(slices.Clone(all), other, holder{goroutine: 1000})
	these := ofThese(earlier, some)
	for _, h := range append(slices.Clone(some), other) {
		if !slices.Contains(these, h) {
			t.Errorf("%+v is missing", h)
		}
	}
	if slices.ContainsFunc(these, func(h holder) bool { return h.goroutine == 1000 || h.goroutine == 90 }) {
		t.Errorf("%+v has others", these)
	}
}

// Two readings are equal if they have the same holders, each as often, in any order.
func TestEqualSets(t *testing.T) {
	a, b, c := holder{goroutine: 2, generation: 5, weight: 3}, holder{goroutine: 4, generation: 7, weight: 1}, holder{task: new(Task), generation: 6}
	base := []holder{a, b, c}
	with := func(change func(*holder)) []holder {
		l := slices.Clone(base)
		change(&l[1])
		return l
	}
	many := func(last holder) (l []holder) {
		for i := range 40 {
			l = append(l, holder{goroutine: uint64(100 + i), generation: 1})
		}
		return append(l, last)
	}
	for _, one := range []struct {
		name string
		x, y holderSet
		want bool
	}{
		{"the same", holderSet{list: base, need: 2, complete: true}, holderSet{list: []holder{c, a, b}, need: 2, complete: true}, true},
		{"a place is no difference", holderSet{list: base}, holderSet{list: with(func(h *holder) { h.place = 9 })}, true},
		{"need", holderSet{list: base, need: 2}, holderSet{list: base, need: 3}, false},
		{"complete", holderSet{list: base, complete: true}, holderSet{list: base}, false},
		{"fewer", holderSet{list: base}, holderSet{list: base[:2]}, false},
		{"goroutine", holderSet{list: base}, holderSet{list: with(func(h *holder) { h.goroutine = 3 })}, false},
		{"generation", holderSet{list: base}, holderSet{list: with(func(h *holder) { h.generation = 8 })}, false},
		{"weight", holderSet{list: base}, holderSet{list: with(func(h *holder) { h.weight = 2 })}, false},
		{"task", holderSet{list: base}, holderSet{list: with(func(h *holder) { h.task = new(Task) })}, false},
		{"twice the same against two", holderSet{list: []holder{a, a}}, holderSet{list: []holder{a, b}}, false},
		{"two against twice the same", holderSet{list: []holder{a, b}}, holderSet{list: []holder{b, b}}, false},
		{"many", holderSet{list: many(a)}, holderSet{list: many(a)}, true},
		{"many but one", holderSet{list: many(a)}, holderSet{list: many(b)}, false},
	} {
		if got := equalSets(one.x, one.y); got != one.want {
			t.Errorf("%s: %v, want %v", one.name, got, one.want)
		}
	}
}

// What a writer's wait costs who looks at it, beside what it has always cost.
func BenchmarkReadersOfALock(b *testing.B) {
	for _, one := range []struct {
		name       string
		own, other int
	}{
		{"1 reader", 1, 0},
		{"1 reader, 100,000 of another lock", 1, 100_000},
		{"100,000 readers", 100_000, 0},
	} {
		b.Run(one.name, func(b *testing.B) {
			crowd(b, one.other)
			m := crowd(b, one.own)
			var set holderSet
			for b.Loop() {
				set.reset()
				addReaders(&set, readerKey(m.key.Load()))
				m.more.Load().holders(&set)
			}
			if len(set.list) != one.own {
				b.Errorf("%d readers, want %d", len(set.list), one.own)
			}
		})
	}
}

// What a stuck writer costs a scan, which reads its holders twice.
func BenchmarkScanOfAStuckWriter(b *testing.B) {
	for _, n := range []int{1, 1_000, 100_000} {
		b.Run(fmt.Sprint(n, " readers"), func(b *testing.B) {
			quietInspector(b)
			m := crowd(b, n)
			ctx, cancel := context.WithCancel(context.Background())
			writer := make(chan uint64, 1)
			var out sync.WaitGroup
			out.Go(func() {
				writer <- goidOfTest()
				_ = m.LockContext(ctx)
			})
			defer out.Wait()
			defer cancel()
			id := <-writer
			r, one := &reporter{waits: make(map[uint64]*toldWait)}, new(reading)
			for m.gate.Load() == nil {
				runtime.Gosched()
			}
			one.view, _ = waitOf(id)
			r.views = []waitView{one.view}
			for b.Loop() {
				one.first.reset()
				one.view.holders(&one.first)
				one.second.reset()
				one.view.holders(&one.second)
				r.agree(one)
			}
			if len(one.links) != min(n, taskspan.MaxHolders) || !one.whole {
				b.Errorf("%d holders, all of them: %v", len(one.links), one.whole)
			}
		})
	}
}

// What a reader without a slot costs.
func BenchmarkRLockBeyondTheSlots(b *testing.B) {
	crowd(b, 20_000)
	var m RWMutex
	benchmarkAlone(b, m.RLock, m.RUnlock)
}

// A writer that comes after readers looks through the table.
func BenchmarkWriteLockAfterReaders(b *testing.B) {
	for _, other := range []int{0, 100_000} {
		b.Run(map[bool]string{true: "alone", false: "100,000 readers elsewhere"}[other == 0], func(b *testing.B) {
			crowd(b, other)
			var m RWMutex
			for b.Loop() {
				m.RLock()
				m.RUnlock()
				m.passed.Store(true)
				m.Lock()
				m.Unlock()
			}
		})
	}
}

// Who reads the readers of a lock keeps no more than a part of them from entering and
// leaving at a time.
func TestReadingTheReadersHoldsOneShardAtATime(t *testing.T) {
	freshLooks(t)
	const busy = 9
	r := new(moreReaders)
	for g := range uint64(3 * moreReaderShards) {
		if !r.enter(g+1, 5) {
			t.Fatal("there is no room")
		}
	}
	t.Cleanup(func() {
		for g := range uint64(3 * moreReaderShards) {
			r.leave(g + 1)
		}
	})
	r[busy].mu.Lock()
	var set holderSet
	reader := newActor(t)
	done := make(chan struct{})
	reader.starts(func() { defer close(done); r.holders(&set) })
	waitFor(t, "the reading to come to the busy shard", func() bool {
		seen, _ := looks.take(map[uint64]bool{reader.id: true}, lookAtMost)
		return seen != nil && seen.of[reader.id].State == "sync.Mutex.Lock"
	})
	for i := range r {
		if i == busy {
			continue
		}
		if !r[i].mu.TryLock() {
			t.Errorf("shard %d is held while shard %d is waited for", i, busy)
			continue
		}
		r[i].mu.Unlock()
	}
	r[busy].mu.Unlock()
	within(t, done, "the reading")
	if len(set.list) != 3*moreReaderShards {
		t.Errorf("%d readers, want %d", len(set.list), 3*moreReaderShards)
	}
}
