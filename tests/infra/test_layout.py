"""Which folders a stack takes for its own, and `down --wipe` removes."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bookworks.errors import SettingError, TerminalError
from bookworks.settings import Settings, get_settings
from infra.local import doctor, install, layout, stack
from infra.local.layout import CLAIM, layout_of
from infra.local.server import context_of
from infra.local.servers import postgres


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    monkeypatch.setenv("BOOKWORKS_STATE_DIR", str(tmp_path / "state"))
    get_settings.cache_clear()
    yield get_settings()
    get_settings.cache_clear()


@pytest.fixture
def home(settings: Settings) -> Path:
    """A state folder that is somebody's home."""
    folder = settings.state_dir
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "thesis.tex").write_text("everything")
    (folder / "data").mkdir()
    return folder


def fill(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if name.endswith("/") else path.touch()


def test_up_leaves_a_folder_of_someone_else_alone(
    settings: Settings, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "missing", lambda *_: [])
    with pytest.raises(SettingError, match=r"thesis\.tex(.|\n)*BOOKWORKS_STATE_DIR"):
        stack.up(settings, ["redis"], lambda _: None)
    assert stat.S_IMODE(home.stat().st_mode) == 0o755
    assert sorted(path.name for path in home.iterdir()) == ["data", "thesis.tex"]


def test_wipe_leaves_a_folder_of_someone_else_alone(
    settings: Settings, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bookworks.cli.main import app

    with pytest.raises(TerminalError, match=r"thesis\.tex"):
        stack.wipe(settings)
    monkeypatch.setattr("sys.argv", ["bookworks", "down"])
    answer = CliRunner().invoke(app, ["down", "--wipe", "--yes"])
    assert isinstance(answer.exception, TerminalError)
    assert (home / "thesis.tex").read_text() == "everything"


def test_what_up_has_claimed_is_wiped_with_all_that_came_later(settings: Settings) -> None:
    where = layout_of(settings)
    where.make()
    fill(where.state, "notes.txt")
    where.make()
    stack.wipe(settings)
    assert not where.state.exists()
    stack.wipe(settings)


@pytest.mark.parametrize(
    "before",
    [
        ("secrets.env", "config/supervisord.conf", "data/kafka/meta.properties", "logs/", "run/", "stack-id"),
        ("bench/works.json",),
        ("dbt/target/manifest.json", "runs/one/dvc.yaml", "dvc-cache/"),
        (),
    ],
    ids=["a stack without a claim", "a benchmark", "dbt and training", "nothing"],
)
def test_what_commands_wrote_before_is_taken_over(settings: Settings, before: tuple[str, ...]) -> None:
    where = layout_of(settings)
    where.state.mkdir()
    fill(where.state, *before)
    where.make()
    assert (where.state / CLAIM).exists()
    stack.wipe(settings)
    assert not where.state.exists()


@pytest.mark.parametrize("before", [("data/",), ("logs/", "run/"), ("secrets.env", "thesis.tex")])
def test_names_that_anyone_may_use_are_no_stack(settings: Settings, before: tuple[str, ...]) -> None:
    fill(settings.state_dir, *before)
    with pytest.raises(SettingError, match="not a stack's"):
        layout_of(settings).make()
    with pytest.raises(TerminalError, match="not removed"):
        stack.wipe(settings)


def test_the_checkouts_own_folders_need_no_claim(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(layout, "PROJECT_ROOT", tmp_path)
    for name in (".bookworks-test-1", "mine"):
        fill(tmp_path / name, "leftover")
    assert layout.strangers(tmp_path / ".bookworks-test-1") == []
    assert layout.strangers(tmp_path / "mine") == ["leftover"]
    assert layout.strangers(tmp_path / "mine" / "leftover") == ["Not a directory"]


def test_looking_at_a_stack_leaves_no_trace(settings: Settings) -> None:
    doctor.examine(settings)
    stack.health(settings, [])
    stack.down(settings)
    assert not settings.state_dir.exists()


def test_a_postgres_dir_of_someone_else_is_left_alone(settings: Settings, tmp_path: Path) -> None:
    fill(tmp_path / "pictures", "cat.jpg")
    settings = settings.model_copy(update={"postgres_dir": tmp_path / "pictures"})
    context = context_of(settings)
    context.layout.make()
    with pytest.raises(SettingError, match=r"cat\.jpg(.|\n)*BOOKWORKS_POSTGRES_DIR"):
        postgres._forget_strangers(context)
    with pytest.raises(TerminalError, match=r"cat\.jpg"):
        stack.wipe(settings)
    assert (tmp_path / "pictures" / "cat.jpg").exists()
    assert context.layout.state.exists()
    (tmp_path / "pictures" / "cat.jpg").unlink()
    postgres._forget_strangers(context)
    stack.wipe(settings)
    assert not (tmp_path / "pictures").exists()
