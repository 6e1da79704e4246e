"""`bookworks evaluate` on a small split: from files to table, JSON and lists."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bookworks.errors import ContractError, SettingError
from tests.support.datasets import make_dataset
from training.dataset import TEST, TRAIN, VALID, Dataset
from training.evaluate_cli import evaluate
from training.params import Options
from training.recommenders.all import Cost, Fitter
from training.recommenders.item_item import EaseRecommender
from training.split_files import hold_out, make_split, read_pairs

BOOKS = """isbn13,title,authors,publisher,original_publication_year
{rows}
"""


def isbn(number: int) -> str:
    digits = f"978{number:09d}"
    check = -sum(int(d) * (3 if i % 2 else 1) for i, d in enumerate(digits)) % 10
    return f"{digits}{check}"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A split in KGAT's format with its items and a catalogue: works i and i + 40 / 2 share an author."""
    folder = tmp_path_factory.mktemp("split")
    data = make_dataset(n_readers=150)
    for part, name in (((TRAIN, VALID), "train.txt"), ((TEST,), "test.txt")):
        matrix = data.matrix(*part)
        lines = [" ".join(map(str, [r, *matrix.indices[a:b]])) for r, (a, b) in enumerate(_spans(matrix))]
        (folder / name).write_text("\n".join(lines) + "\n")
    items = "".join(f"{isbn(i)} {i}\n" for i in range(data.n_works))
    (folder / "items.txt").write_text(f"org_id remap_id\n{items}")
    rows = [
        f"{isbn(i)},Book {i} of Things,Ann Writer{'abcdefgh'[i % 8]},House {i % 3},{1950 + i}"
        for i in range(data.n_works)
    ]
    (folder / "books.csv").write_text(BOOKS.format(rows="\n".join(rows)))
    return folder


def _spans(matrix):
    return zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True)


def run(files: Path, out: Path, **options: object) -> dict[str, dict]:
    defaults = {"items": None, "catalogue": None, "models": "default", "tune_trials": 0, "storage": None,
                "recommendations": None, "set_": None, "seed": 1, "threads": 1}  # fmt: skip
    train, test = (next(files.glob(f"{part}.*")) for part in ("train", "test"))
    evaluate(train, test, out=out, **(defaults | options))
    return {row["model"]: row for row in json.loads(out.read_text())["rows"]}


SMALL = ["als.factors=4", "als.alpha=10", "als_small.factors=2", "ease.regularization=20", "ranker.candidates=20",
         "ranker.trees=20", "ranker.min_rows=5"]  # fmt: skip


def test_from_files_to_numbers_and_lists(files: Path, tmp_path: Path) -> None:
    rows = run(files, tmp_path / "out.json", recommendations=tmp_path / "lists.parquet", set_=SMALL)
    assert list(rows) == ["random", "popularity", "item_knn", "item_filter", "ease", "als", "blend", "ranker"]
    floor = rows["random"]["metrics"]["ndcg_at_20"]["value"]
    for name in ("item_filter", "ease", "blend", "ranker"):
        found = rows[name]["metrics"]["ndcg_at_20"]
        assert found["low"] <= found["value"] <= found["high"]
        assert found["value"] > 1.3 * floor
    lists = pq.read_table(tmp_path / "lists.parquet").to_pandas()
    train, test = (read_pairs(files / name) for name in ("train.txt", "test.txt"))
    seen = set(zip(train.readers, train.works, strict=True))
    for name, row in rows.items():
        ours = lists[lists.model == name]
        assert not seen & set(zip(ours.reader, ours.item, strict=True))
        wanted: dict[str, set[str]] = {}
        for reader, work in zip(test.readers, test.works, strict=True):
            wanted.setdefault(reader, set()).add(work)
        recalls = [len(works & set(ours.item[ours.reader == reader])) / len(works) for reader, works in wanted.items()]
        assert row["metrics"]["recall_at_20"]["value"] == pytest.approx(np.mean(recalls))


def test_a_source_costs_what_its_own_fit_took_and_slices_are_printed(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Blend and ranker fit EASE first; its row has its own seconds and memory all the same."""
    fit = EaseRecommender.fit.__func__

    def slow(cls, data, config, options):
        block = np.ones(8 * 2**20)  # 64 MiB
        time.sleep(0.5)
        del block
        return fit(cls, data, config, options)

    monkeypatch.setattr(EaseRecommender, "fit", classmethod(slow))
    few = [*SMALL, 'blend.sources=["ease","item_knn"]']
    rows = run(files, tmp_path / "out.json", models="blend", set_=few)
    assert 0.5 < rows["ease"]["fit_seconds"] < rows["blend"]["fit_seconds"]
    assert rows["item_knn"]["fit_seconds"] < 0.5
    assert rows["ease"]["fit_mib"] > 60 > rows["item_knn"]["fit_mib"]
    assert rows["ease"]["process_peak_mib"] >= rows["ease"]["fit_mib"]
    printed = capsys.readouterr().out
    assert any(name.startswith("work ") for name in rows["ease"]["slices"])
    for name, told in rows["ease"]["slices"].items():
        assert name.removeprefix("history ") in printed
        assert f"{told['recall_at_20']['value']:.4f}" in printed


def test_a_composite_costs_its_sources_once_also_those_fitted_before(files: Path) -> None:
    data = make_split(read_pairs(files / "train.txt"), read_pairs(files / "test.txt"))
    mix = {"sources": ("item_knn", "item_filter"), "weights": {"item_knn": 1.0, "item_filter": 1.0}, "new_lift": 1.0}
    fitter = Fitter(Options(threads=1), {"blend": mix})
    fitter.fit("item_knn", data)
    own = fitter.cost("item_knn", data)
    fitter._fitted["item_knn", id(data)] = data, fitter.fit("item_knn", data), Cost(100.0, 900.0, 70.0)
    fitter.fit("blend", data)
    fitter.fit("blend", data)
    found = fitter.cost("blend", data)
    assert own.seconds < 1
    assert 100.0 < found.seconds < 101.0
    assert 70.0 <= found.mib < 200.0


def test_a_catalogue_brings_authors_in(files: Path, tmp_path: Path) -> None:
    rows = run(files, tmp_path / "out.json", items=files / "items.txt", catalogue=[files / "books.csv"],
               models="same_author,blend", set_=SMALL[:4])  # fmt: skip
    assert (
        rows["same_author"]["metrics"]["ndcg_at_20"]["value"] > 1.3 * rows["random"]["metrics"]["ndcg_at_20"]["value"]
    )
    assert "same_author" in rows["blend"]["config"]["sources"]


def test_the_numbers_of_works_tell_nothing(tmp_path: Path) -> None:
    """The same split with its works numbered the other way round gives the same metrics, to the last digit.

    A number can change nothing but the place of a work in the order that breaks ties and that random draws go by. With
    a weight of its own on every row no two works are equal; `random` and `als`, which draw for each work, are left out.
    """
    data = make_dataset(n_readers=150)
    one, two = (
        run(numbered(data, tmp_path / name, number), tmp_path / f"{name}.json", models="item_filter,two_hop,reader_knn")
        for name, number in (("as_they_are", str), ("turned", lambda work: str(39 - work)))
    )
    for name in one.keys() - {"random"}:
        for metric in ("recall_at_20", "ndcg_at_20"):
            a, b = (rows[name]["metrics"][metric]["value"] for rows in (one, two))
            assert a == pytest.approx(b, abs=1e-9), (name, metric)


def numbered(data: Dataset, folder: Path, number: Callable[[int], str]) -> Path:
    """A folder with the split as Parquet, weights kept, its works called as `number` says."""
    folder.mkdir()
    for name, parts in (("train", (TRAIN, VALID)), ("test", (TEST,))):
        rows = data.rows(*parts)
        items = [number(work) for work in rows["work"].to_pylist()]
        table = pa.table({"user_id": rows["reader"].cast(pa.string()), "item_id": items, "weight": rows["weight"]})
        pq.write_table(table, folder / f"{name}.parquet")
    return folder


def test_ties_go_by_a_hash(tmp_path: Path) -> None:
    """Works that nothing tells apart stand in an order that is neither that of their numbers nor its reverse."""
    (tmp_path / "train.txt").write_text("".join(f"{i} {i}\n" for i in range(40)))
    data = make_split(read_pairs(tmp_path / "train.txt"), read_pairs(tmp_path / "train.txt"))
    places = np.argsort([int(work) for work in data.works["work_id"].to_pylist()])
    assert abs(np.corrcoef(places, np.arange(40))[0, 1]) < 0.3


def test_a_search_goes_on_where_it_was(files: Path, tmp_path: Path) -> None:
    """Extended, it tries other configs than before; asked for as many as there are, it tries none."""
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    for trials in (3, 3, 6):
        last = run(files, tmp_path / "a.json", models="item_filter", tune_trials=trials, storage=storage)
        opened = optuna.storages.RDBStorage(storage)
        (study,) = (one for one in optuna.get_all_study_summaries(opened) if one.study_name.startswith("item_filter-"))
        tried = [trial.params for trial in opened.get_all_trials(study._study_id)]
        best = optuna.load_study(study_name=study.study_name, storage=opened).best_params
        opened.engine.dispose()
        assert len({tuple(sorted(params.items())) for params in tried}) == len(tried) == trials
        assert best.items() <= last["item_filter"]["config"].items()
    assert tried[0] == {"reader_power": 0.25, "work_power": 0.3}


def test_held_out_rows_come_from_train_alone(files: Path) -> None:
    data: Dataset = make_split(read_pairs(files / "train.txt"), read_pairs(files / "test.txt"))
    inner = hold_out(data, 0.2, 3)
    assert inner.rows(TEST).num_rows == 0
    assert (inner.matrix(TRAIN, VALID) != data.matrix(TRAIN)).nnz == 0
    assert np.diff(inner.matrix(TRAIN)[: data.n_trained].indptr).min() >= 1


@pytest.mark.parametrize(
    ("text", "said"),
    [("1 2 three\n", "Line 1"), ("", "no interaction")],
)
def test_a_file_that_is_no_split_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "train.txt"
    path.write_text(text)
    with pytest.raises(ContractError, match=said):
        read_pairs(path)


def test_an_unknown_model_is_named(files: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no such model"):
        run(files, tmp_path / "out.json", models="item_filter,magic")
