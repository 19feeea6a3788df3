package inspect

import "sync"

// maxHandedOver bounds the names of resources that are handed over. Past it every
// resource counts as one that may be.
const maxHandedOver = 1024

// handedOver knows the names of the locks that some goroutine has released for the
// one that took them. That is legal in Go, and a lock with which it is done says
// nothing about who has to let it go: from then on no lock of that name proves a
// deadlock.
var handedOver = handOvers{names: make(map[string]struct{})}

type handOvers struct {
	mu    sync.Mutex // guards names; a leaf
	names map[string]struct{}
}

func (h *handOvers) add(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.names) < maxHandedOver {
		h.names[name] = struct{}{}
	}
}

func (h *handOvers) has(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, is := h.names[name]
	return is || len(h.names) == maxHandedOver
}
