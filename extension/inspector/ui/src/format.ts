// Numbers and times as people read them.

const plain = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 })

export const plural = (n: number, one: string, many = one + 's') => `${count(n)} ${n === 1 ? one : many}`

export const count = (n: number) => (Math.abs(n) < 1e6 ? plain.format(n) : compact.format(n))

// rate has as many digits as tell something.
export const rate = (n: number) => (n !== 0 && n < 10 ? n.toFixed(1) : count(n))

// duration writes seconds as 850ms, 4.2s, 3m 20s, 5h 12m, 2d 3h.
export function duration(seconds: number): string {
  if (seconds < 0.001) return seconds > 0 ? '<1ms' : '0s'
  if (seconds < 1) return `${Math.round(seconds * 1000)}ms`
  if (seconds < 10) return `${seconds.toFixed(1)}s`
  const s = Math.round(seconds)
  if (s < 60) return `${s}s`
  if (s < 3600) return `${Math.floor(s / 60)}m ${s % 60}s`
  if (s < 86400) return `${Math.floor(s / 3600)}h ${Math.floor((s % 3600) / 60)}m`
  return `${Math.floor(s / 86400)}d ${Math.floor((s % 86400) / 3600)}h`
}

// clock writes a time of today as 15:04:05, another with its date, in the reader's
// time zone.
export function clock(time: string, now = new Date()): string {
  const t = new Date(time)
  const at = t.toLocaleTimeString('en-GB')
  return t.toDateString() === now.toDateString() ? at : `${t.toLocaleDateString('en-CA')} ${at}`
}

export function bytes(n: number): string {
  for (const unit of ['B', 'KiB', 'MiB', 'GiB']) {
    if (n < 1024 || unit === 'GiB') return `${n < 10 && unit !== 'B' ? n.toFixed(1) : Math.round(n)} ${unit}`
    n /= 1024
  }
  return ''
}

export function percent(ratio: number): string {
  const p = ratio * 100
  if (p === 0 || p >= 10) return `${Math.round(p)} %`
  return `${p >= 1 ? p.toFixed(1) : p >= 0.01 ? p.toFixed(2) : '<0.01'} %`
}

// lineOf is the file, with its directory, and the line.
export const lineOf = (p: { file: string; line: number }) => `${p.file.split('/').slice(-2).join('/')}:${p.line}`

// wait names what is waited for: mutex "stock".
export const wait = (kind: string, name: string) => (name ? `${kind} “${name}”` : kind)
