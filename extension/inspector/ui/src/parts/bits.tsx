// The small parts that all views share.
import type { ReactNode } from 'react'
import type { Confidence, Gap, Place, Refused, State, TaskRef } from '../api'
import { lineOf } from '../format'
import { href, taskHref } from '../route'

const signs: Record<State, string> = {
  running: '▶', blocked: '‖', deadlocked: '⟲', completed: '✓', failed: '✕', cancelled: '⊘', lost: '?', unknown: '·',
}

// A task is deadlocked only if that is certain; beside another state it says how sure the deadlock is.
export const StateBadge = ({ state, deadlock }: { state: State; deadlock?: Confidence | null }) => (
  <span className={`state ${state}`}>
    <span aria-hidden="true">{signs[state]}</span> {state}{deadlock && state !== 'deadlocked' && `, ${deadlock} deadlock`}
  </span>
)

export function TaskLink({ task }: { task: TaskRef }) {
  if (!task.known) {
    return (
      <span className="muted">
        {task.name ? <>{task.service}: {task.name}</> : 'a task that is not known'} <code>{task.trace_id.slice(0, 8)}…</code>
      </span>
    )
  }
  return (
    <a href={taskHref(task)}>
      <span className="muted">{task.service}:</span> {task.name}
    </a>
  )
}

export function PlaceText({ place }: { place: Place | null }) {
  if (!place) return <span className="muted">place not known</span>
  return (
    <span className="place">
      <code>{place.function}</code> <code className="muted" title={`${place.file}:${place.line}`}>{lineOf(place)}</code>
    </span>
  )
}

export function Stack({ place }: { place: Place | null }) {
  if (!place?.stack) return null
  return (
    <details>
      <summary>stack</summary>
      <pre tabIndex={0}>{place.stack}</pre>
    </details>
  )
}

export const TraceLink = ({ to }: { to: string }) =>
  to ? (
    <a href={to} target="_blank" rel="noreferrer noopener">
      trace ↗
    </a>
  ) : null

export function Tile({ name, value, note, tone, to }: { name: string; value: ReactNode; note?: ReactNode; tone?: string; to?: string }) {
  const body = (
    <>
      <span className="tile-name">{name}</span>
      <span className="tile-value">{value}</span>
      {note && <span className="tile-note">{note}</span>}
    </>
  )
  return to ? <a className={`tile ${tone ?? ''}`} href={to}>{body}</a> : <div className={`tile ${tone ?? ''}`}>{body}</div>
}

// Bar shows a share; a number stands beside it, so it is not for those who listen.
export const Bar = ({ ratio, tone }: { ratio: number; tone?: string }) => (
  <span className="bar" aria-hidden="true">
    <span className={tone ?? ''} style={{ width: `${Math.min(100, Math.max(0, ratio * 100))}%` }} />
  </span>
)

export function Waiting({ refused, what }: { refused?: Refused; what: string }) {
  if (refused) return <p className="problem" role="alert">{what}: {refused.message}</p>
  return <p className="muted" role="status">Loading {what} …</p>
}

// Downloads are links to the same question in other formats.
export const Downloads = ({ links }: { links: [name: string, to: string, file: string][] }) => (
  <span className="downloads">
    {links.map(([name, to, file]) => (
      <a key={name} href={to} download={file}>{name}</a>
    ))}
  </span>
)

// Unless says that there is nothing, unless that cannot be known: then it says why.
export function Unless({ gaps = [], about, only, children }: { gaps?: Gap[]; about: Gap['about']; only?: Gap['reason'][]; children: ReactNode }) {
  const unknown = gaps.filter((g) => g.about === about && (!only || only.includes(g.reason)))
  if (unknown.length === 0) return <p>{children}</p>
  return (
    <div className={unknown.some((g) => g.status === 'warning') ? 'warning' : ''} role="status">
      <p>{about === 'deadlocks' ? 'It is not known whether a deadlock stands:' : 'Tasks are not known:'}</p>
      <ul>{unknown.map((g) => <li key={g.reason + g.component}>{g.message}</li>)}</ul>
    </div>
  )
}

export const Connect = () => (
  <section className="card">
    <h2>No service has reported yet</h2>
    <p>A Go service connects with a few lines:</p>
    <pre tabIndex={0}>{`go get github.com/asyncinspect/asyncinspect/sdk

ins, err := inspect.Start(ctx, inspect.WithServiceName("shop"))
if err != nil { log.Fatal(err) }
defer ins.Shutdown(ctx)

ctx, task := inspect.Begin(ctx, "checkout")
defer task.End(nil)`}</pre>
    <p>
      It sends OTLP to <code>localhost:4317</code>; the variable <code>OTEL_EXPORTER_OTLP_ENDPOINT</code> names another collector.
      Services with any other OpenTelemetry SDK show up too, with what their finished spans tell.
    </p>
    <p>Nothing here although one runs? Look at <a href={href('fleet')}>the fleet</a>, and at the log of the service.</p>
  </section>
)
