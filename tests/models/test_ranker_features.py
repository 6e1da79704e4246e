"""Features of several readers at once, against what each says of one reader and one candidate."""

from __future__ import annotations

import numpy as np
import pytest

from bookworks.errors import ContractError
from bookworks.models.ranker_features import AGREE, Histories, features, names_of
from bookworks.models.work_facts import GROUPS, WorkFacts

N_WORKS, SOURCES, NEAR = 80, ("one", "two"), ("als",)
HISTORIES = [[3, 17, 40, 41, 55], [], [7, 8], [60]]
Told = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def facts() -> WorkFacts:
    """Works by few authors, in few series; of some no author, no place, no year."""
    rng = np.random.default_rng(1)
    group = {name: rng.integers(0, 5, N_WORKS) for name in GROUPS}
    year, place = (rng.integers(1, 9, N_WORKS).astype(np.float32) for _ in range(2))
    year[::4], place[::3] = np.nan, np.nan
    year[60] = np.nan
    return WorkFacts(
        rng.integers(0, 50, N_WORKS).astype(np.float32), year, place, group, rng.random(N_WORKS).astype("f4")
    )


@pytest.fixture(scope="module")
def works() -> np.ndarray:
    rng = np.random.default_rng(2)
    return np.stack([rng.permutation(N_WORKS)[:30] for _ in HISTORIES])


@pytest.fixture(scope="module")
def scores(works: np.ndarray) -> Told:
    """Above and below 0, many alike, some 0 with either sign, some without end."""
    rng, found = np.random.default_rng(3), {}
    for name in (*SOURCES, "blend"):
        found[name] = np.round(rng.normal(size=works.shape), 1).astype(np.float32)
        found[name][:, 3], found[name][:, 9], found[name][:, 5] = 0.0, -0.0, -np.inf
    return found


@pytest.fixture(scope="module")
def told(facts: WorkFacts, works: np.ndarray, scores: Told) -> Told:
    """The features by name, [n_readers, n_candidates]."""
    starts = np.cumsum([0, *map(len, HISTORIES)])
    histories = Histories(starts, np.array([work for history in HISTORIES for work in history]))
    near = dict.fromkeys(NEAR, scores["one"] + 1)
    sources = {name: scores[name] for name in SOURCES}
    found = features(sources, scores["blend"], near, facts, histories, works)
    return {name: found[:, :, place] for place, name in enumerate(names_of(SOURCES, NEAR, facts))}


@pytest.mark.parametrize("source", [*SOURCES, "blend"])
def test_ranks_and_shares_of_a_source(told: Told, scores: Told, source: str) -> None:
    for reader, values in enumerate(scores[source]):
        order = sorted(range(values.size), key=lambda at: (-values[at], at))
        assert told[f"{source}_rank"][reader].tolist() == [order.index(at) for at in range(values.size)]
        np.testing.assert_allclose(told[f"{source}_share"][reader], values / values.max(), rtol=1e-6)
    np.testing.assert_array_equal(told[f"{source}_score"], scores[source])


def test_how_many_sources_agree(told: Told) -> None:
    expected = sum((told[f"{source}_rank"] < AGREE).astype(int) for source in SOURCES)
    np.testing.assert_array_equal(told["agreeing"], expected)


@pytest.mark.parametrize("field", GROUPS)
def test_works_of_the_history_with_the_value_of_a_candidate(
    told: Told, facts: WorkFacts, works: np.ndarray, field: str
) -> None:
    group = facts.group[field]
    for reader, history in enumerate(HISTORIES):
        for at, work in enumerate(works[reader]):
            alike = [read for read in history if group[work] and group[read] == group[work]]
            assert told[f"{field}_read"][reader, at] == len(alike)
            assert told[f"{field}_share"][reader, at] == pytest.approx(len(alike) / max(len(history), 1))
            size = np.count_nonzero(group == group[work]) if group[work] else 0
            assert told[f"{field}_works"][reader, at] == size


def test_places_after_the_last_that_was_read_of_the_series(told: Told, facts: WorkFacts, works: np.ndarray) -> None:
    series = facts.group["series_id"]
    for reader, history in enumerate(HISTORIES):
        for at, work in enumerate(works[reader]):
            places = [facts.place[read] for read in history if series[work] and series[read] == series[work]]
            last = max((place for place in places if np.isfinite(place)), default=np.nan)
            np.testing.assert_equal(told["places_on"][reader, at], np.float32(facts.place[work] - last))


def test_what_is_told_of_the_reader(told: Told, facts: WorkFacts, works: np.ndarray) -> None:
    for reader, history in enumerate(HISTORIES):
        years = [facts.year[read] for read in history if np.isfinite(facts.year[read])]
        apart = facts.year[works[reader]] - (np.mean(years) if years else np.nan)
        np.testing.assert_allclose(told["years_apart"][reader], apart, rtol=1e-5, atol=1e-5)
        mean = facts.log_readers[history].mean() if history else 0.0
        np.testing.assert_allclose(told["history_readers"][reader], mean, rtol=1e-6)
        assert set(told["history_length"][reader]) == {len(history)}
        against = facts.log_readers[works[reader]] - mean
        np.testing.assert_allclose(told["readers_against_history"][reader], against, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("work", [-1, N_WORKS])
def test_works_that_the_facts_do_not_tell_of_are_refused(facts: WorkFacts, scores: Told, work: int) -> None:
    shape, good = scores["one"].shape, np.zeros(scores["one"].shape, dtype=np.int64)
    read, bad = Histories(np.zeros(len(good) + 1, dtype=np.int64), np.zeros(0, dtype=np.int64)), good + work
    for histories, works in (
        (read, bad), (Histories(np.arange(len(good) + 1), np.full(len(good), work)), good), (Histories(*read), good[:1])
    ):  # fmt: skip
        with pytest.raises(ContractError, match="do not fit"):
            features({"one": scores["one"]}, scores["blend"], {}, facts, histories, works)
    assert features({"one": scores["one"]}, scores["blend"], {}, facts, read, good).shape[:2] == shape
