// From the answer of the API to something that a person can read: tasks that are in
// the same situation become one box, and the boxes get places.
import dagre from '@dagrejs/dagre'
import type { Graph, GraphEdge, GraphNode, Role } from './api'

export interface Box {
  id: string; nodes: GraphNode[]; role: Role; title: string; note: string
  x: number; y: number; width: number; height: number
}
export interface Line { from: string; to: string; role: Role; text: string; count: number; proven: boolean; points: { x: number; y: number }[]; label: { x: number; y: number } }
export interface Drawing { boxes: Box[]; lines: Line[]; width: number; height: number; left: number }

const order: Role[] = ['cycle', 'core', 'victim', 'none']
export const most = 300 // boxes that are drawn

// group puts tasks of one name that wait for the same, and that nobody waits for, into
// one box: a hundred orders behind one lock are one thing to look at.
export function group(graph: Graph): { boxes: Map<string, GraphNode[]>; of: Map<string, string> } {
  const waits = new Map<string, string[]>()
  const held = new Set<string>()
  for (const e of graph.edges) {
    held.add(e.holder)
    const list = waits.get(e.waiter)
    const target = `${e.kind}\0${e.resource_name}\0${e.holder}`
    if (list) list.push(target)
    else waits.set(e.waiter, [target])
  }
  const boxes = new Map<string, GraphNode[]>()
  const of = new Map<string, string>()
  for (const n of graph.nodes) {
    const alone = held.has(n.id) || n.role === 'cycle' || n.role === 'core'
    const box = alone ? n.id : ['group', n.task.service, n.task.name, n.role, ...(waits.get(n.id) ?? []).sort()].join('\0')
    of.set(n.id, box)
    const list = boxes.get(box)
    if (list) list.push(n)
    else boxes.set(box, [n])
  }
  return { boxes, of }
}

const edgeText = (e: GraphEdge) => (e.resource_name ? `${e.kind} ${e.resource_name}` : e.kind)

export function draw(graph: Graph): Drawing {
  const { boxes: groups, of } = group(graph)
  const rank = (nodes: GraphNode[]) => order.indexOf(nodes[0]!.role)
  // Deadlocks first, then who is stuck behind them; the rest while there is room: who
  // is waited for most, each together with those who wait.
  const held = new Map<string, number>()
  for (const e of graph.edges) held.set(of.get(e.holder)!, (held.get(of.get(e.holder)!) ?? 0) + 1)
  const weight = new Map(held)
  for (const e of graph.edges) {
    const waiter = of.get(e.waiter)!
    weight.set(waiter, Math.max(weight.get(waiter) ?? 0, held.get(of.get(e.holder)!)! - 0.5))
  }
  const place = new Map([...held.keys()].map((id, i) => [id, i]))
  const near = new Map(graph.edges.map((e) => [of.get(e.waiter)!, place.get(of.get(e.holder)!)!]))
  const at = (id: string) => place.get(id) ?? near.get(id) ?? 0
  const ids = [...groups.keys()].sort((a, b) => rank(groups.get(a)!) - rank(groups.get(b)!)
    || Math.ceil(weight.get(b) ?? 0) - Math.ceil(weight.get(a) ?? 0) || at(a) - at(b) || (weight.get(b) ?? 0) - (weight.get(a) ?? 0))
  const shown = new Set(ids.slice(0, most))

  const layout = new dagre.graphlib.Graph<object>()
  layout.setGraph({ rankdir: 'LR', nodesep: 18, ranksep: 50, marginx: 20, marginy: 20 })
  layout.setDefaultEdgeLabel(() => ({}))
  const boxes: Box[] = []
  for (const id of shown) {
    const nodes = groups.get(id)!
    const { task, place, thread_id } = nodes[0]!
    // A holder that has reported nothing itself has a name if the waiter's process tells it.
    const title = !task.name ? 'not known' : nodes.length > 1 ? `${nodes.length} × ${task.name}` : task.name
    const note = !task.name ? task.trace_id.slice(0, 12) : [task.service, nodes.length === 1 && thread_id > 0 ? `goroutine ${thread_id}` : '', place ? `${place.file.split('/').pop()}:${place.line}` : ''].filter(Boolean).join(' · ')
    const box = { id, nodes, role: nodes[0]!.role, title, note, x: 0, y: 0, width: Math.max(120, Math.min(320, 7.4 * Math.max(title.length, note.length * 0.86) + 24)), height: 46 }
    boxes.push(box)
    layout.setNode(id, { width: box.width, height: box.height })
  }
  const lines = new Map<string, Line>()
  for (const e of graph.edges) {
    const from = of.get(e.waiter)!
    const to = of.get(e.holder)!
    if (!shown.has(from) || !shown.has(to)) continue
    const key = `${from}\u0001${to}`
    const line = lines.get(key)
    if (line) {
      line.count++
      if (order.indexOf(e.role) < order.indexOf(line.role)) line.role = e.role
      if (!line.text.split(', ').includes(edgeText(e)) && line.text.length < 60) line.text += `, ${edgeText(e)}`
      line.proven ||= e.complete
      continue
    }
    lines.set(key, { from, to, role: e.role, text: edgeText(e), count: 1, proven: e.complete, points: [], label: { x: 0, y: 0 } })
  }
  // The text of an arrow takes room, too.
  for (const l of lines.values()) layout.setEdge(l.from, l.to, { width: 6.3 * Math.min(28, l.text.length) + 8, height: 14, labelpos: 'c' })
  dagre.layout(layout)
  for (const b of boxes) {
    const at = layout.node(b.id) as { x: number; y: number }
    b.x = at.x
    b.y = at.y
  }
  for (const l of lines.values()) {
    const { points, x, y } = layout.edge(l.from, l.to) as { points: { x: number; y: number }[]; x?: number; y?: number }
    l.points = points
    l.label = { x: x ?? points[0]!.x, y: y ?? points[0]!.y }
  }
  const size = layout.graph() as { width?: number; height?: number }
  return { boxes, lines: [...lines.values()], width: size.width || 1, height: size.height || 1, left: groups.size - shown.size }
}
