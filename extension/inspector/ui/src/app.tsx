import { useEffect, useMemo, useState } from 'react'
import { onConnection, url, usePoll, type Config, type Overview } from './api'
import { useEvents, useStreaming } from './events'
import { clock } from './format'
import { href, parse, useHash } from './route'
import { Help } from './parts/help'
import { Contention } from './views/contention'
import { Deadlocks } from './views/deadlocks'
import { Fleet } from './views/fleet'
import { GraphView } from './views/graph'
import { OverviewView } from './views/overview'
import { SamplingView } from './views/sampling'
import { TaskView } from './views/task'
import { Tasks } from './views/tasks'

const views = [
  ['overview', 'Overview'],
  ['tasks', 'Tasks'],
  ['deadlocks', 'Deadlocks'],
  ['graph', 'Graph'],
  ['contention', 'Contention'],
  ['sampling', 'Sampling'],
  ['fleet', 'Fleet'],
] as const

export function App() {
  const hash = useHash()
  const route = useMemo(() => parse(hash), [hash])
  const view = route.path[0] ?? 'overview'
  const config = usePoll<Config>(url('config'), 60).data
  const streaming = useStreaming()
  const polled = usePoll<Overview>(url('overview'), streaming ? 10 : 2)
  const overview = useEvents(polled.data, streaming)
  const [lost, setLost] = useState<Date | null>(null)
  const [help, setHelp] = useState(false)
  useEffect(() => onConnection(setLost), [])

  const title = views.find(([path]) => path === view)?.[1] ?? 'Not found'
  const standing = overview?.deadlocks.standing ?? 0
  useEffect(() => {
    document.title = `${standing > 0 ? `(${standing}) ` : ''}${title} · async-inspect`
  }, [title, standing])

  // 1 to 7 go to a view, / to its search, ? to the help.
  useEffect(() => {
    const pressed = (e: KeyboardEvent) => {
      const target = e.target as HTMLElement
      if (e.ctrlKey || e.metaKey || e.altKey || target.matches('input, select, textarea')) return
      const to = views[Number(e.key) - 1]
      if (to) window.location.hash = href(to[0])
      else if (e.key === '?') setHelp(true)
      else if (e.key === '/') {
        const search = document.querySelector<HTMLInputElement>('input[type=search]')
        if (search) {
          e.preventDefault()
          search.focus()
        }
      }
    }
    window.addEventListener('keydown', pressed)
    return () => window.removeEventListener('keydown', pressed)
  }, [])

  return (
    <>
      <a className="skip" href="#content" onClick={(e) => { e.preventDefault(); document.getElementById('content')?.focus() }}>
        Skip to the content
      </a>
      <header>
        <a className="brand" href={href('overview')}>
          <img src="./icon.svg" alt="" width="22" height="22" /> async-inspect
        </a>
        <nav aria-label="Views">
          {views.map(([path, name]) => (
            <a key={path} href={href(path)} aria-current={view === path ? 'page' : undefined}>
              {name}
              {path === 'deadlocks' && standing > 0 && <span className="badge deadlocked">{standing}</span>}
            </a>
          ))}
        </nav>
        <button type="button" className="quiet" onClick={() => setHelp(true)} aria-label="Help and keyboard">?</button>
      </header>
      <div role="status" aria-live="polite">
        {lost && <p className="banner">The collector has not answered since {clock(lost.toISOString())}. What you see is from before; it is asked again all the time.</p>}
      </div>
      <main id="content" tabIndex={-1}>
        <h1>{route.path.length > 1 && view === 'tasks' ? 'Task' : title}</h1>
        {show(view, route.path.slice(1), route.query, overview, config)}
      </main>
      <footer>
        {overview && <span>as of {clock(overview.as_of)}</span>}
        {config && <span>collector {config.version}</span>}
        <a href="api/v1/openapi.yaml">API</a>
        <a href="metrics">metrics</a>
        <a href="readyz">readiness</a>
      </footer>
      {help && <Help onClose={() => setHelp(false)} views={views.map(([, name]) => name)} />}
    </>
  )
}

function show(view: string, rest: string[], query: URLSearchParams, overview?: Overview, config?: Config) {
  const [first, second] = rest
  switch (view) {
    case 'overview':
      return <OverviewView overview={overview} />
    case 'tasks':
      return first && second ? <TaskView trace={first} span={second} /> : <Tasks query={query} maxLimit={config?.max_limit ?? 10000} gaps={overview?.gaps} />
    case 'deadlocks':
      return <Deadlocks id={first} />
    case 'graph':
      return <GraphView query={query} gaps={overview?.gaps} />
    case 'contention':
      return <Contention query={query} gaps={overview?.gaps} />
    case 'sampling':
      return <SamplingView />
    case 'fleet':
      return <Fleet overview={overview} />
    default:
      return <p>There is no such view. <a href={href('overview')}>To the overview</a></p>
  }
}
