package fleet

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// watch is a table whose time is looked at every second.
type watch struct {
	t     *testing.T
	table *Table
	log   *log
	now   float64
}

func newWatch(t *testing.T) *watch {
	table, l := newLogged(roomy)
	return &watch{t: t, table: table, log: l}
}

// until lets time pass. Each of the speakers sends its heartbeats meanwhile, one second
// after the other.
func (w *watch) until(sec float64, speakers ...*speaker) {
	for w.now < sec {
		w.now++
		for i, s := range speakers {
			if (int(w.now)+i)%5 == 0 {
				w.table.Apply(s.beat(at(w.now)), at(w.now))
			}
		}
		w.table.Advance(at(w.now))
	}
}

// lost says which processes were lost so far.
func (w *watch) lost() (names []string) {
	for _, e := range w.log.of(ProcessEnded) {
		if e.Status == Lost {
			names = append(names, e.Process.Instance)
		}
	}
	return names
}

// A process that falls silent alone has ended. If all fall silent, we do not listen, for
// two minutes at most.
func TestSilenceOfAllIsOurOwnDeafness(t *testing.T) {
	for _, c := range []struct {
		name      string
		processes int
		silent    int // so many, the first ones, since 20 s
		until     float64
		before    []string // lost until then
		after     []string // and 30 s later
	}{
		{"the only one", 1, 1, 38, []string{"0"}, []string{"0"}},
		{"one of two", 2, 1, 38, []string{"0"}, []string{"0"}},
		{"two of three", 3, 2, 38, []string{"0", "1"}, []string{"0", "1"}},
		{"both of two, for a minute", 2, 2, 80, nil, nil},
		{"all of three, for two minutes", 3, 3, 140, nil, []string{"0", "1", "2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWatch(t)
			var all []*speaker
			for i := range c.processes {
				all = append(all, newSpeaker(fmt.Sprint(i)))
			}
			w.until(20, all...)
			w.until(c.until, all[c.silent:]...)
			require.ElementsMatch(t, c.before, w.lost())
			w.until(c.until+30, all[c.silent:]...)
			require.ElementsMatch(t, c.after, w.lost())
			w.table.check(t)
		})
	}
}

// Afterwards all is as before: nobody was lost, and who falls silent then is lost in time.
func TestAfterDeafnessLeasesRunOn(t *testing.T) {
	a, b := newSpeaker("a"), newSpeaker("b")
	w := newWatch(t)
	w.table.Apply(a.task(1, taskspan.Running, at(1)), at(1))
	w.table.Apply(a.wait(2, 2, 0, true, at(1), at(1)), at(1))
	w.table.Apply(a.wait(2, 2, 0, false, at(1), at(2)), at(2))
	w.until(5, a, b)
	w.until(105)
	require.Empty(t, w.lost())
	w.until(120, a, b)
	require.Empty(t, w.lost())
	require.NotNil(t, w.table.Task(taskID(1)), "it has been silent for 20 s while we listened")
	require.Nil(t, w.table.Task(taskID(2)), "it was given up after 15 s")
	w.until(137, b)
	require.Empty(t, w.lost())
	w.until(139, b)
	require.Equal(t, []string{"a"}, w.lost())
}

// Time in which we were stopped is charged to nobody, unless reports came in it.
func TestTimeInWhichWeWereStopped(t *testing.T) {
	for _, c := range []struct {
		name  string
		heard float64 // another process, in the gap; 0: nobody
		lost  float64 // when the silent one is lost
	}{
		// Its lease is 17.5 s. 5 s of it had run before we stopped at 10 s for 40 s, of which
		// one is as usual.
		{"nobody was heard", 0, 62},
		{"another one was heard at 20 s", 20, 52},
		{"another one was heard at 49 s", 49, 50},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, other := newSpeaker("a"), newSpeaker("b")
			w := newWatch(t)
			w.until(5, s)
			w.until(10)
			if c.heard > 0 {
				w.table.Apply(other.beat(at(c.heard)), at(c.heard))
			}
			w.now = 49
			for w.now < 100 && len(w.lost()) == 0 {
				w.until(w.now + 1)
			}
			require.Equal(t, []string{"a"}, w.lost())
			require.InDelta(t, c.lost, w.now, 0, "lost at %v", w.now)
		})
	}
}

func TestSecondShortest(t *testing.T) {
	for want, all := range map[time.Duration][]time.Duration{
		0: {7},
		7: {9, 3, 7, 8},
		4: {4, 4, 5},
		6: {6, 2},
		5: {2, 5},
	} {
		var s secondShortest
		for _, d := range all {
			s.add(d)
		}
		require.Equal(t, want, s.second, "%v", all)
	}
}
