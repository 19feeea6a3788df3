import type { Overview } from '../api'
import { count, duration, percent, plural, rate, wait } from '../format'
import { href, taskHref } from '../route'
import { Bar, Connect, StateBadge, Tile, Waiting } from '../parts/bits'
import { Chart } from '../parts/chart'

export function OverviewView({ overview: o }: { overview?: Overview }) {
  if (!o) return <Waiting what="the overview" />
  const { standing, suspected, tasks, victims } = o.deadlocks
  const sure = standing > suspected
  const nothing = o.processes.reporting === 0 && o.tasks.started_total === 0
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
        <Tile name="running" value={count(o.tasks.running)} tone="running" to={href('tasks', { state: 'running' })} />
        <Tile name="blocked" value={count(o.tasks.blocked)} tone={o.tasks.blocked ? 'blocked' : ''} to={href('tasks', { state: 'blocked' })} />
        <Tile name="deadlocked" value={count(o.tasks.deadlocked)} tone={o.tasks.deadlocked ? 'deadlocked' : ''} to={href('deadlocks')}
          note={o.deadlocks.found_total > 0 && `${plural(o.deadlocks.found_total, 'deadlock')} found, ${count(o.deadlocks.resolved_total)} over`} />
        <Tile name="tasks a second" value={rate(o.rates.started_per_second)} note={`${count(o.tasks.started_total)} so far`} />
        <Tile name="failed a second" value={rate(o.rates.failed_per_second)} tone={o.rates.failed_per_second ? 'failed' : ''}
          note={`${count(o.tasks.failed_total)} failed, ${count(o.tasks.cancelled_total)} cancelled, ${count(o.tasks.lost_total)} lost`} to={href('tasks', { state: 'failed' })} />
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
          <p className="muted">Nobody waits for longer than a second.</p>
        ) : (
          <ul className="rows">
            {o.stuck_longest.map((t) => (
              <li key={t.trace_id + t.span_id}>
                <StateBadge state={t.state} />
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
