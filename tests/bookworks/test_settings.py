"""Settings: what is refused, and in which words."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from psycopg.conninfo import conninfo_to_dict

from bookworks import settings
from bookworks.errors import SettingError

Read = Callable[..., settings.Settings]
NOBODY = 65534


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Read]:
    """Settings as a process finds them, with a given environment and `.env`."""
    monkeypatch.setattr(settings, "PROJECT_ROOT", tmp_path)
    monkeypatch.setitem(settings.Settings.model_config, "env_file", tmp_path / ".env")

    def with_environment(env_file: bytes | None = None, **environment: str) -> settings.Settings:
        if env_file is not None:
            (tmp_path / ".env").write_bytes(env_file)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        settings.get_settings.cache_clear()
        return settings.get_settings()

    yield with_environment
    settings.get_settings.cache_clear()


def test_environment_wins_over_env_file(read: Read) -> None:
    assert (
        read(b"BOOKWORKS_KAFKA_PORT=2000\nBOOKWORKS_LAKE_BUCKET=pond\n", BOOKWORKS_KAFKA_PORT="3000").kafka_port == 3000
    )
    assert settings.get_settings().lake_bucket == "pond"


@pytest.mark.parametrize("value", ["abc", "0", "99999", "-1", ""])
def test_port_must_be_a_port(read: Read, value: str) -> None:
    with pytest.raises(SettingError, match="BOOKWORKS_KAFKA_PORT") as caught:
        read(BOOKWORKS_KAFKA_PORT=value)
    assert caught.value.allowed


def test_misspelt_name_is_refused_with_the_nearest(read: Read) -> None:
    with pytest.raises(SettingError, match="perhaps BOOKWORKS_KAFKA_PORT"):
        read(BOOKWORKS_KAFAK_PORT="1")


def test_memory_needs_a_unit(read: Read) -> None:
    with pytest.raises(SettingError, match="BOOKWORKS_SPARK_DRIVER_MEMORY"):
        read(BOOKWORKS_SPARK_DRIVER_MEMORY="lots")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00bad", b'BOOKWORKS_KAFKA_PORT="19092\n'])
def test_broken_env_file_is_named(read: Read, content: bytes) -> None:
    with pytest.raises(SettingError, match=r"\.env"):
        read(content)


def test_secret_is_not_repeated_in_the_error(read: Read) -> None:
    with pytest.raises(SettingError) as caught:
        read(b'BOOKWORKS_KAFKA_PASSWORD="hunter2\n')
    assert "hunter2" not in str(caught.value)


def test_an_address_holds_any_password() -> None:
    dsn = settings.Settings(postgres_password="a@b/c%d: #").postgres_dsn("warehouse")
    assert conninfo_to_dict(dsn)["password"] == "a@b/c%d: #"
    assert conninfo_to_dict(dsn)["host"] == "127.0.0.1"


@pytest.fixture
def locked() -> Iterator[Path]:
    """A state folder that this process may not look into; as root it becomes someone else for the while."""
    with TemporaryDirectory() as parent:
        Path(parent).chmod(0o755)
        folder = Path(parent) / "state"
        folder.mkdir()
        settings.secrets_file(folder).touch()
        root = os.geteuid() == 0
        folder.chmod(0o700 if root else 0)
        os.seteuid(NOBODY if root else os.geteuid())
        try:
            yield folder
        finally:
            os.seteuid(os.getuid())
            folder.chmod(0o700)


def test_secrets_of_someone_else_are_named(read: Read, locked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "PROJECT_ROOT", locked.parent)
    monkeypatch.setitem(settings.Settings.model_config, "env_file", locked.parent / ".env")
    with pytest.raises(SettingError, match=r"state/secrets\.env cannot be read.*BOOKWORKS_STATE_DIR"):
        read(BOOKWORKS_STATE_DIR=str(locked))


def test_broken_secrets_are_named(read: Read, tmp_path: Path) -> None:
    settings.secrets_file(tmp_path).write_bytes(b"BOOKWORKS_KAFKA_PASSWORD=\xff\n")
    with pytest.raises(SettingError, match=r"secrets\.env cannot be read"):
        read(BOOKWORKS_STATE_DIR=str(tmp_path))
