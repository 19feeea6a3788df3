package inspect

import (
	"encoding/hex"
	"fmt"
	"sync"
)

// maxLockClasses bounds the names of locks whose orders are known. Locks with other
// names are in no order.
const maxLockClasses = 4096

// lockClasses numbers the names of locks from 1, so that an order is a small number.
var lockClasses = classNumbers{of: make(map[string]uint32)}

type classNumbers struct {
	mu sync.Mutex // guards of; a leaf
	of map[string]uint32
}

func (c *classNumbers) number(name string) uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n, known := c.of[name]; known {
		return n
	}
	if len(c.of) >= maxLockClasses {
		return 0
	}
	n := uint32(len(c.of) + 1)
	c.of[name] = n
	return n
}

// class returns the number of the lock's class, 0 if it has none.
func (r *lockName) class() uint32 {
	if n := r.number.Load(); n != 0 {
		return n
	}
	n := lockClasses.number(r.name)
	r.number.Store(n)
	return n
}

// A lock with a declared name is of the class of that name: any lock of the class can
// be in the place of another. One without is a class of its own, for as long as the
// process lives.

// instance is bit 63 of what tells such a class from the numbers of names.
const instance = 1 << 63

// orderClass is what a lock counts as in orders, 0 if it is in none.
func (r *lockName) orderClass() uint64 {
	if r.declared && r.call == "" {
		return uint64(r.class())
	}
	return r.id | instance
}

// spot tells an order from others before it is looked at closely: the class of a lock
// with a declared name, and the place where another one was taken. There are as many
// spots as names and lines, whatever the number of locks.
func (h *heldView) spot() uint64 {
	if h.lock.declared {
		return uint64(h.lock.class())
	}
	return uint64(h.place) | instance
}

// orderName makes the lock known to orders, if it has no name at all.
func (n *named) orderName(place uintptr) *lockName {
	if r := n.res.Load(); r != nil {
		return r
	}
	if place == 0 {
		return nil // nothing to know it by
	}
	n.res.CompareAndSwap(nil, &lockName{id: lastLockName.Add(1), first: place})
	return n.res.Load()
}

// processMark is in the names of classes that are of this process only.
var processMark = sync.OnceValue(func() string {
	var random [8]byte
	putRandom(random[:])
	return hex.EncodeToString(random[:4])
})

// wireClass is how the class of a lock travels, and what people call it if that is
// something else.
func (r *lockName) wireClass() (class, called string) {
	id, name := r.identity()
	switch {
	case r.call != "":
		return name, r.call
	case r.declared:
		return name, ""
	}
	return fmt.Sprint(id, "@", processMark()), name
}

// externalClasses are the locks outside of the process as orders know them: one for
// each name.
var externalClasses = externalNames{of: make(map[string]*lockName)}

type externalNames struct {
	mu sync.Mutex // guards of; a leaf
	of map[string]*lockName
}

// get returns the class of an external lock, nil if there are too many.
func (e *externalNames) get(id string) *lockName {
	e.mu.Lock()
	defer e.mu.Unlock()
	if r := e.of[id]; r != nil {
		return r
	}
	if len(e.of) >= maxLockClasses {
		return nil
	}
	r := &lockName{id: lastLockName.Add(1), name: id, declared: true}
	e.of[id] = r
	return r
}
