// KafkaJS, with the codecs that it has built in.
const path = require('path')
const { createRequire } = require('module')

// The packages lie in the cache, beside the copied package.json.
const { Kafka, CompressionTypes, logLevel } = createRequire(path.join(process.env.PACKAGES, 'x.js'))('kafkajs')

const client = process.env.CLIENT
const kafka = new Kafka({ clientId: client, brokers: [process.env.BOOTSTRAP], logLevel: logLevel.NOTHING })

const say = (...fields) => console.log(fields.map(f => String(f).replace(/\t/g, ' ').replace(/\n/g, ' | ')).join('\t'))
async function check(name, act) {
  try {
    await act()
    say('ok', name, '')
  } catch (error) {
    say('failed', name, error.stack || error)
  }
}
function same(seen, wanted) {
  const [a, b] = [JSON.stringify(seen), JSON.stringify(wanted)]
  if (a !== b) throw new Error(`is ${a}, should be ${b}`)
}

async function take(topic, groupId, count, extra = {}) {
  const reader = kafka.consumer({ groupId, sessionTimeout: 6000, heartbeatInterval: 500, ...extra })
  await reader.connect()
  await reader.subscribe({ topics: [topic], fromBeginning: true })
  const found = []
  await new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`only ${found.length} of ${count} records came`)), 60000)
    reader.run({
      autoCommit: false,
      eachMessage: async ({ partition, message }) => {
        if (found.length >= count) return
        found.push({ ...message, partition })
        if (found.length === count) { clearTimeout(late); resolve() }
      },
    }).catch(reject)
  })
  return { reader, found }
}

const text = value => (value === null ? null : value.toString())

async function rest() {
  for (const [name, compression] of [['none', CompressionTypes.None], ['gzip', CompressionTypes.GZIP]]) {
    await check(`write and read ${name}: keys, headers, null values`, async () => {
      const topic = `${client}-rest-${name}`
      const sender = kafka.producer({ allowAutoTopicCreation: true })
      await sender.connect()
      const messages = [
        { key: 'k', value: 'v', headers: { a: '1' } }, { key: null, value: 'no key' }, { key: 'gone', value: null },
      ]
      await sender.send({ topic, acks: -1, compression, messages })
      await sender.disconnect()
      const { reader, found } = await take(topic, `${topic}-group`, 3)
      same(found.map(m => [text(m.key), text(m.value)]), [['k', 'v'], [null, 'no key'], ['gone', null]])
      same(text(found[0].headers.a), '1')
      await reader.disconnect()
    })
  }
  await check('idempotent producer', async () => {
    const sender = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
    await sender.connect()
    const [answer] = await sender.send({ topic: `${client}-idem`, acks: -1, messages: [{ value: 'a' }, { value: 'b' }] })
    same(answer.errorCode, 0)
    await sender.disconnect()
  })
  await check('transactions: committed, aborted, offsets', async () => {
    const topic = `${client}-txn`
    const sender = kafka.producer({ transactionalId: topic, idempotent: true, maxInFlightRequests: 1 })
    await sender.connect()
    const first = await sender.transaction()
    await first.send({ topic, acks: -1, messages: [{ value: 'a' }, { value: 'b' }] })
    await first.sendOffsets({ consumerGroupId: `${topic}-group`, topics: [{ topic, partitions: [{ partition: 0, offset: '7' }] }] })
    await first.commit()
    const second = await sender.transaction()
    await second.send({ topic, acks: -1, messages: [{ value: 'never' }] })
    await second.abort()
    const third = await sender.transaction()
    await third.send({ topic, acks: -1, messages: [{ value: 'c' }] })
    await third.commit()
    await sender.disconnect()
    const { reader, found } = await take(topic, `${topic}-reader`, 3)
    same(found.map(m => text(m.value)), ['a', 'b', 'c'])
    await reader.disconnect()
    const admin = kafka.admin()
    await admin.connect()
    const [{ partitions }] = await admin.fetchOffsets({ groupId: `${topic}-group`, topics: [topic] })
    same(partitions[0].offset, '7')
    await admin.disconnect()
  })
  await check('admin: create, describe, offsets, configs, groups, delete', async () => {
    const admin = kafka.admin()
    await admin.connect()
    const topic = `${client}-admin`
    same(await admin.createTopics({ topics: [{ topic, numPartitions: 3 }] }), true)
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
    same(topics[0].partitions.length, 3)
    same((await admin.fetchTopicOffsets(topic)).map(o => o.high), ['0', '0', '0'])
    const config = await admin.describeConfigs({ includeSynonyms: false, resources: [{ type: 2, name: topic }] })
    same(config.resources[0].configEntries.some(e => e.configName === 'retention.ms'), true)
    same((await admin.listGroups()).groups.some(g => g.groupId === `${client}-rest-none-group`), true)
    await admin.deleteTopics({ topics: [topic] })
    await admin.disconnect()
  })
}

async function resume(group, topic, first, count, note) {
  await check(`continues at the committed offset ${note}`, async () => {
    const { reader, found } = await take(topic, group, Number(count))
    same(found.map(m => Number(m.offset)), [...Array(Number(count)).keys()].map(n => n + Number(first)))
    await reader.commitOffsets([{ topic, partition: 0, offset: String(Number(first) + Number(count)) }])
    await reader.disconnect()
  })
}

const phases = { rest, resume }
const [phase, ...given] = process.argv.slice(2)
phases[phase](...given).then(() => process.exit(0), error => { console.error(error); process.exit(1) })
