// The stream of changes keeps the overview fresh between two polls. It opens when the page
// has been there for a while: until then frequent polls do, so that a short visit takes no
// stream from others, and headless browsers, which wait for open requests, take pictures.
import { useEffect, useState } from 'react'
import { url, type HistoryPoint, type Overview } from './api'

const opensAfter = 10_000

// useStreaming says whether the stream is to be open.
export function useStreaming(): boolean {
  const [streaming, setStreaming] = useState(false)
  useEffect(() => {
    const timer = window.setTimeout(() => setStreaming(true), opensAfter)
    return () => window.clearTimeout(timer)
  }, [])
  return streaming
}

export function useEvents(polled: Overview | undefined, streaming: boolean): Overview | undefined {
  const [current, setCurrent] = useState<Overview>()
  useEffect(() => {
    if (polled) setCurrent((before) => (before && before.as_of > polled.as_of ? { ...before, history: polled.history } : polled))
  }, [polled])
  useEffect(() => {
    if (!streaming) return
    const source = new EventSource(url('events'))
    // An overview on the stream brings no history: that is kept.
    source.addEventListener('overview', (e) => {
      const next: Overview = JSON.parse(e.data)
      setCurrent((before) => ({ ...next, history: before?.history ?? [] }))
    })
    source.addEventListener('history', (e) => {
      const point: HistoryPoint = JSON.parse(e.data)
      setCurrent((before) => before && { ...before, history: appended(before.history, point) })
    })
    // A browser reconnects by itself after an error; polling goes on meanwhile.
    return () => source.close()
  }, [streaming])
  return current
}

const mostPoints = 2000

function appended(history: HistoryPoint[], point: HistoryPoint): HistoryPoint[] {
  const last = history.at(-1)
  if (last && last.at >= point.at) return history
  const first = history[0]
  // As long a time as the collector remembers, which is what the first answer had.
  const drop = history.length >= mostPoints || (first && Date.parse(point.at) - Date.parse(first.at) > 600_000) ? 1 : 0
  return [...history.slice(drop), point]
}
