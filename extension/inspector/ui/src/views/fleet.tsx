import { url, useLast, usePoll, type Memory, type Overview, type ProcessList } from '../api'
import { bytes, clock, count, percent } from '../format'
import { href } from '../route'
import { Bar, Connect, Waiting } from '../parts/bits'

export function Fleet({ overview }: { overview?: Overview }) {
  const polled = usePoll<ProcessList>(url('processes', { gone: true, limit: 1000 }), 3)
  const list = useLast(polled.data)
  const memory = useLast(usePoll<Memory>(url('memory'), 5).data)
  if (!list) return <Waiting refused={polled.refused} what="processes" />
  return (
    <>
      {list.processes.length === 0 ? <Connect /> : (
        <div className="wide" tabIndex={0}>
          <table>
            <caption>Processes that report, and those that have gone</caption>
            <thead><tr><th>service</th><th>instance</th><th>status</th><th>since</th><th>heard</th><th className="number">running</th><th className="number">blocked</th><th className="number">started</th><th className="number">failed</th><th className="number">sampling</th><th className="number">SDK overhead</th><th>dropped by the SDK</th></tr></thead>
            <tbody>
              {list.processes.map((p) => (
                <tr key={p.service + p.instance + p.started_at}>
                  <td><a href={href('tasks', { service: p.service })}>{p.service}</a></td>
                  <td><code>{p.instance}</code></td>
                  <td className={p.status === 'lost' ? 'failed-text' : ''}>{p.status}</td>
                  <td>{clock(p.started_at)}</td><td>{clock(p.last_heard_at)}</td>
                  <td className="number">{count(p.running)}</td><td className="number">{count(p.blocked)}</td>
                  <td className="number">{count(p.started_total)}</td><td className="number">{count(p.failed_total)}</td>
                  <td className="number">{percent(p.sampling_rate)}</td><td className="number">{percent(p.overhead_ratio)}</td>
                  <td>{Object.entries(p.dropped).filter(([, n]) => n > 0).map(([why, n]) => `${why.replaceAll('_', ' ')}: ${count(n)}`).join(', ')}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {overview && overview.components.length > 0 && (
        <section className="card">
          <h2>What the processors hear</h2>
          <div className="wide" tabIndex={0}>
            <table>
              <caption>Processes of the SDK at each task_state and deadlock_detector</caption>
              <thead><tr><th>component</th><th className="number">processes that report</th><th className="number">without reports</th><th className="number">only part of the reports</th><th className="number">reports</th></tr></thead>
              <tbody>
                {overview.components.map((c) => (
                  <tr key={c.component}>
                    <td>{c.component}{c.reports_elsewhere && <span className="muted"> reports go to another collector</span>}</td>
                    <td className="number">{count(c.processes_reporting)}</td>
                    <td className={`number ${c.processes_without_reports ? 'failed-text' : ''}`}>{count(c.processes_without_reports)}</td>
                    <td className={`number ${c.processes_with_part_of_reports ? 'failed-text' : ''}`}>{count(c.processes_with_part_of_reports)}</td>
                    <td className="number">{count(c.reports_total)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </section>
      )}
      {memory && (
        <section className="card">
          <h2>Memory of the collector</h2>
          <p>
            {bytes(memory.collector.heap_bytes)} of heap, {bytes(memory.collector.total_bytes)} in all
            {memory.collector.limit_bytes !== null && `, limit ${bytes(memory.collector.limit_bytes)}`}, {count(memory.collector.goroutines)} goroutines
          </p>
          <div className="wide" tabIndex={0}>
            <table>
              <caption>Bounded tables</caption>
              <thead><tr><th>component</th><th>table</th><th className="number">in use</th><th className="number">limit</th><th>share</th></tr></thead>
              <tbody>
                {memory.components.flatMap((c) => c.tables.map((t) => (
                  <tr key={c.component + t.table}>
                    <td>{c.component}</td><td>{t.table.replaceAll('_', ' ')}</td><td className="number">{count(t.size)}</td><td className="number">{t.limit > 0 ? count(t.limit) : ''}</td>
                    <td>{t.limit > 0 && <><Bar ratio={t.ratio} tone={t.ratio > 0.9 ? 'failed' : ''} /> {percent(t.ratio)}</>}</td>
                  </tr>
                )))}
              </tbody>
            </table>
          </div>
        </section>
      )}
    </>
  )
}
