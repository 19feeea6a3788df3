package inspector

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/asyncinspect/asyncinspect/internal/view"
)

// registry knows the components that show themselves.
type registry struct {
	taskStates sources[view.Reader]
	detectors  sources[view.DeadlockReader]
	samplers   sources[view.SamplerReader]
}

var (
	_ view.Registrar         = (*registry)(nil)
	_ view.DeadlockRegistrar = (*registry)(nil)
	_ view.SamplerRegistrar  = (*registry)(nil)
)

// RegisterTaskState implements view.Registrar.
func (r *registry) RegisterTaskState(id string, reader view.Reader) (remove func()) {
	return r.taskStates.add(id, reader)
}

// RegisterDeadlockDetector implements view.DeadlockRegistrar.
func (r *registry) RegisterDeadlockDetector(id string, reader view.DeadlockReader) (remove func()) {
	return r.detectors.add(id, reader)
}

// RegisterAdaptiveSampler implements view.SamplerRegistrar.
func (r *registry) RegisterAdaptiveSampler(id string, reader view.SamplerReader) (remove func()) {
	return r.samplers.add(id, reader)
}

// source is a component that shows itself.
type source[R any] struct {
	id     string
	reader R
}

// sources are the components of one kind, by id. A component that is in several
// pipelines exists several times under one id: the second is called id#2.
type sources[R any] struct {
	mu    sync.RWMutex // guards all below
	all   []*source[R]
	twins map[[2]*source[R]]bool // pairs that are known to get the same spans
}

func (s *sources[R]) add(id string, reader R) (remove func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := func(id string) bool {
		return slices.ContainsFunc(s.all, func(o *source[R]) bool { return o.id == id })
	}
	name := id
	for n := 2; taken(name); n++ {
		name = fmt.Sprintf("%s#%d", id, n)
	}
	src := &source[R]{name, reader}
	s.all = append(s.all, src)
	slices.SortFunc(s.all, func(a, b *source[R]) int { return strings.Compare(a.id, b.id) })
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all = slices.DeleteFunc(s.all, func(o *source[R]) bool { return o == src })
		maps.DeleteFunc(s.twins, func(pair [2]*source[R], _ bool) bool { return pair[0] == src || pair[1] == src })
	}
}

// list returns the components that are there now.
func (s *sources[R]) list() []*source[R] {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.all)
}

func (s *sources[R]) ids() []string {
	ids := []string{}
	for _, src := range s.list() {
		ids = append(ids, src.id)
	}
	return ids
}
