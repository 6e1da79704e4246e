"""The graph of LightGCN, and what authors and series add to it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow.compute as pc
import torch
from scipy import sparse

from tests.support.datasets import make_dataset
from training.lightgcn_model import LightGCN, normalised_graph
from training.params import Options
from training.recommenders.gnn import GnnParams, GnnRecommender, content_links

LIKINGS = sparse.csr_matrix([[0.5, 1.0, 0.0], [0.0, 0.4, 0.0]], dtype=np.float32)
LINKS = sparse.csr_matrix([[2.0], [0.0], [2.0]])


def test_the_graph_is_scaled_by_the_roots_of_both_degrees() -> None:
    dense = normalised_graph(LIKINGS, LINKS).to_dense().numpy()
    assert dense.shape == (6, 6)  # two readers, three works, one author
    np.testing.assert_allclose(dense, dense.T)
    np.testing.assert_allclose(dense[0, 2:5], [1 / np.sqrt(2 * 3), 1 / np.sqrt(2 * 2), 0], rtol=1e-6)
    np.testing.assert_allclose(dense[5, 2:5], [2 / np.sqrt(4 * 3), 0, 2 / np.sqrt(4 * 2)], rtol=1e-6)


def test_the_gradient_is_that_of_a_dense_product() -> None:
    model = LightGCN(LIKINGS, LINKS, torch.randn(5, 4, generator=torch.Generator().manual_seed(0)), 2)
    sum((part * part[:, [1, 0, 3, 2]]).sum() for part in model.vectors()).backward()
    table = model.table.detach().clone().requires_grad_()
    graph = model.graph.to_dense()
    total = table + graph @ table + graph @ (graph @ table)
    unit = torch.nn.functional.normalize(total[:5] / 3, dim=1)
    (unit * unit[:, [1, 0, 3, 2]]).sum().backward()
    torch.testing.assert_close(model.table.grad, table.grad)


def test_a_work_that_nobody_read_lies_near_those_of_its_author() -> None:
    data = make_dataset()
    read = pc.not_equal(data.interactions["work"], 3)  # its author has works 3, 11, 19, 27 and 35
    unread = replace(data, interactions=data.interactions.filter(read))
    params = {"dim": 8, "epochs": 4, "batch_size": 16}
    works = GnnRecommender.fit(unread, GnnParams(**params, content_nodes=True), Options(threads=1)).works
    same_author = np.arange(3, 40, 8)
    others = np.setdiff1d(np.arange(40), same_author)
    assert (works[same_author[1:]] @ works[3]).mean() > (works[others] @ works[3]).mean() + 0.3
    assert content_links(data, GnnParams()).shape == (40, 0)
