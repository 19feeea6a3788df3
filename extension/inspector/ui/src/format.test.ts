import { describe, expect, it } from 'vitest'
import { bytes, clock, duration, lineOf, percent, plural, rate } from './format'
import { href, parse } from './route'

describe('what people read', () => {
  it.each([
    [0, '0s'], [0.0001, '<1ms'], [0.85, '850ms'], [4.24, '4.2s'], [59.4, '59s'], [200, '3m 20s'], [18720, '5h 12m'], [183600, '2d 3h'],
  ])('duration of %d s', (seconds, text) => expect(duration(seconds)).toBe(text))
  it.each([[0, '0 B'], [1536, '1.5 KiB'], [52428800, '50 MiB'], [5e12, '4657 GiB']])('%d bytes', (n, text) => expect(bytes(n)).toBe(text))
  it.each([[0, '0 %'], [0.00001, '<0.01 %'], [0.005, '0.50 %'], [0.05, '5.0 %'], [0.5, '50 %']])('a share of %d', (n, text) => expect(percent(n)).toBe(text))
  it.each([[0, '0'], [0.25, '0.3'], [1234.5, '1,235'], [2.5e6, '2.5M']])('a rate of %d', (n, text) => expect(rate(n)).toBe(text))
  it('a place is a directory, a file and a line', () => expect(lineOf({ file: '/home/me/shop/stock.go', line: 7 })).toBe('shop/stock.go:7'))
  it('one is not many', () => expect([plural(1, 'task'), plural(2000, 'task')]).toEqual(['1 task', '2,000 tasks']))
  it('a time of today has no date', () => {
    const now = new Date('2026-11-23T15:00:00')
    expect(clock('2026-11-23T14:03:02.123456789', now)).toBe('14:03:02')
    expect(clock('2026-11-22T14:03:02', now)).toBe('2026-11-22 14:03:02')
  })
})

describe('addresses', () => {
  it('are read as they were written', () => {
    const address = href('tasks', { q: 'a b&c', state: 'blocked', service: undefined })
    expect(address).toBe('#/tasks?q=a+b%26c&state=blocked')
    const route = parse(address)
    expect(route.path).toEqual(['tasks'])
    expect(route.query.get('q')).toBe('a b&c')
    expect(parse('').path).toEqual([])
  })
})
