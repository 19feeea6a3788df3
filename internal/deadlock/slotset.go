package deadlock

import (
	"iter"
	"math/bits"
)

// slotSet is a set of slots of the fleet's table. It gives them in their order, which
// is about the order of the tasks in memory: a million tasks are looked through much
// faster so than at random.
type slotSet struct {
	words []uint64
	any   bool
}

func (s *slotSet) add(slot int) {
	for slot/64 >= len(s.words) {
		s.words = append(s.words, 0)
	}
	s.words[slot/64] |= 1 << (slot % 64)
	s.any = true
}

func (s *slotSet) empty() bool { return !s.any }

func (s *slotSet) all() iter.Seq[int] {
	return func(yield func(int) bool) {
		for i, word := range s.words {
			for ; word != 0; word &= word - 1 {
				if !yield(i*64 + bits.TrailingZeros64(word)) {
					return
				}
			}
		}
	}
}

// allSlots are those of all live tasks.
func (d *Detector) allSlots() iter.Seq[int] {
	return func(yield func(int) bool) {
		for slot := range d.table.Slots() {
			if d.table.InSlot(slot) != nil && !yield(slot) {
				return
			}
		}
	}
}
