import { useId } from 'react'
import type { HistoryPoint } from '../api'
import { clock, count } from '../format'

const width = 600
const height = 120

// Chart stacks the live tasks by state over the time that the collector remembers.
export function Chart({ history }: { history: HistoryPoint[] }) {
  const title = useId()
  const first = history[0]
  const last = history.at(-1)
  if (!first || !last || history.length < 2) return <p className="muted">The history begins with the next seconds.</p>
  const from = Date.parse(first.at)
  const span = Math.max(1, Date.parse(last.at) - from)
  const top = Math.max(1, ...history.map((p) => p.running + p.blocked + p.deadlocked))
  const x = (p: HistoryPoint) => ((Date.parse(p.at) - from) / span) * width
  const y = (n: number) => height - (n / top) * (height - 4)
  const layers = [
    ['running', (p: HistoryPoint) => p.running + p.blocked + p.deadlocked],
    ['blocked', (p: HistoryPoint) => p.blocked + p.deadlocked],
    ['deadlocked', (p: HistoryPoint) => p.deadlocked],
  ] as const
  return (
    <figure>
      <svg className="chart" viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" role="img" aria-labelledby={title}>
        <title id={title}>
          {`Live tasks from ${clock(first.at)} to ${clock(last.at)}: at most ${count(top)}, now ${last.running} running, ${last.blocked} blocked, ${last.deadlocked} deadlocked`}
        </title>
        {layers.map(([state, height]) => (
          <path key={state} className={state} d={`M0,${y(0)} ${history.map((p) => `L${x(p).toFixed(1)},${y(height(p)).toFixed(1)}`).join(' ')} L${width},${y(0)} Z`} />
        ))}
      </svg>
      <figcaption>
        <span>{clock(first.at)}</span>
        <span className="legend">
          <span className="key running">running</span> <span className="key blocked">blocked</span> <span className="key deadlocked">deadlocked</span> · at most {count(top)}
        </span>
        <span>{clock(last.at)}</span>
      </figcaption>
    </figure>
  )
}
