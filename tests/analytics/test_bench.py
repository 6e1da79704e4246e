"""What a benchmark reports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import ClassVar

import pytest

from analytics.bench import make, serving
from analytics.bench.demo import MemorySampler, members, pss
from analytics.bench.report import Figure, write
from bookworks.errors import TransientError
from bookworks.settings import Settings


def test_figure_gives_median_spread_and_ratio_round_by_round() -> None:
    summary = Figure("x", "ms", [2.0, 9.0, 4.0], [1.0, 3.0, 1.0]).summary()
    assert (summary["median"], summary["min"], summary["max"]) == (4.0, 2.0, 9.0)
    assert summary["ratio_to_baseline"] == {"median": 3.0, "min": 2.0, "max": 4.0}


def test_report_is_json_with_machine_and_code(tmp_path: Path) -> None:
    path = write(Settings(state_dir=tmp_path), "x", [Figure("f", "s", [1.0])], {"n": 1}, None)
    report = json.loads(path.read_text())
    assert report["machine"]["cores"] == os.cpu_count()
    assert report["figures"]["f"]["median"] == 1.0
    assert "ratio_to_baseline" not in report["figures"]["f"]


class NoEvents:
    """A ClickHouse client without a row."""

    result_rows: ClassVar[list[list[str]]] = []

    def query(self, *_: object, **__: object) -> NoEvents:
        return self


def test_serving_is_not_measured_without_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bookworks.adapters.clickhouse.connect", lambda settings: NoEvents())
    with pytest.raises(TransientError, match=r"No reader has an event.*bookworks demo"):
        serving.measure(Settings(service_api_key="key"), requests=10, rounds=1)


def test_memory_is_that_of_the_marked_processes_and_their_children(tmp_path: Path) -> None:
    hold = "import subprocess, sys; b = bytearray(40_000_000); print('up', flush=True); sys.stdin.read()"
    environ = os.environ | {"BOOKWORKS_STATE_DIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", hold], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        found = {process.pid: process for process in members(str(tmp_path))}
        assert child.pid in found
        assert os.getpid() not in found
        assert pss(found[child.pid]) > 30_000_000
        child.communicate()
    assert pss(found[child.pid]) == 0


def test_memory_sampler_keeps_the_peak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values, seen = iter([2**20, 4 * 2**20, 2 * 2**20]), threading.Event()

    def next_value(_: object) -> int:
        value = next(values, None)
        if value is None:
            seen.set()
        return value or 0

    monkeypatch.setattr("analytics.bench.demo.SAMPLE_S", 0.01)
    monkeypatch.setattr("analytics.bench.demo.pss", next_value)
    monkeypatch.setattr("analytics.bench.demo.members", lambda _: {1})
    sampler = MemorySampler(tmp_path)
    sampler.start()
    assert seen.wait(5)
    assert sampler.stop() == 4.0


def test_a_newcomer_has_empty_caches_and_no_settings_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOKWORKS_STATE_DIR", "x")
    monkeypatch.setenv("UV_CACHE_DIR", "x")
    environment = make.newcomer(tmp_path)
    assert not [name for name in environment if name.startswith(("BOOKWORKS_", "UV_"))]
    assert environment["HOME"] == str(tmp_path)
    assert environment["MAVEN_OPTS"].endswith(f"{tmp_path}/.m2")


def test_a_target_that_fails_is_not_timed() -> None:
    with pytest.raises(TransientError, match="make no-such-target"):
        make.here("no-such-target", 1)
