// Clients of the npm package `centrifuge`, unchanged, worked by lines on standard input: every line is a call, every
// answer and every event a line on standard output.
import readline from 'node:readline'

import { Centrifuge } from 'centrifuge'
import WebSocket from 'ws'

const tell = (told) => process.stdout.write(`${JSON.stringify(told)}\n`)
const clients = new Map()

const open = ({ client: name, url, tokens, channel }) => {
  const given = [...tokens]
  // A ping is answered with an empty command, of which no event tells.
  class Socket extends WebSocket {
    send(data) {
      super.send(data)
      if (data === '{}') tell({ client: name, event: 'pong' })
    }
  }
  const client = new Centrifuge(url, {
    websocket: Socket,
    token: given.shift(),
    // Asked for when the first one is used up or too old.
    getToken: async () => given.shift() ?? '',
    minReconnectDelay: 20,
    maxReconnectDelay: 200,
  })
  const sub = client.newSubscription(channel, { recoverable: true })
  for (const event of ['connecting', 'connected', 'disconnected', 'error']) {
    client.on(event, (context) => tell({ client: name, event, code: context.code, error: context.error?.code }))
  }
  for (const event of ['subscribing', 'subscribed', 'unsubscribed', 'error']) {
    sub.on(event, (context) => tell({ client: name, event: `sub ${event}`, code: context.code, error: context.error?.code, recovered: context.recovered, was: context.wasRecovering }))
  }
  sub.on('publication', ({ data, offset }) => tell({ client: name, event: 'publication', data, offset: offset ?? 0 }))
  clients.set(name, { client, sub })
  sub.subscribe()
  client.connect()
}

readline.createInterface({ input: process.stdin }).on('line', async (line) => {
  const { id, client: name, on, call, args = [], ...rest } = JSON.parse(line)
  if (call === 'open') return open({ client: name, ...rest })
  try {
    const result = await clients.get(name)[on][call](...args)
    tell({ id, result: result ?? null })
  } catch (error) {
    tell({ id, failed: error.code ?? String(error) })
  }
})
