"""LightGBM's trees, scored without a jump that hangs on a row, a block of rows at a time.

A row that goes right at a node loses the leaves on the left of it; of those that it has lost at no node the first is
its own. So every node is asked for every row, by one comparison of vectors, where to walk a tree guesses wrong at every
second node. Source: Lucchese et al., "QuickScorer: A Fast Algorithm to Rank Documents with Additive Ensembles of
Regression Trees", SIGIR 2015, with rows side by side as in "Exploiting CPU SIMD Extensions to Speed-up Document Scoring
with Tree Ensembles", SIGIR 2016.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bookworks.errors import BundleError
from bookworks.models.compiled import compiled

Floats = npt.NDArray[np.float32]
MAX_LEAVES = 64  # a bit each
_ALL, _ONE = np.uint64(2**64 - 1), np.uint64(1)
_BLOCK = 256  # rows: their features stay in the first cache
_CATEGORICAL, _LEFT_IF_MISSING, _NONE, _NAN = 1, 2, 0, 2  # of LightGBM's `decision_type`


@dataclass(frozen=True)
class Forest:
    """The mean of several models.

    Attributes:
        n_features: that a row has.
        starts: of each tree's nodes, then their number, int32 [n_trees + 1].
        features: that a node asks for, int32 [n_nodes].
        thresholds: at most this goes left, float32 [n_nodes].
        missing_left: whether a missing value goes left, bool [n_nodes].
        kept: bits of the leaves that a row may still be in which goes right, uint64 [n_nodes].
        values: of the leaves from left to right, float32 [n_trees * MAX_LEAVES].
    """

    n_features: int
    starts: npt.NDArray[np.int32]
    features: npt.NDArray[np.int32]
    thresholds: Floats
    missing_left: npt.NDArray[np.bool_]
    kept: npt.NDArray[np.uint64]
    values: Floats

    @classmethod
    def of(cls, texts: Sequence[str], n_features: int) -> Forest:
        """Read models as LightGBM writes them.

        Raises:
            BundleError: a tree asks something else than whether a number is at most another, or has too many leaves.
        """
        trees = [_tree(told, n_features) for text in texts for told in _told(text)]
        nodes = [node for tree in trees for node in tree.nodes]
        values = np.zeros((len(trees), MAX_LEAVES), dtype=np.float32)
        for row, tree in zip(values, trees, strict=True):
            row[: len(tree.leaves)] = np.asarray(tree.leaves) / len(texts)
        return cls(
            n_features,
            np.cumsum([0, *(len(tree.nodes) for tree in trees)], dtype=np.int32),
            np.array([node.feature for node in nodes], dtype=np.int32),
            _at_most(np.array([node.threshold for node in nodes])),
            np.array([node.missing_left for node in nodes], dtype=bool),
            np.array([node.kept for node in nodes], dtype=np.uint64),
            values.ravel(),
        )

    def scores(self, rows: Floats) -> Floats:
        """The sum over the trees of features float32 [n, n_features], [n].

        Raises:
            BundleError: rows of another width.
        """
        if rows.shape[1] != self.n_features:
            raise BundleError(
                "These are not the features of the trees", received=rows.shape[1], allowed=str(self.n_features)
            )
        found = np.zeros(len(rows), dtype=np.float32)
        of_trees = (self.starts, self.features, self.thresholds, self.missing_left, self.kept, self.values)
        columns, first = np.empty((self.n_features, _BLOCK), np.float32), np.empty(_BLOCK, np.float32)
        left = np.empty(_BLOCK, np.uint64)
        _score(np.ascontiguousarray(rows), *of_trees, columns, left, first, first.view(np.int32), found)
        return found


class _Node(NamedTuple):
    feature: int
    threshold: float
    missing_left: bool
    kept: int


class _Tree(NamedTuple):
    nodes: list[_Node]
    leaves: list[float]


def _told(text: str) -> Iterator[dict[str, str]]:
    """What a model says of each of its trees."""
    for part in text.partition("\nend of trees")[0].split("\nTree=")[1:]:
        yield dict(line.split("=", 1) for line in part.splitlines()[1:] if "=" in line)


def _tree(told: dict[str, str], n_features: int) -> _Tree:
    try:
        return _read(told, n_features)
    except (KeyError, ValueError, IndexError, RecursionError) as error:
        raise BundleError("A tree of the ranker cannot be read", received=repr(error)) from error


def _read(told: dict[str, str], n_features: int) -> _Tree:
    values = [float(value) for value in told["leaf_value"].split()]
    if len(values) > MAX_LEAVES or told.get("is_linear", "0") != "0":
        received = f"{len(values)} leaves, is_linear={told.get('is_linear', '0')}"
        raise BundleError("The ranker's trees are of another kind", received=received,
                          allowed=f"at most {MAX_LEAVES} leaves, each with one value")  # fmt: skip
    if len(values) == 1:
        return _Tree([], values)
    names = ("split_feature", "decision_type", "left_child", "right_child")
    features, kinds, lefts, rights = ([int(value) for value in told[name].split()] for name in names)
    thresholds = [float(value) for value in told["threshold"].split()]
    order, below = list[int](), dict[int, int]()

    def leaves_of(child: int) -> int:
        """Bits of the leaves below, numbered from left to right; below 0 a leaf."""
        if child < 0:
            order.append(~child)
            return 1 << (len(order) - 1)
        if child in below:
            raise ValueError(f"node {child} is reached twice")
        below[child] = 0
        below[child] = leaves_of(lefts[child])
        return below[child] | leaves_of(rights[child])

    leaves_of(0)
    if sorted(order) != list(range(len(values))) or not all(0 <= feature < n_features for feature in features):
        raise ValueError("its nodes do not lead to its leaves, or ask for features that are not there")
    asked = zip(features, thresholds, kinds, strict=True)
    nodes = [_Node(feature, threshold, _missing_left(kind, threshold), ~below[place] & int(_ALL))
             for place, (feature, threshold, kind) in enumerate(asked)]  # fmt: skip
    return _Tree(nodes, [values[leaf] for leaf in order])


def _missing_left(kind: int, threshold: float) -> bool:
    """Where a missing value goes; what met none in its lessons takes it for 0."""
    missing = (kind >> 2) & 3
    if kind & _CATEGORICAL or missing not in {_NONE, _NAN}:
        raise BundleError("The ranker's trees are of another kind", received=f"decision_type={kind}",
                          allowed="<=, missing: None or NaN")  # fmt: skip
    return bool(kind & _LEFT_IF_MISSING) if missing == _NAN else threshold >= 0


def _at_most(thresholds: npt.NDArray[np.float64]) -> Floats:
    """The largest float32 that is at most each threshold: what a float32 is compared with."""
    with np.errstate(over="ignore"):  # LightGBM writes 1e300 for what every finite number is below
        near = thresholds.astype(np.float32)
    return np.where(near <= thresholds, near, np.nextafter(near, np.float32(-np.inf)))


@compiled
def _score(  # type: ignore[no-untyped-def]
    rows, starts, features, thresholds, missing_left, kept, values, columns, left, first, exponents, found
):
    for start in range(0, len(rows), _BLOCK):
        n = min(_BLOCK, len(rows) - start)
        for row in range(n):
            for feature in range(columns.shape[0]):
                columns[feature, row] = rows[start + row, feature]
        for tree in range(starts.size - 1):
            for row in range(n):
                left[row] = _ALL
            for node in range(starts[tree], starts[tree + 1]):
                feature, threshold, after = features[node], thresholds[node], kept[node]
                if missing_left[node]:
                    for row in range(n):
                        left[row] &= after if columns[feature, row] > threshold else _ALL
                else:
                    for row in range(n):
                        left[row] &= _ALL if columns[feature, row] <= threshold else after
            for row in range(n):  # the lowest bit: its place is the exponent of the number
                first[row] = np.float32(left[row] & (~left[row] + _ONE))
            for row in range(n):
                found[start + row] += values[MAX_LEAVES * tree + (exponents[row] >> 23) - 127]
