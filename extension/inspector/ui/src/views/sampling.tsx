import { url, useLast, usePoll, type Sampler, type SamplingList } from '../api'
import { bytes, count, percent, rate } from '../format'
import { Bar, Tile, Waiting } from '../parts/bits'

export function SamplingView() {
  const polled = usePoll<SamplingList>(url('sampling'), 2)
  const list = useLast(polled.data)
  if (!list) return <Waiting refused={polled.refused} what="samplers" />
  if (list.samplers.length === 0) {
    return (
      <section className="card">
        <h2>Nothing is sampled here</h2>
        <p>This collector has no <code>adaptive_sampler</code>: it passes every span on. To keep to a budget, add it after <code>task_state</code>:</p>
        <pre tabIndex={0}>{`processors:
  adaptive_sampler:
    target: {spans_per_second: 1000}`}</pre>
      </section>
    )
  }
  return <>{list.samplers.map((s) => <Sampling key={s.processor} sampler={s} />)}</>
}

function Sampling({ sampler: s }: { sampler: Sampler }) {
  const most = Math.max(1e-9, ...s.keys.map((k) => k.spans))
  return (
    <section className="card">
      <h2>{s.processor}</h2>
      {s.dry_run && <p className="warning">A dry run: it decides and counts, and drops nothing.</p>}
      {s.infeasible && <p className="warning">The lowest rates alone take more than the budget. Lower <code>min_rate</code>, or raise the budget.</p>}
      {s.eviction_ratio > 0 && <p className="warning">Memory is short: {percent(s.eviction_ratio)} of new traces are refused. Raise <code>memory::limit_mib</code>, or shorten the delays.</p>}
      {s.shedding_ratio > 0 && <p className="warning">It would use more CPU than it may: {percent(s.shedding_ratio)} of new traces are refused.</p>}
      <div className="tiles">
        {s.fixed_rate !== null && <Tile name="fixed rate" value={percent(s.fixed_rate)} />}
        {s.budgets.map((b) => (
          <Tile key={b.kind} name={`${b.kind} a second`} value={b.kind === 'bytes' ? bytes(b.spent_per_second) : rate(b.spent_per_second)}
            note={<><Bar ratio={b.spent_per_second / b.asked_per_second} tone={b.spent_per_second > b.asked_per_second * 1.1 ? 'failed' : ''} /> of {b.kind === 'bytes' ? bytes(b.asked_per_second) : rate(b.asked_per_second)} asked for</>} />
        ))}
        <Tile name="CPU" value={percent(s.overhead_ratio)} note={s.overhead_limit_ratio > 0 ? `of all cores, at most ${percent(s.overhead_limit_ratio)}` : 'of all cores'} />
        {s.tables.map((t) => (
          <Tile key={t.table} name={t.table.replaceAll('_', ' ')} value={t.table.includes('bytes') ? bytes(t.size) : count(t.size)}
            note={t.limit > 0 && <><Bar ratio={t.ratio} tone={t.ratio > 0.9 ? 'failed' : ''} /> of {t.table.includes('bytes') ? bytes(t.limit) : count(t.limit)}</>} />
        ))}
      </div>
      {s.keys.length > 0 && (
        <div className="wide" tabIndex={0}>
          <table>
            <caption>Rates of the last tick, the heaviest load first</caption>
            <thead><tr><th>key</th><th className="number">rate</th><th className="number">one of</th><th>spans that were due</th><th className="number">kept</th></tr></thead>
            <tbody>
              {s.keys.slice(0, 200).map((k, i) => (
                <tr key={i}>
                  <td>{k.key.replace('|', ' · ') || '(none)'}</td><td className="number">{percent(k.rate)}</td>
                  <td className="number">{k.rate > 0 ? rate(1 / k.rate) : '∞'}</td><td><Bar ratio={k.spans / most} /> {count(k.spans)}</td><td className="number">{count(k.kept_spans)}</td>
                </tr>
              ))}
            </tbody>
          </table>
          {s.keys.length > 200 && <p className="muted">and {count(s.keys.length - 200)} more</p>}
        </div>
      )}
      <table>
        <caption>What became of traces, since the collector started</caption>
        <thead><tr><th>outcome</th><th className="number">traces</th><th className="number">spans</th></tr></thead>
        <tbody>
          {s.outcomes.map((o) => <tr key={o.name}><td>{o.name.replaceAll('_', ' ')}</td><td className="number">{count(o.traces_total)}</td><td className="number">{count(o.spans_total)}</td></tr>)}
          <tr><td>late, of kept traces</td><td /><td className="number">{count(s.late_kept_spans_total)}</td></tr>
          <tr><td>late, of dropped traces</td><td /><td className="number">{count(s.late_dropped_spans_total)}</td></tr>
          <tr><td>refused by the next component</td><td /><td className="number">{count(s.refused_spans_total)}</td></tr>
        </tbody>
      </table>
    </section>
  )
}
