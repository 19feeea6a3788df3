package deadlock

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// holds makes a task hold something outside.
func holds(all ...report.Hold) func(*report.Report) {
	return func(r *report.Report) { r.Task.Holds = all }
}

func until(resource string, sec float64) report.Hold {
	return report.Hold{Resource: resource, Ends: at(sec)}
}

// wants is a task that has waited for something outside since 1 s and was seen at 4 s.
func (s *speaker) wants(n int, resource string, change ...func(*report.Report)) *report.Report {
	r := s.stuck(n, 1, 4, taskspan.WaitExternal, resource, nil)
	r.Wait.ResourceName = resource[len(taskspan.ResourceExternal):]
	for _, c := range change {
		c(r)
	}
	return r
}

func inferred(r *report.Report)    { r.Wait.Inferred = true }
func cancellable(r *report.Report) { r.Wait.Cancellable = true }
func deadline(sec float64) func(*report.Report) {
	return func(r *report.Report) { r.Wait.Deadline = at(sec) }
}

// What is declared of the holds and waits of two processes decides what their deadlock
// is worth.
func TestADeadlockIsAsSureAsItsHolds(t *testing.T) {
	released := func(resource string) report.Hold { return report.Hold{Resource: resource, UntilReleased: true} }
	unknown := func(resource string) report.Hold { return report.Hold{Resource: resource} }
	for name, c := range map[string]struct {
		x, y       report.Hold
		first      func(*report.Report)
		want       Confidence
		ends       time.Time
		endsHold   string
		undeclared string
	}{
		"both until their release":       {x: released("ext:x"), y: released("ext:y"), want: Certain},
		"one of an old sender":           {x: released("ext:x"), y: unknown("ext:y"), want: Suspected, undeclared: "y"},
		"the other one of an old sender": {x: unknown("ext:x"), y: released("ext:y"), want: Suspected, undeclared: "x"},
		"a wait that is not declared":    {x: released("ext:x"), y: released("ext:y"), first: inferred, want: Suspected},
		"one with a TTL":                 {x: released("ext:x"), y: until("ext:y", 9), want: Transient, ends: at(9), endsHold: "y"},
		"the first TTL":                  {x: until("ext:x", 7), y: until("ext:y", 9), want: Transient, ends: at(7), endsHold: "x"},
		"a TTL and one of an old sender": {x: until("ext:x", 8), y: unknown("ext:y"), want: Transient, ends: at(8), endsHold: "x", undeclared: "y"},
		"a TTL and a guess":              {x: until("ext:x", 8), y: released("ext:y"), first: inferred, want: Transient, ends: at(8), endsHold: "x"},
		"a deadline before the TTL":      {x: until("ext:x", 8), y: released("ext:y"), first: deadline(6), want: Transient, ends: at(6)},
		"a deadline after the TTL":       {x: until("ext:x", 8), y: released("ext:y"), first: deadline(11), want: Transient, ends: at(8), endsHold: "x"},
		"a TTL of what nobody waits for": {x: released("ext:x"), y: released("ext:y"), first: holds(released("ext:x"), until("ext:z", 5)), want: Certain},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := newSpeaker("a"), newSpeaker("b")
			first := a.wants(1, "ext:y", holds(c.x))
			if c.first != nil {
				c.first(first)
			}
			_, found := detect(t, first, b.wants(2, "ext:x", holds(c.y)))
			require.Len(t, found, 1)
			require.Equal(t, c.want, found[0].Confidence)
			require.Equal(t, c.ends, found[0].Ends)
			require.Equal(t, c.endsHold, found[0].EndsHold)
			require.Equal(t, c.undeclared, found[0].Undeclared)
			hint := `external lock "` + c.undeclared + `" has no TTL or lease`
			if c.want == Suspected && c.undeclared != "" {
				require.Contains(t, found[0].Headline(), "a deadlock if "+hint)
				require.Contains(t, found[0].Suggestion(), `It ends by itself if external lock "`+c.undeclared+`" has a TTL or a lease.`)
			} else {
				require.NotContains(t, found[0].Headline(), "no TTL or lease")
			}
		})
	}
}

func TestATTLEndsADeadlockWithoutAReport(t *testing.T) {
	a, b := newSpeaker("a"), newSpeaker("b")
	d, found := detect(t, a.wants(1, "ext:y", holds(until("ext:x", 7))), b.wants(2, "ext:x", holds(until("ext:y", 9))))
	require.Len(t, found, 1)
	require.Contains(t, found[0].Headline(), `until 10:00:07, when the TTL of external lock "x" expires`)
	require.Contains(t, found[0].Suggestion(), `It ends at 10:00:07 when the TTL of external lock "x" expires.`)
	require.Contains(t, found[0].Story(at(4)), ", until 10:00:09")
	require.NotContains(t, found[0].Story(at(4)), "restart")

	found, ended := d.Evaluate(at(6.9))
	require.Empty(t, found)
	require.Empty(t, ended)
	require.NotNil(t, d.Deadlocked(id(1)))
	found, ended = d.Evaluate(at(7))
	require.Empty(t, found)
	require.Len(t, ended, 1)
	require.Equal(t, DeadlineReached, ended[0].How)
	require.Nil(t, d.Deadlocked(id(1)))

	// Both go on waiting, each for a lock that nobody has any more.
	for _, sec := range []float64{8, 10} {
		d.Apply(a.beat(sec, 1), at(sec))
		d.Apply(b.beat(sec, 2), at(sec))
		found, ended = d.Evaluate(at(sec))
		require.Empty(t, found)
		require.Empty(t, ended)
	}
	edges, waits := d.Edges(10)
	require.Equal(t, 2, waits)
	require.Empty(t, edges)
}

func TestAHoldThatHasEndedHoldsNothing(t *testing.T) {
	for _, c := range []struct {
		ends float64
		want int
	}{{4, 0}, {4.1, 1}} {
		a, b := newSpeaker("a"), newSpeaker("b")
		_, found := detect(t, a.wants(1, "ext:y", holds(until("ext:x", c.ends))), b.wants(2, "ext:x", holds(until("ext:y", 9))))
		require.Len(t, found, c.want, "%v", c.ends)
	}
}

func TestAnExtensionMovesTheEnd(t *testing.T) {
	a, b := newSpeaker("a"), newSpeaker("b")
	d, found := detect(t, a.wants(1, "ext:y", holds(until("ext:x", 7))), b.wants(2, "ext:x", holds(until("ext:y", 30))))
	require.Len(t, found, 1)
	again := a.wants(1, "ext:y", holds(until("ext:x", 17)))
	again.Wait.ID, again.Observed = 1, at(6)
	require.Equal(t, report.Used, d.Apply(again, at(6)))
	found, ended := d.Evaluate(at(8))
	require.Empty(t, found)
	require.Empty(t, ended)
	require.Equal(t, at(17), d.Deadlocked(id(1)).Ends)
	_, ended = d.Evaluate(at(17))
	require.Len(t, ended, 1)
	// And once more, after its end: it holds again.
	again = a.wants(1, "ext:y", holds(until("ext:x", 25)))
	again.Wait.ID, again.Observed = 1, at(18)
	require.Equal(t, report.Used, d.Apply(again, at(18)))
	found, _ = d.Evaluate(at(18))
	require.Len(t, found, 1)
	require.Equal(t, Transient, found[0].Confidence)
}

func TestAReleasedWaitAfterTheTTLWasEndedByIt(t *testing.T) {
	for how, sec := range map[Ending]float64{Released: 6.5, DeadlineReached: 7.25} {
		a, b := newSpeaker("a"), newSpeaker("b")
		d, found := detect(t, a.wants(1, "ext:y", holds(until("ext:x", 7))), b.wants(2, "ext:x", holds(until("ext:y", 9))))
		require.Len(t, found, 1)
		got := b.wants(2, "ext:x")
		got.Wait.ID, got.Wait.Open, got.Observed = found[0].Waits[id(2)][0].ID, false, at(sec)
		d.Apply(got, at(sec))
		_, ended := d.Evaluate(at(sec))
		require.Len(t, ended, 1)
		require.Equal(t, how, ended[0].How)
	}
}

func TestEndsAreTimesOfTheHoldersClock(t *testing.T) {
	a, b := newSpeaker("a"), newSpeaker("b")
	first, second := a.wants(1, "ext:y", holds(until("ext:x", 107))), b.wants(2, "ext:x", holds(until("ext:y", 30)))
	for _, r := range []*report.Report{first} { // 100 s ahead
		r.Wait.Since, r.Observed = at(101), at(104)
	}
	d := New(roomy, skew)
	d.Apply(first, at(4))
	d.Apply(second, at(4))
	found, _ := d.Evaluate(at(4))
	require.Len(t, found, 1)
	require.Equal(t, at(7), found[0].Ends)
	require.Contains(t, found[0].Story(at(4)), "until 10:00:07")
	_, ended := d.Evaluate(at(7))
	require.Len(t, ended, 1)
}

func TestDeadlinesAreTimesOfTheWaitersClock(t *testing.T) {
	a, b := newSpeaker("a"), newSpeaker("b")
	forever := func(resource string) report.Hold { return report.Hold{Resource: resource, UntilReleased: true} }
	first := a.wants(1, "ext:y", holds(forever("ext:x")), deadline(109)) // 100 s ahead
	first.Wait.Since, first.Observed = at(101), at(104)
	d := New(roomy, skew)
	d.Apply(first, at(4))
	d.Apply(b.wants(2, "ext:x", holds(forever("ext:y")), deadline(12)), at(4))
	found, _ := d.Evaluate(at(4))
	require.Len(t, found, 1)
	require.Equal(t, Transient, found[0].Confidence)
	require.Equal(t, at(9), found[0].Ends)
}

func TestACallerThatMayGiveUp(t *testing.T) {
	s := newSpeaker("a")
	for name, c := range map[string]struct {
		change    func(*report.Report)
		want      Confidence
		headline  string
		story     string
		notInText string
	}{
		"nobody":             {func(*report.Report) {}, Certain, "can never proceed", "Only a restart", "gives up"},
		"the caller":         {cancellable, Certain, "it ends only if a caller gives up", "ends only if a caller gives up", "restart"},
		"a deadline is more": {func(r *report.Report) { cancellable(r); deadline(9)(r) }, Transient, "until 10:00:09, when a deadline expires", "It ends at 10:00:09 when a deadline expires", "gives up"},
	} {
		t.Run(name, func(t *testing.T) {
			first := s.mutex(1, "x", 2)
			c.change(first)
			_, found := detect(t, first, s.mutex(2, "y", 1))
			require.Len(t, found, 1)
			require.Equal(t, c.want, found[0].Confidence)
			require.Contains(t, found[0].Headline(), c.headline)
			require.Contains(t, found[0].Story(at(2)), c.story)
			require.NotContains(t, found[0].Story(at(2)), c.notInText)
		})
	}
	self := s.mutex(7, "z", 7)
	cancellable(self)
	_, found := detect(t, self)
	require.Len(t, found, 1)
	require.True(t, found[0].Cancellable)
	require.NotContains(t, found[0].Headline(), "never")
}
