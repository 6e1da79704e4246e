"""Average linkage: which nodes of a component are one work, so that one wrong edge chains nothing together.

Weighted by records (UPGMA: Sokal and Michener, 1958): two clusters join while the mean probability over all their pairs
of records is at least the threshold. Pairs that were not compared count as `UNSEEN`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.csgraph import connected_components

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

UNSEEN = 0.02
TOGETHER, APART = 2.0, -1.0  # in place of a probability: a person said so
VETO = -0.5  # in place of a probability: two volumes, which nothing between them may bring together but a person
_NEVER = -1e9


def linkage(
    weights: Floats,
    a: Ints,
    b: Ints,
    p: Floats,
    threshold: float,
    bound: int,
    persons: Sequence[Sequence[str]] = (),
    components: Ints | None = None,
) -> tuple[Ints, Floats]:
    """Clusters of the nodes of one component, or of several.

    Args:
        weights: records of each node, shape (n,).
        a, b, p: edges between them and their probabilities; `TOGETHER`, `APART` and `VETO` bind.
        threshold: least mean probability at which clusters join.
        bound: components over this size are first cut at their weakest edges.
        persons: whom each node names. Two that name nobody in common and have no edge of the threshold are apart: what
            stands between them, naming nobody or both, brings them not together.
        components: of each node, numbered from 0; without them all are in one. Edges between two count for nothing.

    Returns:
        The first node of each node's cluster, and the mean probability of each node to the others of its cluster
        (NaN for a node alone), shapes (n,) and (n,).
    """
    roots = np.arange(len(weights))
    persons = persons or [()] * len(weights)
    sure = np.full(len(weights), np.nan)
    label = _parts(np.zeros(len(weights), np.int64) if components is None else components, a, b, p, bound)
    inside = np.flatnonzero(label[a] == label[b])
    inside = inside[np.argsort(label[a[inside]], kind="stable")]
    nodes = np.argsort(label, kind="stable")
    place = np.empty(len(weights), np.int64)
    count = label.max(initial=-1) + 1
    parts = zip(_split(nodes, label[nodes], count), _split(inside, label[a[inside]], count), strict=True)
    for part, edges in parts if count else ():
        place[part] = np.arange(len(part))
        strangers = _strangers([persons[k] for k in part])
        left, right = place[a[edges]], place[b[edges]]
        found, mean = _average(weights[part], left, right, p[edges], threshold, strangers)
        roots[part], sure[part] = part[found], mean
    return roots, sure


def _split(values: Ints, labels: Ints, count: int) -> list[Ints]:
    """The values of each label below the count, of values that are sorted by label."""
    return np.split(values, np.searchsorted(labels, np.arange(1, count)))


def _parts(label: Ints, a: Ints, b: Ints, p: Floats, bound: int) -> Ints:
    """To which set of at most `bound` nodes each belongs: of a larger one edges are cut, weaker ones first."""
    size = len(label)
    for floor in np.arange(1, 11) / 10:
        large = np.bincount(label)[label] > bound
        if not large.any():
            return label
        kept = (p >= floor) & large[a] & (label[a] == label[b])
        graph = sparse.coo_matrix((np.ones(int(kept.sum()), np.int8), (a[kept], b[kept])), shape=(size, size))
        found = connected_components(graph, directed=False)[1]
        label = np.unique(np.where(large, found + label.max() + 1, label), return_inverse=True)[1]
    order = np.argsort(label, kind="stable")
    rank = np.empty(size, np.int64)
    rank[order] = np.arange(size) - np.searchsorted(label[order], label[order])
    pieces = -(-np.bincount(label) // bound)
    return np.unique(label * (pieces.max() + 1) + rank // bound, return_inverse=True)[1]


def _strangers(persons: Sequence[Sequence[str]]) -> npt.NDArray[np.bool_]:
    """Whether two nodes name somebody each, and nobody in common; shape (nodes, nodes)."""
    column = {name: k for k, name in enumerate(sorted({name for names in persons for name in names}))}
    named = np.zeros((len(persons), len(column)), np.float32)
    for row, names in enumerate(persons):
        named[row, [column[name] for name in names]] = 1
    somebody = named.any(axis=1)
    return (named @ named.T == 0) & somebody[:, None] & somebody[None, :]


def _average(
    weights: Floats, a: Ints, b: Ints, p: Floats, threshold: float, strangers: npt.NDArray[np.bool_]
) -> tuple[Ints, Floats]:
    size = len(weights)
    given = np.where(strangers, _NEVER, UNSEEN)
    never = (p == APART) | (p == VETO) | (strangers[a, b] & (p < threshold))
    given[a, b] = given[b, a] = np.where(never, _NEVER, p)
    # What a person put together has one row from the start, and bears what any of them bears.
    roots = joined(size, a[p == TOGETHER], b[p == TOGETHER])
    s, w = given.copy(), weights.astype(float).copy()
    np.fill_diagonal(s, _NEVER)
    alive = np.ones(size, bool)
    for node in range(size):
        if roots[node] != node:
            _merge(s, w, alive, roots[node], node)
    best = s.argmax(axis=1)
    value = s[np.arange(size), best]
    value[~alive] = _NEVER
    while True:
        i = int(value.argmax())
        if value[i] < threshold:
            break
        i, j = sorted((i, int(best[i])))
        _merge(s, w, alive, i, j)
        roots[roots == j] = i
        value[j] = _NEVER
        stale = np.flatnonzero(alive & ((best == i) | (best == j) | (s[i] > value)))
        for k in {i, *stale.tolist()}:
            best[k] = s[k].argmax()
            value[k] = s[k, best[k]]
    return roots, _confidence(given, weights, roots)


def joined(size: int, a: Ints, b: Ints) -> Ints:
    """The first node of each node's connected component."""
    if not len(a):  # as nearly always, for persons decide on few
        return np.arange(size)
    labels = connected_components(sparse.coo_matrix((np.ones(len(a)), (a, b)), shape=(size, size)), directed=False)[1]
    first = np.full(labels.max() + 1, size)
    np.minimum.at(first, labels, np.arange(size))
    return first[labels]


def _merge(s: Floats, w: Floats, alive: npt.NDArray[np.bool_], i: int, j: int) -> None:
    """Cluster `j` becomes part of `i`."""
    mean = (w[i] * s[i] + w[j] * s[j]) / (w[i] + w[j])
    mean[(s[i] <= _NEVER / 2) | (s[j] <= _NEVER / 2)] = _NEVER
    mean[i] = mean[j] = _NEVER
    s[i], s[:, i] = mean, mean
    s[j], s[:, j] = _NEVER, _NEVER
    w[i] += w[j]
    alive[j] = False


def _confidence(given: Floats, weights: Floats, roots: Ints) -> Floats:
    p = np.clip(given, 0, 1)
    np.fill_diagonal(p, 0)
    same = roots[:, None] == roots[None, :]
    np.fill_diagonal(same, False)
    mates = (same * weights[None, :]).sum(axis=1)
    within = (p * same * weights[None, :]).sum(axis=1)
    return np.divide(within, mates, out=np.full(len(roots), np.nan), where=mates > 0)
