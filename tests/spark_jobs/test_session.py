"""How Spark is started: no secret on a command line, classes from an archive."""

import json
import subprocess
from pathlib import Path

import pytest

from bookworks.settings import Settings
from spark_jobs import class_archive, session


def test_no_secret_is_on_a_command_line() -> None:
    values = dict(session.configuration(Settings(s3_secret_key="hush", postgres_password="hush"), "x").getAll())
    assert "hush" not in str(values)


def test_classes_come_from_the_archive_if_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "with a blank.jsa"
    monkeypatch.setattr(session, "CLASS_ARCHIVE", archive)
    assert "jsa" not in session.configuration(Settings(), "x").get("spark.driver.extraJavaOptions")
    archive.touch()
    options = session.configuration(Settings(), "x").get("spark.driver.extraJavaOptions")
    assert f'"-XX:SharedArchiveFile={archive}"' in options


@pytest.mark.parametrize("content", [b"", b"no archive", bytes(100_000)])
def test_java_passes_over_an_archive_that_does_not_fit(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.jsa").write_bytes(content)
    command = ["java", f"-XX:SharedArchiveFile={tmp_path / 'x.jsa'}", "-Xlog:cds*=off", "-version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert "warning" not in done.stderr


def test_an_archive_of_other_jars_is_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(class_archive, "CLASS_ARCHIVE", tmp_path / "x.jsa")
    monkeypatch.setattr(class_archive, "_MADE_OF", tmp_path / "x.json")
    settings = Settings(tools_dir=tmp_path)
    assert not class_archive.up_to_date(settings)
    (tmp_path / "x.jsa").touch()
    (tmp_path / "x.json").write_text(json.dumps(class_archive.made_of(settings)))
    assert class_archive.up_to_date(settings)
    (tmp_path / "spark-jars").mkdir()
    (tmp_path / "spark-jars" / "new.jar").touch()
    assert not class_archive.up_to_date(settings)
