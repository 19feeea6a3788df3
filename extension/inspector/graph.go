package inspector

import (
	"cmp"
	"slices"

	"github.com/asyncinspect/asyncinspect/internal/report"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

const defaultEdges = 5_000

type graphAnswer struct {
	AsOf       instant     `json:"as_of"`
	Nodes      []graphNode `json:"nodes"`
	Edges      []graphEdge `json:"edges"`
	WaitsTotal int         `json:"waits_total"`
	EdgesTotal int         `json:"edges_total"`
	Truncated  bool        `json:"truncated"`
	Deadlocks  []string    `json:"deadlocks"`
}

type graphNode struct {
	ID             string       `json:"id"`
	Task           taskRef      `json:"task"`
	Role           role         `json:"role"`
	DeadlockID     *string      `json:"deadlock_id"`
	Instance       string       `json:"instance"`
	ThreadID       int64        `json:"thread_id"`
	InStateSeconds float64      `json:"in_state_seconds"`
	Place          *placeAnswer `json:"place"`
}

type graphEdge struct {
	Waiter        string        `json:"waiter"`
	Holder        string        `json:"holder"`
	Kind          taskspan.Kind `json:"kind"`
	ResourceID    string        `json:"resource_id"`
	ResourceName  string        `json:"resource_name"`
	Since         instant       `json:"since"`
	WaitedSeconds float64       `json:"waited_seconds"`
	Complete      bool          `json:"complete"`
	Inferred      bool          `json:"inferred"`
	Role          role          `json:"role"`
}

// edgesFirst is the order in which edges are shown when there is no room for all.
var edgesFirst = []role{roleCycle, roleCore, roleVictim, roleNone}

func (x *inspector) getGraph(q *query) (any, error) {
	service := q.text("service")
	only := q.choice("only", "all", "stuck")
	limit := q.number("limit", defaultEdges, 1, maxLimit)
	format := q.choice("format", "json", "dot", "mermaid")
	if err := q.done(); err != nil {
		return nil, err
	}
	g := x.picture.get().graph(service, only == "stuck", limit)
	switch format {
	case "dot":
		return graphDOT(&g), nil
	case "mermaid":
		return graphMermaid(&g), nil
	}
	return g, nil
}

// graph tells the edges of a service, or of all, and the tasks at their ends.
func (p *picture) graph(service string, stuck bool, limit int) graphAnswer {
	edges := make([]*waitEdge, 0, len(p.edges))
	for i := range p.edges {
		e := &p.edges[i]
		if stuck && e.role == roleNone || service != "" && !p.of(e.waiter, service) && !p.of(e.holder, service) {
			continue
		}
		edges = append(edges, e)
	}
	slices.SortFunc(edges, func(a, b *waitEdge) int {
		return cmp.Or(cmp.Compare(slices.Index(edgesFirst, a.role), slices.Index(edgesFirst, b.role)),
			a.since().Compare(b.since()), compareIDs(a.waiter, b.waiter), compareIDs(a.holder, b.holder))
	})
	g := graphAnswer{
		AsOf: instant(p.at), Nodes: []graphNode{}, Edges: []graphEdge{}, Deadlocks: []string{},
		WaitsTotal: p.waits, EdgesTotal: len(edges), Truncated: len(edges) > limit || len(p.edges) >= maxEdgesRead,
	}
	for _, dl := range p.standing {
		g.Deadlocks = append(g.Deadlocks, dl.ID.String())
	}
	seen := make(map[report.TaskID]bool)
	for _, e := range edges[:min(len(edges), limit)] {
		for _, id := range []report.TaskID{e.waiter, e.holder} {
			if !seen[id] {
				seen[id] = true
				g.Nodes = append(g.Nodes, p.node(id, e))
			}
		}
		g.Edges = append(g.Edges, graphEdge{
			Waiter: e.waiter.String(), Holder: e.holder.String(), Kind: e.wait.Kind, ResourceID: e.wait.ResourceID, ResourceName: e.wait.ResourceName,
			Since: instant(e.since()), WaitedSeconds: seconds(p.at.Sub(e.since())), Complete: e.wait.Complete, Inferred: e.wait.Inferred, Role: e.role,
		})
	}
	return g
}

func (p *picture) of(id report.TaskID, service string) bool {
	s, _, _, ok := p.task(id)
	return ok && s == service
}

// node is a task at an end of an edge. A holder that has reported nothing itself is
// called as the waiter's process calls it.
func (p *picture) node(id report.TaskID, e *waitEdge) graphNode {
	n := graphNode{ID: id.String(), Task: p.ref(id), Role: p.roleOf(id)}
	if h := holderIn(e.wait, id); h != nil {
		n.Task = p.refNamed(id, e.wait, h.TaskName)
	}
	if dl := p.in[id].deadlock; dl != nil {
		text := dl.ID.String()
		n.DeadlockID = &text
	}
	if t := p.byID[id]; t != nil {
		n.Instance, n.ThreadID, n.Place = t.Instance, t.Thread, placeOf(t.Place, false)
		n.InStateSeconds = timesOf(t, p.at).inState.Seconds()
	} else if t := p.known[id]; t != nil {
		n.Instance, n.ThreadID, n.InStateSeconds = t.Process.Instance, t.Thread, seconds(p.at.Sub(t.StateSince.Add(-t.Ahead)))
		if w := longest(t.Waits); w != nil {
			n.Place = placeOf(w.Place, false)
		}
	}
	return n
}
