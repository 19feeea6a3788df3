import { url, useLast, usePoll, type TaskDetail, type Wait } from '../api'
import { clock, duration, wait } from '../format'
import { href } from '../route'
import { PlaceText, Stack, StateBadge, TaskLink, TraceLink, Waiting } from '../parts/bits'
import { Timeline } from '../parts/timeline'

const ends: Record<TaskDetail['chain_end'], string> = {
  running: 'who runs, as far as is known: it goes on when that one lets go.',
  unknown: 'and nobody knows who holds that: a lock that is not the SDK’s, or somebody outside.',
  cycle: 'and so the circle is closed.',
  cut: 'and so on.',
  none: '',
}

export function TaskView({ trace, span }: { trace: string; span: string }) {
  const polled = usePoll<TaskDetail>(url(`tasks/${trace}/${span}`), 2)
  const d = useLast(polled.data)
  if (polled.refused?.status === 404 && !d) {
    return <p>This task is not known, or not any more: ended tasks are forgotten after some minutes. <a href={href('tasks')}>All tasks</a></p>
  }
  if (!d || d.task.trace_id !== trace || d.task.span_id !== span) return <Waiting refused={polled.refused} what="the task" />
  const t = d.task
  return (
    <>
      <section className="card">
        <h2><StateBadge state={t.state} deadlock={t.deadlock_confidence} /> {t.name}</h2>
        <dl className="facts">
          <div><dt>service</dt><dd>{t.service}{t.instance && <span className="muted"> {t.instance}</span>}</dd></div>
          <div><dt>{t.live ? 'runs for' : 'took'}</dt><dd>{duration(t.age_seconds)}, since {clock(t.started_at)}</dd></div>
          {t.live && <div><dt>in this state for</dt><dd>{duration(t.in_state_seconds)}</dd></div>}
          <div><dt>blocked in all</dt><dd>{duration(t.blocked_seconds)}</dd></div>
          {t.thread_id > 0 && <div><dt>goroutine</dt><dd>{t.thread_id}</dd></div>}
          {t.place && <div><dt>at</dt><dd><PlaceText place={t.place} /><Stack place={t.place} /></dd></div>}
          {d.parent && <div><dt>part of</dt><dd><TaskLink task={d.parent} /></dd></div>}
          {d.remote_parent && <div><dt>called by</dt><dd><TaskLink task={d.remote_parent} /></dd></div>}
          {d.holds.length > 0 && <div><dt>holds</dt><dd>{d.holds.map((h, i) => h + (d.holds_end_at[i] ? ` (until ${clock(d.holds_end_at[i])})` : '')).join(', ')}</dd></div>}
          {t.reason && <div><dt>ended by</dt><dd>{t.reason.replaceAll('_', ' ')}</dd></div>}
          <div><dt>trace</dt><dd><code>{t.trace_id}</code> <TraceLink to={t.trace_url} /></dd></div>
          {t.deadlock_id && <div><dt>deadlock</dt><dd><a href={href(`deadlocks/${t.deadlock_id}`)}>it is part of {t.deadlock_confidence === 'suspected' ? 'a suspected one' : 'one'}: the whole story →</a></dd></div>}
        </dl>
        <Timeline task={t} events={d.events} asOf={d.as_of} />
      </section>

      {d.waits.length > 0 && (
        <section className="card">
          <h2>Waits for</h2>
          {d.waits.map((w) => <WaitText key={w.id} wait={w} />)}
        </section>
      )}

      {d.chain.length > 1 && (
        <section className="card">
          <h2>Why it does not go on</h2>
          <ol className="chain">
            {d.chain.map((link) => (
              <li key={link.task.trace_id + link.task.span_id}>
                <TaskLink task={link.task} /> <StateBadge state={link.task.state} />
                {link.waiting_for && <div>waits for {wait(link.waiting_for.kind, link.waiting_for.resource_name)} since {duration(link.waiting_for.waited_seconds)}, which is held by</div>}
                {link.place && <div><PlaceText place={link.place} /></div>}
              </li>
            ))}
          </ol>
          <p>{ends[d.chain_end]} <a href={href('graph')}>See it in the graph</a></p>
        </section>
      )}

      {d.waiters_total > 0 && (
        <section className="card">
          <h2>{d.waiters_total === 1 ? 'One waits' : `${d.waiters_total} wait`} for it</h2>
          <ul className="rows">
            {d.waiters.map((w) => (
              <li key={w.task.trace_id + w.task.span_id + w.kind + w.resource_name}>
                <TaskLink task={w.task} /> <span>{duration(w.waited_seconds)}</span>
                <span className="muted">for {wait(w.kind, w.resource_name)}</span> <PlaceText place={w.place} />
              </li>
            ))}
          </ul>
        </section>
      )}

      {d.children.length > 0 && (
        <section className="card">
          <h2>Tasks in it</h2>
          <ul className="rows">{d.children.map((c) => <li key={c.trace_id + c.span_id}><StateBadge state={c.state} /> <TaskLink task={c} /></li>)}</ul>
        </section>
      )}

      {d.events.length > 0 && (
        <section className="card">
          <h2>What happened</h2>
          <table>
            <thead><tr><th>at</th><th>what</th><th>detail</th></tr></thead>
            <tbody>{d.events.map((e, i) => <tr key={i}><td>{clock(e.at)}</td><td>{e.name}</td><td>{e.detail}</td></tr>)}</tbody>
          </table>
          {d.events_cut > 0 && <p className="muted">{d.events_cut} more were dropped.</p>}
        </section>
      )}
    </>
  )
}

export function WaitText({ wait: w }: { wait: Wait }) {
  return (
    <div className="wait">
      <p>
        {w.kind} <strong>{w.resource_name && `“${w.resource_name}”`}</strong> for {duration(w.waited_seconds)}
        {w.deadline && `, until ${clock(w.deadline)} at the latest`}
        {w.cancellable && ', or until a caller gives up'}
        {w.inferred && <span className="muted"> ({w.kind === 'remote' ? 'inferred from an open client span' : 'inferred: another goroutine may release it'})</span>}
      </p>
      <p>at <PlaceText place={w.place} /></p>
      {w.callers.map((p) => <p key={`${p.function} ${p.file}:${p.line}`}>called by <PlaceText place={p} /></p>)}
      <Stack place={w.place} />
      {w.holders.length === 0 ? <p className="muted">held by nobody that is known</p> : w.holders.map((h) => (
        <p key={h.task.trace_id + h.task.span_id}>
          held by <TaskLink task={h.task} />{h.place && <>, taken at <PlaceText place={h.place} /></>}
          {h.since && <span className="muted"> {clock(h.since)}</span>}
        </p>
      ))}
      {w.holders.length > 1 && w.need > 0 && <p className="muted">It continues when {w.need} of them release it.</p>}
      {!w.complete && <p className="muted">Others may end this wait, too.</p>}
    </div>
  )
}
