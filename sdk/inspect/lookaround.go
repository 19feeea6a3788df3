package inspect

import (
	"runtime"
	"slices"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/internal/goid"
)

// lookRetry is how long after a look was refused the next one is asked for.
const lookRetry = time.Second

// lookAround takes one look at all goroutines of which something has to be known: those
// of the guesses among the stuck waits, and those that have held for long what others
// wait for.
func (r *reporter) lookAround(at nanos) {
	if at < r.lookAt || !goid.Supported() {
		return
	}
	var (
		wanted  = make(map[uint64]bool)
		guesses []waitView
		fates   []*toldWait
	)
	for _, v := range r.views {
		if g := guessOf(v.call); g != nil && g.due(at) {
			guesses = append(guesses, v)
			wanted[v.goroutine] = true
		}
	}
	for _, told := range r.waits {
		if len(told.holders) > 0 && at >= told.fateAt {
			fates = append(fates, told)
			for _, g := range told.holders {
				wanted[g] = true
			}
		}
	}
	if len(wanted) == 0 {
		return
	}
	seen, refused := looks.take(wanted, r.ins.config.lookLimit)
	if seen == nil {
		r.refuseLook(refused)
		r.lookAt = at + nanos(lookRetry)
		return
	}
	judge(guesses, seen, at)
	for _, told := range fates {
		for _, g := range told.holders {
			if seen.gone(g) {
				departed.add(g, lastTask{})
			}
		}
		told.fateAt = at + nanos(min(fateAfter<<(2*min(told.fates, 3)), fateSeldom))
		told.fates++
	}
}

// refuseLook counts a look that was not taken. The first one for each reason is logged.
func (r *reporter) refuseLook(why lookRefusal) {
	r.ins.drops.add(dropLooks, 1)
	if slices.Contains(r.refused, why) {
		return
	}
	r.refused = append(r.refused, why)
	r.ins.config.logger.Warn("async-inspect: goroutines were not examined; further times are only counted",
		"reason", string(why), "goroutines", runtime.NumGoroutine(), "limit", r.ins.config.lookLimit)
}

// judge decides what a look says of guesses.
func judge(guesses []waitView, seen *look, at nanos) {
	for _, v := range guesses {
		g := guessOf(v.call)
		if g == nil {
			continue // it has been declared since
		}
		now, there := seen.of[v.goroutine]
		switch {
		case there && !v.repeated():
			g.judge(v.site, now, seen.at, at)
		case there || seen.whole:
			g.giveUp()
		}
	}
}

// repeated reports whether the goroutine has come the same way again, and waits there
// for something that began later: then it is that call which goes on.
func (v *waitView) repeated() bool {
	s := shardOf(v.goroutine)
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := s.waits.back; w != nil && w.id > v.id; w = w.prev {
		if w.goroutine == v.goroutine && slices.Equal(w.site.stack, v.site.stack) {
			return true
		}
	}
	return false
}

// lookAtGuesses looks at every goroutine that a guess says waits, for somebody who asks
// what is going on. If that would cost too much, guesses stay what they are.
func lookAtGuesses() {
	var guesses []waitView
	wanted := make(map[uint64]bool)
	for _, v := range openWaits(now(), nil) {
		if g := guessOf(v.call); g != nil && !g.isReturned() {
			guesses = append(guesses, v)
			wanted[v.goroutine] = true
		}
	}
	if len(wanted) == 0 || !goid.Supported() {
		return // or goroutines cannot be told apart
	}
	limit := lookAtMost
	if ins := Default(); ins != nil {
		limit = ins.config.lookLimit
	}
	if seen, _ := looks.take(wanted, limit); seen != nil {
		judge(guesses, seen, seen.at)
	}
}
