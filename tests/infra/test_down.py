"""`down` and failed starts, on small stacks of their own."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from bookworks.errors import TerminalError
from bookworks.settings import Settings, get_settings
from infra.local import processes, supervisor
from infra.local import stack as servers
from infra.local.layout import Layout, layout_of, write_private
from infra.local.server import MARKER, Context
from infra.local.servers import redis
from tests.conftest import OFFSET, STATE_DIR

pytestmark = pytest.mark.integration


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    # Beside the session's own, where `.ci/run` finds it when pytest was killed.
    monkeypatch.setenv("BOOKWORKS_STATE_DIR", str(STATE_DIR.with_name(f"{STATE_DIR.name}-down")))
    monkeypatch.setenv("BOOKWORKS_PORT_OFFSET", str(OFFSET + 500))
    get_settings.cache_clear()
    settings = get_settings()
    servers.down(settings)
    servers.wipe(settings)
    yield settings
    servers.down(settings)
    servers.wipe(settings)
    get_settings.cache_clear()


def up(*names: str) -> tuple[Settings, Layout]:
    servers.up(get_settings(), list(names), lambda _: None)
    return get_settings(), layout_of(get_settings())


def marked(layout: Layout) -> list[int]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARKER) == str(layout.state) and processes.alive(process):
                found.append(process.pid)
        except (psutil.Error, OSError):
            continue
    return found


def test_down_leaves_nothing(settings: Settings) -> None:
    settings, layout = up("postgres", "redis", "minio")
    known = processes.of_stack(layout)
    assert len(known) >= 4
    assert servers.down(settings) == 0
    assert not marked(layout)
    assert not any(processes.alive(process) for process in known)
    assert {line.state for line in servers.health(settings, [])} == {"down"}
    servers.down(settings)  # twice does no harm


def test_down_finds_what_a_killed_supervisor_left(settings: Settings) -> None:
    settings, layout = up("postgres", "redis")
    known = processes.of_stack(layout)
    chief = processes.recorded(layout, supervisor.NAME)
    assert chief is not None
    chief[0].kill()
    time.sleep(0.3)
    assert any(processes.alive(process) for process in known)
    assert servers.down(settings) > 0
    assert not marked(layout)
    assert not any(processes.alive(process) for process in known)


def test_up_after_a_killed_supervisor_starts_afresh_and_keeps_the_data(settings: Settings) -> None:
    _, layout = up("redis")
    old = processes.recorded(layout, "redis")
    chief = processes.recorded(layout, supervisor.NAME)
    assert old is not None
    assert chief is not None
    chief[0].kill()
    up("redis")
    new = processes.recorded(layout, "redis")
    assert new is not None
    assert new[0].pid != old[0].pid
    assert not processes.alive(old[0])


def test_down_of_one_server_leaves_the_others(settings: Settings) -> None:
    settings, _ = up("redis", "postgres")
    servers.down(settings, ["redis"])
    assert {line.server: line.state for line in servers.health(settings, ["redis", "postgres"])} == {
        "redis": "down",
        "postgres": "up",
    }


def test_server_that_cannot_start_is_named_with_its_log(settings: Settings) -> None:
    def broken(context: Context) -> None:
        write_private(context.config("redis.conf"), "no-such-directive yes\n")

    object.__setattr__(redis.SERVER, "prepare", broken)
    try:
        with pytest.raises(TerminalError) as failed:
            up("redis")
    finally:
        object.__setattr__(redis.SERVER, "prepare", redis.prepare)
    text = str(failed.value)
    assert "Not up: redis" in text
    assert "no-such-directive" in text
    assert "logs/redis.log" in text


def test_mended_server_comes_up(settings: Settings) -> None:
    settings, layout = up("redis")
    write_private(layout.config / "redis.conf", "no-such-directive yes\n")
    known = processes.recorded(layout, "redis")
    assert known is not None
    known[0].kill()
    time.sleep(4)
    assert servers.health(settings, ["redis"])[0].state != "up"
    up("redis")
    assert servers.health(settings, ["redis"])[0].state == "up"


def test_wipe_removes_everything(settings: Settings) -> None:
    settings, layout = up("postgres")
    assert layout.postgres.exists()
    servers.down(settings)
    servers.wipe(settings)
    assert not layout.state.exists()
    assert not layout.postgres.exists()


def test_data_of_a_state_folder_removed_by_hand_is_not_taken_over(settings: Settings) -> None:
    import shutil

    settings, layout = up("postgres")
    servers.down(settings)
    shutil.rmtree(layout.state)
    get_settings.cache_clear()
    settings, _ = up("postgres")  # a new password; the old data would refuse it
    assert servers.health(settings, ["postgres"])[0].state == "up"


def test_children_are_found_when_nothing_but_their_group_tells_whose_they_are(tmp_path: Path) -> None:
    layout = Layout(state=tmp_path, postgres=tmp_path)
    layout.make()
    script = "/bin/sleep 60 >/dev/null & echo $!"
    leader = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True, text=True, env={})
    child = int(leader.communicate()[0])
    (layout.run / "thing.pid").write_text(json.dumps({"pid": leader.pid, "started_at": time.time()}))
    try:
        assert [process.pid for process in processes.of_stack(layout)] == [child]
    finally:
        processes.end([psutil.Process(child)])
