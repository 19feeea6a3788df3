package inspector

import (
	"math"
	"runtime/metrics"

	"github.com/asyncinspect/asyncinspect/internal/view"
)

type tableAnswer struct {
	Table string  `json:"table"`
	Size  int     `json:"size"`
	Limit int     `json:"limit"`
	Ratio float64 `json:"ratio"`
}

func tablesOf(tables []view.Table) []tableAnswer {
	out := []tableAnswer{}
	for _, t := range tables {
		a := tableAnswer{Table: t.Name, Size: t.Size, Limit: t.Limit}
		if t.Limit > 0 {
			a.Ratio = float64(t.Size) / float64(t.Limit)
		}
		out = append(out, a)
	}
	return out
}

type memoryAnswer struct {
	AsOf       instant           `json:"as_of"`
	Collector  collectorMemory   `json:"collector"`
	Components []componentAnswer `json:"components"`
}

type componentAnswer struct {
	Component string        `json:"component"`
	Tables    []tableAnswer `json:"tables"`
}

type collectorMemory struct {
	HeapBytes     uint64  `json:"heap_bytes"`
	HeapGoalBytes uint64  `json:"heap_goal_bytes"`
	TotalBytes    uint64  `json:"total_bytes"`
	LimitBytes    *uint64 `json:"limit_bytes"`
	Goroutines    uint64  `json:"goroutines"`
	GCCycles      uint64  `json:"gc_cycles_total"`
}

// readCollectorMemory does not stop the world, as runtime.ReadMemStats would.
func readCollectorMemory() collectorMemory {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/heap/goal:bytes"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/gc/gomemlimit:bytes"},
		{Name: "/sched/goroutines:goroutines"},
		{Name: "/gc/cycles/total:gc-cycles"},
	}
	metrics.Read(samples)
	value := func(i int) uint64 {
		if samples[i].Value.Kind() != metrics.KindUint64 {
			return 0 // a later Go may have renamed it
		}
		return samples[i].Value.Uint64()
	}
	m := collectorMemory{HeapBytes: value(0), HeapGoalBytes: value(1), TotalBytes: value(2), Goroutines: value(4), GCCycles: value(5)}
	if limit := value(3); limit > 0 && limit < math.MaxInt64 {
		m.LimitBytes = &limit
	}
	return m
}

func (x *inspector) getMemory(q *query) (any, error) {
	if err := q.done(); err != nil {
		return nil, err
	}
	n := x.numbers.get()
	a := memoryAnswer{AsOf: instant(n.at), Collector: readCollectorMemory(), Components: []componentAnswer{}}
	for _, c := range n.tables {
		a.Components = append(a.Components, componentAnswer{c.component, tablesOf(c.tables)})
	}
	a.Components = append(a.Components, componentAnswer{x.id.String(), tablesOf(x.tables())})
	return a, nil
}

// tables says how full those of the inspector itself are.
func (x *inspector) tables() []view.Table {
	points, room := x.history.size()
	return []view.Table{
		{Name: "streams", Size: x.streams.count(), Limit: x.cfg.Events.MaxClients},
		{Name: "history", Size: points, Limit: room},
		{Name: "series", Size: x.metrics.series(), Limit: x.metrics.limit()},
	}
}
