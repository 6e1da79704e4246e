import pytest

from bookworks.metrics.clustering import agreement


def test_scores_of_a_case_worked_by_hand() -> None:
    """Truth abc|de; found ab|cde. Pairs: true 4, claimed 4, both 2."""
    scores = agreement(["1", "1", "2", "2", "2"], ["x", "x", "x", "y", "y"])
    assert scores["pairwise_precision"] == scores["pairwise_recall"] == scores["pairwise_f1"] == 0.5
    assert scores["bcubed_precision"] == pytest.approx((1 + 1 + 1 / 3 + 2 / 3 + 2 / 3) / 5)
    assert scores["bcubed_recall"] == pytest.approx((2 / 3 + 2 / 3 + 1 / 3 + 1 + 1) / 5)


def test_all_alone_claims_nothing_wrong_and_finds_nothing() -> None:
    scores = agreement(list("abc"), list("xxx"))
    assert (scores["pairwise_precision"], scores["pairwise_recall"], scores["pairwise_f1"]) == (1.0, 0.0, 0.0)


def test_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="2 records"):
        agreement(["a", "b"], ["a"])
