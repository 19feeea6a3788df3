import { useState } from 'react'
import { url, useLast, usePoll, type Deadlock, type DeadlockList, type InversionList } from '../api'
import { clock, count, duration } from '../format'
import { href } from '../route'
import { Downloads, StateBadge, TaskLink, TraceLink, Unless, Waiting } from '../parts/bits'
import { WaitText } from './task'

const confidence = {
  certain: 'certain: every wait was declared, every lock is of a kind that its taker releases, and all waits stood at the same instant',
  suspected: 'suspected: a deadlock if the assumption in its headline is true',
  transient: 'transient: a deadline or the TTL of an external lock will end it',
}

export function Deadlocks({ id }: { id?: string }) {
  const polled = usePoll<DeadlockList>(url('deadlocks', { limit: 100 }), 2)
  const inversions = usePoll<InversionList>(url('inversions', { limit: 100 }), 10).data
  const list = useLast(polled.data)
  if (!list) return <Waiting refused={polled.refused} what="deadlocks" />
  const shown = id ? list.deadlocks.filter((d) => d.id === id) : list.deadlocks
  const standing = shown.filter((d) => d.standing)
  const past = shown.filter((d) => !d.standing)
  return (
    <>
      <p className="muted">
        {count(list.standing)} standing, {count(list.found_total)} found since the collector started, {count(list.resolved_total)} over.{' '}
        {id && <a href={href('deadlocks')}>All of them</a>}{' '}
        <Downloads links={[['JSON', url('deadlocks', { limit: 10000 }), 'deadlocks.json'], ['CSV', url('deadlocks', { limit: 10000, format: 'csv' }), 'deadlocks.csv']]} />
      </p>
      {id && shown.length === 0 && <p>This deadlock is no longer in memory.</p>}
      {!id && standing.length === 0 && (
        <Unless gaps={list.gaps} about="deadlocks">{past.length === 0 ? 'No deadlocks. New ones appear here within seconds.' : 'None stands now.'}</Unless>
      )}
      {!id && standing.length > 0 && list.gaps.map((g) => <p key={g.reason + g.component} className="warning">More may stand: {g.message}</p>)}
      {standing.map((d) => <Story key={d.id} deadlock={d} />)}
      {past.length > 0 && <h2>Over</h2>}
      {past.map((d) => (
        <details key={d.id} open={id === d.id}>
          <summary>{d.headline} <span className="muted">{clock(d.since)}, lasted {duration(d.lasted_seconds)}, {ended(d.how)}</span></summary>
          <Story deadlock={d} />
        </details>
      ))}
      {inversions && inversions.inversions.length > 0 && !id && (
        <>
          <h2>Could become one</h2>
          <p className="muted">Locks taken in orders that contradict each other: two tasks that run at the same time can deadlock.</p>
          {inversions.inversions.map((v) => (
            <section className="card" key={v.id}>
              <h3>{v.names.join(' → ')}</h3>
              <pre tabIndex={0}>{v.cycle_text}</pre>
              <p className="suggestion">{v.suggestion}</p>
            </section>
          ))}
        </>
      )}
    </>
  )
}

const ended = (how: string) =>
  ({ released: 'a holder released', cancelled: 'a wait was cancelled', deadline: 'a deadline or a TTL ended it', process_lost: 'a process disappeared' })[how] ?? how.replaceAll('_', ' ')

function Story({ deadlock: d }: { deadlock: Deadlock }) {
  const [copied, setCopied] = useState(false)
  const copy = async () => {
    await navigator.clipboard.writeText(d.story)
    setCopied(true)
  }
  return (
    <article className={`card story ${d.standing ? 'standing' : ''}`} aria-label={d.headline}>
      <h2>{d.headline}</h2>
      <p>
        <StateBadge state={!d.standing ? 'completed' : d.confidence === 'certain' ? 'deadlocked' : 'blocked'} /> since {clock(d.since)}, {d.standing ? 'for' : 'lasted'} {duration(d.lasted_seconds)}
        <span className="muted"> · {confidence[d.confidence]}{d.cancellable && d.confidence !== 'transient' && '; it ends only if a caller gives up'}</span>
      </p>
      <ol className="members">
        {d.members.map((m) => (
          <li key={m.task.trace_id + m.task.span_id} className={m.in_cycle ? 'in-cycle' : ''}>
            <h3>
              <TaskLink task={m.task} /> {m.thread_id > 0 && <span className="muted">goroutine {m.thread_id}</span>} <TraceLink to={m.trace_url} />
            </h3>
            {m.waits.map((w) => <WaitText key={w.id} wait={w} />)}
            {m.more_waits > 0 && <p className="muted">and {count(m.more_waits)} more waits</p>}
          </li>
        ))}
      </ol>
      {d.more_members > 0 && <p className="muted">{d.more_members === 1 ? 'One more task is' : `${count(d.more_members)} more tasks are`} part of it.</p>}
      {d.count > 1 && <p>{d.count === 2 ? 'One more deadlock like this one stands' : `${count(d.count - 1)} more deadlocks like this one stand`}: the same processes wait at the same lines.</p>}
      <section className="suggestion">
        <h3>What to do</h3>
        <p>{d.suggestion}</p>
      </section>
      {d.victims > 0 && (
        <details>
          <summary>{d.victims === 1 ? 'One more task is' : `${count(d.victims)} more tasks are`} {d.confidence === 'suspected' ? 'waiting' : 'stuck'} behind it</summary>
          <ul className="rows">{d.victim_tasks.map((v) => <li key={v.trace_id + v.span_id}><TaskLink task={v} /></li>)}</ul>
        </details>
      )}
      <p className="actions">
        {d.standing && <a className="button" href={href('graph', { only: 'stuck' })}>Draw it</a>}
        <button type="button" onClick={copy}>{copied ? 'Copied' : 'Copy as text'}</button>
        <TraceLink to={d.trace_url} />
        <a href={href(`deadlocks/${d.id}`)}>link to this</a>
      </p>
    </article>
  )
}
