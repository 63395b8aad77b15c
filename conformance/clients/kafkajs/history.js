// KafkaJS, writing its history. See events.py in the folder above.
const path = require('path')
const { createRequire } = require('module')

// The packages lie in the cache, beside the copied package.json.
const { Kafka, logLevel } = createRequire(path.join(process.env.PACKAGES, 'x.js'))('kafkajs')

const [phase, topic, ...words] = process.argv.slice(2)
const kafka = new Kafka({
  clientId: 'history', brokers: process.env.BOOTSTRAP.split(','), logLevel: logLevel.NOTHING,
  retry: { retries: 200, initialRetryTime: 100, maxRetryTime: 1000 },
})
const tell = (kind, ...fields) => process.stdout.write([kind, process.hrtime.bigint(), ...fields].map(f => String(f).replace(/[\t\n]/g, ' ')).join('\t') + '\n')

let ended = false
const end = new Promise(resolve => process.stdin.resume().on('end', () => { ended = true; resolve() }).on('close', () => { ended = true; resolve() }))

async function produce(partitions, name, rate) {
  // Not idempotent: its idempotent producer (an experiment, its authors say) gives a sequence number twice when a leader is lost, so
  // that a broker takes new records for old ones and drops them.
  const sender = kafka.producer({ maxInFlightRequests: 1, metadataMaxAge: 5000 })
  await sender.connect()
  // One request at a time, as many records in each as the rate asks for.
  const each = Math.max(1, Math.round(rate / 20))
  for (let number = 0; !ended;) {
    const begin = Date.now()
    const messages = []
    for (let count = 0; count < each; count++, number++) {
      const partition = number % partitions
      tell('send', partition, `${name}-${number}`, '-')
      messages.push({ partition, value: `${name}-${number}` })
    }
    try {
      const told = await sender.send({ topic, acks: -1, timeout: 30000, messages })
      for (const { partition, baseOffset } of told) {
        let offset = Number(baseOffset)
        for (const message of messages) if (message.partition === partition) tell('ack', partition, message.value, offset++)
      }
    } catch (error) {
      for (const { partition, value } of messages) tell('error', partition, value, error)
    }
    await new Promise(resolve => setTimeout(resolve, Math.max(0, each / rate * 1000 - (Date.now() - begin))))
  }
  await sender.disconnect()
}

async function consume(groupId, _protocol, isolation) {
  const reader = kafka.consumer({
    groupId, sessionTimeout: 10000, heartbeatInterval: 1000, maxWaitTimeInMs: 100, metadataMaxAge: 5000,
    readUncommitted: isolation !== 'read_committed',
  })
  reader.on(reader.events.GROUP_JOIN, ({ payload }) => tell('assigned', (payload.memberAssignment[topic] || []).join(',')))
  reader.on(reader.events.REBALANCING, () => tell('assigned', ''))
  reader.on(reader.events.CRASH, ({ payload }) => { tell(payload.restart ? 'trouble' : 'fatal', groupId, payload.error); tell('assigned', '') })
  await reader.connect()
  await reader.subscribe({ topics: [topic], fromBeginning: true })
  await reader.run({
    autoCommitInterval: 500,
    eachMessage: async ({ partition, message }) => tell('poll', partition, message.offset, message.value.toString()),
  })
  await end
  await reader.disconnect()
}

const run = phase === 'produce' ? produce(Number(words[0]), words[1], Number(words[2])) : consume(...words)
run.then(() => process.exit(0), error => { tell('fatal', phase, error.stack || error); process.exit(1) })
