"""The exported encoder gives the vectors that torch gives."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse

from bookworks.models.encoder import UserEncoder
from tests.support.datasets import make_dataset, with_titles
from training.histories import bags
from training.params import Options
from training.recommenders.two_tower import TwoTowerParams, TwoTowerRecommender, exported, train_towers


def test_onnx_and_torch_agree() -> None:
    data = with_titles(make_dataset())
    params = TwoTowerParams(dim=16, epochs=2, batch_size=16, min_readers=2)
    model, _, _ = train_towers(data, params, Options(threads=1))
    works, read, graph = exported(model)
    readers = np.arange(data.n_trained + 1)
    ages, countries = readers % 3, readers % 2
    likings = sparse.vstack([data.train(), sparse.csr_matrix((1, data.n_works), dtype=np.float32)], format="csr")
    encoder = UserEncoder(graph, read, 16)
    onnx = encoder.encode(readers.tolist(), ages.tolist(), countries.tolist(), encoder.bags(likings))
    entries = likings.tocoo()
    known = bags(*(torch.from_numpy(part.astype(kind)) for part, kind in (
        (entries.col, np.int64), (entries.data, np.float32), (entries.row, np.int64))), len(readers))  # fmt: skip
    with torch.no_grad():
        history = model.bag(known)
        ours = model.readers(*map(torch.from_numpy, (readers, ages, countries)), history).numpy()
        theirs = model.works(torch.arange(data.n_works)).numpy()
    np.testing.assert_allclose(onnx, ours, atol=1e-5)
    np.testing.assert_allclose(works, theirs, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(onnx[:-1], axis=1), 1.0, atol=1e-5)


def test_one_history_and_many_give_the_same_bag() -> None:
    rng = np.random.default_rng(0)
    likings = sparse.random_array((5, 12), density=0.3, rng=rng, format="csr", dtype=np.float32)
    model = TwoTowerRecommender.fit(make_dataset(n_works=12), TwoTowerParams(dim=4, epochs=1), Options(threads=1))
    many = model.encoder.bags(likings)
    for row, bag in enumerate(many):
        of_one = likings[[row]]
        np.testing.assert_allclose(model.encoder.bag(of_one.indices, of_one.data), bag, atol=1e-6)


def test_the_same_weights_give_the_same_bytes() -> None:
    data = with_titles(make_dataset())
    params = TwoTowerParams(dim=8, epochs=1, batch_size=64, min_readers=2)
    one, two = (TwoTowerRecommender.fit(data, params, Options(threads=1)).graph for _ in range(2))
    assert one == two
