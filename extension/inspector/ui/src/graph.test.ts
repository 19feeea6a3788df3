import { describe, expect, it } from 'vitest'
import type { Graph, GraphEdge, GraphNode, Role } from './api'
import { draw, group, most } from './graph'

const node = (id: string, name: string, role: Role = 'none'): GraphNode => ({
  id, role, deadlock_id: null, instance: '', thread_id: 0, in_state_seconds: 1, place: null,
  task: { trace_id: id, span_id: id, known: true, service: 's', name, state: 'blocked' },
})
const edge = (waiter: string, holder: string, role: Role = 'none', name = 'lock'): GraphEdge => ({
  waiter, holder, role, kind: 'mutex', resource_id: name, resource_name: name, waited_seconds: 1, complete: true, inferred: false,
})
const graph = (nodes: GraphNode[], edges: GraphEdge[]): Graph => ({
  as_of: '', nodes, edges, waits_total: edges.length, edges_total: edges.length, truncated: false, deadlocks: [],
})

describe('the graph', () => {
  it('groups those who wait for the same', () => {
    const waiters = Array.from({ length: 100 }, (_, i) => `w${i}`)
    const { boxes, of } = group(graph([node('h', 'holder'), ...waiters.map((w) => node(w, 'order'))], waiters.map((w) => edge(w, 'h'))))
    expect(boxes.size).toBe(2)
    expect(boxes.get(of.get('w7')!)).toHaveLength(100)
  })
  it('names a holder that only its waiters know', () => {
    const holder = node('h', 'stocktaking')
    holder.task = { ...holder.task, known: false, state: 'unknown' }
    const nobody = node('n', '')
    nobody.task = { ...nobody.task, known: false, service: '', state: 'unknown' }
    const boxes = draw(graph([node('a', 'order'), holder, nobody], [edge('a', 'h'), edge('a', 'n')])).boxes
    expect(boxes.find((b) => b.id.includes('h'))).toMatchObject({ title: 'stocktaking', note: 's' })
    expect(boxes.find((b) => b.nodes[0] === nobody)).toMatchObject({ title: 'not known', note: 'n' })
  })
  it('keeps those of a deadlock apart, and those who are waited for', () => {
    const g = graph(
      [node('a', 'x', 'cycle'), node('b', 'x', 'cycle'), node('c', 'x', 'victim'), node('d', 'x', 'victim')],
      [edge('a', 'b', 'cycle', 'l1'), edge('b', 'a', 'cycle', 'l2'), edge('c', 'a', 'victim'), edge('d', 'c', 'victim')],
    )
    expect(group(g).boxes.size).toBe(4)
    const d = draw(g)
    expect(d.lines.filter((l) => l.role === 'cycle')).toHaveLength(2)
    expect(d.lines.every((l) => l.points.length > 1)).toBe(true)
    expect(new Set(d.boxes.map((b) => `${b.x},${b.y}`)).size).toBe(4)
  })
  it('draws deadlocks first when there are too many', () => {
    const many = Array.from({ length: 2 * most }, (_, i) => node(`n${i}`, `name ${i}`))
    const d = draw(graph([...many, node('a', 'x', 'cycle'), node('b', 'x', 'cycle')], [...many.map((n, i) => edge(n.id, `n${(i + 1) % many.length}`)), edge('a', 'b', 'cycle'), edge('b', 'a', 'cycle')]))
    expect(d.boxes).toHaveLength(most)
    expect(d.boxes.filter((b) => b.role === 'cycle')).toHaveLength(2)
    expect(d.left).toBe(most + 2)
  })
  it('draws those who are waited for with those who wait', () => {
    const nodes: GraphNode[] = []
    const edges: GraphEdge[] = []
    for (let lock = 0; lock < 100; lock++) {
      nodes.push(node(`h${lock}`, 'holder'))
      for (let n = 0; n < 50; n++) {
        nodes.push(node(`w${lock}-${n}`, `customer ${n % 10}`))
        edges.push(edge(`w${lock}-${n}`, `h${lock}`, 'none', `lock ${lock}`))
      }
    }
    const d = draw(graph(nodes, edges))
    expect(d.boxes).toHaveLength(most)
    expect(d.boxes.filter((b) => b.title === 'holder')).toHaveLength(28)
    expect(d.lines).toHaveLength(most - 28)
  })
  it('draws nothing of nothing', () => expect(draw(graph([], [])).boxes).toEqual([]))
})
