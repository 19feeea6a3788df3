// The page in headless Chromium, before the real distribution.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdir, readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { after, before, describe, it } from 'node:test'
import { chromium } from 'playwright-core'
import { Collector, Demo, eventually } from './processes.js'

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const within = 15_000

describe('the page', { timeout: 240_000 }, () => {
  const collector = new Collector()
  const demo = new Demo()
  let browser

  before(async () => {
    await collector.start()
    browser = await chromium.launch({
      executablePath: process.env.CHROMIUM,
      args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
    })
    await mkdir('screenshots', { recursive: true })
  })
  after(async () => {
    await browser?.close()
    await demo.stop()
    await collector.remove()
  })

  // open opens a page that fails the test at an error in the console, and at a request
  // to anybody else.
  async function open(t, path = '', options = {}) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options })
    const page = await context.newPage()
    const bad = []
    page.on('console', (m) => { if (['error', 'warning'].includes(m.type())) bad.push(`${m.type()}: ${m.text()}`) })
    page.on('pageerror', (e) => bad.push(`exception: ${e.message}`))
    page.on('request', (r) => { if (![collector.url, page.foreign].some((own) => own && r.url().startsWith(own)) && !r.url().startsWith('data:')) bad.push(`request to ${r.url()}`) })
    page.setDefaultTimeout(within)
    t.after(async () => {
      await context.close()
      if (!page.expectErrors) assert.deepEqual(bad, [])
    })
    await page.goto(`${collector.url}/${path}`)
    return page
  }

  it('tells a newcomer how to connect a service', async (t) => {
    const page = await open(t)
    await page.getByRole('heading', { name: 'No service has reported yet' }).waitFor()
    await page.getByText('inspect.Start(ctx').waitFor()
    const response = await page.request.get(collector.url)
    assert.match(response.headers()['content-security-policy'], /default-src 'none'/)
  })

  it('leads from the overview to the deadlock in two clicks', async (t) => {
    await demo.start(collector)
    await demo.chaos('deadlock')
    await eventually('a deadlock', 30_000, async () => {
      const { standing } = await collector.ask('deadlocks')
      assert.equal(standing, 1)
    })
    const page = await open(t)
    await page.getByText('A deadlock stands').click()
    const story = page.getByRole('article', { name: /wait for each other/ })
    await story.getByText('Take these locks in the same order everywhere').waitFor()
    await story.getByText('“warehouse north”').first().waitFor()
    await story.getByText(/demo\/stock\.go:\d+/).first().waitFor()
    await story.getByRole('heading').getByRole('link', { name: /move box/ }).first().click()
    await page.getByText('it is part of one: the whole story').waitFor()
    await page.getByText('and so the circle is closed').waitFor()
  })

  it('follows a task to its holder', async (t) => {
    await demo.chaos('block')
    await eventually('orders that wait', 30_000, async () => {
      const { tasks } = await collector.ask('tasks?state=blocked&name=reserve&limit=1')
      assert.equal(tasks.length, 1)
    })
    const page = await open(t, '#/tasks?state=blocked&name=reserve')
    await page.getByRole('table', { name: 'Tasks' }).getByRole('link', { name: 'reserve' }).first().click()
    await page.getByRole('heading', { name: 'Waits for' }).waitFor()
    await page.locator('.wait').getByRole('link', { name: /stocktaking/ }).click()
    await page.getByRole('heading', { level: 2, name: /stocktaking/ }).waitFor()
    await page.getByRole('heading', { name: /wait for it|One waits for it/ }).waitFor()
    await page.getByRole('img', { name: /Timeline: / }).waitFor()
  })

  it('filters, sorts and searches, and its address says so', async (t) => {
    const page = await open(t, '#/tasks')
    const table = page.getByRole('table', { name: 'Tasks' })
    await table.getByRole('row').nth(2).waitFor()
    await page.getByLabel('state').selectOption('deadlocked')
    await eventually('only deadlocked ones', within, async () => assert.equal(await table.getByRole('row').count(), 3))
    await page.getByRole('searchbox').fill('warehouse north')
    await eventually('one of them', within, async () => assert.equal(await table.getByRole('row').count(), 2))
    assert.match(page.url(), /state=deadlocked/)
    assert.match(page.url(), /q=warehouse/)
    await page.reload()
    await eventually('the same after a reload', within, async () => assert.equal(await table.getByRole('row').count(), 2))
    await page.getByRole('searchbox').fill('nobody is called so')
    await page.getByText('No task is like that').waitFor()
    await page.goto(`${collector.url}/#/tasks`)
    await table.getByRole('button', { name: 'age' }).click()
    await page.waitForURL(/sort=-age/)
    await page.getByRole('button', { name: 'Pause' }).click()
    await page.getByText(', paused').waitFor()
  })

  it('works with the keyboard alone', async (t) => {
    const page = await open(t)
    await page.getByText('A deadlock stands').waitFor()
    await page.keyboard.press('2')
    const table = page.getByRole('table', { name: 'Tasks' })
    await table.getByRole('row').nth(2).waitFor()
    await page.keyboard.press('/')
    await page.keyboard.type('move box')
    await eventually('what was searched for', within, async () => {
      const names = await table.locator('[data-row] a').allTextContents()
      assert.ok(names.length > 0 && names.every((n) => n === 'move box'))
    })
    await table.focus()
    await page.keyboard.press('ArrowDown')
    await page.keyboard.press('ArrowDown')
    await eventually('the second row has the focus', within, async () =>
      assert.equal(await page.evaluate(() => document.activeElement.closest('[data-row]')?.dataset.row), '1'))
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { level: 2, name: /move box/ }).waitFor()
    await page.keyboard.press('?')
    await page.getByRole('dialog').getByText('zoom the graph').waitFor()
    await page.keyboard.press('Escape')
    await page.getByRole('dialog').waitFor({ state: 'hidden' })
    await page.keyboard.press('4')
    const box = page.getByRole('group', { name: /Wait-for graph/ }).getByRole('link', { name: /move box/ }).first()
    await box.focus()
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { level: 2, name: /move box/ }).waitFor()
  })

  it('draws the deadlock', async (t) => {
    const page = await open(t, '#/graph?only=stuck')
    const graph = page.getByRole('group', { name: /Wait-for graph/ })
    await graph.locator('.box.cycle').nth(1).waitFor()
    assert.equal(await graph.locator('.box.cycle').count(), 2)
    assert.equal(await graph.locator('.line.cycle').count(), 2)
    assert.ok((await graph.locator('.box.victim').count()) >= 1)
    const before = await graph.getAttribute('viewBox')
    await page.getByRole('button', { name: 'Zoom in' }).click()
    assert.notEqual(await graph.getAttribute('viewBox'), before)
    await page.getByText('As a list').click()
    await page.getByRole('cell', { name: 'mutex “warehouse south”' }).first().waitFor()
  })

  for (const [width, height, colorScheme] of [[1280, 900, 'light'], [400, 800, 'dark']]) {
    it(`is tidy and accessible with ${width} pixels, ${colorScheme}`, async (t) => {
      const page = await open(t, '', { viewport: { width, height }, colorScheme, bypassCSP: true })
      for (const view of ['overview', 'tasks', 'deadlocks', 'graph', 'contention', 'sampling', 'fleet']) {
        await page.goto(`${collector.url}/#/${view}`)
        await page.getByRole('heading', { level: 1 }).waitFor()
        await page.getByText(/^Loading/).waitFor({ state: 'hidden' })
        await page.screenshot({ path: `screenshots/${view}-${width}.png` })
        const wide = await page.evaluate(() => document.documentElement.scrollWidth)
        assert.ok(wide <= width, `${view} is ${wide} pixels wide`)
        await page.evaluate(axe)
        const { violations } = await page.evaluate(() => window.axe.run())
        assert.deepEqual(violations.map((v) => `${view}: ${v.id}: ${v.nodes.map((n) => n.html).slice(0, 3).join(' ')}`), [])
      }
    })
  }

  it('stays usable with ten thousand tasks and a graph of five thousand waits', async (t) => {
    const crowd = new Collector()
    await crowd.start()
    const service = spawn(process.env.ASYNCINSPECT_STUCK, ['crowd'], { stdio: ['pipe', 'ignore', 'ignore'], env: { ...process.env, OTEL_EXPORTER_OTLP_ENDPOINT: crowd.otlp } })
    t.after(async () => { service.kill(); await crowd.remove() })
    await eventually('the whole crowd', 60_000, async () => {
      const graph = await crowd.ask('graph?limit=1')
      const { total } = await crowd.ask('tasks?live=true&limit=1')
      assert.ok(graph.edges_total >= 5000 && total >= 9900, `${graph.edges_total} waits, ${total} tasks`)
    })
    const page = await open(t, '', { baseURL: crowd.url })
    page.foreign = crowd.url
    await page.goto(`${crowd.url}/#/tasks`)
    await page.getByRole('button', { name: /^show / }).click()
    const table = page.getByRole('table', { name: 'Tasks' })
    await eventually('all rows', within, async () => assert.ok(Number(await table.getAttribute('aria-rowcount')) > 9900))
    assert.ok((await table.getByRole('row').count()) < 100, 'only those rows are there that are seen')
    await table.evaluate((e) => { e.scrollTop = e.scrollHeight })
    await table.getByRole('row').nth(5).waitFor()
    await page.getByRole('searchbox').fill('counter 77')
    await table.getByRole('link', { name: /customer/ }).first().click()
    await page.locator('.wait').getByRole('link', { name: /clerk/ }).click()
    await page.getByRole('heading', { name: '50 wait for it' }).waitFor()
    await page.goto(`${crowd.url}/#/graph`)
    await page.getByText(/5,?000 waits/).waitFor()
    await page.getByRole('group', { name: /Wait-for graph/ }).getByRole('link', { name: /clerk/ }).first().click()
    await page.getByRole('heading', { level: 2, name: /clerk/ }).waitFor()
  })

  // "I know nothing" does not look like "nothing is wrong".
  for (const [missing, processors, texts] of [
    ['deadlock_detector', '[task_state]', { overview: 'no deadlock_detector', deadlocks: 'It is not known whether a deadlock stands' }],
    ['task_state', '[deadlock_detector]', { overview: 'A deadlock stands', tasks: 'Tasks are not known', graph: 'move box', fleet: 'What the processors hear' }],
  ]) {
    it(`says what is not known without a ${missing}`, async (t) => {
      const other = new Collector({ 'service.pipelines.traces.processors': processors })
      await other.start()
      const shop = new Demo()
      t.after(async () => { await shop.stop(); await other.remove() })
      await shop.start(other)
      await shop.chaos('deadlock')
      await eventually('two processes, and a stuck task', 30_000, async () => {
        const { processes, gaps } = await other.ask('overview')
        assert.equal(processes.reporting, 2)
        assert.ok(gaps.some((g) => g.reason === 'no_component'), JSON.stringify(gaps))
        assert.ok((await other.ask('graph')).edges_total >= 2)
        if (missing === 'task_state') assert.equal((await other.ask('deadlocks')).standing, 1)
      })
      const page = await open(t, '', { baseURL: other.url })
      page.foreign = other.url
      for (const [view, text] of Object.entries(texts)) {
        await page.goto(`${other.url}/#/${view}`)
        await page.getByText(text).first().waitFor()
        await page.screenshot({ path: `screenshots/without-${missing}-${view}.png` })
      }
      await page.goto(`${other.url}/#/overview`)
      await page.getByText(`no pipeline has a ${missing}`).first().waitFor()
      assert.equal(await page.getByText('No service has reported yet').count(), 0)
      assert.equal(await page.getByText('No deadlocks').count(), 0)
    })
  }

  it('says that the collector is lost, and when it is back', async (t) => {
    const page = await open(t, '#/fleet')
    page.expectErrors = true // the browser logs each refused connection
    await page.getByRole('cell', { name: 'shop' }).waitFor()
    await collector.stop('SIGKILL')
    await page.getByText('The collector has not answered since').waitFor()
    await page.getByRole('cell', { name: 'shop' }).waitFor()
    await collector.start()
    await page.getByText('The collector has not answered since').waitFor({ state: 'hidden' })
    await eventually('the same deadlock again', 45_000, async () => assert.equal((await collector.ask('deadlocks')).standing, 1))
  })
})
