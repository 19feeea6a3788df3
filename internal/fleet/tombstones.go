package fleet

import "time"

// tombstones remember what has ended, so that a late report does not raise it
// from the dead. They are kept for a time and bounded in number, oldest out first.
type tombstones[K comparable] struct {
	until map[K]time.Time
	order []tomb[K] // a ring, oldest at head
	head  int
	size  int
}

type tomb[K comparable] struct {
	key   K
	until time.Time
}

func newTombstones[K comparable](limit int) *tombstones[K] {
	return &tombstones[K]{until: make(map[K]time.Time), order: make([]tomb[K], 0, min(limit, 64))}
}

func (t *tombstones[K]) has(key K) bool {
	_, ok := t.until[key]
	return ok
}

// add buries key until the given time; early says that another one was dropped
// before its time to make room.
func (t *tombstones[K]) add(key K, until time.Time, limit int) (early bool) {
	if t.has(key) {
		return false
	}
	if t.size >= limit {
		t.pop()
		early = true
	}
	t.until[key] = until
	if t.size == len(t.order) {
		t.grow()
	}
	t.order[(t.head+t.size)%len(t.order)] = tomb[K]{key, until}
	t.size++
	return early
}

func (t *tombstones[K]) grow() {
	bigger := make([]tomb[K], max(8, 2*len(t.order)))
	for i := range t.size {
		bigger[i] = t.order[(t.head+i)%len(t.order)]
	}
	t.order, t.head = bigger, 0
}

func (t *tombstones[K]) pop() {
	delete(t.until, t.order[t.head].key)
	t.order[t.head] = tomb[K]{}
	t.head = (t.head + 1) % len(t.order)
	t.size--
}

// expire drops those whose time has come.
func (t *tombstones[K]) expire(now time.Time) {
	for t.size > 0 && !t.order[t.head].until.After(now) {
		t.pop()
	}
}
