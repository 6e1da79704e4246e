"""The reader's encoder as an ONNX graph, written node by node from its weights: the same file for the same weights.

vector = unit(x W_skip + relu(x W_1 + b_1) W_2 + b_2), x = [reader, history, age, country], all but
the history embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from bookworks.models.encoder import HISTORY, INDICES, OUTPUT
from bookworks.models.onnx import IR_VERSION, OPSET

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class EncoderWeights:
    """Weights of the encoder; row 0 of each table stands for unknown.

    Attributes:
        reader: [readers + 1, reader_dim], or [1, reader_dim] where readers have none.
        age: [age bins + 1, age_dim].
        country: [countries + 1, country_dim].
        skip: [width, dim], width being reader_dim + history_dim + age_dim + country_dim.
        hidden: [width, hidden_dim], with `hidden_bias` [hidden_dim].
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

    @property
    def history_dim(self) -> int:
        """Size of the history's bag."""
        return int(self.skip.shape[0] - self.reader.shape[1] - self.age.shape[1] - self.country.shape[1])


def encoder_to_onnx(weights: EncoderWeights) -> bytes:
    """The serialised graph, float32 [batch, dim] from int64 [batch] `user_index`, `age_bin`, `country_index` and
    float32 [batch, history_dim] `history`."""
    constants = [
        numpy_helper.from_array(np.asarray(getattr(weights, field.name), dtype=np.float32), field.name)
        for field in fields(weights)
    ]
    constants.append(numpy_helper.from_array(np.array(1e-12, dtype=np.float32), "tiny"))
    constants.append(numpy_helper.from_array(np.array(len(weights.reader) - 1, dtype=np.int64), "last_reader"))
    node = helper.make_node
    nodes = [
        node("Min", [INDICES[0], "last_reader"], ["reader_index"]),
        node("Gather", ["reader", "reader_index"], ["reader_row"]),
        node("Gather", ["age", INDICES[1]], ["age_row"]),
        node("Gather", ["country", INDICES[2]], ["country_row"]),
        node("Concat", ["reader_row", HISTORY, "age_row", "country_row"], ["x"], axis=1),
        node("MatMul", ["x", "skip"], ["skipped"]),
        node("Gemm", ["x", "hidden", "hidden_bias"], ["before"]),
        node("Relu", ["before"], ["after"]),
        node("Gemm", ["after", "output", "output_bias"], ["deep"]),
        node("Add", ["skipped", "deep"], ["raw"]),
        node("ReduceL2", ["raw"], ["length"], axes=[1], keepdims=1),
        node("Max", ["length", "tiny"], ["safe_length"]),
        node("Div", ["raw", "safe_length"], [OUTPUT]),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch"]) for name in INDICES]
    inputs.append(helper.make_tensor_value_info(HISTORY, TensorProto.FLOAT, ["batch", weights.history_dim]))
    dim = int(weights.output_bias.shape[0])
    outputs = [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", dim])]
    graph = helper.make_graph(nodes, "user_encoder", inputs, outputs, constants)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="bookworks"
    )
    onnx.checker.check_model(model)
    return model.SerializeToString()
