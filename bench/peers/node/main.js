// The peer in Node: fastify and @platformatic/kafka, as one usually writes it who has measured once: records are
// collected for 2 ms, and go out in one send. What it does and is told: bench/peers/__init__.py.
import { timingSafeEqual } from 'node:crypto'
import { ProduceAcks, Producer, stringSerializers } from '@platformatic/kafka'
import Fastify from 'fastify'

const GATHER_MS = 2

// The client asks for Node 22; this is all of it that Node 20 lacks.
Promise.withResolvers ??= function () {
  const made = {}
  made.promise = new this((resolve, reject) => Object.assign(made, { resolve, reject }))
  return made
}

const { BOOTSTRAP, PORT, TOPIC_PREFIX } = process.env
const token = Buffer.from(process.env.TOKEN)
const producer = new Producer({
  clientId: 'peer',
  bootstrapBrokers: BOOTSTRAP.split(','),
  serializers: stringSerializers
})
let waiting = []

function send () {
  const batch = waiting
  waiting = []
  producer.send({ acks: ProduceAcks.ALL, messages: batch.map(({ message }) => message) }).then(
    () => { for (const { resolve } of batch) resolve() },
    error => { for (const { reject } of batch) reject(error) }
  )
}

function publish (message) {
  return new Promise((resolve, reject) => {
    waiting.push({ message, resolve, reject })
    if (waiting.length === 1) setTimeout(send, GATHER_MS)
  })
}

const app = Fastify({ logger: false })

app.get('/:event', async (request, reply) => {
  const given = Buffer.from(request.headers['x-aurora-webhook-token'] ?? '')
  if (given.length !== token.length || !timingSafeEqual(given, token)) {
    return reply.code(401).send({ error: 'unauthorized' })
  }
  const { event } = request.params
  const data = request.query
  const key = Object.entries(data).find(([name]) => name.endsWith('_id'))?.[1] ?? ''
  const value = JSON.stringify({ event, data, time: new Date().toISOString() })
  try {
    await publish({ topic: TOPIC_PREFIX + event, key, value })
  } catch (error) {
    return reply.code(503).send({ error: String(error) })
  }
  return { ok: true }
})

await app.listen({ host: '127.0.0.1', port: Number(PORT) })
