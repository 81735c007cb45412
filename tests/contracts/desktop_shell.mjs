// The process manager of a desktop shell, as Electron's main process runs it: start, wait for the line, ask, stop.
//
//   node desktop_shell.mjs EXECUTABLE DATA_PATH PORT MODE
//
// MODE: stop (SIGTERM, waits until the process has ended), vanish (exits and leaves everything to the server),
// deaf (closes both output pipes before it asks). Prints one JSON object.
import { spawn } from 'node:child_process'
import http from 'node:http'

const [executable, dataPath, port, mode] = process.argv.slice(2)
const READY = 'Uvicorn running on'
const START_TIMEOUT = 60000 // ms; twice the shell's own, for busy test machines

function get(host, path) {
  return new Promise((resolve) => {
    const request = http.get({ host, port, path, timeout: 5000 }, (response) => {
      response.resume()
      response.on('end', () => resolve(response.statusCode))
    })
    request.on('error', (error) => resolve(error.code))
    request.on('timeout', () => request.destroy())
  })
}

const child = spawn(executable, [], {
  env: {
    ...process.env,
    DEPLOYMENT_MODE: 'local',
    API_PORT: port,
    DATA_PATH: dataPath,
    EXIT_WITH_PARENT: mode === 'vanish' ? 'true' : 'false',
  },
  stdio: ['pipe', 'pipe', 'pipe'],
})
const result = { pid: child.pid, stdout: '' }
let log = ''
child.stderr.on('data', (data) => { log += data })

const started = new Promise((resolve, reject) => {
  const timer = setTimeout(() => reject(new Error(`no line within ${START_TIMEOUT} ms; its log: ${log}`)), START_TIMEOUT)
  child.stdout.on('data', (data) => {
    result.stdout += data
    if (data.toString().includes(READY)) {
      clearTimeout(timer)
      resolve()
    }
  })
  child.on('exit', (code) => reject(new Error(`ended with ${code}; its log: ${log}`)))
})

try {
  await started
} catch (error) {
  console.log(JSON.stringify({ ...result, error: error.message }))
  process.exit(1)
}
if (mode === 'deaf') {
  child.stdout.destroy()
  child.stderr.destroy()
}
result.health = []
for (const host of ['127.0.0.1', '::1', 'localhost']) result.health.push(await get(host, '/health'))
result.mode = log.includes('Starting in LOCAL mode')
if (mode === 'vanish') {
  console.log(JSON.stringify(result))
  process.exit(0)
}
child.removeAllListeners('exit')
const ended = new Promise((resolve) => child.on('exit', (code, signal) => resolve({ code, signal })))
child.kill('SIGTERM')
console.log(JSON.stringify({ ...result, ended: await ended }))
process.exit(0)
