"""Apache's own console tools, 4.3.1."""

import os
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from checks import BOOTSTRAP, CLIENT, check, main, same

TOOLS = "org.apache.kafka.tools."
ELSEWHERE = {"ConfigCommand": "kafka.admin."}


def tool(name, *arguments, stdin="", server="--bootstrap-server"):
    """What a tool prints; raises when it fails."""
    command = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", os.environ["JARS"] + "/*", ELSEWHERE.get(name, TOOLS) + name, server, BOOTSTRAP]
    result = subprocess.run([*command, *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, f"{name}: exit {result.returncode}: {(result.stderr + result.stdout)[-600:]}"
    return result.stdout


def rest():
    topic = f"{CLIENT}-rest"
    with check("kafka-topics: create, describe, alter, list"):
        tool("TopicCommand", "--create", "--topic", topic, "--partitions", 2, "--config", "retention.ms=100000")
        told = tool("TopicCommand", "--describe", "--topic", topic)
        assert "PartitionCount: 2" in told and "retention.ms=100000" in told, told
        tool("TopicCommand", "--alter", "--topic", topic, "--partitions", 3)
        assert topic in tool("TopicCommand", "--list").split()
    with check("console producer and consumer"):
        tool("ConsoleProducer", "--topic", topic, "--property", "parse.key=true", "--property", "key.separator=:",
             stdin="a:1\nb:2\nc:3\n")
        told = tool("consumer.ConsoleConsumer", "--topic", topic, "--from-beginning", "--max-messages", 3, "--group", topic,
                    "--timeout-ms", 60000)
        same(sorted(told.split()), ["1", "2", "3"])
    with check("kafka-configs: alter and describe a topic, describe a broker"):
        tool_configs("--entity-type", "topics", "--entity-name", topic, "--alter", "--add-config", "max.message.bytes=2000")
        told = tool_configs("--entity-type", "topics", "--entity-name", topic, "--describe")
        assert "max.message.bytes=2000" in told and "DYNAMIC_TOPIC_CONFIG" in told, told
        told = tool_configs("--entity-type", "brokers", "--entity-name", 1, "--describe", "--all")
        assert re.search(r"num\.partitions=1 sensitive=false synonyms=\{.*DEFAULT_CONFIG:num\.partitions=1", told), told[:600]
    with check("kafka-consumer-groups: describe, reset offsets, delete"):
        told = tool("consumer.group.ConsumerGroupCommand", "--describe", "--group", topic)
        same(sum(int(line.split()[3]) for line in told.splitlines() if line.startswith(topic)), 3)
        tool("consumer.group.ConsumerGroupCommand", "--group", topic, "--topic", topic, "--reset-offsets", "--to-earliest", "--execute")
        told = tool("consumer.group.ConsumerGroupCommand", "--describe", "--group", topic)
        same(sum(int(line.split()[3]) for line in told.splitlines() if line.startswith(topic)), 0)
        tool("consumer.group.ConsumerGroupCommand", "--delete", "--group", topic)
    with check("kafka-get-offsets, kafka-log-dirs, kafka-metadata-quorum, kafka-broker-api-versions"):
        told = tool("GetOffsetShell", "--topic", topic)
        same(sum(int(line.split(":")[2]) for line in told.split() if line.startswith(topic)), 3)
        assert topic in tool("LogDirsCommand", "--describe", "--topic-list", topic)
        assert "LeaderId:" in tool("MetadataQuorumCommand", "describe", "--status")
        assert "Produce(0): " in tool("BrokerApiVersionsCommand")
    with check("VerifiableProducer, TransactionalMessageCopier with random aborts, kafka-transactions"):
        tool("TopicCommand", "--create", "--topic", f"{topic}-in", "--partitions", 1)
        tool("TopicCommand", "--create", "--topic", f"{topic}-out", "--partitions", 1)
        tool("VerifiableProducer", "--topic", f"{topic}-in", "--max-messages", 1000)
        tool("TransactionalMessageCopier", "--input-topic", f"{topic}-in", "--output-topic", f"{topic}-out", "--input-partition", 0,
             "--max-messages", 1000, "--consumer-group", f"{topic}-copier", "--transaction-size", 50, "--transactional-id", f"{topic}-copier",
             "--enable-random-aborts", "--group-mode", server="--broker-list")
        told = tool("consumer.ConsoleConsumer", "--topic", f"{topic}-out", "--from-beginning", "--max-messages", 1000,
                    "--isolation-level", "read_committed", "--timeout-ms", 60000)
        same(sorted(map(int, told.split())), list(range(1000)))
        assert f"{topic}-copier" in tool("TransactionsCommand", "list")
        told = tool("TransactionsCommand", "describe", "--transactional-id", f"{topic}-copier")
        assert re.search(r"Complete(Commit|Abort)", told), told
    with check("console consumer and kafka-consumer-groups with group.protocol=consumer"):
        told = tool("consumer.ConsoleConsumer", "--topic", topic, "--from-beginning", "--max-messages", 3, "--group", f"{topic}-modern",
                    "--command-property", "group.protocol=consumer", "--timeout-ms", 60000)
        same(sorted(told.split()), ["1", "2", "3"])
        told = tool("consumer.group.ConsumerGroupCommand", "--describe", "--group", f"{topic}-modern")
        same(sum(int(line.split()[3]) for line in told.splitlines() if line.startswith(f"{topic}-modern")), 3)
        assert "Consumer" in tool("consumer.group.ConsumerGroupCommand", "--list", "--type")
        tool("consumer.group.ConsumerGroupCommand", "--delete", "--group", f"{topic}-modern")
    with check("kafka-topics: delete"):
        tool("TopicCommand", "--delete", "--topic", topic)
        assert topic not in tool("TopicCommand", "--list").split()


def tool_configs(*arguments):
    return tool("ConfigCommand", *arguments)


if __name__ == "__main__":
    main({"rest": rest})
