package fleet

// crowd knows which process has the most of something, such as open waits, in constant
// time: processes with the same number are a list, and numbers change by one.
type crowd struct {
	of    func(*process) *ranked
	lists map[int]*process // by the number, above 0
	most  int              // the highest number of any process, 0 if there is none
}

// ranked is the place of a process in its list.
type ranked struct {
	n          int
	prev, next *process
}

// largest returns a process with the most, or nil if nobody has any.
func (c *crowd) largest() *process { return c.lists[c.most] }

// setTo notes the number of a process, which has changed by one or not at all.
func (c *crowd) setTo(p *process, n int) {
	if by := n - c.of(p).n; by != 0 {
		c.move(p, by)
	}
}

func (c *crowd) move(p *process, by int) {
	c.unlink(p)
	rank := c.of(p)
	rank.n += by
	c.link(p)
	switch {
	case rank.n > c.most:
		c.most = rank.n
	case c.lists[c.most] == nil:
		c.most-- // it was alone there, and has one less now
	}
}

func (c *crowd) link(p *process) {
	rank := c.of(p)
	if rank.n == 0 {
		return
	}
	if c.lists == nil {
		c.lists = make(map[int]*process)
	}
	first := c.lists[rank.n]
	rank.prev, rank.next = nil, first
	if first != nil {
		c.of(first).prev = p
	}
	c.lists[rank.n] = p
}

func (c *crowd) unlink(p *process) {
	rank := c.of(p)
	if rank.n == 0 {
		return
	}
	if rank.next != nil {
		c.of(rank.next).prev = rank.prev
	}
	switch {
	case rank.prev != nil:
		c.of(rank.prev).next = rank.next
	case rank.next != nil:
		c.lists[rank.n] = rank.next
	default:
		delete(c.lists, rank.n)
	}
	rank.prev, rank.next = nil, nil
}
