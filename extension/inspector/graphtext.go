package inspector

import (
	"fmt"
	"strings"

	"github.com/asyncinspect/asyncinspect/internal/words"
)

// Names come from anybody, so each is put on one line and within its quotes.

// graphDOT writes the graph for Graphviz: dot -Tsvg.
func graphDOT(g *graphAnswer) text {
	quote := func(s string) string {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(words.OneLine(s)) + `"`
	}
	var b strings.Builder
	b.WriteString("digraph waits {\n  rankdir=LR;\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\", fontsize=10];\n")
	for i := range g.Nodes {
		n := &g.Nodes[i]
		fmt.Fprintf(&b, "  %s [label=%s%s];\n", quote(n.ID), quote(n.label()), map[role]string{
			roleCycle: ", color=red, penwidth=2", roleCore: ", color=red", roleVictim: ", color=orange",
		}[n.Role])
	}
	for i := range g.Edges {
		e := &g.Edges[i]
		style := map[role]string{roleCycle: ", color=red, penwidth=2", roleCore: ", color=red", roleVictim: ", color=orange"}[e.Role]
		if !e.Complete {
			style += ", style=dashed"
		}
		fmt.Fprintf(&b, "  %s -> %s [label=%s%s];\n", quote(e.Waiter), quote(e.Holder), quote(e.label()), style)
	}
	b.WriteString("}\n")
	return text{contentType: "text/vnd.graphviz; charset=utf-8", name: "waits.dot", body: b.String()}
}

// graphMermaid writes the graph for Mermaid, which many Markdown pages draw.
func graphMermaid(g *graphAnswer) text {
	// Mermaid reads #34; and the like within quotes, and nothing else.
	quote := func(s string) string {
		return `"` + strings.NewReplacer("#", "#35;", `"`, "#34;", "<", "#60;", ">", "#62;", "&", "#38;", "`", "#96;", `\`, "#92;").Replace(words.OneLine(s)) + `"`
	}
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	number := make(map[string]int, len(g.Nodes))
	for i := range g.Nodes {
		n := &g.Nodes[i]
		number[n.ID] = i
		fmt.Fprintf(&b, "  n%d[%s]\n", i, quote(n.label()))
		if n.Role != roleNone {
			fmt.Fprintf(&b, "  class n%d %s\n", i, n.Role)
		}
	}
	for i := range g.Edges {
		e := &g.Edges[i]
		arrow := "-->"
		if !e.Complete {
			arrow = "-.->"
		}
		fmt.Fprintf(&b, "  n%d %s|%s| n%d\n", number[e.Waiter], arrow, quote(e.label()), number[e.Holder])
	}
	b.WriteString("  classDef cycle stroke:#d00,stroke-width:3px\n  classDef core stroke:#d00\n  classDef victim stroke:#d80\n")
	return text{contentType: "text/vnd.mermaid; charset=utf-8", name: "waits.mmd", body: b.String()}
}

func (n *graphNode) label() string {
	name := n.Task.Service + ": " + n.Task.Name
	if n.Task.Name == "" {
		name = "not known: " + n.Task.SpanID
	}
	if n.ThreadID != 0 {
		name += fmt.Sprintf(" (%d)", n.ThreadID)
	}
	return name
}

func (e *graphEdge) label() string { return string(e.Kind) + " " + e.ResourceName }
