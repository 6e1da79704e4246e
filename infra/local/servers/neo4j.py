"""Neo4j Community: authors, works, series and editions with their relations."""

from __future__ import annotations

import socket

import neo4j as driver
from neo4j.exceptions import AuthError, ClientError

from bookworks.adapters import neo4j
from bookworks.errors import SettingError
from infra.local.layout import write_private
from infra.local.server import Context, Program, Server

FACTORY_USER, FACTORY_PASSWORD = "neo4j", "neo4j"
OPENS = ("java.base/java.nio", "java.base/java.io", "java.base/sun.nio.ch", "java.base/java.lang")


def configuration(context: Context) -> str:
    """The server's configuration; the password is not in it."""
    settings = context.settings
    return "\n".join([
        f"server.default_listen_address={settings.bind_host}",
        f"server.default_advertised_address={settings.neo4j_host}",
        f"server.bolt.listen_address={settings.bind_host}:{settings.neo4j_port}",
        f"server.http.listen_address={settings.bind_host}:{settings.neo4j_http_port}",
        "server.https.enabled=false",
        f"server.directories.data={context.data('neo4j') / 'data'}",
        f"server.directories.logs={context.data('neo4j') / 'logs'}",
        "dbms.security.auth_enabled=true",
        "dbms.usage_report.enabled=false",
        f"server.memory.pagecache.size={settings.neo4j_page_cache_mb}m",
        "db.shutdown_transaction_end_timeout=2s",
        "server.bolt.thread_pool_max_size=40",
        "server.http_enabled_modules=BROWSER,TRANSACTIONAL_ENDPOINTS",
        "db.tx_log.rotation.retention_policy=256M size",
        "db.tx_log.rotation.size=32M",
        "",
    ])  # fmt: skip


def prepare(context: Context) -> None:
    """Write the configuration.

    Raises:
        SettingError: the server knows one first user only.
    """
    if context.settings.neo4j_user != FACTORY_USER:
        raise SettingError(
            "The local Neo4j has one user", received=context.settings.neo4j_user, allowed=FACTORY_USER,
            todo="unset BOOKWORKS_NEO4J_USER.",
        )  # fmt: skip
    write_private(context.config("neo4j.conf"), configuration(context))


def programs(context: Context) -> list[Program]:
    """The server."""
    settings = context.settings
    argv = [
        "java", f"-Xmx{settings.neo4j_memory_mb}m", "-Xms128m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError",
        "-XX:-OmitStackTraceInFastThrow",
        *(f"--add-opens={package}=ALL-UNNAMED" for package in OPENS),
        "-cp", f"{context.tools / 'neo4j' / 'jars'}/*",
        "org.neo4j.server.CommunityEntryPoint",
        f"--home-dir={context.data('neo4j')}", f"--config-dir={context.layout.config}",
    ]  # fmt: skip
    return [Program("neo4j", argv)]


def check(context: Context) -> None:
    """Ask for 1 with the password; at the very first start change the factory's password for ours."""
    settings = context.settings
    with socket.create_connection((settings.bind_host, settings.neo4j_port), timeout=1):
        pass
    try:
        _ask(context)
    except (AuthError, ClientError):
        if (context.data("neo4j") / "password-changed").exists():
            raise
        _change_password(context)
        _ask(context)
    (context.data("neo4j") / "password-changed").touch()


def _ask(context: Context) -> None:
    with neo4j.connect(context.settings) as connection:
        connection.execute_query("RETURN 1", database_="neo4j")


def _change_password(context: Context) -> None:
    auth = (FACTORY_USER, FACTORY_PASSWORD)
    with driver.GraphDatabase.driver(context.settings.neo4j_uri, auth=auth, connection_timeout=5) as connection:
        connection.execute_query(
            "ALTER CURRENT USER SET PASSWORD FROM $old TO $new",
            old=FACTORY_PASSWORD,
            new=context.settings.neo4j_password.get_secret_value(),
            database_="system",
        )


SERVER = Server(
    name="neo4j",
    programs=programs,
    check=check,
    ports=("neo4j_port", "neo4j_http_port"),
    parts=("neo4j",),
    prepare=prepare,
    page=lambda settings: f"http://{settings.bind_host}:{settings.neo4j_http_port}",
)
