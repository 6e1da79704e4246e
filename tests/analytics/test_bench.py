"""What a benchmark reports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import ClassVar

import httpx
import pytest

from analytics.bench import failures, make, serving, sized
from analytics.bench.demo import MemorySampler, members, pss
from analytics.bench.report import Figure, write
from bookworks.errors import SettingError, TransientError
from bookworks.models.bundle import Bundle
from bookworks.models.reader import ReaderState
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


def test_a_made_up_catalogue_serves_and_its_vectors_are_found(tmp_path: Path) -> None:
    place = sized.made(Settings(state_dir=tmp_path), 1500, 50)
    bundle = Bundle.load(place.bundle)
    assert (len(bundle), bundle.ranker.candidates) == (1500, 50)
    assert (place.cache / "champion").read_text() == place.bundle.name
    found = bundle.recommend(ReaderState("r1", [0, 5, 700]), 20)
    assert (len(found.indices), found.tier) == (20, "warm")
    written = place.bundle.stat().st_mtime_ns
    assert sized.made(Settings(state_dir=tmp_path), 1500, 50).bundle.stat().st_mtime_ns == written
    own, with_history = sized.vector_recall(place, "1500", 1500)
    assert with_history.name == "vector_recall_at_200_with_history_1500"
    assert min(own.rounds[0], with_history.rounds[0]) > 0.9


def test_figures_of_different_rankers_have_different_names() -> None:
    assert [sized._named(1500, ranked, 500) for ranked in (500, 200, 0)] == [
        "1500", "1500_ranking_200", "1500_without_ranker"
    ]  # fmt: skip
    assert sized._named(1500, 0, 0) == "1500_without_ranker"


def test_without_a_load_program_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(SettingError, match="go install"):
        sized.load_program()


def test_only_answers_are_timed(tmp_path: Path) -> None:
    """A program in the place of vegeta tells of three answers and of its last look for a target."""
    program, rows = (
        tmp_path / "vegeta",
        ["0,200,2000000,1", "1000000,200,4000000,1", "2000000,200,3000000,1", "9,0,0,1"],
    )
    program.write_text('#!/bin/sh\ncat > /dev/null\n[ "$1" = attack ] || printf "%s\\n" ' + " ".join(rows) + "\n")
    program.chmod(0o755)
    found = sized.attack(str(program), [{}] * 3, 1)
    assert (found["p50"], found["rate"]) == (3.0, pytest.approx(600.0))
    with pytest.raises(TransientError, match="3 answers of 4"):
        sized.attack(str(program), [{}] * 4, 1)


@pytest.mark.parametrize(
    ("name", "status", "headers", "away", "expected"),
    [
        ("recommend", 200, {}, "redis", True),
        ("recommend", 503, {"Retry-After": "2"}, "redis", False),
        ("interactions", 503, {"Retry-After": "2"}, "kafka", True),
        ("interactions", 503, {}, "kafka", False),
        ("interactions", 503, {"Retry-After": "2"}, "redis", False),
        ("login", 503, {"Retry-After": "2"}, "postgres", True),
        ("login", 401, {}, "nothing", True),
        ("login", 200, {}, "nothing", False),
        ("search", 500, {}, "clickhouse", False),
    ],
)
def test_which_answers_are_explained_while_a_part_is_away(name, status, headers, away, expected) -> None:
    assert failures._expected(name, httpx.Response(status, headers=headers), away) is expected
    assert not failures._expected(name, None, away)
