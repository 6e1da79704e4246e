import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_jobs.works.linkage import APART, TOGETHER, VETO, linkage


def clusters(size, edges, threshold=0.5, bound=100, weights=None, persons=()):
    a, b, p = (
        (np.array(column) for column in zip(*edges, strict=True)) if edges else (np.empty(0, int),) * 2 + (np.empty(0),)
    )
    return linkage(
        np.ones(size) if weights is None else np.array(weights, float), a, b, p.astype(float), threshold, bound, persons
    )


def test_one_wrong_edge_does_not_chain_two_works() -> None:
    left = [(0, 1, 0.9), (0, 2, 0.9), (1, 2, 0.9)]
    right = [(3, 4, 0.9), (3, 5, 0.9), (4, 5, 0.9)]
    roots, _ = clusters(6, [*left, *right, (2, 3, 0.8)])
    assert roots.tolist() == [0, 0, 0, 3, 3, 3]


def test_many_records_outweigh_one() -> None:
    edges = [(0, 1, 0.6), (0, 2, 0.9), (1, 2, 0.1)]
    assert clusters(3, edges)[0].tolist() == [0, 1, 0]
    assert clusters(3, [(0, 1, 0.8), (0, 2, 0.7), (1, 2, 0.1)], weights=[1, 1, 20])[0].tolist() == [0, 0, 2]


def test_what_a_person_said_binds() -> None:
    assert clusters(3, [(0, 1, TOGETHER), (1, 2, 0.01)])[0].tolist() == [0, 0, 2]
    assert clusters(3, [(0, 1, 0.99), (1, 2, 0.99), (0, 2, APART)])[0].tolist() in ([0, 0, 2], [0, 1, 1])
    roots, _ = clusters(4, [(0, 1, TOGETHER), (2, 3, TOGETHER), (0, 2, 0.9), (0, 3, 0.9), (1, 2, 0.9), (1, 3, APART)])
    assert roots.tolist() == [0, 0, 2, 2]


def test_two_volumes_are_not_brought_together_by_what_stands_between_them() -> None:
    between = [(0, 1, 0.9), (0, 2, 0.9)]
    assert clusters(3, [*between, (1, 2, 0.02)], threshold=0.4)[0].tolist() == [0, 0, 0]
    assert clusters(3, [*between, (1, 2, VETO)], threshold=0.4)[0].tolist() in ([0, 0, 2], [0, 1, 0])
    assert clusters(3, [(0, 1, TOGETHER), (0, 2, TOGETHER), (1, 2, VETO)])[0].tolist() == [0, 0, 0]


def test_who_names_nobody_brings_no_two_persons_books_together() -> None:
    edges = [(0, 1, 0.9), (0, 2, 0.9)]
    assert clusters(3, edges, threshold=0.4)[0].tolist() == [0, 0, 0]
    roots, _ = clusters(3, edges, threshold=0.4, persons=[[], ["hausser"], ["manceau"]])
    assert roots[1] != roots[2]
    roots, _ = clusters(3, [*edges, (1, 2, 0.3)], threshold=0.4, persons=[[], ["wyler"], ["dunand"]])
    assert roots[1] != roots[2], "compared, and not found alike"
    assert clusters(3, edges, threshold=0.4, persons=[[], ["homer"], ["fagles", "homer"]])[0].tolist() == [0, 0, 0]


def test_confidence_is_the_mean_probability_within() -> None:
    _, sure = clusters(4, [(0, 1, 0.8), (0, 2, 0.6), (1, 2, 0.7), (2, 3, 0.3)])
    assert sure.tolist() == pytest.approx([0.7, 0.75, 0.65, np.nan], nan_ok=True)


def test_a_component_over_the_bound_is_cut_at_its_weakest_edges() -> None:
    strong = [(2 * n, 2 * n + 1, 0.95) for n in range(10)]
    weak = [(2 * n + 1, 2 * n + 2, 0.35) for n in range(9)]
    roots, _ = clusters(20, [*strong, *weak], threshold=0.2, bound=2)
    assert roots.tolist() == [n - n % 2 for n in range(20)]


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 9), st.sampled_from([0.1, 0.45, 0.6, 0.9, APART])), max_size=30
    )
)
def test_nobody_is_lost_and_those_apart_stay_apart(drawn) -> None:
    edges = list({(min(a, b), max(a, b)): (min(a, b), max(a, b), p) for a, b, p in drawn if a != b}.values())
    roots, sure = clusters(10, edges)
    assert all(roots[roots[node]] == roots[node] for node in range(10))
    assert not any(roots[a] == roots[b] for a, b, p in edges if p == APART)
    assert (np.isnan(sure) | (sure >= 0) & (sure <= 1)).all()
