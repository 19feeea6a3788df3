package inspect

// list is an intrusive doubly linked list. Its elements hold a links[T] that
// the accessor at finds.
type list[T any] struct {
	front, back *T
	len         int
}

type links[T any] struct{ prev, next *T }

type linked[T any] interface {
	*T
	at() *links[T]
}

func pushBack[T any, P linked[T]](l *list[T], e *T) {
	at := P(e).at()
	at.prev, at.next = l.back, nil
	if l.back == nil {
		l.front = e
	} else {
		P(l.back).at().next = e
	}
	l.back = e
	l.len++
}

func remove[T any, P linked[T]](l *list[T], e *T) {
	at := P(e).at()
	if at.prev == nil {
		l.front = at.next
	} else {
		P(at.prev).at().next = at.next
	}
	if at.next == nil {
		l.back = at.prev
	} else {
		P(at.next).at().prev = at.prev
	}
	at.prev, at.next = nil, nil
	l.len--
}
