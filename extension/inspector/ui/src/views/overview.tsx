import type { Overview } from '../api'
import { count, duration, percent, plural, rate, wait } from '../format'
import { href, taskHref } from '../route'
import { Bar, Connect, StateBadge, Tile, Unless, Waiting } from '../parts/bits'
import { Chart } from '../parts/chart'

export function OverviewView({ overview: o }: { overview?: Overview }) {
  if (!o) return <Waiting what="the overview" />
  const { standing, suspected, tasks, victims } = o.deadlocks
  const sure = standing > suspected
  const { reporting, lost, replaced, goodbye } = o.processes
  const unheard = o.components.some((c) => c.processes_without_reports > 0)
  const nothing = reporting + lost + replaced + goodbye === 0 && o.tasks.started_total === 0 && !unheard
  // A count of which nobody knows is no 0.
  const uncounted = o.gaps.find((g) => g.about === 'tasks' && g.reason === 'no_component')
  const unwatched = o.gaps.find((g) => g.about === 'deadlocks' && (g.reason === 'no_component' || g.reason === 'elsewhere'))
  const counted = (n: number) => (uncounted ? 'unknown' : count(n))
  return (
    <>
      {standing > 0 && (
        <a className={sure ? 'alarm' : 'warning'} href={href('deadlocks')}>
          <strong>{standing === 1 ? `A ${sure ? '' : 'suspected '}deadlock stands` : `${standing} ${sure ? '' : 'suspected '}deadlocks stand`}</strong>
          {sure && suspected > 0 && `, ${suspected} of them suspected`}: {plural(tasks, 'task')} {sure ? 'wait for each other' : 'may be waiting for each other'}
          {victims > 0 && `, ${count(victims)} more ${victims === 1 ? 'waits' : 'wait'} behind them`}. See who waits for whom →
        </a>
      )}
      {o.warnings.filter((w) => w.name !== 'deadlock').map((w) => (
        <p key={`${w.name} ${w.component} ${w.message}`} className={w.status === 'failed' ? 'problem' : 'warning'}>
          {w.component && <><code>{w.component}</code>: </>}{w.message || w.name}
        </p>
      ))}
      {nothing && <Connect />}
      <div className="tiles">
        <Tile name="running" value={counted(o.tasks.running)} tone="running" to={href('tasks', { state: 'running' })} />
        <Tile name="blocked" value={counted(o.tasks.blocked)} tone={o.tasks.blocked ? 'blocked' : ''} to={href('tasks', { state: 'blocked' })}
          note={o.tasks.suspected > 0 && `${count(o.tasks.suspected)} in suspected deadlocks`} />
        <Tile name="deadlocked" value={unwatched && o.tasks.deadlocked === 0 ? 'unknown' : count(o.tasks.deadlocked)} tone={o.tasks.deadlocked ? 'deadlocked' : ''} to={href('deadlocks')}
          note={unwatched ? (unwatched.reason === 'elsewhere' ? 'found in another collector' : 'no deadlock_detector') : o.deadlocks.found_total > 0 && `${plural(o.deadlocks.found_total, 'deadlock')} found, ${count(o.deadlocks.resolved_total)} over`} />
        <Tile name="tasks a second" value={uncounted ? 'unknown' : rate(o.rates.started_per_second)} note={uncounted ? 'no task_state' : `${count(o.tasks.started_total)} so far`} />
        <Tile name="failed a second" value={uncounted ? 'unknown' : rate(o.rates.failed_per_second)} tone={o.rates.failed_per_second ? 'failed' : ''}
          note={uncounted ? 'no task_state' : `${count(o.tasks.failed_total)} failed, ${count(o.tasks.cancelled_total)} cancelled, ${count(o.tasks.lost_total)} lost`} to={href('tasks', { state: 'failed' })} />
        <Tile name="processes" value={count(o.processes.reporting)} note={o.processes.lost > 0 ? `${count(o.processes.lost)} lost` : undefined} to={href('fleet')} />
        {o.inversions > 0 && <Tile name="lock orders that contradict" value={count(o.inversions)} tone="blocked" note="could become deadlocks" to={href('deadlocks')} />}
      </div>
      <section className="card">
        <h2>The last minutes</h2>
        <Chart history={o.history} />
      </section>
      <section className="card">
        <h2>Stuck for longest</h2>
        {o.stuck_longest.length === 0 ? (
          <Unless gaps={o.gaps} about="tasks" only={['no_component']}><span className="muted">Nobody waits for longer than a second.</span></Unless>
        ) : (
          <ul className="rows">
            {o.stuck_longest.map((t) => (
              <li key={t.trace_id + t.span_id}>
                <StateBadge state={t.state} deadlock={t.deadlock_confidence} />
                <a href={taskHref(t)}><span className="muted">{t.service}:</span> {t.name}</a>
                <span>{duration(t.in_state_seconds)}</span>
                {t.waiting_for && <span className="muted">waits for {wait(t.waiting_for.kind, t.waiting_for.resource_name)}</span>}
              </li>
            ))}
          </ul>
        )}
      </section>
      {o.budgets.length > 0 && (
        <section className="card">
          <h2>Sampling budget</h2>
          <ul className="rows">
            {o.budgets.map((b) => (
              <li key={b.processor + b.kind}>
                <a href={href('sampling')}>{b.processor}</a>
                <Bar ratio={b.spent_per_second / b.asked_per_second} />
                <span>
                  {rate(b.spent_per_second)} of {rate(b.asked_per_second)} {b.kind} a second ({percent(b.spent_per_second / b.asked_per_second)})
                </span>
              </li>
            ))}
          </ul>
        </section>
      )}
    </>
  )
}
