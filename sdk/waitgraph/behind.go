package waitgraph

import (
	"encoding/binary"
	"iter"
	"slices"
)

// Behind returns the tasks that are stuck because they wait, themselves or through
// others, for a task of a core. Call Solve first.
func (g *Graph) Behind(core []Task) []Task { return slices.Collect(g.EachBehind(core)) }

// EachBehind is Behind one at a time, those that wait for the core itself first. Its cost is
// that of the tasks it has come to.
func (g *Graph) EachBehind(core []Task) iter.Seq[Task] {
	return func(yield func(Task) bool) {
		if !g.solved {
			return
		}
		seen := make(map[Task]bool, len(core))
		for _, t := range core {
			seen[t] = true
		}
		queue := slices.Clone(core)
		for i := 0; i < len(queue); i++ {
			t := queue[i]
			for _, e := range g.byHolder[g.firstEdge[t]:g.firstEdge[t+1]] {
				gr := &g.groups[e.group]
				if gr.satisfied || seen[gr.waiter] {
					continue
				}
				seen[gr.waiter] = true
				if !yield(gr.waiter) {
					return
				}
				queue = append(queue, gr.waiter)
			}
		}
	}
}

// CountBehind returns, for each of many sets of stuck tasks, the weight of those that
// Behind would return for it. It looks at the graph once: a strongly connected component
// is behind whatever a task of it waits for, and many components are behind the same sets,
// so these are written down once. Call Solve first.
func (g *Graph) CountBehind(cores [][]Task, weight func(Task) int) []int {
	behind := make([]int, len(cores))
	if !g.solved || len(cores) == 0 {
		return behind
	}
	sets := newSetsOf(len(cores))
	of := make([]int32, g.tasks) // the cores that a task is behind, or in
	for i, core := range cores {
		single := sets.single(i)
		for _, t := range core {
			if g.Stuck(t) {
				of[t] = sets.union(of[t], single)
				behind[i] -= weight(t) // counted below with its component
			}
		}
	}
	var total []int // by set
	g.strong(g.allStuck(), func(component []Task) {
		all, sum := int32(0), 0
		for _, t := range component {
			all = sets.union(all, of[t])
			sum += weight(t)
			for _, holder := range g.search.targets[g.search.first[t]:g.search.end[t]] {
				all = sets.union(all, of[holder])
			}
		}
		for _, t := range component {
			of[t] = all
		}
		for len(total) <= int(all) {
			total = append(total, 0)
		}
		total[all] += sum
	})
	for set, sum := range total {
		sets.each(set, func(i int) { behind[i] += sum })
	}
	return behind
}

// setsOf numbers sets of small numbers, so that sets which are equal have the same
// number. Number 0 is the empty set.
type setsOf struct {
	words   [][]uint64
	numbers map[string]int32 // by their words
	unions  map[[2]int32]int32
	key     []byte
}

func newSetsOf(members int) *setsOf {
	s := &setsOf{numbers: make(map[string]int32), unions: make(map[[2]int32]int32)}
	s.number(make([]uint64, (members+63)/64))
	return s
}

func (s *setsOf) number(words []uint64) int32 {
	s.key = s.key[:0]
	for _, w := range words {
		s.key = binary.LittleEndian.AppendUint64(s.key, w)
	}
	if n, known := s.numbers[string(s.key)]; known {
		return n
	}
	n := int32(len(s.words))
	s.words = append(s.words, words)
	s.numbers[string(s.key)] = n
	return n
}

func (s *setsOf) single(member int) int32 {
	words := make([]uint64, len(s.words[0]))
	words[member/64] = 1 << (member % 64)
	return s.number(words)
}

func (s *setsOf) union(a, b int32) int32 {
	switch {
	case a == b || b == 0:
		return a
	case a == 0:
		return b
	}
	pair := [2]int32{min(a, b), max(a, b)}
	if n, known := s.unions[pair]; known {
		return n
	}
	words := slices.Clone(s.words[a])
	for i, w := range s.words[b] {
		words[i] |= w
	}
	n := s.number(words)
	s.unions[pair] = n
	return n
}

func (s *setsOf) each(set int, do func(member int)) {
	for i, w := range s.words[set] {
		for bit := 0; w != 0; bit, w = bit+1, w>>1 {
			if w&1 != 0 {
				do(i*64 + bit)
			}
		}
	}
}
