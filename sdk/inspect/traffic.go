package inspect

import "sync/atomic"

// traffic tells whether a goroutine that waits on a channel has been served and has not
// run since. The other goroutine of the operation goes on at once and may wait for the
// first one next, which then looks like a circle.
//
// Each side counts its operation when it has run again, before it does anything else. So
// while one of two has run, the counts differ by more or less than what is in the buffer.
// They could agree all the same if a sender and a receiver of two operations have not run
// yet; but then both sides have a goroutine that waits, which is never so for long.
type traffic struct {
	sent, received     atomic.Uint64 // values
	sending, receiving atomic.Int32  // goroutines that wait
	closed             atomic.Bool
}

func (t *traffic) got(value bool) {
	if value {
		t.received.Add(1)
	}
}

// empty reports whether a goroutine that waits to receive does so in vain for now.
func (t *traffic) empty() bool {
	return !t.closed.Load() && t.sent.Load() == t.received.Load() && t.sending.Load() == 0
}

// full reports whether a goroutine that waits to send does so in vain for now.
func (t *traffic) full(capacity int) bool {
	return !t.closed.Load() && t.sent.Load()-t.received.Load() == uint64(capacity) && t.receiving.Load() == 0
}
