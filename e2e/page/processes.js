// The distribution and the demo as processes.
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

// freePorts finds ports that nobody listens on.
export async function freePorts(n) {
  const servers = await Promise.all(
    Array.from({ length: n }, () => new Promise((resolve) => { const s = createServer().listen(0, 'localhost', () => resolve(s)) })),
  )
  const ports = servers.map((s) => s.address().port)
  await Promise.all(servers.map((s) => new Promise((resolve) => s.close(resolve))))
  return ports
}

export async function eventually(what, within, check) {
  const deadline = Date.now() + within
  for (;;) {
    try {
      return await check()
    } catch (e) {
      if (Date.now() > deadline) throw new Error(`${what}: not within ${within} ms: ${e.message}`)
      await sleep(100)
    }
  }
}

// A collector with the default configuration, on ports of its own. more are settings that
// are changed.
export class Collector {
  constructor(more = {}) {
    this.more = more
  }

  async start() {
    if (!this.ports) {
      this.ports = await freePorts(5)
      this.directory = await mkdtemp(join(tmpdir(), 'async-inspect-'))
    }
    const [grpc, http, inspector, metrics, health] = this.ports
    this.url = `http://localhost:${inspector}`
    this.otlp = `http://localhost:${grpc}`
    const set = {
      'receivers.otlp.protocols.grpc.endpoint': `localhost:${grpc}`,
      'receivers.otlp.protocols.http.endpoint': `localhost:${http}`,
      'extensions.inspector.endpoint': `localhost:${inspector}`,
      'extensions.health_check.endpoint': `localhost:${health}`,
      'exporters.csv_rotate.directory': this.directory,
      'service.telemetry.metrics.level': 'none',
      ...this.more,
    }
    this.process = spawn(process.env.ASYNCINSPECT_COLLECTOR, ['--config=embedded:default', ...Object.entries(set).map(([k, v]) => `--set=${k}=${v}`)], { stdio: ['ignore', 'pipe', 'pipe'] })
    this.log = ''
    for (const stream of [this.process.stdout, this.process.stderr]) stream.on('data', (d) => { this.log = (this.log + d).slice(-100_000) })
    void metrics
    await eventually(`the collector answers\n${this.log}`, 30_000, async () => {
      const response = await fetch(`${this.url}/livez`)
      if (!response.ok) throw new Error(await response.text())
    })
  }

  async stop(signal = 'SIGINT') {
    if (this.process?.exitCode !== null || this.process.signalCode !== null) return
    const gone = new Promise((resolve) => this.process.once('exit', resolve))
    this.process.kill(signal)
    await gone
  }

  async remove() {
    await this.stop()
    await rm(this.directory, { recursive: true, force: true })
  }

  async ask(path) {
    const response = await fetch(`${this.url}/api/v1/${path}`)
    if (!response.ok) throw new Error(`${path}: ${response.status}`)
    return response.json()
  }
}

// The demo shop with its bank.
export class Demo {
  async start(collector, ...more) {
    const [port] = await freePorts(1)
    this.url = `http://localhost:${port}`
    this.process = spawn(process.env.ASYNCINSPECT_DEMO, ['-listen', `localhost:${port}`, '-orders', '20', ...more], {
      stdio: 'ignore', env: { ...process.env, OTEL_EXPORTER_OTLP_ENDPOINT: collector.otlp },
    })
    await eventually('the shop opens', 30_000, () => fetch(this.url))
  }

  async chaos(what) {
    const response = await fetch(`${this.url}/chaos/${what}`, { method: 'POST' })
    if (response.status !== 202) throw new Error(`chaos ${what}: ${response.status}`)
  }

  async stop() {
    if (!this.process || this.process.exitCode !== null || this.process.signalCode !== null) return
    const gone = new Promise((resolve) => this.process.once('exit', resolve))
    this.process.kill('SIGINT')
    await gone
  }
}
