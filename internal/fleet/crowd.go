package fleet

// crowd knows which process has the most open waits, in constant time: processes with
// the same number are a list, and numbers change by one.
type crowd struct {
	lists map[int]*process // by the number of waits, above 0
	most  int              // the highest number of any process, 0 if there is none
}

// ranked is the place of a process in its list.
type ranked struct {
	waits      int
	prev, next *process
}

// largest returns a process with the most waits, or nil if nobody waits.
func (c *crowd) largest() *process { return c.lists[c.most] }

// grew and shrank note that a process has one wait more, or less.
func (c *crowd) grew(p *process)   { c.move(p, 1) }
func (c *crowd) shrank(p *process) { c.move(p, -1) }

func (c *crowd) move(p *process, by int) {
	c.unlink(p)
	p.ranked.waits += by
	c.link(p)
	switch {
	case p.ranked.waits > c.most:
		c.most = p.ranked.waits
	case c.lists[c.most] == nil:
		c.most-- // it was alone there, and has one less now
	}
}

func (c *crowd) link(p *process) {
	n := p.ranked.waits
	if n == 0 {
		return
	}
	if c.lists == nil {
		c.lists = make(map[int]*process)
	}
	first := c.lists[n]
	p.ranked.prev, p.ranked.next = nil, first
	if first != nil {
		first.ranked.prev = p
	}
	c.lists[n] = p
}

func (c *crowd) unlink(p *process) {
	n, prev, next := p.ranked.waits, p.ranked.prev, p.ranked.next
	if n == 0 {
		return
	}
	if next != nil {
		next.ranked.prev = prev
	}
	switch {
	case prev != nil:
		prev.ranked.next = next
	case next != nil:
		c.lists[n] = next
	default:
		delete(c.lists, n)
	}
	p.ranked.prev, p.ranked.next = nil, nil
}
