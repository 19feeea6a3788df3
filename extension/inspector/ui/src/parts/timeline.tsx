import type { Task, TaskEvent } from '../api'
import { clock, duration } from '../format'

const stateNames = new Set(['running', 'blocked', 'deadlocked', 'completed', 'failed', 'cancelled', 'lost'])

// Timeline draws when a task ran and when it waited, and its inspection points.
export function Timeline({ task, events, asOf }: { task: Task; events: TaskEvent[]; asOf: string }) {
  const from = Date.parse(task.started_at)
  const to = Math.max(from + 1, Date.parse(task.ended_at ?? asOf))
  const at = (time: number) => ((Math.min(to, Math.max(from, time)) - from) / (to - from)) * 100
  const pieces: { state: string; begin: number; end: number; detail: string }[] = []
  let state = 'running'
  let begin = from
  let detail = ''
  const change = (next: string, time: number, why: string) => {
    if (time > begin) pieces.push({ state, begin, end: time, detail })
    state = next
    begin = Math.max(begin, time)
    detail = why
  }
  for (const e of events) {
    if (stateNames.has(e.name)) change(e.name, Date.parse(e.at), e.detail)
    else if (e.name === 'wait ended') change('running', Date.parse(e.at), '')
  }
  change('', to, '')
  const points = events.filter((e) => !stateNames.has(e.name) && e.name !== 'wait ended' && e.name !== 'holders changed')
  const told = pieces.map((p) => `${p.state} for ${duration((p.end - p.begin) / 1000)}`).join(', ')
  return (
    <figure className="timeline">
      <div className="track" role="img" aria-label={`Timeline: ${told}`}>
        {pieces.map((p, i) => (
          <span key={i} className={`piece ${p.state}`} title={`${p.state} for ${duration((p.end - p.begin) / 1000)}${p.detail && ': ' + p.detail}`}
            style={{ left: `${at(p.begin)}%`, width: `${Math.max(0.3, at(p.end) - at(p.begin))}%` }} />
        ))}
        {points.map((p, i) => <span key={i} className="point" title={`${p.name} at ${clock(p.at)}`} style={{ left: `${at(Date.parse(p.at))}%` }} />)}
      </div>
      <figcaption><span>{clock(task.started_at)}</span><span>{task.ended_at ? clock(task.ended_at) : 'now'}</span></figcaption>
    </figure>
  )
}
