package adaptivesampler

import "time"

// window sums what was spent in the last minute.
type window struct {
	items []spending
	since time.Time // nothing is known from before
}

type spending struct {
	at    time.Time
	spent cost
}

const windowLength = time.Minute

func (w *window) add(now time.Time, spent cost) {
	if w.since.IsZero() {
		w.since = now
		return // for how long it was being spent is not known
	}
	old := 0
	for old < len(w.items) && now.Sub(w.items[old].at) >= windowLength {
		old++
	}
	w.items = append(w.items[old:], spending{now, spent})
}

func (w *window) perSecond(now time.Time) (sum cost) {
	seconds := min(now.Sub(w.since), windowLength).Seconds()
	if seconds <= 0 {
		return sum
	}
	for _, item := range w.items {
		sum.add(item.spent)
	}
	for i := range sum {
		sum[i] /= seconds
	}
	return sum
}
