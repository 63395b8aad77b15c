import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.serialization.*;

/** A program of 2021: kafka-clients 2.7.0, acks=all, auto-commit, poll(1000). */
public class Peter {
    static void say(String... fields) {
        System.out.println(String.join("\t", fields).replace("\n", " | "));
    }

    interface Act {
        void run() throws Exception;
    }

    static void check(String name, Act act) {
        try {
            act.run();
            say("ok", name, "");
        } catch (Throwable error) {
            say("failed", name, String.valueOf(error));
        }
    }

    static void same(Object seen, Object wanted) {
        if (!Objects.equals(seen, wanted)) throw new AssertionError("is " + seen + ", should be " + wanted);
    }

    static Properties settings() {
        Properties all = new Properties();
        all.put("bootstrap.servers", System.getenv("BOOTSTRAP"));
        return all;
    }

    static void produce(String topic, String codec, List<String> values) throws Exception {
        Properties all = settings();
        all.put("acks", "all");
        all.put("retries", 3);
        all.put("compression.type", codec);
        all.put("key.serializer", StringSerializer.class.getName());
        all.put("value.serializer", StringSerializer.class.getName());
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(all)) {
            List<java.util.concurrent.Future<RecordMetadata>> sent = new ArrayList<>();
            for (String value : values) {
                ProducerRecord<String, String> record = new ProducerRecord<>(topic, "key-" + value, value);
                record.headers().add("name", value.getBytes("UTF-8"));
                sent.add(producer.send(record));
            }
            for (java.util.concurrent.Future<RecordMetadata> one : sent) one.get();
        }
    }

    @SuppressWarnings("deprecation")
    static List<String> consume(String group, List<String> topics, int count) {
        Properties all = settings();
        all.put("group.id", group);
        all.put("enable.auto.commit", "true");
        all.put("auto.commit.interval.ms", "200");
        all.put("auto.offset.reset", "earliest");
        all.put("session.timeout.ms", "30000");
        all.put("isolation.level", "read_committed");
        all.put("key.deserializer", StringDeserializer.class.getName());
        all.put("value.deserializer", StringDeserializer.class.getName());
        List<String> found = new ArrayList<>();
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(all)) {
            consumer.subscribe(topics);
            long end = System.nanoTime() + 60_000_000_000L;
            while (found.size() < count && System.nanoTime() < end) {
                for (ConsumerRecord<String, String> record : consumer.poll(1000)) {
                    same(record.key(), "key-" + record.value());
                    same(new String(record.headers().lastHeader("name").value()), record.value());
                    found.add(record.value());
                }
            }
        }
        Collections.sort(found);
        return found;
    }

    static void transactions(String topic) throws Exception {
        Properties all = settings();
        all.put("transactional.id", topic);
        all.put("key.serializer", StringSerializer.class.getName());
        all.put("value.serializer", StringSerializer.class.getName());
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(all)) {
            producer.initTransactions();
            for (int round = 0; round < 3; round++) {
                producer.beginTransaction();
                for (int n = 0; n < 3; n++) {
                    String value = round + "-" + n;
                    ProducerRecord<String, String> record = new ProducerRecord<>(topic, "key-" + value, value);
                    record.headers().add("name", value.getBytes("UTF-8"));
                    producer.send(record);
                }
                if (round == 1) {
                    producer.flush();
                    producer.abortTransaction();
                } else producer.commitTransaction();
            }
        }
    }

    static void rest() {
        check("producer with acks=all and consumer with auto-commit, two topics", () -> {
            produce("peter-basic01", "none", Arrays.asList("a", "b", "c"));
            produce("chat-test", "none", Arrays.asList("d", "e"));
            same(consume("peter-consumer01", Arrays.asList("peter-basic01", "chat-test"), 5), Arrays.asList("a", "b", "c", "d", "e"));
        });
        check("auto-commit: a second consumer sees only what is new", () -> {
            produce("chat-test", "none", Arrays.asList("f"));
            same(consume("peter-consumer01", Arrays.asList("peter-basic01", "chat-test"), 1), Arrays.asList("f"));
        });
        for (String codec : new String[] {"gzip", "snappy", "lz4", "zstd"}) {
            check("write and read " + codec, () -> {
                produce("peter-" + codec, codec, Arrays.asList("1", "2", "3"));
                same(consume("peter-" + codec, Arrays.asList("peter-" + codec), 3), Arrays.asList("1", "2", "3"));
            });
        }
    }

    static void more() {
        check("transactions of a client from before epochs per transaction", () -> {
            transactions("peter-txn");
            same(consume("peter-txn", Arrays.asList("peter-txn"), 6), Arrays.asList("0-0", "0-1", "0-2", "2-0", "2-1", "2-2"));
        });
    }

    public static void main(String[] given) {
        if (given[0].equals("rest")) {
            rest();
            more();
        }
    }
}
