# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing the picture networks' weights as the files that decoding loads: ONNX and safetensors.

The ONNX files take any height and width that are multiples of 8.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from ..generator import Generator, ReferenceEncoder
from ..keypoints import KEYPOINT_NAMES
from ..mesh_motion import GRID, MOTION_CHANNELS

OPSET = 18  # the first whose grid sampling and resizing every supported ONNX Runtime has


def example_inputs(width: int, height: int) -> dict[str, Tensor]:
    """Return random inputs of the whole way for one frame: pictures, motion and keypoints."""
    keypoints = (1, len(KEYPOINT_NAMES), 2)
    motion = torch.rand(1, MOTION_CHANNELS, height // GRID, width // GRID)
    motion[:, :2] = motion[:, :2] * 20 - 10
    return {
        "reference": torch.rand(1, 3, height, width),
        "mask": torch.rand(1, 1, height, width),
        "plate": torch.rand(1, 3, height, width),
        "reference_coverage": torch.rand(1, 1, height // GRID, width // GRID),
        "motion": motion,
        "keypoints": torch.rand(keypoints) * width,
        "reference_keypoints": torch.rand(keypoints) * width,
    }


def export_pictures(encoder: ReferenceEncoder, generator: Generator, folder: Path) -> None:
    """Write ``reference_encoder`` and ``generator`` to ``folder``, each as ``.onnx`` and ``.safetensors``."""
    inputs = example_inputs(96, 128)
    pictures = {name: inputs[name] for name in ("reference", "mask", "plate")}
    with torch.no_grad():
        half, quarter = encoder(**pictures)
    names = ("reference_coverage", "keypoints", "reference_keypoints")
    canvas = pictures | {"half": half, "quarter": quarter} | {name: inputs[name] for name in names}
    part = {name: example_inputs(64, 80)[name] for name in ("plate", "motion")}
    frame = canvas | part | {"origin": torch.tensor([[16.0, 24.0]])}
    _export(encoder, pictures, ("half", "quarter"), folder / "reference_encoder")
    _export(generator, frame, ("picture",), folder / "generator")


def _drop_notes(path: Path) -> None:
    """Remove what the exporter notes down in an ONNX file: stack traces, with the paths of this machine."""
    import onnx

    model = onnx.load(path)
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.save(model, path)


def _export(module: nn.Module, inputs: dict[str, Tensor], outputs: tuple[str, ...], stem: Path) -> None:
    from safetensors.torch import save_file

    module = module.eval()
    canvas, part = (
        [torch.export.Dim(f"{name}_{side}", min=2, max=512) for side in ("rows", "columns")]
        for name in ("canvas", "part")
    )
    # Eight canvas pixels are the unit, so that all sizes follow from those of the canvas and of its part.
    shapes = {}
    for name, value in inputs.items():
        of_part = "origin" in inputs and name in ("plate", "motion")
        rows, columns = part if of_part else canvas
        cells = 8 * value.shape[-1] // inputs["plate" if of_part else "reference"].shape[-1]
        shapes[name] = {2: cells * rows, 3: cells * columns} if value.dim() == 4 else {}
    stem.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=stem.parent) as aside:
        onnx_path, tensors_path = Path(aside) / "network.onnx", Path(aside) / "network.safetensors"
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                (),
                onnx_path,
                kwargs=inputs,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes=shapes,
                opset_version=OPSET,
                external_data=False,
                dynamo=True,
            )
        _drop_notes(onnx_path)
        save_file({name: value.contiguous() for name, value in module.state_dict().items()}, tensors_path)
        os.replace(onnx_path, stem.with_suffix(".onnx"))
        os.replace(tensors_path, stem.with_suffix(".safetensors"))
