"""May this bundle serve? Every condition, measured on the same test readers with the same code."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pyarrow.parquet as pq

from bookworks.metrics.ranking import Ranked, Values, find_hits, ndcg_at
from bookworks.models.bundle import Bundle
from bookworks.models.reader import ReaderState
from training import gate_lines, leaks
from training.assemble import assemble_draft, drafted
from training.bundle import BundleParams
from training.dataset import TEST, TRAIN, VALID, Dataset, load_dataset
from training.files import RANKER, SNAPSHOT, read_json
from training.floors import POPULARITY, RANDOM, Honest, rank_floors, rank_honest
from training.held_out import HeldOut, make_held_out, rank_with_bundle
from training.params import Options, load_params
from training.recommenders.floors import PopularityParams
from training.split import SplitParams
from training.verdict import GateParams, Line, Unreadable, Verdict


@dataclass(frozen=True)
class Case:
    """What a bundle is judged on.

    Attributes:
        data: the run's split; its works are the challenger's.
        spans: times of the parts.
        tests: test readers; their history is the parts train and valid.
        valid: validation readers; their history is the part train.
        floors: name -> the first k works for each of `tests`.
        honest: lists of a model that saw no more than a bundle may.
        draft: the run's sources as blend and trees were chosen with them, before they were fitted to `valid`, too.
        learned: what the ranker gained for readers that had not taught it; see `leaks.ranker_line`.
    """

    data: Dataset
    spans: dict[str, leaks.Span]
    tests: HeldOut
    valid: HeldOut
    floors: dict[str, Ranked]
    honest: Honest
    draft: Bundle
    learned: float | None = None


def load_case(params: GateParams, options: Options) -> Case:
    """The case of the current workspace."""
    data = load_dataset()
    weight = load_params("split", SplitParams).relevant_weight
    popularity = load_params("train_popularity", PopularityParams).model_dump()
    tests = make_held_out(data, (TRAIN, VALID), TEST, weight, params.max_readers)
    valid = make_held_out(data, (TRAIN,), VALID, weight, params.leak_readers)
    spans = leaks.spans_of(data, pq.read_table(SNAPSHOT / "interactions.parquet"))
    floors = rank_floors(data, tests, params, options, popularity)
    max_per_author = load_params("bundle", BundleParams).max_per_author
    draft = drafted(assemble_draft(data, max_per_author))
    report = RANKER / "report.json"
    learned = leaks.learned_gain(read_json(report)) if report.is_file() else None
    return Case(data, spans, tests, valid, floors, rank_honest(data, valid, tests, params, options), draft, learned)


def judge(
    challenger: Bundle, champion: Bundle | Unreadable | None, case: Case, params: GateParams, seed: int
) -> Verdict:
    """All lines; the first deployment is held to the same, but for those that compare with a champion.

    A champion that cannot be read refuses the challenger: what cannot be compared is not known to be as good.
    """
    tests, k = case.tests, params.k
    lists = rank_with_bundle(challenger, tests.states, k)
    own = tests.ndcg(lists, k)
    floors = {name: tests.ndcg(ranked, k) for name, ranked in case.floors.items()}
    serving = champion_ndcg(champion, challenger, tests, k) if isinstance(champion, Bundle) else None
    slices = gate_lines.slices_of(tests, own, serving)
    lines = [gate_lines.readers_line(len(tests)), leaks.split_line(case.spans)]
    lines += floor_lines(own, floors, params)
    lines += _champion_lines(champion, own, serving, params)
    lines += [gate_lines.slices_line(slices, params)] if serving is not None else []
    lines.append(gate_lines.coverage_line(lists, len(challenger), params))
    lines += [gate_lines.latency_line(challenger, tests, params), gate_lines.size_line(challenger, params)]
    lines += leak_lines(challenger, lists, own, floors, case, params, seed)
    return Verdict(challenger.manifest.version, _version(champion), len(tests), lines, slices)


def floor_lines(own: Values, floors: dict[str, Values], params: GateParams) -> list[Line]:
    """What knows no reader must surely be beaten; what learned must not be missed."""
    plain = (RANDOM, POPULARITY)
    learned = {name: values for name, values in floors.items() if name not in plain}
    lines = [gate_lines.beats(name, own, floors[name], params.k) for name in plain]
    return lines + gate_lines.learned_floor_lines(own, learned, params)


def leak_lines(
    challenger: Bundle,
    lists: Ranked,
    own: Values,
    floors: dict[str, Values],
    case: Case,
    params: GateParams,
    seed: int,
) -> list[Line]:
    """Lines about what the challenger cannot know."""
    rows = case.tests.rows_by_hash(params.leak_readers)
    some, valid, k = case.tests.some(rows), case.valid, params.k
    best = max(floors.values(), key=lambda values: float(values.mean()) if values.size else 0.0)
    honest, draft = case.honest, case.draft.with_order_of(challenger)
    on_test, refit = (some.ndcg(ranked[rows], k) for ranked in (honest.test, honest.refit))
    reference = leaks.Reference(valid.ndcg(honest.valid, k), on_test, refit, best[rows])
    lines = [
        leaks.overlap_line(case.data, case.tests),
        leaks.shuffled_line(lists, case.floors[POPULARITY], case.tests, params, seed),
        leaks.ceiling_line(own, params),
        *leaks.source_lines(draft, some, valid, reference, params),
        *leaks.refit_lines(challenger, draft, some, reference, params),
    ]
    if draft.ranker is not None:
        lines.append(leaks.ranker_line(draft, some, valid, case.learned, reference.drift, params))
    return lines


def _champion_lines(
    champion: Bundle | Unreadable | None, own: Values, serving: Values | None, params: GateParams
) -> list[Line]:
    if isinstance(champion, Unreadable):
        return [gate_lines.unreadable_line(champion)]
    if champion is None or serving is None:
        return [gate_lines.no_champion_line()]
    return gate_lines.champion_lines(own, serving, champion.manifest.version, params)


def _version(champion: Bundle | Unreadable | None) -> str | None:
    return champion.manifest.version if isinstance(champion, Bundle) else champion.version if champion else None


def champion_ndcg(champion: Bundle, challenger: Bundle, tests: HeldOut, k: int) -> Values:
    """NDCG@k of the serving bundle for the same readers; works that it does not have cannot be found by it."""
    lists = rank_with_bundle(champion, known_to(champion, challenger, tests.states), k)
    relevant = [translated(works, challenger, champion) for works in tests.relevant]
    return ndcg_of(lists, relevant, tests, len(champion), k)


def ndcg_of(lists: Ranked, relevant: list[list[int]], tests: HeldOut, n_works: int, k: int) -> Values:
    """NDCG@k of lists in a bundle's own indices; works of `tests` that it does not have count as missed."""
    return ndcg_at(find_hits(lists, relevant, n_works), tests.n_relevant, k)


def known_to(bundle: Bundle, source: Bundle, states: list[ReaderState]) -> list[ReaderState]:
    """Readers of one bundle as another knows them: histories in its own indices, without works it does not have."""
    return [_known_to(bundle, source, state) for state in states]


def _known_to(bundle: Bundle, source: Bundle, state: ReaderState) -> ReaderState:
    weights = state.weights or [1.0] * len(state.history)
    pairs = [(bundle.index_of.get(source.work_ids[i]), w) for i, w in zip(state.history, weights, strict=True)]
    known = [(i, w) for i, w in pairs if i is not None]
    return replace(state, history=[i for i, _ in known], weights=[w for _, w in known])


def translated(works: list[int], source: Bundle, target: Bundle) -> list[int]:
    """Work indices of one bundle in another, without works that it does not have."""
    found = (target.index_of.get(source.work_ids[i]) for i in works)
    return [i for i in found if i is not None]
