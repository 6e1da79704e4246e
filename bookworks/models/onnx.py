"""Graphs that a bundle brings, run on one thread each; any number of threads may ask one at a time."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort

from bookworks.errors import BundleError

OPSET, IR_VERSION = 17, 9  # in which training writes them


def opened(graph: Path | bytes, what: str) -> ort.InferenceSession:
    """A session of a graph.

    Args:
        graph: serialised, or its file.
        what: it is, for the error.

    Raises:
        BundleError: onnxruntime does not read it.
    """
    ort.disable_telemetry_events()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    model = graph if isinstance(graph, bytes) else str(graph)
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises several unrelated types
        raise BundleError(f"The bundle's {what} cannot be loaded", received=error) from error
