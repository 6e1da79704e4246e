"""When a training is due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from bookworks.adapters import mlflow
from training import due
from training.due import RetrainParams, said

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PARAMS = RetrainParams(interval_days=30)


@pytest.mark.parametrize(("days", "word"), [(29, "not due"), (30, "due"), (400, "due")])
def test_the_champions_age_decides(days: int, word: str) -> None:
    found = said(NOW - timedelta(days=days), NOW, PARAMS)
    assert found == f"{word}: the champion is {days} days old, a training is due after 30"


def test_before_the_first_champion_nothing_is_due() -> None:
    assert said(None, NOW, PARAMS).startswith("not due: no model serves")


def test_the_age_is_counted_from_the_registration(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mlflow, "connect", lambda _: None)
    monkeypatch.setattr(mlflow, "aliased", lambda *_: SimpleNamespace(creation_timestamp=1000 * 86_400_000))
    due.main()
    assert capsys.readouterr().out.startswith("due: the champion is ")
