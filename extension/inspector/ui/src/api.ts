// What the inspector's API answers, as openapi.yaml has it, and how the page asks.
import { useCallback, useEffect, useRef, useState } from 'react'

export type State = 'running' | 'blocked' | 'deadlocked' | 'completed' | 'failed' | 'cancelled' | 'lost' | 'unknown'
export type Role = 'cycle' | 'core' | 'victim' | 'none'

export interface Place { function: string; file: string; line: number; stack?: string }
export type Confidence = 'certain' | 'suspected' | 'transient'
export interface TaskRef { trace_id: string; span_id: string; known: boolean; service: string; name: string; state: State }
export interface WaitSummary {
  kind: string; resource_name: string; since: string; waited_seconds: number; holders: number; holder: TaskRef | null
}
export interface Task {
  trace_id: string; span_id: string; service: string; instance: string; name: string; state: State; live: boolean; reason: string
  started_at: string; state_since: string; ended_at: string | null; last_seen_at: string
  age_seconds: number; in_state_seconds: number; blocked_seconds: number; thread_id: number
  place: Place | null; waiting_for: WaitSummary | null; open_waits: number; deadlock_id: string | null
  deadlock_confidence: Confidence | null; trace_url: string
}
export interface TaskList { as_of: string; tasks: Task[]; total: number; next_cursor: string | null }
export interface Holder { task: TaskRef; since: string | null; weight: number; place: Place | null }
export interface Wait {
  id: number; kind: string; resource_name: string; since: string; waited_seconds: number; deadline: string | null; cancellable: boolean
  need: number; complete: boolean; inferred: boolean; place: Place | null; callers: Place[]; holders: Holder[]
}
export interface Waiter { task: TaskRef; kind: string; resource_name: string; since: string; waited_seconds: number; place: Place | null }
export interface ChainLink { task: TaskRef; waiting_for: WaitSummary | null; place: Place | null }
export interface TaskEvent { at: string; name: string; detail: string }
export interface TaskDetail {
  as_of: string; task: Task; parent: TaskRef | null; remote_parent: TaskRef | null; children: TaskRef[]; holds: string[]; holds_end_at: (string | null)[]
  waits: Wait[]; waiters: Waiter[]; waiters_total: number; chain: ChainLink[]
  chain_end: 'running' | 'unknown' | 'cycle' | 'cut' | 'none'; events: TaskEvent[]; events_cut: number
}
export interface Member { task: TaskRef; in_cycle: boolean; instance: string; thread_id: number; waits: Wait[]; more_waits: number; trace_url: string }
export interface Deadlock {
  id: string; standing: boolean; confidence: Confidence; kind: 'self' | 'local' | 'distributed' | 'abandoned'
  headline: string; story: string; cycle_text: string; suggestion: string; ends_at: string | null; cancellable: boolean; services: string[]
  since: string; found_at: string; ended_at: string | null; how: string; lasted_seconds: number
  count: number; size: number; cycle: number; members: Member[]; more_members: number; victims: number; victim_tasks: TaskRef[]; trace_url: string
}
export interface Gap {
  about: 'deadlocks' | 'tasks'; reason: 'no_component' | 'elsewhere' | 'no_process' | 'unreported' | 'incomplete' | 'full' | 'starting' | 'untold'
  status: 'warning' | 'info'; component: string; message: string
}
export interface ComponentCoverage {
  component: string; kind: string; reports_total: number; processes_reporting: number; processes_without_reports: number
  processes_with_part_of_reports: number; reports_elsewhere: boolean
}
export interface DeadlockList {
  as_of: string; deadlocks: Deadlock[]; total: number; standing: number; found_total: number; resolved_total: number; gaps: Gap[]; next_cursor: string | null
}
export interface Inversion { id: string; found_at: string; names: string[]; story: string; cycle_text: string; suggestion: string }
export interface InversionList { as_of: string; inversions: Inversion[]; total: number }
export interface GraphNode {
  id: string; task: TaskRef; role: Role; deadlock_id: string | null; instance: string; thread_id: number; in_state_seconds: number; place: Place | null
}
export interface GraphEdge {
  waiter: string; holder: string; kind: string; resource_id: string; resource_name: string; waited_seconds: number
  complete: boolean; inferred: boolean; role: Role
}
export interface Graph {
  as_of: string; nodes: GraphNode[]; edges: GraphEdge[]; waits_total: number; edges_total: number; truncated: boolean; deadlocks: string[]
}
export interface Resource {
  service: string; kind: string; resource_name: string; waiting: number; waiting_seconds: number; longest_waiting_seconds: number
  waits_total: number; waited_seconds_total: number; stuck_waits_total: number; wait_p50_seconds: number; wait_p95_seconds: number
  waiters: TaskRef[]; holders: TaskRef[]
}
export interface ResourceList { as_of: string; resources: Resource[]; total: number }
export interface Budget { kind: string; asked_per_second: number; spent_per_second: number }
export interface Table { table: string; size: number; limit: number; ratio: number }
export interface Sampler {
  processor: string; fixed_rate: number | null; min_rate: number; max_rate: number; budgets: Budget[]; infeasible: boolean
  keys: { key: string; rate: number; spans: number; kept_spans: number }[]
  eviction_ratio: number; shedding_ratio: number; overhead_ratio: number; overhead_limit_ratio: number; dry_run: boolean
  received_spans_total: number; passed_spans_total: number; refused_spans_total: number
  late_kept_spans_total: number; late_dropped_spans_total: number
  outcomes: { name: string; traces_total: number; spans_total: number }[]; tables: Table[]
}
export interface SamplingList { as_of: string; samplers: Sampler[] }
export interface Process {
  service: string; instance: string; started_at: string; status: string; last_heard_at: string
  running: number; blocked: number; started_total: number; completed_total: number; failed_total: number; cancelled_total: number
  overhead_ratio: number; sampling_rate: number; dropped: Record<string, number>
}
export interface ProcessList { as_of: string; processes: Process[]; total: number }
export interface Memory {
  as_of: string
  collector: { heap_bytes: number; heap_goal_bytes: number; total_bytes: number; limit_bytes: number | null; goroutines: number }
  components: { component: string; tables: Table[] }[]
}
export interface Rates {
  started_per_second: number; ended_per_second: number; failed_per_second: number; events_per_second: number
  received_spans_per_second: number; kept_spans_per_second: number
}
export interface HistoryPoint { at: string; running: number; blocked: number; deadlocked: number; deadlocks: number; processes: number; rates: Rates }
export interface Overview {
  as_of: string; started_at: string; ready: boolean
  tasks: Record<'running' | 'blocked' | 'deadlocked' | 'suspected' | 'started_total' | 'completed_total' | 'failed_total' | 'cancelled_total' | 'lost_total', number>
  processes: { reporting: number; lost: number; replaced: number; goodbye: number }
  deadlocks: { standing: number; suspected: number; found_total: number; resolved_total: number; tasks: number; victims: number }
  inversions: number; rates: Rates; budgets: (Budget & { processor: string })[]; stuck_longest: Task[]
  components: ComponentCoverage[]; gaps: Gap[]
  warnings: { name: string; component?: string; status: string; message?: string }[]
  history_interval_seconds: number; history: HistoryPoint[]
}
export interface Config {
  version: string; features: Record<'task_state' | 'deadlock_detector' | 'adaptive_sampler', string[]>; max_limit: number
  history_length_seconds: number
}

type Parameters = Record<string, string | number | boolean | undefined>

// url makes the address of a resource of the API, relative to the page.
export function url(path: string, parameters: Parameters = {}): string {
  const query = new URLSearchParams()
  for (const [key, value] of Object.entries(parameters)) {
    if (value !== undefined && value !== '') query.set(key, String(value))
  }
  const text = query.toString()
  return `api/v1/${path}${text && '?' + text}`
}

// Refused is an answer that says why there is none: a problem document.
export class Refused extends Error {
  constructor(readonly status: number, message: string) {
    super(message)
  }
}

export async function get<T>(address: string, signal: AbortSignal): Promise<T> {
  const response = await fetch(address, { signal, headers: { Accept: 'application/json' } })
  if (response.ok) return response.json()
  const problem = await response.json().catch(() => ({}))
  throw new Refused(response.status, problem.detail || problem.title || response.statusText)
}

export interface Polled<T> { data?: T; refused?: Refused; reload: () => void }

// connection tells the shell whether the collector answers.
type Listener = (lostSince: Date | null) => void
let lostSince: Date | null = null
const listeners = new Set<Listener>()

export function onConnection(listen: Listener): () => void {
  listeners.add(listen)
  return () => listeners.delete(listen)
}

function connected(yes: boolean) {
  if (yes === (lostSince === null)) return
  lostSince = yes ? null : new Date()
  listeners.forEach((listen) => listen(lostSince))
}

// usePoll asks for a resource now and every so many seconds, one request at a time,
// and not while the page is hidden or paused. What was answered last stays when the
// collector is lost.
export function usePoll<T>(address: string | null, seconds: number, paused = false): Polled<T> {
  const [answer, setAnswer] = useState<{ address: string; data?: T; refused?: Refused }>()
  const [round, setRound] = useState(0)
  const asked = useRef<string | null>(null)
  useEffect(() => {
    if (address === null || (paused && asked.current === address)) return
    const control = new AbortController()
    let timer: number | undefined
    const ask = async () => {
      try {
        const data = await get<T>(address, control.signal)
        asked.current = address
        connected(true)
        setAnswer({ address, data })
      } catch (e) {
        if (control.signal.aborted) return
        connected(e instanceof Refused && e.status < 500)
        if (e instanceof Refused) setAnswer({ address, refused: e })
      }
      if (!paused && !control.signal.aborted) timer = window.setTimeout(askIfSeen, seconds * 1000)
    }
    const askIfSeen = () => {
      timer = undefined
      if (!document.hidden) void ask()
    }
    const seen = () => {
      if (!document.hidden && timer === undefined && !paused) askIfSeen()
    }
    void ask()
    document.addEventListener('visibilitychange', seen)
    return () => {
      control.abort()
      window.clearTimeout(timer)
      document.removeEventListener('visibilitychange', seen)
    }
  }, [address, seconds, paused, round])
  const reload = useCallback(() => setRound((n) => n + 1), [])
  // An answer to another question is not shown.
  const current = answer?.address === address ? answer : undefined
  return { data: current?.data, refused: current?.refused, reload }
}

// useLast keeps what was there while the next answer is on its way.
export function useLast<T>(value: T | undefined): T | undefined {
  const last = useRef(value)
  if (value !== undefined) last.current = value
  return last.current
}
