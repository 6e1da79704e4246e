"""The reader's encoder as an ONNX graph, written node by node from its weights: the same file for the same weights.

vector = unit(x W_skip + relu(x W_1 + b_1) W_2 + b_2), x = [reader embedding, age embedding, country embedding].
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from bookworks.models.encoder import INPUTS, OUTPUT

Floats = npt.NDArray[np.float32]
OPSET, IR_VERSION = 17, 9


@dataclass(frozen=True)
class EncoderWeights:
    """Weights of the encoder; row 0 of each table stands for unknown.

    Attributes:
        reader: [readers + 1, reader_dim].
        age: [age bins + 1, age_dim].
        country: [countries + 1, country_dim].
        skip: [reader_dim + age_dim + country_dim, dim].
        hidden: [reader_dim + age_dim + country_dim, hidden_dim], with `hidden_bias` [hidden_dim].
        output: [hidden_dim, dim], with `output_bias` [dim].
    """

    reader: Floats
    age: Floats
    country: Floats
    skip: Floats
    hidden: Floats
    hidden_bias: Floats
    output: Floats
    output_bias: Floats


def encoder_to_onnx(weights: EncoderWeights) -> bytes:
    """The serialised graph: int64 inputs [batch] `user_index`, `age_bin`, `country_index`; float32 [batch, dim]."""
    constants = [
        numpy_helper.from_array(np.asarray(getattr(weights, field.name), dtype=np.float32), field.name)
        for field in fields(weights)
    ]
    constants.append(numpy_helper.from_array(np.array(1e-12, dtype=np.float32), "tiny"))
    node = helper.make_node
    nodes = [
        node("Gather", ["reader", INPUTS[0]], ["reader_row"]),
        node("Gather", ["age", INPUTS[1]], ["age_row"]),
        node("Gather", ["country", INPUTS[2]], ["country_row"]),
        node("Concat", ["reader_row", "age_row", "country_row"], ["x"], axis=1),
        node("MatMul", ["x", "skip"], ["skipped"]),
        node("Gemm", ["x", "hidden", "hidden_bias"], ["before"]),
        node("Relu", ["before"], ["after"]),
        node("Gemm", ["after", "output", "output_bias"], ["deep"]),
        node("Add", ["skipped", "deep"], ["raw"]),
        node("ReduceL2", ["raw"], ["length"], axes=[1], keepdims=1),
        node("Max", ["length", "tiny"], ["safe_length"]),
        node("Div", ["raw", "safe_length"], [OUTPUT]),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch"]) for name in INPUTS]
    dim = int(weights.output_bias.shape[0])
    outputs = [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", dim])]
    graph = helper.make_graph(nodes, "user_encoder", inputs, outputs, constants)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="bookworks"
    )
    onnx.checker.check_model(model)
    return model.SerializeToString()
