package deadlock

import "iter"

// ordered is a map that remembers the order in which its keys came. Every method takes
// constant time, spread over many calls. The zero value is empty.
type ordered[K comparable, V any] struct {
	at   map[K]int // into list
	list []entry[K, V]
	head int // nothing before it lives
}

// entry lives if at has its place.
type entry[K comparable, V any] struct {
	key   K
	value V
}

func (o *ordered[K, V]) len() int { return len(o.at) }

func (o *ordered[K, V]) lives(i int) bool {
	at, in := o.at[o.list[i].key]
	return in && at == i
}

func (o *ordered[K, V]) get(key K) (value V, in bool) {
	if i, in := o.at[key]; in {
		return o.list[i].value, true
	}
	return value, false
}

// put sets the value of a key, which comes last if it is new.
func (o *ordered[K, V]) put(key K, value V) {
	if i, in := o.at[key]; in {
		o.list[i].value = value
		return
	}
	if o.at == nil {
		o.at = make(map[K]int)
	}
	if len(o.list) > 2*len(o.at)+8 {
		o.compact()
	}
	o.at[key] = len(o.list)
	o.list = append(o.list, entry[K, V]{key, value})
}

func (o *ordered[K, V]) remove(key K) {
	if i, in := o.at[key]; in {
		delete(o.at, key)
		o.list[i] = entry[K, V]{}
	}
}

func (o *ordered[K, V]) compact() {
	kept := make([]entry[K, V], 0, len(o.at)+8)
	for i := range o.list {
		if o.lives(i) {
			o.at[o.list[i].key] = len(kept)
			kept = append(kept, o.list[i])
		}
	}
	o.list, o.head = kept, 0
}

// first returns the oldest key.
func (o *ordered[K, V]) first() (key K, in bool) {
	for ; o.head < len(o.list); o.head++ {
		if o.lives(o.head) {
			return o.list[o.head].key, true
		}
	}
	return key, false
}

// all goes through the map, the oldest key first. The map must not change meanwhile.
func (o *ordered[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for i := o.head; i < len(o.list); i++ {
			if o.lives(i) && !yield(o.list[i].key, o.list[i].value) {
				return
			}
		}
	}
}
