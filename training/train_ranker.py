"""models -> blend and ranker of the bundle. Out: models/blend, models/ranker. Run: `python -m training.train_ranker`.

The sources were fitted to the part `train`. Validation readers, who read the part `valid` later, choose the weights of
the blend and teach the trees which of its candidates are read; the test part is not looked at.
"""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
from pydantic import Field

from bookworks.cli.entry import run
from bookworks.metrics.ranking import find_hits
from bookworks.models.bundle import Bundle
from bookworks.models.bundle_files import Ranker, write_ranker
from bookworks.models.reader import ReaderState
from training.assemble import assemble_draft, drafted
from training.blend import BlendGrid, as_sessions, choose_blend, choose_named
from training.dataset import TRAIN, VALID, load_dataset
from training.files import BLEND, BLEND_CHOICES, METRICS, RANKER, write_json
from training.held_out import HeldOut, make_held_out
from training.params import Options, load_params
from training.recommenders.new_works import allowed, others_of
from training.recommenders.trees import Taught, TreesParams, grow


class RankerParams(TreesParams):
    """Section `train_ranker`."""

    left_out: tuple[str, ...] = Field(("idle_days",), description="Features that the trees are not taught.")
    relevant_weight: float = Field(0.4, ge=0)
    readers: int = Field(4000, ge=2, description="Validation readers that teach the trees, at most.")
    session_length: int = Field(3, ge=1, description="Works a session reader is known by.")
    new_cost: float = Field(0.005, ge=0, description="Recall@20 that other works may lose for each tenth of new works.")
    blend_readers: int = Field(500, ge=1, description="Of these the blend is chosen by so many.")
    named_readers: int = Field(2000, ge=1, description="… and the weight of named tastes by so many.")
    blend: BlendGrid = BlendGrid()


def lesson(bundle: Bundle, states: list[ReaderState], known: HeldOut, n: int, names: list[str]) -> Taught:
    """The blend's first `n` works for each reader, with their features, and whether each was read later.

    Args:
        bundle: of the blend.
        states: what the bundle is told of each reader of `known`; all that these have read before is no candidate.
        known: what they read later.
        n: candidates; as many as every reader has.
        names: of the features.
    """
    pairs = zip(states, known.states, strict=True)
    found = [bundle.candidates(state, n, whole.history) for state, whole in pairs]
    works = np.stack([candidates.works for candidates in found])
    columns = [bundle.feature_names.index(name) for name in names]
    rows = np.concatenate([candidates.rows[:, columns] for candidates in found])
    read, others = find_hits(works, known.relevant, known.n_works), others_of(known.relevant, bundle.facts.readers == 0)
    rated = known.n_relevant + np.array([len(whole.history) for whole in known.states])
    return Taught(rows, read, known.n_relevant, others, rated, known.batch.rows)


def teachers(known: HeldOut, n: int) -> HeldOut:
    """Trained readers with a history who have at least `n` works to be ranked."""
    rows = [
        row
        for row, state in enumerate(known.states)
        if state.history and known.slices[row] == "warm" and len(state.history) + n <= known.n_works
    ]
    return known.some(np.array(rows, dtype=np.int64))


def main() -> None:
    """Stage `train_ranker`."""
    params, options = load_params("train_ranker", RankerParams), load_params("options", Options)
    data = load_dataset()
    valid = make_held_out(data, (TRAIN,), VALID, params.relevant_weight, params.readers)
    some, more = (valid.some(valid.rows_by_hash(n)) for n in (params.blend_readers, params.named_readers))
    draft = drafted(assemble_draft(data))
    blend, choices = choose_blend(draft, some.states, some.relevant, params.blend, params.session_length)
    blend = replace(blend, named=choose_named(draft.with_blend(blend), more.states, more.relevant, params.blend))
    write_json(BLEND, blend.to_json())
    write_json(BLEND_CHOICES, {tier: asdict(choice) for tier, choice in choices.items()})

    n = min(params.candidates, data.n_works // 2)
    bundle, known = draft.with_blend(blend), teachers(valid, n)
    kinds = (known.states, as_sessions(known.states, params.session_length))
    names = [name for name in bundle.feature_names if name not in params.left_out]
    lessons = [lesson(bundle, states, known, n, names) for states in kinds] if n and len(known) else []
    new_cost = allowed(params.new_cost, bundle.facts.readers == 0)
    trees, report = grow(lessons, names, params, options, new_cost)
    write_ranker(RANKER, Ranker(trees, params.candidates) if trees else None)
    write_json(RANKER / "report.json", report)
    found = {f"ranker_valid_ndcg_at_20.{name}": value for name, value in report["valid_ndcg_at_20"].items()}
    chosen = {f"blend_valid_ndcg_at_20.{tier}": choice.valid_ndcg_at_20 for tier, choice in choices.items()}
    write_json(METRICS / "train_ranker.json", found | chosen | {"readers": len(known), "trees": report["trees"]})


if __name__ == "__main__":
    run(main)
