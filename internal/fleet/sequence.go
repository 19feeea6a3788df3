package fleet

const (
	windowSize = 1024
	// longestGap is the longest jump that is counted as loss; a longer one is a
	// sender that renumbers.
	longestGap = 1 << 20
)

// sequences remembers which of the last windowSize sequence numbers of a process
// have come, so that loss and repetition can be told from disorder.
type sequences struct {
	seen [windowSize / 64]uint64
	// first is the number that came first: a restarted collector has not lost
	// those before it.
	first  int64
	newest int64
	// settled is the number up to which loss has been counted.
	// Invariant: newest-windowSize <= settled <= newest.
	settled int64
	lost    int64
	again   int64
	started bool
}

func (s *sequences) has(n int64) bool { return s.seen[(n/64)%(windowSize/64)]&(1<<(n%64)) != 0 }
func (s *sequences) set(n int64)      { s.seen[(n/64)%(windowSize/64)] |= 1 << (n % 64) }
func (s *sequences) clear(n int64)    { s.seen[(n/64)%(windowSize/64)] &^= 1 << (n % 64) }

// add notes number n >= 0. newest says that no higher number came before, fresh
// that this one did not, as far as the window reaches.
func (s *sequences) add(n int64) (newest, fresh bool) {
	switch {
	case !s.started || n-s.newest > longestGap:
		*s = sequences{started: true, first: n, newest: n, settled: n, lost: s.lost, again: s.again}
		s.set(n)
		return true, true
	case n > s.newest:
		// Everything that leaves the window is settled before its place is reused.
		s.settle(n - windowSize)
		if n-s.newest >= windowSize {
			clear(s.seen[:])
		} else {
			for k := s.newest + 1; k < n; k++ {
				s.clear(k)
			}
		}
		s.newest = n
		s.set(n)
		return true, true
	case n <= s.newest-windowSize:
		return false, true
	case s.has(n):
		s.again++
		return false, false
	default:
		s.set(n)
		return false, true
	}
}

// settle counts the numbers up to n that have not come as lost, for good. n may
// be beyond the newest: those between never came either.
func (s *sequences) settle(n int64) {
	for k := s.settled + 1; k <= min(n, s.newest); k++ {
		if !s.has(k) {
			s.lost++
		}
	}
	if n > s.newest {
		s.lost += n - max(s.newest, s.settled)
	}
	s.settled = max(s.settled, n)
}
