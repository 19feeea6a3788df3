import { url, useLast, usePoll, type Gap, type ResourceList } from '../api'
import { count, duration, wait } from '../format'
import { setQuery } from '../route'
import { Bar, Downloads, TaskLink, Unless, Waiting } from '../parts/bits'

const orders = [['waited', 'time waited'], ['waiting', 'waiting now'], ['waits', 'how often'], ['name', 'name']] as const

export function Contention({ query, gaps }: { query: URLSearchParams; gaps?: Gap[] }) {
  const question = { sort: query.get('sort') ?? 'waited', q: query.get('q') ?? '', limit: 200 }
  const polled = usePoll<ResourceList>(url('resources', question), 3)
  const list = useLast(polled.data)
  if (!list) return <Waiting refused={polled.refused} what="resources" />
  const most = Math.max(1e-9, ...list.resources.map((r) => r.waited_seconds_total))
  return (
    <>
      <form className="filters" role="search" onSubmit={(e) => e.preventDefault()}>
        <input type="search" aria-label="Search" placeholder="Search locks, channels, services …" defaultValue={question.q} onChange={(e) => setQuery({ q: e.target.value })} />
        <label>
          by{' '}
          <select value={question.sort} onChange={(e) => setQuery({ sort: e.target.value })}>
            {orders.map(([by, name]) => <option key={by} value={by}>{name}</option>)}
          </select>
        </label>
        <Downloads links={[['JSON', url('resources', { ...question, limit: 10000 }), 'resources.json'], ['CSV', url('resources', { ...question, limit: 10000, format: 'csv' }), 'resources.csv']]} />
      </form>
      {list.resources.length === 0 ? <Unless gaps={gaps} about="tasks">Nobody has waited for anything for long enough to be noted: 10 ms in a sampled task, a second in any.</Unless> : (
        <div className="wide" tabIndex={0}>
          <table>
            <caption>What is waited for, since the collector started</caption>
            <thead>
              <tr><th>what</th><th>service</th><th>waited in all</th><th className="number">how often</th><th className="number">half of them</th><th className="number">19 in 20</th><th>waiting now</th><th>held by</th></tr>
            </thead>
            <tbody>
              {list.resources.map((r) => (
                <tr key={r.service + r.kind + r.resource_name}>
                  <td>{wait(r.kind, r.resource_name)}</td>
                  <td>{r.service}</td>
                  <td><Bar ratio={r.waited_seconds_total / most} /> {duration(r.waited_seconds_total)}</td>
                  <td className="number">{count(r.waits_total)}</td>
                  <td className="number">{r.wait_p50_seconds > 0 ? `≤ ${duration(r.wait_p50_seconds)}` : '–'}</td>
                  <td className="number">{r.wait_p95_seconds > 0 ? `≤ ${duration(r.wait_p95_seconds)}` : '–'}</td>
                  <td>{r.waiting > 0 && <strong className="blocked-text">{count(r.waiting)}, the longest for {duration(r.longest_waiting_seconds)}</strong>}</td>
                  <td>{r.holders.slice(0, 3).map((h) => <div key={h.trace_id + h.span_id}><TaskLink task={h} /></div>)}{r.holders.length > 3 && <span className="muted">and {r.holders.length - 3} more</span>}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </>
  )
}
