// Every view has an address that can be sent to a colleague: the part after the #.
import { useSyncExternalStore } from 'react'

export interface Route { path: string[]; query: URLSearchParams }

export function parse(hash: string): Route {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split('?', 2)
  return { path: path.split('/').filter(Boolean).map(decodeURIComponent), query: new URLSearchParams(query) }
}

export function href(path: string, query: Record<string, string | undefined> = {}): string {
  const parameters = new URLSearchParams()
  for (const [key, value] of Object.entries(query)) if (value) parameters.set(key, value)
  const text = parameters.toString()
  return `#/${path}${text && '?' + text}`
}

export const taskHref = (t: { trace_id: string; span_id: string }) => href(`tasks/${t.trace_id}/${t.span_id}`)

const subscribe = (changed: () => void) => {
  window.addEventListener('hashchange', changed)
  return () => window.removeEventListener('hashchange', changed)
}

export function useHash(): string {
  return useSyncExternalStore(subscribe, () => window.location.hash)
}

// setQuery changes parameters of the address in place, without a step in the history.
export function setQuery(changes: Record<string, string | undefined>) {
  const route = parse(window.location.hash)
  for (const [key, value] of Object.entries(changes)) {
    if (value) route.query.set(key, value)
    else route.query.delete(key)
  }
  const text = route.query.toString()
  window.history.replaceState(null, '', `#/${route.path.map(encodeURIComponent).join('/')}${text && '?' + text}`)
  window.dispatchEvent(new HashChangeEvent('hashchange'))
}
