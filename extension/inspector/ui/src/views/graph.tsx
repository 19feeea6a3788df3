import { useCallback, useEffect, useMemo, useRef, useState, type PointerEvent } from 'react'
import { url, useLast, usePoll, type Gap, type Graph } from '../api'
import { duration, wait } from '../format'
import { draw, type Box, type Line } from '../graph'
import { setQuery, taskHref, href } from '../route'
import { Downloads, TaskLink, Unless, Waiting } from '../parts/bits'

export function GraphView({ query, gaps }: { query: URLSearchParams; gaps?: Gap[] }) {
  const only = query.get('only') ?? 'all'
  const [paused, setPaused] = useState(false)
  const polled = usePoll<Graph>(url('graph', { only, limit: 5000 }), 4, paused)
  const graph = useLast(polled.data)
  const shape = graph && JSON.stringify([graph.nodes.map((n) => [n.id, n.role]), graph.edges.map((e) => [e.waiter, e.holder, e.resource_name])])
  // The layout is done again only if something else than a time has changed.
  const drawing = useMemo(() => graph && draw(graph), [shape])
  if (!graph || !drawing) return <Waiting refused={polled.refused} what="the graph" />
  return (
    <>
      <form className="filters" onSubmit={(e) => e.preventDefault()}>
        <label>
          show{' '}
          <select value={only} onChange={(e) => setQuery({ only: e.target.value })}>
            <option value="all">everybody who waits</option>
            <option value="stuck">deadlocks and who is stuck behind them</option>
          </select>
        </label>
        <button type="button" aria-pressed={paused} onClick={() => setPaused(!paused)}>{paused ? 'Go on' : 'Pause'}</button>
        <Downloads links={[
          ['JSON', url('graph', { only }), 'waits.json'], ['DOT', url('graph', { only, format: 'dot' }), 'waits.dot'], ['Mermaid', url('graph', { only, format: 'mermaid' }), 'waits.mmd'],
        ]} />
      </form>
      {graph.edges.length === 0 ? <Unless gaps={gaps} about={only === 'stuck' ? 'deadlocks' : 'tasks'}>Nobody waits for anybody for longer than a second.</Unless> : (
        <>
          <p className="muted" role="status">
            {graph.nodes.length} tasks, {graph.edges.length} waits{graph.truncated && ` of ${graph.edges_total}`}; an arrow goes from who waits to who holds.
            {drawing.left > 0 && ` ${drawing.left} more boxes find no room in the drawing.`}
          </p>
          <Canvas boxes={drawing.boxes} lines={drawing.lines} width={drawing.width} height={drawing.height} />
          <p className="legend">
            <span className="key deadlocked">in a deadlock</span> <span className="key victim">stuck behind one</span> <span className="key blocked">waits</span> <span className="key dashed">others may end it</span>
          </p>
          <details>
            <summary>As a list</summary>
            <div className="wide" tabIndex={0}>
              <table>
                <thead><tr><th>who waits</th><th>for</th><th>for how long</th><th>who holds it</th><th>part of</th></tr></thead>
                <tbody>
                  {graph.edges.slice(0, 500).map((e, i) => {
                    const waiter = graph.nodes.find((n) => n.id === e.waiter)
                    const holder = graph.nodes.find((n) => n.id === e.holder)
                    return (
                      <tr key={i}>
                        <td>{waiter && <TaskLink task={waiter.task} />}</td><td>{wait(e.kind, e.resource_name)}</td><td className="number">{duration(e.waited_seconds)}</td>
                        <td>{holder && <TaskLink task={holder.task} />}</td><td>{{ cycle: 'a deadlock', core: 'a deadlock', victim: 'stuck behind one', none: '' }[e.role]}</td>
                      </tr>
                    )
                  })}
                </tbody>
              </table>
            </div>
          </details>
        </>
      )}
    </>
  )
}

const address = (b: Box) => {
  const task = b.nodes[0]!.task
  if (!task.known) return undefined
  return b.nodes.length === 1 ? taskHref(task) : href('tasks', { service: task.service, name: task.name, state: 'blocked,deadlocked' })
}

// Canvas is the drawing, which can be moved and zoomed.
function Canvas({ boxes, lines, width, height }: { boxes: Box[]; lines: Line[]; width: number; height: number }) {
  const svg = useRef<SVGSVGElement>(null)
  const [zoom, setZoom] = useState(1)
  const [pan, setPan] = useState({ x: 0, y: 0 })
  const grip = useRef<{ x: number; y: number } | null>(null)
  const fit = useCallback(() => { setZoom(1); setPan({ x: 0, y: 0 }) }, [])
  const scale = useCallback((by: number) => setZoom((z) => Math.min(8, Math.max(0.2, z * by))), [])

  useEffect(() => {
    const pressed = (e: KeyboardEvent) => {
      if ((e.target as HTMLElement).matches('input, select')) return
      if (e.key === '+' || e.key === '=') scale(1.25)
      else if (e.key === '-') scale(0.8)
      else if (e.key === '0') fit()
    }
    const wheel = (e: WheelEvent) => {
      if (!e.ctrlKey && !e.metaKey) return // the page scrolls
      e.preventDefault()
      scale(e.deltaY < 0 ? 1.1 : 0.9)
    }
    const element = svg.current
    window.addEventListener('keydown', pressed)
    element?.addEventListener('wheel', wheel, { passive: false })
    return () => {
      window.removeEventListener('keydown', pressed)
      element?.removeEventListener('wheel', wheel)
    }
  }, [scale, fit])

  const moved = (e: PointerEvent) => {
    if (!grip.current || !svg.current) return
    const unit = (width / zoom) / svg.current.clientWidth
    const { x, y } = grip.current
    grip.current = { x: e.clientX, y: e.clientY }
    setPan((p) => ({ x: p.x - (e.clientX - x) * unit, y: p.y - (e.clientY - y) * unit }))
  }

  const view = { x: pan.x + (width - width / zoom) / 2, y: pan.y + (height - height / zoom) / 2, width: width / zoom, height: height / zoom }
  return (
    <div className="canvas">
      <div className="zoom">
        <button type="button" onClick={() => scale(1.25)} aria-label="Zoom in">+</button>
        <button type="button" onClick={() => scale(0.8)} aria-label="Zoom out">−</button>
        <button type="button" onClick={fit} aria-label="Show all">⤢</button>
      </div>
      <svg ref={svg} viewBox={`${view.x} ${view.y} ${view.width} ${view.height}`} role="group" aria-label="Wait-for graph; the same is below as a list"
        style={{ height: Math.min(640, Math.max(180, height + 20)), maxWidth: Math.max(640, width * 1.15) }}
        onPointerDown={(e) => { if (!(e.target as Element).closest('a')) grip.current = { x: e.clientX, y: e.clientY } }}
        onPointerMove={moved} onPointerUp={() => { grip.current = null }} onPointerLeave={() => { grip.current = null }}>
        <defs>
          {['cycle', 'core', 'victim', 'none'].map((role) => (
            <marker key={role} id={`tip-${role}`} className={`tip ${role}`} viewBox="0 0 8 8" refX="7.5" refY="4" markerUnits="userSpaceOnUse" markerWidth="9" markerHeight="9" orient="auto-start-reverse"><path d="M0,0 L8,4 L0,8 z" /></marker>
          ))}
        </defs>
        {lines.map((l) => <Arrow key={`${l.from} ${l.to}`} line={l} />)}
        {boxes.map((b) => (
          <a key={b.id} href={address(b)} className={`box ${b.role}`}>
            <g transform={`translate(${b.x - b.width / 2} ${b.y - b.height / 2})`}>
              {b.nodes.length > 1 && <rect x="4" y="4" width={b.width} height={b.height} rx="6" />}
              <rect width={b.width} height={b.height} rx="6" />
              <text x="12" y="19" className="title">{cut(b.title, 40)}</text>
              <text x="12" y="36" className="note">{cut(b.note, 48)}</text>
            </g>
          </a>
        ))}
      </svg>
    </div>
  )
}

const cut = (text: string, length: number) => (text.length > length ? text.slice(0, length - 1) + '…' : text)

function Arrow({ line: l }: { line: Line }) {
  const [first, ...rest] = l.points
  if (!first) return null
  return (
    <g className={`line ${l.role} ${l.proven ? '' : 'open'}`}>
      <path d={`M${first.x},${first.y} ${rest.map((p) => `L${p.x},${p.y}`).join(' ')}`} markerEnd={`url(#tip-${l.role})`} />
      <text x={l.label.x} y={l.label.y + 4} textAnchor="middle">{cut(l.text, 28)}</text>
    </g>
  )
}
