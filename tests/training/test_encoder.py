"""The exported encoder gives the vectors that torch gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from bookworks.models.encoder import UserEncoder
from tests.support.datasets import make_dataset, with_titles
from training.export_onnx import encoder_to_onnx
from training.params import Options
from training.recommenders.two_tower import TwoTowerParams, TwoTowerRecommender, train_towers


def test_onnx_and_torch_agree(tmp_path: Path) -> None:
    data = with_titles(make_dataset())
    params = TwoTowerParams(dim=16, epochs=2, batch_size=64, min_readers=2)
    model, _, _ = train_towers(data, params, Options(threads=1))
    path = tmp_path / "user_encoder.onnx"
    path.write_bytes(encoder_to_onnx(model.readers.weights()))
    readers = np.arange(data.n_trained + 1)
    ages, countries = readers % 3, readers % 2
    onnx = UserEncoder(path, 16).encode(readers.tolist(), ages.tolist(), countries.tolist())
    with torch.no_grad():
        ours = model.readers(*map(torch.from_numpy, (readers, ages, countries))).numpy()
    np.testing.assert_allclose(onnx, ours, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(onnx, axis=1), 1.0, atol=1e-5)


def test_the_same_weights_give_the_same_bytes() -> None:
    data = with_titles(make_dataset())
    params = TwoTowerParams(dim=8, epochs=1, batch_size=64, min_readers=2)
    one, two = (TwoTowerRecommender.fit(data, params, Options(threads=1)).encoder for _ in range(2))
    assert one == two
