"""Apache Kafka: one KRaft node, broker and controller in one process, both listeners with a password."""

from __future__ import annotations

import socket
import subprocess
import uuid
from base64 import urlsafe_b64encode

from bookworks.adapters import kafka
from bookworks.errors import TerminalError
from infra.local.layout import write_private
from infra.local.server import Context, Program, Server

LOG4J = """Configuration:
  Appenders:
    Console:
      name: STDOUT
      PatternLayout:
        pattern: "[%d] %p %m (%c)%n"
  Loggers:
    Root:
      level: WARN
      AppenderRef:
        - ref: STDOUT
    Logger:
      - name: kafka.server.KafkaRaftServer
        level: INFO
"""
# No option may ask for more than one replica: there is one node.
FIXED = """process.roles=broker,controller
node.id=1
listener.security.protocol.map=CLIENT:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT
inter.broker.listener.name=CLIENT
controller.listener.names=CONTROLLER
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
sasl.mechanism.controller.protocol=PLAIN
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=4
log.retention.hours=-1
log.segment.bytes=268435456
"""


def properties(context: Context) -> str:
    """The broker's configuration; it holds the password."""
    settings = context.settings
    host, password = settings.bind_host, settings.kafka_password.get_secret_value()
    user = settings.kafka_user
    jaas = (
        "org.apache.kafka.common.security.plain.PlainLoginModule required "
        f'username="{user}" password="{password}" user_{user}="{password}";'
    )
    return FIXED + "\n".join([
        f"listeners=CLIENT://{host}:{settings.kafka_port},CONTROLLER://{host}:{settings.kafka_controller_port}",
        f"advertised.listeners=CLIENT://{settings.kafka_host}:{settings.kafka_port}",
        f"controller.quorum.voters=1@{host}:{settings.kafka_controller_port}",
        f"listener.name.client.plain.sasl.jaas.config={jaas}",
        f"listener.name.controller.plain.sasl.jaas.config={jaas}",
        f"log.dirs={context.data('kafka')}",
        f"num.partitions={settings.kafka_partitions}",
        "",
    ])  # fmt: skip


def prepare(context: Context) -> None:
    """Write the configuration; format the data folder the first time."""
    config = context.config("kafka.properties")
    write_private(config, properties(context))
    write_private(context.config("kafka-log4j2.yaml"), LOG4J)
    if not (context.data("kafka") / "meta.properties").exists():
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "x")
        arguments = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(config)]
        done = subprocess.run(_java(context, 128) + arguments, capture_output=True, text=True, check=False)
        if done.returncode:
            raise TerminalError(
                "Kafka's data folder could not be formatted", received=(done.stdout + done.stderr)[-800:]
            )


def _java(context: Context, heap_mb: int) -> list[str]:
    jars = context.tools / "kafka" / "jars"
    return [
        "java", f"-Xmx{heap_mb}m", f"-Xms{min(heap_mb, 128)}m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError",
        f"-Dlog4j2.configurationFile={context.config('kafka-log4j2.yaml')}",
        f"-Dkafka.logs.dir={context.layout.logs}",
        "-cp", f"{jars}/*",
    ]  # fmt: skip


def programs(context: Context) -> list[Program]:
    """The broker."""
    argv = [*_java(context, context.settings.kafka_memory_mb), "kafka.Kafka", str(context.config("kafka.properties"))]
    return [Program("kafka", argv)]


def check(context: Context) -> None:
    """List the topics with the password."""
    settings = context.settings
    with socket.create_connection((settings.bind_host, settings.kafka_port), timeout=1):
        pass
    client = kafka.admin(settings)
    try:
        client.list_topics()
    finally:
        client.close()


def finish(context: Context) -> None:
    """Make the platform's topics."""
    kafka.ensure_topics(context.settings)


SERVER = Server(
    name="kafka",
    programs=programs,
    check=check,
    ports=("kafka_port", "kafka_controller_port"),
    parts=("kafka",),
    prepare=prepare,
    finish=finish,
)
