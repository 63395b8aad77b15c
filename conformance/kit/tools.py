"""`tools`: the same command lines to Apache's JVM tools and to ours, against Apache Kafka and against Ottla.

Six runs of one list of command lines: Apache's tools of 4.3.1 and of 3.9.1 and ours, each at both servers. What they print and how
they end must be alike, once ids, times, ports and folders have neutral names; Apache's tools of 3.9.1 are compared with themselves. `docs/differences.md` says what may differ, and why.
"""

import concurrent.futures
import json
import pathlib
import re
import subprocess
import tempfile
import time

from kit import install, report, servers

JAVA = "org.apache.kafka.tools."
CLASSES = {
    "kafka-topics": JAVA + "TopicCommand",
    "kafka-console-producer": JAVA + "ConsoleProducer",
    "kafka-console-consumer": JAVA + "consumer.ConsoleConsumer",
    "kafka-consumer-groups": JAVA + "consumer.group.ConsumerGroupCommand",
    "kafka-groups": JAVA + "GroupsCommand",
    "kafka-configs": "kafka.admin.ConfigCommand",
    "kafka-get-offsets": JAVA + "GetOffsetShell",
    "kafka-delete-records": JAVA + "DeleteRecordsCommand",
    "kafka-log-dirs": JAVA + "LogDirsCommand",
    "kafka-cluster": JAVA + "ClusterTool",
    "kafka-metadata-quorum": JAVA + "MetadataQuorumCommand",
    "kafka-features": JAVA + "FeatureCommand",
    "kafka-leader-election": JAVA + "LeaderElectionCommand",
    "kafka-transactions": JAVA + "TransactionsCommand",
    "kafka-producer-perf-test": JAVA + "ProducerPerformance",
    "kafka-consumer-perf-test": JAVA + "ConsumerPerformance",
    "kafka-e2e-latency": JAVA + "EndToEndLatency",
    "kafka-verifiable-producer": JAVA + "VerifiableProducer",
    "kafka-verifiable-consumer": JAVA + "VerifiableConsumer",
    "kafka-client-metrics": JAVA + "ClientMetricsCommand",
    "kafka-reassign-partitions": JAVA + "reassign.ReassignPartitionsCommand",
    "kafka-acls": JAVA + "AclCommand",
    "kafka-delegation-tokens": JAVA + "DelegationTokenCommand",
    "kafka-broker-api-versions": JAVA + "BrokerApiVersionsCommand",
    "kafka-storage": "kafka.tools.StorageTool",
}
# Where the tools of 3.9 differ: classes, what they do not have, and words that had other names.
FORMER_CLASSES = {"kafka-acls": "kafka.admin.AclCommand", "kafka-console-producer": "kafka.tools.ConsoleProducer"}
FORMER_LACKS = {"kafka-groups", "kafka-storage", "kafka-broker-api-versions"}
FORMER_WORDS = {
    "kafka-console-producer": {"--reader-property": "--property"},
    "kafka-console-consumer": {"--formatter-property": "--property"},
    "kafka-producer-perf-test": {"--bootstrap-server": "--producer-props"},
    "kafka-consumer-perf-test": {"--num-records": "--messages"},
}
# Commands whose action comes before the flags, and commands without a server.
ACTION_FIRST = {"kafka-cluster"}
OFFLINE = {"kafka-storage"}

# One command line each; a `<` begins what stands on the standard input, `|` are line ends there. `?` at the end: only how it
# ends is compared, not what it prints.
LINES = """
kafka-topics --list
kafka-topics --create --topic one --partitions 3 --config retention.ms=100000 --config cleanup.policy=compact
kafka-topics --create --topic one
kafka-topics --create --topic one --if-not-exists
kafka-topics --create --topic two --replication-factor 1
kafka-topics --create --topic few --replica-assignment 1,1
kafka-topics --create --topic plain
kafka-topics --create --topic wide --replication-factor 3 ?
kafka-topics --create --topic bad --config nonsense=1
kafka-topics --create --topic bad --partitions 0 ?
kafka-topics --create --topic bad/name ?
kafka-topics --list
kafka-topics --list --topic o.*
kafka-topics --describe --topic one
kafka-topics --describe
kafka-topics --describe --topic absent
kafka-topics --describe --topic absent --if-exists
kafka-topics --describe --under-replicated-partitions
kafka-topics --describe --unavailable-partitions
kafka-topics --describe --at-min-isr-partitions --topic one
kafka-topics --describe --topics-with-overrides
kafka-topics --alter --topic two --partitions 2
kafka-topics --alter --topic two --partitions 1
kafka-topics --alter --topic absent --partitions 4
kafka-topics ?
kafka-topics --list --create ?
kafka-topics --topic --create --topic chat-test --partitions 3 ?
kafka-topics --nonsense ?
kafka-console-producer --topic two --reader-property parse.key=true --reader-property key.separator=: < a:1|b:2|c:3|
kafka-console-producer --topic plain --reader-property parse.headers=true < h:x,i:y\tvalue|
kafka-topics --list --topic "one"
kafka-topics --list --topic 'o.e',"t.*"
kafka-get-offsets --topic-partitions 'two':0,o.*:1- --time earliest
kafka-get-offsets --topic-partitions two:x ?
kafka-get-offsets --topic two --partitions 0-1 ?
kafka-topics --create --topic lines
kafka-console-producer --topic lines --topic plain < x| ?
kafka-console-producer --topic lines --compression-codec none --reader-property parse.headers=true --reader-property parse.key=true --reader-property null.marker=NUL < h1:v1,h2:NUL\tk1\tNUL\r|NUL\tNUL\tv2\rh:1,\tk3\tz
kafka-console-producer --topic lines --reader-property parse.headers=true --reader-property headers.separator=[,;] --reader-property ignore.error=true < a:1;b\tv4|no mark|
kafka-console-producer --topic lines --reader-property parse.headers=true < a:1\tv5|a:1,,b:2\tlost| ?
kafka-console-producer --topic lines --reader-property parse.key=true --reader-property null.marker=\t < a\tb| ?
kafka-console-consumer --topic lines --from-beginning --max-messages 6 --timeout-ms 20000 --formatter-property print.headers=true --formatter-property print.key=true --formatter-property print.epoch=true --formatter-property print.delivery=true
kafka-console-consumer --topic lines --from-beginning --max-messages 6 --timeout-ms 20000 --formatter-property print.value=false
kafka-console-consumer --topic lines --from-beginning --max-messages 1 --timeout-ms 20000 --formatter-property print.offset=TRUE --formatter-property key.separator=\t --formatter-property null.literal=none
kafka-console-consumer --topic lines --from-beginning --timeout-ms 3000 --max-messages -1 --formatter-property print.value=true --formatter-property line.separator=;
kafka-console-consumer --topic lines --partition 0 --group g --timeout-ms 2000 ?
kafka-console-consumer --topic lines --offset 3 --timeout-ms 2000 ?
kafka-console-consumer --topic two --from-beginning --max-messages 3 --timeout-ms 20000 --group readers
kafka-console-consumer --topic plain --from-beginning --max-messages 1 --timeout-ms 20000 --formatter-property print.headers=true --formatter-property print.partition=true
kafka-console-consumer --topic two --partition 0 --offset 0 --max-messages 1 --timeout-ms 20000 --formatter-property print.key=true --formatter-property print.offset=true ?
kafka-console-consumer --include tw.* --from-beginning --max-messages 3 --timeout-ms 20000 --property print.value=false --property print.timestamp=true ?
kafka-console-consumer ?
kafka-consumer-groups --list
kafka-consumer-groups --list --state
kafka-consumer-groups --list --state Stable
kafka-consumer-groups --list --type
kafka-consumer-groups --describe --group readers
kafka-consumer-groups --describe --group readers --verbose
kafka-consumer-groups --describe --group readers --members
kafka-consumer-groups --describe --group readers --members --verbose
kafka-consumer-groups --describe --group readers --state
kafka-consumer-groups --describe --group absent ?
kafka-consumer-groups --describe --all-groups
kafka-consumer-groups --group readers --reset-offsets --topic two:0 --to-earliest --dry-run
kafka-consumer-groups --group readers --reset-offsets --topic two:0 --to-offset 1 --execute
kafka-consumer-groups --group readers --reset-offsets --topic two:0 --shift-by 1 --execute
kafka-consumer-groups --group readers --reset-offsets --topic two:0 --shift-by -9 --dry-run
kafka-consumer-groups --group readers --reset-offsets --topic two:0 --to-datetime 2020-01-01T00:00:00.000 --dry-run
kafka-consumer-groups --group readers --reset-offsets --topic two:0 --by-duration PT1S --dry-run ?
kafka-consumer-groups --group readers --reset-offsets --topic two:0 --to-current --export
kafka-consumer-groups --group readers --reset-offsets --topic two:0 --to-offset 99 --dry-run
kafka-consumer-groups --group readers --reset-offsets --topic two:0 --to-earliest --to-latest --dry-run ?
kafka-consumer-groups --group readers --reset-offsets --topic two:x --to-earliest --dry-run ?
kafka-consumer-groups --group readers --reset-offsets --topic two: --to-earliest --dry-run ?
kafka-consumer-groups --group readers --reset-offsets --topic two:9 --to-earliest --dry-run
kafka-consumer-groups --group readers --reset-offsets --topic two:0 --by-duration PT-1H --dry-run
kafka-consumer-groups --group readers --reset-offsets --topic two:0 --by-duration P1W --dry-run ?
kafka-consumer-groups --group readers --reset-offsets --topic two:0 --to-datetime 2020-01-01T00:00:00 --dry-run ?
kafka-consumer-groups --group readers --reset-offsets --from-file THREE.csv --dry-run
kafka-consumer-groups --group readers --reset-offsets --from-file FOUR.csv --dry-run
kafka-consumer-groups --group readers --group fresh --reset-offsets --from-file FOUR.csv --dry-run
kafka-consumer-groups --group readers --reset-offsets --to-earliest ?
kafka-consumer-groups --group readers --delete-offsets ?
kafka-consumer-groups --group absent --delete-offsets --topic two:0 ?
kafka-consumer-groups --list --state nonsense ?
kafka-consumer-groups --validate-regex a.*
kafka-consumer-groups --group fresh --reset-offsets --topic two:1 --to-latest --execute ?
kafka-consumer-groups --describe --group readers
kafka-consumer-groups --group readers --delete-offsets --topic two:0
kafka-groups --list
kafka-groups --list --group-type classic
kafka-consumer-groups --delete --group readers
kafka-consumer-groups --delete --group readers ?
kafka-consumer-groups --list --describe ?
kafka-consumer-groups --describe ?
kafka-configs --entity-type topics --entity-name two --alter --add-config max.message.bytes=2000,cleanup.policy=[compact,delete]
kafka-configs --entity-type topics --entity-name two --describe
kafka-configs --topic two --describe
kafka-configs --topic two --describe --all
kafka-configs --topic two --alter --delete-config max.message.bytes
kafka-configs --topic two --alter --delete-config max.message.bytes ?
kafka-configs --topic two --alter --add-config nonsense=1 ?
kafka-configs --topic absent --describe ?
kafka-configs --entity-type brokers --entity-default --alter --add-config log.cleaner.threads=1
kafka-configs --entity-type brokers --entity-default --describe
kafka-configs --entity-type brokers --entity-name 1 --alter --add-config log.segment.bytes=1000000
kafka-configs --entity-type brokers --entity-name 1 --describe
kafka-configs --entity-type brokers --entity-name 1 --alter --delete-config log.segment.bytes
kafka-configs --entity-type groups --entity-name g --alter --add-config consumer.session.timeout.ms=50000
kafka-configs --entity-type groups --entity-name g --alter --add-config consumer.session.timeout.ms=1 ?
kafka-configs --group g --describe
kafka-configs --describe ?
kafka-configs --entity-type nonsense --describe ?
kafka-get-offsets --topic two
kafka-get-offsets --exclude-internal-topics
kafka-get-offsets --topic-partitions two:0,few:0-1 --time earliest
kafka-get-offsets --topic two --time latest --partitions 0
kafka-get-offsets --topic two --time max-timestamp --partitions 1
kafka-get-offsets --topic two --time 0
kafka-get-offsets --topic absent ?
kafka-get-offsets --topic two --time soon ?
kafka-delete-records --offset-json-file RECORDS.json
kafka-get-offsets --topic two --time earliest
kafka-delete-records --offset-json-file TWICE.json ?
kafka-delete-records --offset-json-file VERSION2.json ?
kafka-delete-records --offset-json-file TEXT.json ?
kafka-delete-records --offset-json-file BEYOND.json
kafka-get-offsets --topic two --time earliest
kafka-log-dirs --describe --broker-list 1 --topic-list absent
kafka-log-dirs --describe --broker-list 7 ?
kafka-leader-election --election-type preferred --path-to-json-file TWICE.json ?
kafka-delete-records --offset-json-file absent.json ?
kafka-log-dirs --describe --topic-list absent
kafka-log-dirs --describe --topic-list two ?
kafka-cluster cluster-id
kafka-cluster list-endpoints
kafka-metadata-quorum describe --status ?
kafka-metadata-quorum describe --replication ?
kafka-features describe ?
kafka-transactions list
kafka-transactions describe --transactional-id absent ?
kafka-transactions describe-producers --topic plain --partition 0
kafka-leader-election --election-type preferred --topic two --partition 0
kafka-leader-election --election-type unclean --all-topic-partitions
kafka-leader-election --election-type preferred --topic absent --partition 0 ?
kafka-topics --create --topic perf --partitions 2
kafka-producer-perf-test --topic perf --num-records 2000 --record-size 100 --throughput -1
kafka-producer-perf-test --topic perf --num-records 900 --record-size 10 --throughput 1000 --warmup-records 500
kafka-producer-perf-test --topic perf --num-records 100 --payload-monotonic --throughput -1 --transaction-duration-ms 1000
kafka-producer-perf-test --topic perf --num-records 100 --record-size 10 --throughput -1 --producer-props acks=1 batch.size=100
kafka-producer-perf-test --topic perf --num-records 100 --throughput -1 ?
kafka-producer-perf-test --topic perf --num-records 100 --record-size 1 --payload-monotonic --throughput -1 ?
kafka-consumer-perf-test --topic perf --num-records 3000 --group perf1 --timeout 20000
kafka-consumer-perf-test --topic perf --messages 3000 --group perf2 --hide-header --timeout 20000
kafka-consumer-perf-test --topic perf --num-records 10 --group perf3 --from-latest --timeout 500
kafka-consumer-perf-test --topic perf ?
kafka-e2e-latency --topic perf --num-records 20 --producer-acks all --record-size 100
kafka-e2e-latency --topic perf --num-records 20 --producer-acks 2 --record-size 100 ?
kafka-verifiable-producer --topic two --max-messages 3 --value-prefix 7 --repeating-keys 2
kafka-verifiable-producer --max-messages 3 ?
kafka-verifiable-consumer --topic two --max-messages 3 --group-id vc1 --verbose
kafka-verifiable-consumer --topic two --max-messages 3 --group-id vc2 --group-protocol consumer
kafka-verifiable-consumer --topic two --max-messages 3 --group-id vc3 --enable-autocommit
kafka-client-metrics --list
kafka-client-metrics --alter --name METRICS1 --metrics org.apache.kafka.consumer. --interval 60000
kafka-client-metrics --alter --name METRICS2 --metrics a,b --match client_id=x
kafka-client-metrics --alter --name METRICS1 --interval 1 ?
kafka-client-metrics --alter --name METRICS1 --match nonsense ?
kafka-client-metrics --alter --metrics a ?
kafka-client-metrics --list
kafka-client-metrics --describe --name METRICS1
kafka-client-metrics --describe
kafka-client-metrics --describe --name ABSENT
kafka-client-metrics --delete --name METRICS1
kafka-client-metrics --delete --name ABSENT
kafka-client-metrics --delete ?
kafka-client-metrics ?
kafka-configs --entity-type client-metrics --entity-name CM --alter --add-config interval.ms=5000
kafka-configs --entity-type client-metrics --describe
kafka-configs --client-metrics CM --describe
kafka-configs --entity-type clients --entity-name app --alter --add-config producer_byte_rate=1024,consumer_byte_rate=2048
kafka-configs --entity-type users --entity-name bob --alter --add-config producer_byte_rate=1024
kafka-configs --entity-type users --entity-default --alter --add-config request_percentage=50.5
kafka-configs --entity-type users --entity-name bob --entity-type clients --entity-name app --alter --add-config producer_byte_rate=9
kafka-configs --entity-type users --entity-name bob --alter --add-config nonsense=9 ?
kafka-configs --entity-type users --entity-name bob --alter --add-config producer_byte_rate=-1 ?
kafka-configs --entity-type ips --entity-name 127.0.0.9 --alter --add-config connection_creation_rate=9
kafka-configs --entity-type ips --describe
kafka-configs --entity-type users --describe
kafka-configs --entity-type clients --describe
kafka-configs --entity-type users --entity-name bob --entity-type clients --describe
kafka-configs --entity-type users --entity-name bob --alter --add-config SCRAM-SHA-256=[iterations=4096,password=secret]
kafka-configs --entity-type users --entity-name bob --alter --add-config SCRAM-SHA-512=[password=secret]
kafka-configs --entity-type users --entity-name bob --describe
kafka-configs --user bob --describe
kafka-configs --entity-type users --describe
kafka-configs --entity-type users --entity-name bob --alter --delete-config SCRAM-SHA-256
kafka-configs --entity-type users --entity-name bob --describe
kafka-configs --entity-type clients --entity-name app --alter --delete-config producer_byte_rate
kafka-configs --entity-type clients --entity-name app --alter --delete-config producer_byte_rate ?
kafka-configs --entity-type clients --describe
kafka-configs --client app --describe
kafka-features upgrade --feature metadata.version=30
kafka-features upgrade --feature group.version=9 ?
kafka-features upgrade --feature nonsense=1 ?
kafka-features disable --feature nonsense ?
kafka-features upgrade --feature group.version=1 --dry-run
kafka-features upgrade --release-version 4.2-IV1 ?
kafka-features upgrade --release-version 4.3 --feature metadata.version=30 ?
kafka-features upgrade --feature share.version=1 --release-version 4.3 ?
kafka-features downgrade --feature eligible.leader.replicas.version=0
kafka-features downgrade --feature metadata.version=29
kafka-features downgrade --feature metadata.version=24 --unsafe --dry-run
kafka-features downgrade --metadata 3.3-IV0 ?
kafka-features disable --feature eligible.leader.replicas.version
kafka-features upgrade --feature eligible.leader.replicas.version=1
kafka-features upgrade --feature kraft.version=1
kafka-features version-mapping
kafka-features version-mapping --release-version 3.9-IV0
kafka-features version-mapping --release-version 4.0
kafka-features version-mapping --release-version 9.9 ?
kafka-features feature-dependencies --feature transaction.version=2
kafka-features feature-dependencies --feature metadata.version=17
kafka-features feature-dependencies --feature eligible.leader.replicas.version=1 --feature kraft.version=1
kafka-features feature-dependencies --feature share.version=2 ?
kafka-features upgrade ?
kafka-features ?
kafka-storage version-mapping
kafka-storage version-mapping -r 3.6-IV0
kafka-storage feature-dependencies -f eligible.leader.replicas.version=1
kafka-storage info -c STORAGE.properties
kafka-storage info -c absent.properties ?
kafka-storage format -c FRESH.properties --standalone ?
kafka-storage format -t 4L6g3nShT-eMCtK--X86sw --standalone ?
kafka-storage format -t 4L6g3nShT-eMCtK--X86sw -c FRESH.properties ?
kafka-storage format -t 4L6g3nShT-eMCtK--X86sw -c FRESH.properties --standalone --no-initial-controllers ?
kafka-storage format -t 4L6g3nShT-eMCtK--X86sw -c FRESH.properties --initial-controllers 1@localhost:9093 ?
kafka-storage format -t 4L6g3nShT-eMCtK--X86sw -c FRESH.properties --initial-controllers 1@localhost:9093:JEXY6aqzQY-32P5TStzaFg,1@localhost:9094:MvDxzVmcRsaTz33bUuRU6A ?
kafka-storage format -t 4L6g3nShT-eMCtK--X86sw -c FRESH.properties --standalone --feature kraft.version=0 ?
kafka-storage format -t 4L6g3nShT-eMCtK--X86sw -c FRESH.properties --standalone --feature absent.version=1 ?
kafka-storage format -t 4L6g3nShT-eMCtK--X86sw -c STATIC.properties --standalone ?
kafka-storage format -t 4L6g3nShT-eMCtK--X86sw -c STATIC.properties --feature kraft.version=1 ?
kafka-storage format -t 4L6g3nShT-eMCtK--X86sw -c BROKER.properties --standalone ?
kafka-storage info -c FRESH.properties
kafka-storage format -t 4L6g3nShT-eMCtK--X86sw -c FRESH.properties --initial-controllers 1@localhost:9093:JEXY6aqzQY-32P5TStzaFg,2@[::1]:9094:MvDxzVmcRsaTz33bUuRU6A ?
kafka-storage info -c FRESH.properties
kafka-storage format -t 4L6g3nShT-eMCtK--X86sw -c FRESH.properties --standalone ?
kafka-storage format -t 07R5amHmR32VDA6jHkGbTA -c FRESH.properties --standalone --ignore-formatted ?
kafka-storage format -t 4L6g3nShT-eMCtK--X86sw -c FRESH.properties --standalone --ignore-formatted
kafka-storage format -t 4L6g3nShT-eMCtK--X86sw -c STATIC.properties ?
kafka-storage info -c STATIC.properties
kafka-storage format -t 4L6g3nShT-eMCtK--X86sw -c BROKER.properties ?
kafka-storage info -c BROKER.properties
kafka-storage format -t 07R5amHmR32VDA6jHkGbTA -c OTHER.properties --no-initial-controllers ?
kafka-storage info -c MIXED.properties
kafka-storage random-uuid ?
kafka-transactions find-hanging ?
kafka-transactions find-hanging --broker-id 1
kafka-transactions find-hanging --topic perf
kafka-transactions abort --topic perf --partition 0 --start-offset 0 ?
kafka-transactions abort --topic perf --partition 0 ?
kafka-transactions abort --topic perf --partition 0 --producer-id 99 --producer-epoch 0 --coordinator-epoch 0
kafka-transactions forceTerminateTransaction --transactionalId absent
kafka-acls --list ?
kafka-acls --add --allow-principal User:bob --operation Read --topic perf ?
kafka-acls --add --topic perf ?
kafka-acls --remove --topic perf --force ?
kafka-acls ?
kafka-delegation-tokens --describe ?
kafka-delegation-tokens --describe --command-config /dev/null ?
kafka-reassign-partitions --topics-to-move-json-file MOVE.json --broker-list 1 --generate
kafka-reassign-partitions --reassignment-json-file MOVES.json --execute
kafka-reassign-partitions --reassignment-json-file MOVES.json --verify
kafka-reassign-partitions --reassignment-json-file MOVES.json --execute --throttle 1000000
kafka-configs --entity-type brokers --entity-name 1 --describe
kafka-configs --entity-type topics --entity-name perf --describe
kafka-reassign-partitions --reassignment-json-file MOVES.json --verify --preserve-throttles
kafka-reassign-partitions --reassignment-json-file MOVES.json --verify
kafka-configs --entity-type brokers --entity-name 1 --describe
kafka-reassign-partitions --reassignment-json-file FAR.json --execute ?
kafka-reassign-partitions --reassignment-json-file ABSENT.json --execute ?
kafka-reassign-partitions --reassignment-json-file ABSENT.json --verify ?
kafka-reassign-partitions --reassignment-json-file SAME.json --execute
kafka-reassign-partitions --reassignment-json-file SAME.json --verify
kafka-reassign-partitions --reassignment-json-file NOWHERE.json --execute --timeout 2000 ?
kafka-reassign-partitions --list
kafka-reassign-partitions --reassignment-json-file MOVES.json --cancel ?
kafka-reassign-partitions --execute ?
kafka-reassign-partitions ?
kafka-broker-api-versions ?
kafka-topics --delete --topic one
kafka-topics --delete --topic one
kafka-topics --delete --topic one --if-exists
kafka-topics --delete --topic t.*|few ?
kafka-topics --list --exclude-internal
"""

# Files that lines name, and what stands in them.
moves = lambda *parts: '{"version":1,"partitions":[' + ",".join(parts) + "]}"
place = lambda topic, index, ids, more="": f'{{"topic":"{topic}","partition":{index},"replicas":{ids}{more}}}'
FILES = {
    "RECORDS.json": '{"partitions": [{"topic": "two", "partition": 0, "offset": 1}], "version": 1}',
    "TWICE.json": '{"partitions": [{"topic": "two", "partition": 0, "offset": 2}, {"topic": "two", "partition": 0, "offset": 1}], "version": 1}',
    "VERSION2.json": '{"partitions": [{"topic": "two", "partition": 0, "offset": 2}], "version": 2}',
    "TEXT.json": '{"partitions": [{"topic": "two", "partition": 0, "offset": "2"}]}',
    "BEYOND.json": '{"partitions": [{"topic": "two", "partition": 0, "offset": 99}]}',
    "THREE.csv": "two,0,99\n",
    "FOUR.csv": "readers,two,0,1\nfresh,two,1,0\n",
    "MOVE.json": '{"version":1,"topics":[{"topic":"perf"}]}',
    "MOVES.json": moves(place("perf", 0, [1]), place("perf", 1, [1])),
    "FAR.json": moves(place("perf", 0, [1, 2])),
    "ABSENT.json": moves(place("absent", 0, [1])),
    "SAME.json": moves(place("perf", 0, [1], ',"log_dirs":["{data}"]')),
    "NOWHERE.json": moves(place("perf", 0, [1], ',"log_dirs":["/nowhere"]')),
    "STORAGE.properties": "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\nlisteners=PLAINTEXT://:9092,CONTROLLER://:9093\ncontroller.quorum.bootstrap.servers=localhost:9093\nlog.dirs={data}\n",
    "FRESH.properties": "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\nlisteners=PLAINTEXT://:9092,CONTROLLER://localhost:9093\ncontroller.quorum.bootstrap.servers=localhost:9093\nlog.dirs=fresh-a,fresh-b\n",
    "STATIC.properties": "process.roles=controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\nlisteners=CONTROLLER://localhost:9093\ncontroller.quorum.voters=1@localhost:9093,2@localhost:9094\nlog.dirs=static\n",
    "BROKER.properties": "process.roles=broker\nnode.id=1\ncontroller.listener.names=CONTROLLER\nlisteners=PLAINTEXT://localhost:9092\ncontroller.quorum.bootstrap.servers=localhost:9093\nlog.dirs=broker\n",
    "OTHER.properties": "process.roles=controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\nlisteners=CONTROLLER://localhost:9093\ncontroller.quorum.bootstrap.servers=localhost:9093\nlog.dirs=other\n",
    "MIXED.properties": "process.roles=controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\nlisteners=CONTROLLER://localhost:9093\ncontroller.quorum.bootstrap.servers=localhost:9093\nlog.dirs=fresh-b,other,absent,static,MIXED.properties\n",
}

NEUTRAL = [
    (r"TopicId: \S+", "TopicId: <id>"),
    (r"127\.0\.0\.1:\d+", "<broker>"),
    (r"(127\.0\.0\.1 +)\d+", r"\1<port>"),
    (r'/tmp/[^\s"]*?/data', "<data>"),
    (r"(CreateTime|LogAppendTime):\d+", r"\1:<time>"),
    (r"Cluster ID: \S+", "Cluster ID: <id>"),
    (r"(?<!\.)\b1\d{12}\b", "<time>"),
    # How often a client asked until its time was over.
    (r"tries=\d+|after \d+ attempt", "<tries>"),
    # What a measurement found is not what is compared, but that it has the same form.
    (r"\d+(?= records sent)(?!.*latency, \d)", "<count>"),
    (r"[\d.]+(?= (records/sec|MB/sec|ms avg|ms max|ms \d+(\.\d)?th))", "<figure>"),
    (r"^\d{4}-\d\d-\d\d .*", lambda found: re.sub(r"[\d.:-]+", "#", found[0])),
    (r"^\d+\t[\d.E-]+$", "<latency>"),
    (r"(Avg latency:) [\d.]+", r"\1 <figure>"),
    (r"(\d+th) = \d+", r"\1 = <figure>"),
    (r'"avg_throughput":[\d.E]+', '"avg_throughput":<figure>'),
    (r'"offset":\d+', '"offset":<offset>'),
    (r'"(count|minOffset|maxOffset)":\d+', r'"\1":<number>'),
    (r'directory\.id=[^,}]+|cluster\.id=[^,}]+', "<id>"),
    (r"console-consumer-[\w-]+", "<member>"),
    (r"[ \t]+$", ""),
]


def neutral(text):
    """The lines of an output that say something, in neutral words."""
    for pattern, word in NEUTRAL:
        text = re.sub(pattern, word, text, flags=re.M)
    # Wordings of warnings are each tool's own; Apache's console consumer leaves a group of its own behind, ours does not.
    drops = ("WARNING:", "Warning:", "<member>")
    lines = [re.sub(r" {2,}", "  ", line) for line in text.split("\n") if line.strip() and not line.startswith(drops)]
    by_name = lambda found: found[1] + ",".join(sorted(re.split(", ?", found[2])))
    # Apache's tools print much in the order of hash maps.
    return sorted(re.sub(r"(Configs: |^SCRAM .* are )(.+)", by_name, line) for line in lines)


def words(line, server, folder, way="--bootstrap-server"):
    """The command line's words, what stands on the standard input, and whether its output counts. `way` says whom the tool asks:
    a broker or, by `--bootstrap-controller`, a controller."""
    line, _, stdin = line.partition(" < ")
    counts = not line.endswith(" ?")
    name, *rest = line.removesuffix(" ?").split()
    rest = [f"{folder}/{word}" if word in FILES else word for word in rest]
    bootstrap = [] if name in OFFLINE else [way, server.controller if way == "--bootstrap-controller" else server.bootstrap]
    rest = [*rest, *bootstrap] if name in ACTION_FIRST else [*bootstrap, *rest]
    return name, rest, stdin.replace("|", "\n").replace("\\t", "\t").replace("\\r", "\r"), counts


READS = re.compile(r"--list|--describe| describe|kafka-get-offsets|list-endpoints")


def play(kind, server, folder, binary, genuine=()):
    """What every line prints, and its exit code. A line that only reads is tried again for a moment where it is not as `genuine`:
    a tool without a JVM's start asks before all nodes of a cluster have the last change."""
    write_files(server, folder)
    told = []
    for number, line in enumerate(lines(kind)):
        until = time.monotonic() + (3 if genuine and READS.search(line) else 0)
        while True:
            answer = one_line(kind, server, folder, binary, line)
            if time.monotonic() >= until or answer[1:3] == genuine[number][1:3]:
                break
        told.append(answer)
    return told


def write_files(server, folder):
    """The files that lines name."""
    for name, text in FILES.items():
        pathlib.Path(folder, name).write_text(text.replace("{data}", str(server.data)))


def lines(kind):
    """The lines that this kind of tools has."""
    lacks = FORMER_LACKS if kind == "apache 3.9" else ()
    return [line for line in LINES.split("\n") if line and line.split()[0] not in lacks]


def one_line(kind, server, folder, binary, line, way="--bootstrap-server"):
    name, rest, stdin, counts = words(line, server, folder, way)
    if kind == "apache 3.9":
        jars, known = install.former_tools(), FORMER_WORDS.get(name, {})
        start = [*servers.java("-Xmx128m", jars=jars), FORMER_CLASSES.get(name, CLASSES[name])]
        rest = [known.get(word, word) for word in rest]
        if name == "kafka-producer-perf-test":
            rest = ["bootstrap.servers=" + word if word == server.bootstrap else word for word in rest]
    else:
        start = [*servers.java("-Xmx128m"), CLASSES[name]] if kind == "apache" else [str(binary), name]
    try:
        done = subprocess.run([*start, *rest], input=stdin, capture_output=True, text=True, timeout=60, check=False, cwd=folder)
    except subprocess.TimeoutExpired:
        return line, "none in a minute", [], ""
    return line, done.returncode, neutral(done.stdout) if counts else [], done.stdout + done.stderr


# What the formatters of internal topics are asked for, and what leaves something in those topics before.
STORED = {
    "__consumer_offsets": ["OffsetsMessageFormatter", "GroupMetadataMessageFormatter", "ShareGroupMessageFormatter"],
    "__transaction_state": ["TransactionLogMessageFormatter"],
}
BEFORE = [
    "kafka-topics --create --topic kept --partitions 3",
    "kafka-producer-perf-test --topic kept --num-records 100 --record-size 10 --throughput -1 --transaction-duration-ms 1000 --transactional-id x",
    "kafka-console-consumer --topic kept --from-beginning --max-messages 10 --timeout-ms 20000 --group classic",
    "kafka-console-consumer --topic kept --from-beginning --max-messages 10 --timeout-ms 20000 --group modern --consumer-property group.protocol=consumer",
    "kafka-consumer-groups --delete-offsets --group classic --topic kept:1",
]


def objects(text):
    """The objects of JSON that stand one after the other in a text, but for those of groups that tools make up for themselves."""
    found, at = [], 0
    while at < len(text.rstrip()):
        one, at = json.JSONDecoder().raw_decode(text, at)
        if not one["key"]["data"].get("group", "").startswith("console-consumer-"):
            found.append(json.dumps(one))
    return sorted(found)


def stored(table, kind, folder, binary):
    """The records of internal topics, printed by Apache's console consumer and by ours: the same objects, in the same form."""
    server = servers.Ottla(folder, binary=binary) if kind == "ottla" else servers.Apache(folder)
    server.settings = {"group.initial.rebalance.delay.ms": "0"}
    try:
        server.start()
        for line in BEFORE:
            one_line("ottla", server, folder, binary, line)
        for topic, classes in STORED.items():
            for name in classes:
                line = f"kafka-console-consumer --topic {topic} --from-beginning --timeout-ms 5000 --formatter org.apache.kafka.tools.consumer.{name}"
                printed = {}
                for tools in ("apache", "ottla"):
                    start = [*servers.java("-Xmx128m"), CLASSES["kafka-console-consumer"]] if tools == "apache" else \
                        [str(binary), "kafka-console-consumer"]
                    done = subprocess.run([*start, *words(line, server, folder)[1]], capture_output=True, text=True, timeout=60, check=False)
                    printed[tools] = objects(done.stdout)
                alike = printed["apache"] == printed["ottla"] and (printed["ottla"] or name.startswith("Share"))
                note = f"{printed['apache'][:3]}\n    {printed['ottla'][:3]}"
                table.add("both tools", f"at {kind}", "ok" if alike else "failed", f"{len(printed['ottla'])} objects of {name}", "" if alike else note)
    finally:
        server.kill()


def run(arguments):
    table = report.Report()
    for kind in ("ottla", "apache"):
        with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
            stored(table, kind, folder, arguments.binary or servers.Ottla.build())
    if arguments.stored:
        return table.end()

    def one(pair, genuine=()):
        tools, kind = pair
        with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
            make = {"ottla": lambda: servers.Ottla(folder, binary=arguments.binary), "apache": lambda: servers.Apache(folder)}
            server = make[kind]()
            server.settings = {"auto.create.topics.enable": "false", "group.initial.rebalance.delay.ms": "0"}
            try:
                server.start()
                return pair, play(tools, server, folder, arguments.binary or servers.Ottla.build(), genuine)
            finally:
                server.kill()

    # What each is compared with.
    models = {
        ("apache", "ottla"): ("apache", "apache"),
        ("ottla", "apache"): ("apache", "apache"),
        ("ottla", "ottla"): ("apache", "apache"),
        ("apache 3.9", "ottla"): ("apache 3.9", "apache"),
    }
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        told = dict(pool.map(one, sorted(set(models.values()))))
        told |= dict(pool.map(lambda pair: one(pair, told[models[pair]]), models))
    for pair, model in models.items():
        genuine = told[model]
        for (line, code, text, _), (_, other_code, other, all_of_it) in zip(genuine, told[pair]):
            alike = code == other_code and text == other
            show = lambda code, text: f"exit {code}: " + " / ".join(text)
            note = "" if alike else f"{show(code, text)}\n    {show(other_code, other)}" + (f"\n    ({all_of_it[-300:]!r})" if not other else "")
            table.add(f"{pair[0]}'s tool", f"at {pair[1]}", "ok" if alike else "failed", line[:74], note)
    return table.end()
