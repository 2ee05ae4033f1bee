# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing the picture networks' weights as the files that decoding loads: ONNX and safetensors.

The ONNX files take any height and width that are multiples of 8, and the generator any number of references.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..generator import HALF, QUARTER, Generator, ReferenceEncoder
from ..keypoints import KEYPOINT_NAMES
from ..mesh_motion import MOTION_CHANNELS
from ..whole_files import whole_file, write_whole

OPSET = 18  # the first whose grid sampling and resizing every supported ONNX Runtime has

_PICTURES = {"reference": 3, "mask": 1, "plate": 3}  # inputs of the encoder: channels
_OF_PART = ("plate", "motion")  # inputs of the generator that are of the part to draw


def example_inputs(width: int, height: int, references: int = 1) -> dict[str, Tensor]:
    """Return random inputs of the generator for one frame of the whole canvas."""
    keypoints = len(KEYPOINT_NAMES), 2
    motion = torch.rand(1, references, MOTION_CHANNELS, height, width)
    motion[:, :, :2] = motion[:, :, :2] * 20 - 10
    return {
        "references": torch.rand(1, references, 3, height, width),
        "masks": torch.rand(1, references, 1, height, width),
        "plate": torch.rand(1, 3, height, width),
        "half": torch.randn(1, references, HALF, height // 2, width // 2),
        "quarter": torch.randn(1, references, QUARTER, height // 4, width // 4),
        "reference_coverage": torch.rand(1, references, 1, height, width),
        "motion": motion,
        "keypoints": torch.rand(1, *keypoints) * width,
        "reference_keypoints": torch.rand(1, references, *keypoints) * width,
    }


def export_pictures(encoder: ReferenceEncoder, generator: Generator, folder: Path) -> None:
    """Write ``reference_encoder`` and ``generator`` to ``folder``, each as ``.onnx`` and ``.safetensors``."""
    canvas, part = (
        [torch.export.Dim(f"{name}_{side}", min=2, max=512) for side in ("rows", "columns")]
        for name in ("canvas", "part")
    )
    pictures = {name: torch.rand(1, channels, 128, 96) for name, channels in _PICTURES.items()}
    _export(
        encoder,
        pictures,
        {name: _sides(value, canvas, pictures["plate"]) for name, value in pictures.items()},
        ("half", "quarter"),
        folder / "reference_encoder",
    )
    inputs, drawn = example_inputs(96, 128, 2), example_inputs(64, 80, 2)
    inputs |= {name: drawn[name] for name in _OF_PART}
    inputs |= {"origin": torch.tensor([[16.0, 24.0]]), "shares": torch.tensor([[1.0, 0.5]])}
    shapes: dict[str, dict[int, Any]] = {name: {} for name in inputs}
    for name, value in inputs.items():
        if name not in ("plate", "keypoints", "origin"):
            shapes[name] = {1: torch.export.Dim("references", max=4)}
        if "keypoints" not in name and value.dim() > 3:
            of_part = name in _OF_PART
            shapes[name] |= _sides(
                value, *((part, inputs["plate"]) if of_part else (canvas, inputs["references"]))
            )
    _export(generator, inputs, shapes, ("picture",), folder / "generator")


def _sides(value: Tensor, units: list[Any], picture: Tensor) -> dict[int, Any]:
    """Say how the height and width of ``value`` follow from those of ``picture``, in units of 8 pixels."""
    cells = 8 * value.shape[-1] // picture.shape[-1]
    return {value.dim() - 2 + axis: cells * unit for axis, unit in enumerate(units)}


def _drop_notes(path: Path) -> None:
    """Remove what the exporter notes down in an ONNX file: stack traces, with the paths of this machine."""
    import onnx

    model = onnx.load(path)
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.save(model, path)


def _export(
    module: nn.Module, inputs: dict[str, Tensor], shapes: dict[str, Any], outputs: tuple[str, ...], stem: Path
) -> None:
    from safetensors.torch import save

    module = module.eval()
    with whole_file(stem.with_suffix(".onnx")) as onnx_path:
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
    tensors = {name: value.contiguous() for name, value in module.state_dict().items()}
    write_whole(stem.with_suffix(".safetensors"), save(tensors))
