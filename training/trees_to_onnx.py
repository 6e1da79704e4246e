"""LightGBM's trees as an ONNX graph, which onnxruntime walks in half the time: the mean of several models.

A float32 is at most a threshold where it is at most the next float32 below, so both take the same way at every node.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import lightgbm as lgb
import numpy as np
from onnx import TensorProto, helper

from bookworks.errors import ContractError
from bookworks.models.onnx import IR_VERSION, OPSET
from bookworks.models.trees import ROWS, SCORES, Booster

ML_OPSET = 3
Node = dict[str, Any]


def trees_to_onnx(boosters: Sequence[Booster]) -> bytes:
    """The serialised graph: float32 [n, 1] `scores` from float32 [n, n_features] `rows`.

    Raises:
        ContractError: a tree asks something else than whether a number is at most another.
    """
    attributes: dict[str, list[Any]] = {}
    trees = [tree for booster in boosters for tree in lgb.Booster(model_str=booster.text).dump_model()["tree_info"]]
    for number, tree in enumerate(trees):
        for place, (node, ways) in enumerate(_numbered(tree["tree_structure"])):
            _add(attributes, nodes_treeids=number, nodes_nodeids=place, **_told(node, ways))
            if not ways:
                weight = node["leaf_value"] / len(boosters)
                _add(attributes, target_treeids=number, target_nodeids=place, target_ids=0, target_weights=weight)
    ensemble = helper.make_node(
        "TreeEnsembleRegressor", [ROWS], [SCORES], domain="ai.onnx.ml", n_targets=1, **attributes
    )
    takes = helper.make_tensor_value_info(ROWS, TensorProto.FLOAT, ["batch", len(boosters[0].names)])
    gives = helper.make_tensor_value_info(SCORES, TensorProto.FLOAT, ["batch", 1])
    graph = helper.make_graph([ensemble], "trees", [takes], [gives])
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    serialised: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString()
    return serialised


def _numbered(root: Node) -> Iterator[tuple[Node, tuple[int, int] | None]]:
    """Every node in the order of its number, with the numbers of those below it."""
    waiting, taken = [root], 0
    while taken < len(waiting):
        node = waiting[taken]
        taken += 1
        below = [node[side] for side in ("left_child", "right_child") if side in node]
        yield node, (len(waiting), len(waiting) + 1) if below else None
        waiting += below


def _told(node: Node, ways: tuple[int, int] | None) -> dict[str, Any]:
    """What ONNX is told of a node; of a leaf next to nothing."""
    if ways is None:
        return {
            "nodes_modes": "LEAF", "nodes_values": 0.0, "nodes_featureids": 0, "nodes_truenodeids": 0,
            "nodes_falsenodeids": 0, "nodes_missing_value_tracks_true": 0,
        }  # fmt: skip
    if node["decision_type"] != "<=" or node["missing_type"] not in {"None", "NaN"}:
        raise ContractError(
            "A tree cannot be written as ONNX",
            received=f"{node['decision_type']}, missing: {node['missing_type']}",
            allowed="<=, missing: None or NaN",
        )
    left_if_missing = node["default_left"] if node["missing_type"] == "NaN" else node["threshold"] >= 0
    return {
        "nodes_modes": "BRANCH_LEQ", "nodes_values": _at_most(node["threshold"]),
        "nodes_featureids": node["split_feature"], "nodes_truenodeids": ways[0], "nodes_falsenodeids": ways[1],
        "nodes_missing_value_tracks_true": int(left_if_missing),
    }  # fmt: skip


def _at_most(threshold: float) -> float:
    """The largest float32 that is at most the threshold."""
    with np.errstate(over="ignore"):  # LightGBM writes 1e300 for what every finite number is below
        near = np.float32(threshold)
    return float(near if float(near) <= threshold else np.nextafter(near, np.float32(-np.inf)))


def _add(attributes: dict[str, list[Any]], **values: Any) -> None:
    for name, value in values.items():
        attributes.setdefault(name, []).append(value)
