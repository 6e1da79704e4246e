"""How well clusters agree with known ones: pairwise and B-cubed precision, recall and F1.

B-cubed: Bagga and Baldwin, Entity-Based Cross-Document Coreferencing Using the Vector Space Model, COLING-ACL 1998.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence


def agreement(found: Sequence[Hashable], truth: Sequence[Hashable]) -> dict[str, float]:
    """Agreement of two partitions of the same records.

    Args:
        found, truth: cluster of each record, equal length.

    Returns:
        `pairwise_` and `bcubed_` `precision`, `recall`, `f1`, each from 0 to 1; precision is 1 where no pair is
        claimed, recall is 1 where none is true.

    Raises:
        ValueError: of different lengths, or empty.
    """
    if len(found) != len(truth) or not found:
        raise ValueError(f"{len(found)} records were clustered, {len(truth)} are known")
    both, of_found, of_truth = Counter(zip(found, truth, strict=True)), Counter(found), Counter(truth)
    hits, claimed, true = (sum(n * (n - 1) // 2 for n in counts.values()) for counts in (both, of_found, of_truth))
    pairwise = scores(hits / claimed if claimed else 1.0, hits / true if true else 1.0)
    precision = sum(n * n / of_found[cluster] for (cluster, _), n in both.items()) / len(found)
    recall = sum(n * n / of_truth[work] for (_, work), n in both.items()) / len(found)
    bcubed = scores(precision, recall)
    return {f"pairwise_{k}": v for k, v in pairwise.items()} | {f"bcubed_{k}": v for k, v in bcubed.items()}


def scores(precision: float, recall: float) -> dict[str, float]:
    """Precision, recall, and their harmonic mean `f1`."""
    total = precision + recall
    return {"precision": precision, "recall": recall, "f1": 2 * precision * recall / total if total else 0.0}
