package inspector

import (
	"sync"
	"time"
)

const (
	// sharedFor is how old a reading may be that somebody gets.
	sharedFor = 500 * time.Millisecond
	// keptFor is how long a reading stays in memory that nobody asks for.
	keptFor = 10 * time.Second
)

// shared is a reading of the components. All who ask within [sharedFor] get the same
// one, and while it is being made they wait for it: a thousand clients cost the
// components as much as one that asks twice a second.
type shared[T any] struct {
	read func(now time.Time) *T

	mu    sync.Mutex // guards all below; held while reading
	at    time.Time
	value *T
}

func (s *shared[T]) get() *T {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); s.value == nil || now.Sub(s.at) >= sharedFor || now.Before(s.at) {
		s.value = s.read(now)
		s.at = time.Now() // it may have taken long
	}
	return s.value
}

// forget frees a reading that nobody has asked for of late.
func (s *shared[T]) forget(now time.Time) {
	if !s.mu.TryLock() {
		return
	}
	defer s.mu.Unlock()
	if now.Sub(s.at) > keptFor {
		s.value = nil
	}
}
