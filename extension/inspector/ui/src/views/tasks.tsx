import { useVirtualizer } from '@tanstack/react-virtual'
import { useDeferredValue, useEffect, useRef, useState, type FocusEvent, type KeyboardEvent } from 'react'
import { url, useLast, usePoll, type Gap, type Task, type TaskList } from '../api'
import { count, duration, lineOf, plural, wait } from '../format'
import { setQuery, taskHref } from '../route'
import { Downloads, StateBadge, Unless, Waiting } from '../parts/bits'

const states = ['running', 'blocked', 'deadlocked', 'completed', 'failed', 'cancelled', 'lost']
const columns: [name: string, sort?: string][] = [
  ['state', 'state'], ['task', 'name'], ['service', 'service'], ['for', 'in_state'], ['age', 'age'], ['waits for'], ['at'],
]
const first = 500

export function Tasks({ query, maxLimit, gaps }: { query: URLSearchParams; maxLimit: number; gaps?: Gap[] }) {
  const [paused, setPaused] = useState(false)
  const [limit, setLimit] = useState(first)
  const [text, setText] = useState(query.get('q') ?? '')
  const searched = useDeferredValue(text)
  useEffect(() => setQuery({ q: searched || undefined }), [searched])
  const question = {
    q: query.get('q') ?? '', state: query.get('state') ?? '', service: query.get('service') ?? '', name: query.get('name') ?? '',
    min_age: query.get('min_age') ?? '', sort: query.get('sort') ?? '',
  }
  // Thousands of rows are asked for less often.
  const polled = usePoll<TaskList>(url('tasks', { ...question, limit }), limit > first ? 5 : 2, paused)
  const list = useLast(polled.data)

  useEffect(() => {
    const pressed = (e: globalThis.KeyboardEvent) => {
      if (e.key === 'p' && !(e.target as HTMLElement).matches('input, select')) setPaused((p) => !p)
    }
    window.addEventListener('keydown', pressed)
    return () => window.removeEventListener('keydown', pressed)
  }, [])

  return (
    <>
      <form className="filters" role="search" onSubmit={(e) => e.preventDefault()}>
        <input type="search" aria-label="Search" placeholder="Search name, lock, place, id …" value={text} maxLength={256} onChange={(e) => setText(e.target.value)} />
        <label>
          state{' '}
          <select value={question.state} onChange={(e) => setQuery({ state: e.target.value })}>
            <option value="">any</option>
            <option value="blocked,deadlocked">stuck</option>
            {states.map((s) => <option key={s}>{s}</option>)}
          </select>
        </label>
        <label>
          older than{' '}
          <select value={question.min_age} onChange={(e) => setQuery({ min_age: e.target.value })}>
            <option value="">any</option>
            {['1s', '10s', '1m', '10m', '1h'].map((s) => <option key={s}>{s}</option>)}
          </select>
        </label>
        {(['service', 'name'] as const).map((key) => question[key] && (
          <button type="button" className="chip" key={key} onClick={() => setQuery({ [key]: undefined })} aria-label={`Show every ${key}`}>
            {key}: {question[key]} ✕
          </button>
        ))}
        <button type="button" aria-pressed={paused} onClick={() => setPaused(!paused)}>{paused ? 'Go on' : 'Pause'}</button>
        <Downloads links={[
          ['JSON', url('tasks', { ...question, limit: maxLimit }), 'tasks.json'],
          ['CSV', url('tasks', { ...question, limit: maxLimit, format: 'csv' }), 'tasks.csv'],
        ]} />
      </form>
      {polled.refused && <Waiting refused={polled.refused} what="tasks" />}
      {!list ? <Waiting what="tasks" /> : (
        <>
          <p className="muted" role="status">
            {list.total > list.tasks.length ? `${count(list.tasks.length)} of ${count(list.total)} tasks` : plural(list.total, 'task')}
            {paused && ', paused'}{' '}
            {list.next_cursor && limit < maxLimit && (
              <button type="button" className="quiet" onClick={() => setLimit(Math.min(maxLimit, limit * 20))}>show {count(Math.min(maxLimit, list.total))}</button>
            )}
          </p>
          {list.tasks.length === 0 ? <Unless gaps={gaps} about="tasks">No task is like that.</Unless> : <Rows tasks={list.tasks} sort={question.sort} />}
        </>
      )}
    </>
  )
}

// Rows shows only those rows that are seen.
function Rows({ tasks, sort }: { tasks: Task[]; sort: string }) {
  const scroller = useRef<HTMLDivElement>(null)
  const rows = useVirtualizer({ count: tasks.length, getScrollElement: () => scroller.current, estimateSize: () => 34, overscan: 12 })

  // Where the focus is, or will be in the next frame.
  const cursor = useRef(-1)
  const focused = (e: FocusEvent) => {
    const row = (e.target as HTMLElement).closest<HTMLElement>('[data-row]')?.dataset.row
    if (row !== undefined) cursor.current = Number(row)
  }
  const moved = (e: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[e.key]
    if (!step) return
    const next = Math.min(tasks.length - 1, Math.max(0, cursor.current + step))
    cursor.current = next
    e.preventDefault()
    rows.scrollToIndex(next)
    requestAnimationFrame(() => scroller.current?.querySelector<HTMLElement>(`[data-row="${next}"] a`)?.focus())
  }

  return (
    <div className="scroller" ref={scroller} role="table" aria-label="Tasks" aria-rowcount={tasks.length + 1} onKeyDown={moved} onFocus={focused} tabIndex={0}>
      <div role="rowgroup" className="head">
        <div role="row" className="task-row" aria-rowindex={1}>
          {columns.map(([name, by]) => (
            <span role="columnheader" key={name} className={name === 'for' || name === 'age' ? 'number' : undefined} aria-sort={by && sort === by ? 'ascending' : by && sort === `-${by}` ? 'descending' : undefined}>
              {by ? (
                <button type="button" className="quiet" onClick={() => setQuery({ sort: sort === `-${by}` ? by : sort === by ? undefined : `-${by}` })}>
                  {name} {sort === by ? '▲' : sort === `-${by}` ? '▼' : ''}
                </button>
              ) : name}
            </span>
          ))}
        </div>
      </div>
      <div role="rowgroup" style={{ height: rows.getTotalSize(), position: 'relative' }}>
        {rows.getVirtualItems().map((item) => {
          const t = tasks[item.index]!
          return (
            <div role="row" aria-rowindex={item.index + 2} data-row={item.index} key={t.trace_id + t.span_id} className="task-row"
              style={{ position: 'absolute', top: 0, transform: `translateY(${item.start}px)` }}>
              <span role="cell"><StateBadge state={t.state} deadlock={t.deadlock_confidence} /></span>
              <span role="cell"><a href={taskHref(t)}>{t.name}</a></span>
              <span role="cell"><button type="button" className="quiet" title={`Only ${t.service}`} onClick={() => setQuery({ service: t.service })}>{t.service}</button></span>
              <span role="cell" className="number">{t.live ? duration(t.in_state_seconds) : ''}</span>
              <span role="cell" className="number">{duration(t.age_seconds)}</span>
              <span role="cell">
                {t.waiting_for && <>{wait(t.waiting_for.kind, t.waiting_for.resource_name)}{t.waiting_for.holder?.known && <span className="muted">, held by {t.waiting_for.holder.name}</span>}</>}
                {!t.live && <span className="muted">{t.reason}</span>}
              </span>
              <span role="cell">{t.place && <code title={`${t.place.function} ${t.place.file}:${t.place.line}`}>{lineOf(t.place)}</code>}</span>
            </div>
          )
        })}
      </div>
    </div>
  )
}
