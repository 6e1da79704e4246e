"""The servers of the local stack, in the order in which they are shown."""

from __future__ import annotations

from bookworks.errors import TerminalError
from infra.local.server import Server
from infra.local.servers import airflow, clickhouse, kafka, minio, mlflow, neo4j, ours, postgres, redis

ALL: dict[str, Server] = {
    server.name: server
    for server in (
        kafka.SERVER,
        minio.SERVER,
        postgres.SERVER,
        redis.SERVER,
        neo4j.SERVER,
        clickhouse.SERVER,
        mlflow.SERVER,
        airflow.SERVER,
        ours.CONSUMERS,
        ours.SERVICE,
    )
}


def pick(names: list[str]) -> list[Server]:
    """The servers called `names` and all that they wait for, in order; no names means all.

    Raises:
        TerminalError: there is no such server.
    """
    wanted = set(names) or set(ALL)
    unknown = sorted(wanted - set(ALL))
    if unknown:
        raise TerminalError("There is no such server", received=", ".join(unknown), allowed=", ".join(ALL))
    while more := {need for name in wanted for need in ALL[name].after} - wanted:
        wanted |= more
    return [server for server in ALL.values() if server.name in wanted]
