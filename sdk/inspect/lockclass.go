package inspect

import "sync"

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
