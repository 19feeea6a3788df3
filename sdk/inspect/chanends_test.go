//go:build !noinspect

package inspect

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// elsewhere runs f on a goroutine of its own.
func elsewhere(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
}

// blockedIn runs f, which blocks until its context is done, and returns what its wait says.
func blockedIn(t *testing.T, f func(context.Context)) (w waitView, set holderSet) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	id, done := make(chan uint64), make(chan struct{})
	go func() {
		defer close(done)
		id <- goidOfTest()
		f(ctx)
	}()
	goroutine := <-id
	waitFor(t, "the goroutine to wait", func() (ok bool) {
		w, ok = waitOf(goroutine)
		return ok
	})
	w.holders(&set)
	cancel()
	<-done
	return w, set
}

// A goroutine with an open end may use the channel in any way; any use by another one ends
// the expectation for good. Uses that find nothing to do count, too.
func TestUsesPastADeclaredEnd(t *testing.T) {
	watched(t)
	done := cancelled()
	type channel = *Chan[int]
	first := func(seq func(func(int) bool)) {
		for range seq {
			return
		}
	}
	senders := map[string]func(channel, *Sender[int]){
		"Send":            func(c channel, _ *Sender[int]) { _ = c.Send(done, 1) },
		"TrySend":         func(c channel, _ *Sender[int]) { c.TrySend(1) },
		"SendCase":        func(c channel, _ *Sender[int]) { _, _ = Select(done, SendCase(c, 1)) },
		"SendCase, last":  func(c channel, _ *Sender[int]) { _, _ = Select(done, DefaultCase(), SendCase(c, 1)) },
		"Sender.Send":     func(_ channel, s *Sender[int]) { _ = s.Send(done, 1) },
		"Sender.TrySend":  func(_ channel, s *Sender[int]) { s.TrySend(1) },
		"Sender.Case":     func(_ channel, s *Sender[int]) { _, _ = Select(done, s.Case(1)) },
		"Sender.Case, #2": func(_ channel, s *Sender[int]) { _, _ = Select(done, DefaultCase(), s.Case(1)) },
	}
	receivers := map[string]func(channel, *Receiver[int]){
		"Receive":             func(c channel, _ *Receiver[int]) { _, _ = c.Receive(done) },
		"TryReceive":          func(c channel, _ *Receiver[int]) { c.TryReceive() },
		"All":                 func(c channel, _ *Receiver[int]) { first(c.All(done)) },
		"ReceiveCase":         func(c channel, _ *Receiver[int]) { _, _ = Select(done, ReceiveCase(c, nil)) },
		"Receiver.Receive":    func(_ channel, r *Receiver[int]) { _, _ = r.Receive(done) },
		"Receiver.TryReceive": func(_ channel, r *Receiver[int]) { r.TryReceive() },
		"Receiver.All":        func(_ channel, r *Receiver[int]) { first(r.All(done)) },
		"Receiver.Case":       func(_ channel, r *Receiver[int]) { _, _ = Select(done, r.Case(nil)) },
	}
	type side struct {
		name string
		// open declares an end of the running goroutine; use is by whoever calls it.
		open func(channel) (use, shut func())
		// wait waits for somebody at that side.
		wait func(context.Context, channel)
	}
	var sides []side
	for name, use := range senders {
		sides = append(sides, side{name, func(c channel) (func(), func()) {
			s := c.Sender(t.Context())
			return func() { use(c, s) }, s.Close
		}, func(ctx context.Context, c channel) { drain(c); _, _ = c.receive(ctx) }})
	}
	for name, use := range receivers {
		sides = append(sides, side{name, func(c channel) (func(), func()) {
			r := c.Receiver(t.Context())
			return func() { use(c, r) }, r.Close
		}, func(ctx context.Context, c channel) { drain(c); c.trySend(1); _ = c.send(ctx, 1) }})
	}
	for _, side := range sides {
		for _, tt := range []struct {
			name string
			do   func(c channel, use, shut func())
			want bool
			past bool // the same for a use that is not through the end, if that is different
		}{
			{"by its goroutine", func(_ channel, use, _ func()) { use() }, true, true},
			{"by its goroutine, with another end closed", func(c channel, use, _ func()) {
				_, shut := side.open(c)
				shut()
				shut() // counts once
				use()
			}, true, true},
			{"by another goroutine", func(_ channel, use, _ func()) { elsewhere(use) }, false, false},
			{"by another goroutine with an end of its own", func(c channel, use, _ func()) {
				elsewhere(func() {
					_, shut := side.open(c)
					use()
					shut()
				})
			}, false, true},
			{"by another goroutine that has closed its end", func(c channel, use, _ func()) {
				elsewhere(func() {
					_, shut := side.open(c)
					shut()
					use()
				})
			}, false, false},
			{"by its goroutine, before and after another's", func(_ channel, use, _ func()) { use(); elsewhere(use); use() }, false, false},
			{"by its goroutine, once it has closed it", func(c channel, use, shut func()) {
				shut()
				elsewhere(func() { side.open(c) }) // stays open
				use()
			}, false, false},
		} {
			t.Run(side.name+" "+tt.name, func(t *testing.T) {
				want := tt.past
				if strings.Contains(side.name, "er.") { // Sender.Send and so on
					want = tt.want
				}
				c := NewChan[int](unique("ends"), 1)
				use, shut := side.open(c)
				if _, set := blockedIn(t, func(ctx context.Context) { side.wait(ctx, c) }); !set.complete {
					t.Fatalf("with an open end, the wait is %+v", set)
				}
				tt.do(c, use, shut)
				_, set := blockedIn(t, func(ctx context.Context) { side.wait(ctx, c) })
				if set.complete != want || len(set.list) == 0 {
					t.Errorf("the wait is %+v, want complete %t", set, want)
				}
				shut()
			})
		}
	}
}

func drain(c *Chan[int]) {
	for {
		if _, ok := c.tryReceive(); !ok {
			return
		}
	}
}

// Close by a goroutine that is expected to send is expected; by another one it shows that
// others than the declared ones end waits.
func TestCloseIsASend(t *testing.T) {
	c := NewChan[int]("close by a sender", 0)
	defer c.Sender(t.Context()).Close()
	c.Close()
	other := NewChan[int]("close by another", 0)
	defer other.Sender(t.Context()).Close()
	elsewhere(other.Close)
	var set holderSet
	if (*receiveSide[int])(c).holders(nil, &set); set.complete {
		t.Error("who receives from a closed channel waits for nobody")
	}
	late := other.Sender(t.Context()) // changes nothing
	defer late.Close()
	if c.senders.broken.Load() || !other.senders.broken.Load() {
		t.Errorf("broken %t and %t, want the second", c.senders.broken.Load(), other.senders.broken.Load())
	}
}

// The holders of a Select are those of all its cases, and complete if those of every case
// are that can ever be ready, in whatever order they stand.
func TestHoldersOfASelect(t *testing.T) {
	watched(t)
	var me uint64 = goidOfTest()
	sent, received := NewChan[int]("select sent", 0), NewChan[int]("select received", 0)
	defer sent.Sender(t.Context()).Close()
	defer received.Receiver(t.Context()).Close()
	var other uint64
	shut, opened := make(chan struct{}), make(chan struct{})
	go func() { // a second sender of the first channel
		defer sent.Sender(t.Context()).Close()
		other = goidOfTest()
		close(opened)
		<-shut
	}()
	<-opened
	defer close(shut)
	var none *Chan[int]
	unknown := NewChan[int]("select unknown", 0)
	known := map[string]Case{"a": ReceiveCase(sent, nil), "b": SendCase(received, 1)}
	nobody := map[string]Case{
		"u": ReceiveCase(unknown, nil), "v": SendCase(unknown, 1), "r": RawCase(make(chan int), nil), "s": RawSendCase(make(chan string), ""),
	}
	never := map[string]Case{"n": ReceiveCase(none, nil), "m": SendCase(none, 1), "z": RawCase[int](nil, nil)}
	for _, tt := range []struct {
		cases    string
		complete bool
		holders  []uint64
		name     string
	}{
		{"a", true, []uint64{me, other}, "select sent"},
		{"b", true, []uint64{me}, "select received"},
		{"ab", true, []uint64{me, me, other}, "select sent | select received"},
		{"ba", true, []uint64{me, me, other}, "select received | select sent"},
		{"au", false, []uint64{me, other}, "select sent | select unknown"},
		{"ua", false, []uint64{me, other}, "select unknown | select sent"},
		{"bua", false, []uint64{me, me, other}, "select received | select unknown | select sent"},
		{"vb", false, []uint64{me}, "select unknown | select received"},
		{"ra", false, []uint64{me, other}, "channel.receive of int in inspect.TestHoldersOfASelect.func | select sent"},
		{"bs", false, []uint64{me}, "select received | channel.send of string in inspect.TestHoldersOfASelect.func"},
		{"na", true, []uint64{me, other}, "select sent"},
		{"bnmz", true, []uint64{me}, "select received"},
		{"nmz", false, nil, "nil channel"},
		{"un", false, nil, "select unknown"},
	} {
		t.Run(tt.cases, func(t *testing.T) {
			var cases []Case
			for _, k := range strings.Split(tt.cases, "") {
				for _, of := range []map[string]Case{known, nobody, never} {
					if c, ok := of[k]; ok {
						cases = append(cases, c)
					}
				}
			}
			w, set := blockedIn(t, func(ctx context.Context) { _, _ = Select(ctx, cases...) })
			if w.kind != taskspan.WaitSelect || set.need != 1 || set.complete != tt.complete {
				t.Errorf("a %s that needs %d, complete %t; want need 1, complete %t", w.kind, set.need, set.complete, tt.complete)
			}
			slices.Sort(tt.holders)
			if !sameGoroutines(set, tt.holders) {
				t.Errorf("its holders are %+v, want %v", set.list, tt.holders)
			}
			id, name := w.on.name().identity()
			if before, _, _ := strings.Cut(name, ".func"); !strings.HasPrefix(tt.name, before) || id == "" {
				t.Errorf("it is called %q (%q), want %q", name, id, tt.name)
			}
			if shown := placeOf(w.site.place); !strings.Contains(shown.function, "TestHoldersOfASelect") {
				t.Errorf("it waits in %s", shown.function)
			}
		})
	}
}

// A wait on a plain channel shows where it is and what it does, and proves nothing.
func TestWaitsOnPlainChannels(t *testing.T) {
	watched(t)
	c := make(chan int16)
	for _, tt := range []struct {
		name string
		wait func(context.Context)
		kind taskspan.Kind
		want string
	}{
		{"Receive", func(ctx context.Context) { _, _ = Receive(ctx, c) }, taskspan.WaitChannelReceive, "channel.receive of int16 in inspect.TestWaitsOnPlainChannels"},
		{"SendTo", func(ctx context.Context) { _ = SendTo(ctx, c, 5) }, taskspan.WaitChannelSend, "channel.send of int16 in inspect.TestWaitsOnPlainChannels"},
		{"Receive from nil", func(ctx context.Context) { _, _ = Receive[int16](ctx, nil) }, taskspan.WaitChannelReceive, "nil channel"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, set := blockedIn(t, tt.wait)
			_, name := w.on.name().identity()
			if w.kind != tt.kind || !strings.HasPrefix(name, tt.want) || set.complete || len(set.list) > 0 {
				t.Errorf("it is a %s of %q for %+v, want %s of %s for nobody known", w.kind, name, set, tt.kind, tt.want)
			}
			if shown := placeOf(w.site.place); !strings.Contains(shown.function, "TestWaitsOnPlainChannels") {
				t.Errorf("it waits in %s", shown.function)
			}
		})
	}
	a, b := make(chan int16), make(chan int16)
	one, _ := blockedIn(t, func(ctx context.Context) { _, _ = Receive(ctx, a) })
	two, _ := blockedIn(t, func(ctx context.Context) { _, _ = Receive(ctx, b) })
	idA, _ := one.on.name().identity()
	idB, _ := two.on.name().identity()
	if idA == idB {
		t.Errorf("two channels have the id %s", idA)
	}
	if len(a)+len(b) > 0 {
		t.Error("both are in use until here, so that they differ")
	}
}

// Nothing is entered into the table for a context that is done already, or for a default.
func TestWhatDoesNotWaitIsNoWait(t *testing.T) {
	watched(t)
	c, done := NewChan[int]("no wait", 0), cancelled()
	last := func() uint64 { return shardOf(goidOfTest()).nextID(goidOfTest()) / shards }
	for name, f := range map[string]func(){
		"Receive":            func() { _, _ = c.Receive(done) },
		"Send":               func() { _ = c.Send(done, 1) },
		"Select":             func() { _, _ = Select(done, ReceiveCase(c, nil)) },
		"Select, default":    func() { _, _ = Select(context.Background(), ReceiveCase(c, nil), DefaultCase()) },
		"Receive from plain": func() { _, _ = Receive(done, c.c) },
	} {
		before := last()
		f()
		if after := last(); after != before+1 {
			t.Errorf("%s made %d waits", name, after-before-1)
		}
	}
}

// What was done before anybody declared an end says nothing of who does it afterwards.
func TestUsesBeforeADeclaredEnd(t *testing.T) {
	c := NewChan[int]("used before", 3)
	c.TrySend(1)
	_ = c.Send(t.Context(), 2)
	c.TryReceive()
	_, _ = Select(t.Context(), SendCase(c, 3))
	_, _ = c.Receive(t.Context())
	_, _ = c.Receive(t.Context())
	defer c.Sender(t.Context()).Close()
	defer c.Receiver(t.Context()).Close()
	var send, receive holderSet
	c.senders.holders(&receive)
	c.receivers.holders(&send)
	if !send.complete || !receive.complete {
		t.Errorf("the holders are %+v and %+v, want both complete", send, receive)
	}
}

// Each end that is opened is another hold, also of the same goroutine.
func TestEndsHaveGenerations(t *testing.T) {
	c := NewChan[int]("generations", 0)
	var last uint64
	for range 3 {
		s := c.Sender(t.Context())
		var set holderSet
		c.senders.holders(&set)
		if len(set.list) != 1 || set.need != 1 || set.list[0].generation <= last {
			t.Errorf("after %d the holders are %+v", last, set)
		}
		last = set.list[0].generation
		s.Close()
	}
}

// A goroutine that has been served through the channel, or is about to be, does not wait for
// somebody. Each of the facts that say so counts alone.
func TestWhoIsServedDoesNotWaitForAnEnd(t *testing.T) {
	const capacity = 2
	for _, tt := range []struct {
		name           string
		change         func(tr *traffic)
		sends, receive bool // whether a wait is complete, with 2 sent of 2, and with 0
	}{
		{"nothing", func(*traffic) {}, true, true},
		{"a receiver waits", func(tr *traffic) { tr.receiving.Add(1) }, false, true},
		{"a sender waits", func(tr *traffic) { tr.sending.Add(1) }, true, false},
		{"one was received", func(tr *traffic) { tr.received.Add(1) }, false, false},
		{"one was sent", func(tr *traffic) { tr.sent.Add(1) }, false, false},
		{"closed", func(tr *traffic) { tr.closed.Store(true) }, false, false},
	} {
		full, empty := NewChan[int]("served full", capacity), NewChan[int]("served empty", capacity)
		defer full.Receiver(t.Context()).Close()
		defer empty.Sender(t.Context()).Close()
		for full.trySend(1) {
		}
		tt.change(&full.traffic)
		tt.change(&empty.traffic)
		var send, receive holderSet
		(*sendSide[int])(full).holders(nil, &send)
		(*receiveSide[int])(empty).holders(nil, &receive)
		if send.complete != tt.sends || receive.complete != tt.receive {
			t.Errorf("%s: complete %t to send and %t to receive, want %t and %t", tt.name, send.complete, receive.complete, tt.sends, tt.receive)
		}
	}
}

// A wait that ends because the channel is closed leaves the value alone, as one that is over
// at once does.
func TestASelectThatAClosedChannelEnds(t *testing.T) {
	watched(t)
	for _, tt := range []struct {
		name  string
		make  func(into *int) (c Case, shut func())
		value int
		err   error
	}{
		{"closed", func(into *int) (Case, func()) {
			c := NewChan[int]("select closed", 0)
			return ReceiveCase(c, into), c.Close
		}, 7, ErrClosed},
		{"a plain one", func(into *int) (Case, func()) {
			c := make(chan int)
			return RawCase(c, into), func() { close(c) }
		}, 7, ErrClosed},
		{"sent to", func(into *int) (Case, func()) {
			c := NewChan[int]("select sent to", 0)
			return ReceiveCase(c, into), func() { _ = c.Send(context.Background(), 9) }
		}, 9, nil},
	} {
		into := 7
		c, shut := tt.make(&into)
		id, got := make(chan uint64, 1), make(chan error, 1)
		go func() {
			id <- goidOfTest()
			_, err := Select(context.Background(), RawCase[string](nil, nil), c)
			got <- err
		}()
		goroutine := <-id
		waitFor(t, "the Select to wait", func() bool { _, waits := waitOf(goroutine); return waits })
		shut()
		if err := <-got; err != tt.err || into != tt.value {
			t.Errorf("%s: %d and %v, want %d and %v", tt.name, into, err, tt.value, tt.err)
		}
	}
}
