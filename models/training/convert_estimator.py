# SPDX-License-Identifier: GPL-3.0-or-later
"""Making the pose estimator's files of MediaPipe's.

BlazePose's two networks (Apache-2.0) come as TensorFlow Lite files in the wheel ``mediapipe``; as ONNX files
they run where everything else does. Their weights are half floats there and stay such: the networks are the
same to the last bit but for the order of sums. ``python -m sparse2dense.models.training.convert_estimator``
needs ``tensorflow-cpu`` and ``tf2onnx``, which nothing else does and no extra installs.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .. import fetch
from ..shipped import WEIGHTS
from ..whole_files import write_whole

OPSET = 17
_FEW = 64  # weights that are not worth a node that widens them


def main() -> int:
    """Fetch, convert and write the files; returns the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        fetch.fetch("blazepose", Path(folder))
        for _, name, _ in fetch.SOURCES["blazepose"].files:
            model = _converted(_dense(Path(folder, name).read_bytes()))
            target = (WEIGHTS / name).with_suffix(".onnx")
            write_whole(target, _narrowed(model).SerializeToString())
            print(target)
    return 0


def _dense(content: bytes) -> bytes:
    """Return a TensorFlow Lite file whose sparse weights are written out, since tf2onnx knows no others."""
    import flatbuffers
    import tensorflow
    from tensorflow.lite.python import schema_py_generated as schema

    interpreter = tensorflow.lite.Interpreter(
        model_content=content,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=(
            tensorflow.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        ),
    )
    interpreter.allocate_tensors()
    (taken,) = interpreter.get_input_details()
    interpreter.set_tensor(taken["index"], np.zeros(taken["shape"], taken["dtype"]))
    interpreter.invoke()

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    (graph,) = model.subgraphs
    dense: dict[int, int] = {}  # what an operator made of sparse weights, to the weights, now dense
    left = []
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        if max(code.builtinCode, code.deprecatedBuiltinCode) != schema.BuiltinOperator.DENSIFY:
            left.append(operator)
            continue
        sparse, made = int(operator.inputs[0]), int(operator.outputs[0])
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(interpreter.get_tensor(made).tobytes(), np.uint8)
        model.buffers.append(buffer)
        graph.tensors[sparse].buffer = len(model.buffers) - 1
        graph.tensors[sparse].sparsity = None
        dense[made] = sparse
    for operator in left:
        operator.inputs = np.array([dense.get(int(each), int(each)) for each in operator.inputs], np.int32)
    graph.operators = left
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _converted(content: bytes) -> onnx.ModelProto:
    import tf2onnx.convert

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.tflite")
        path.write_bytes(content)
        model: Any = tf2onnx.convert.from_tflite(str(path), opset=OPSET)[0]
    return model


def _narrowed(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store the weights as the half floats that they were, each widened by a node when it is loaded."""
    graph, nodes = model.graph, []
    for weights in graph.initializer:
        values = numpy_helper.to_array(weights)
        if weights.data_type != TensorProto.FLOAT or values.size < _FEW:
            continue
        half = values.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), values):
            raise ValueError(f"{weights.name} are no half floats")
        name = weights.name
        weights.CopyFrom(numpy_helper.from_array(half, f"{name}/half"))
        nodes.append(helper.make_node("Cast", [f"{name}/half"], [name], to=TensorProto.FLOAT))
    nodes += graph.node
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return model


if __name__ == "__main__":
    sys.exit(main())
