# SPDX-License-Identifier: GPL-3.0-or-later
"""The networks run by PyTorch, for GPUs; the only module of the engine that imports it.

The modules are those that were trained (named as in the paper), and the weights are the
``.safetensors`` beside the ``.onnx`` files that ONNX Runtime reads.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ...models.errors import S2DError
from ...models.shipped import weights_path

try:
    from safetensors.torch import load_file
except ModuleNotFoundError as missing:
    raise S2DError(
        "missing_dependency", "Decoding with PyTorch needs the package safetensors: pip install safetensors."
    ) from missing


def _vertex_predictor() -> tuple[torch.nn.Module, tuple[str, ...]]:
    from ...models.body_catalogue import load_body
    from ...models.vertex_predictor import VertexPredictor

    return VertexPredictor(load_body()), ("rotations", "positions")


def _reference_encoder() -> tuple[torch.nn.Module, tuple[str, ...]]:
    from ...models.generator import ReferenceEncoder

    return ReferenceEncoder(), ("half", "quarter")


def _generator() -> tuple[torch.nn.Module, tuple[str, ...]]:
    from ...models.generator import Generator

    return Generator(), ("picture",)


_MODULES: dict[str, Callable[[], tuple[torch.nn.Module, tuple[str, ...]]]] = {
    "vertex_predictor": _vertex_predictor,
    "reference_encoder": _reference_encoder,
    "generator": _generator,
}
"""By weights file: makes the module, and names what it returns as the ONNX file does."""


class TorchNetwork:
    """A network run by PyTorch on ``device`` (``cuda``, ``mps``, or ``cpu`` to compare), in float32."""

    def __init__(self, name: str, device: str) -> None:
        torch.backends.cudnn.allow_tf32 = False  # its ten bits would set pictures apart from ONNX Runtime's
        self._device = torch.device(device)
        module, self._outputs = _MODULES[name]()
        module.load_state_dict(load_file(weights_path(f"{name}.safetensors")))
        self._module = module.eval().to(self._device)
        self._last: dict[str, tuple[np.ndarray, torch.Tensor]] = {}

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Run once."""
        with torch.inference_mode():
            returned = self._module(**{name: self._tensor(name, array) for name, array in inputs.items()})
        tensors = returned if isinstance(returned, tuple) else (returned,)
        return {
            name: tensor.float().cpu().numpy() for name, tensor in zip(self._outputs, tensors, strict=True)
        }

    def _tensor(self, name: str, array: np.ndarray) -> torch.Tensor:
        """Copy ``array`` to the device, unless it is the last call's (as a reference's features are)."""
        last = self._last.get(name)
        if last is None or last[0] is not array:
            last = array, torch.from_numpy(np.ascontiguousarray(array)).to(self._device)
            self._last[name] = last
        return last[1]
