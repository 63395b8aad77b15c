import java.io.IOException;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.serialization.*;

/** Apache's Java client, writing its history. See `events.py` in the folder above. */
public class History {
    static final int TRANSACTION = 8, ABORTED_EACH = 5;
    static volatile boolean ended;

    static synchronized void tell(String kind, Object... fields) {
        StringBuilder line = new StringBuilder(kind).append('\t').append(System.nanoTime());
        for (Object field : fields) line.append('\t').append(String.valueOf(field).replace('\t', ' ').replace('\n', ' '));
        System.out.println(line);
        System.out.flush();
    }

    static void watch() {
        Thread watcher = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {}
            } catch (IOException error) {
                // The end, too.
            }
            ended = true;
        });
        watcher.setDaemon(true);
        watcher.start();
    }

    static Properties settings(Object... pairs) {
        Properties all = new Properties();
        all.put("bootstrap.servers", System.getenv("BOOTSTRAP"));
        all.put("key.serializer", StringSerializer.class.getName());
        all.put("value.serializer", StringSerializer.class.getName());
        all.put("key.deserializer", StringDeserializer.class.getName());
        all.put("value.deserializer", StringDeserializer.class.getName());
        all.put("reconnect.backoff.max.ms", "1000");
        for (int at = 0; at < pairs.length; at += 2) all.put(pairs[at], String.valueOf(pairs[at + 1]));
        return all;
    }

    static void send(KafkaProducer<String, String> producer, String topic, int partition, String value, String transaction) {
        tell("send", partition, value, transaction);
        producer.send(new ProducerRecord<>(topic, partition, null, value), (metadata, error) -> {
            if (error == null) tell("ack", partition, value, metadata.offset());
            else tell("error", partition, value, error);
        });
    }

    static void produce(String topic, int partitions, String name, double rate) throws Exception {
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(settings("acks", "all", "linger.ms", 5))) {
            for (int number = 0; pause(rate); number++) send(producer, topic, number % partitions, name + "-" + number, "-");
            producer.flush();
        }
    }

    static boolean pause(double rate) throws InterruptedException {
        TimeUnit.NANOSECONDS.sleep((long) (1e9 / rate));
        return !ended;
    }

    static void transact(String topic, int partitions, String name, double rate) throws Exception {
        KafkaProducer<String, String> producer = null;
        for (int count = 0; pause(rate / TRANSACTION); count++) {
            if (producer == null) {
                producer = new KafkaProducer<>(settings("transactional.id", name, "linger.ms", 2, "transaction.timeout.ms", 30000,
                    "max.block.ms", 60000));
                producer.initTransactions();
            }
            if (!transaction(producer, topic, partitions, name, count)) {
                producer.close(Duration.ZERO);
                producer = null;
            }
        }
        if (producer != null) producer.close();
    }

    /** Runs one transaction; whether the producer can go on. */
    static boolean transaction(KafkaProducer<String, String> producer, String topic, int partitions, String name, int count) {
        String transaction = name + "-t" + count;
        boolean isEnding = false;
        try {
            producer.beginTransaction();
            for (int number = count * TRANSACTION; number < (count + 1) * TRANSACTION; number++)
                send(producer, topic, number % partitions, name + "-" + number, transaction);
            producer.flush();
            tell("ending", transaction);
            isEnding = true;
            boolean aborts = count % ABORTED_EACH == ABORTED_EACH - 1;
            if (aborts) producer.abortTransaction();
            else commit(producer, transaction);
            tell("ended", transaction, aborts ? "aborted" : "committed");
            return true;
        } catch (KafkaException error) {
            tell("trouble", transaction, error);
            if (!isEnding) tell("ending", transaction);
            boolean isFatal = error instanceof ProducerFencedException || error instanceof OutOfOrderSequenceException
                || error instanceof AuthorizationException || error instanceof TimeoutException || error instanceof InvalidProducerEpochException;
            if (!isFatal) {
                try {
                    producer.abortTransaction();
                    tell("ended", transaction, "aborted");
                    return true;
                } catch (KafkaException again) {
                    tell("trouble", transaction, again);
                }
            }
            tell("ended", transaction, "unknown");
            return false;
        }
    }

    /** A commit that timed out may be asked for again. */
    static void commit(KafkaProducer<String, String> producer, String transaction) {
        for (int turn = 0; ; turn++) {
            try {
                producer.commitTransaction();
                return;
            } catch (TimeoutException error) {
                if (turn == 3) throw error;
                tell("trouble", transaction, error);
            }
        }
    }

    static void consume(String topic, String group, String protocol, String isolation) {
        Properties all = settings("group.id", group, "group.protocol", protocol, "auto.offset.reset", "earliest", "isolation.level", isolation,
            "auto.commit.interval.ms", 500, "fetch.max.wait.ms", 100);
        if (protocol.equals("classic")) {
            all.put("session.timeout.ms", "10000");
            all.put("heartbeat.interval.ms", "1000");
        }
        ConsumerRebalanceListener listener = new ConsumerRebalanceListener() {
            public void onPartitionsAssigned(Collection<TopicPartition> parts) {
                tell("assigned", parts.stream().map(part -> "" + part.partition()).collect(Collectors.joining(",")));
            }

            public void onPartitionsRevoked(Collection<TopicPartition> parts) {
                tell("assigned", "");
            }
        };
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(all)) {
            consumer.subscribe(List.of(topic), listener);
            while (!ended) {
                try {
                    for (ConsumerRecord<String, String> row : consumer.poll(Duration.ofMillis(200)))
                        tell("poll", row.partition(), row.offset(), row.value());
                } catch (KafkaException error) {
                    tell("fatal", group, error);
                    return;
                }
            }
        }
    }

    public static void main(String[] args) throws Exception {
        watch();
        switch (args[0]) {
            case "produce" -> produce(args[1], Integer.parseInt(args[2]), args[3], Double.parseDouble(args[4]));
            case "transact" -> transact(args[1], Integer.parseInt(args[2]), args[3], Double.parseDouble(args[4]));
            default -> consume(args[1], args[2], args[3], args[4]);
        }
    }
}
