# SPDX-License-Identifier: GPL-3.0-or-later
"""Running a shipped network: by ONNX Runtime on the processor, or by PyTorch on a GPU.

Everything above this module calls a :class:`Network` with named arrays and does not know which of
the two runs it. ONNX Runtime is the default, needs no PyTorch and is what runs inside Blender;
:mod:`.backend_torch` is imported only when a GPU is to be used. A test says how close they are.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from ...models.errors import InputError
from ...models.shipped import weights_path

DEVICES = ("auto", "cpu", "cuda", "mps")


class Network(Protocol):
    """A network with fixed weights: named arrays in, named arrays out."""

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Run once; names, shapes and dtypes are those of the exported ONNX file."""
        ...


class OnnxNetwork:
    """A network run by ONNX Runtime on the processor."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or os.cpu_count() or 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Spinning burns the cores that the rest of a frame's work could use meanwhile.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._outputs = [output.name for output in self._session.get_outputs()]

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Run once."""
        return dict(zip(self._outputs, self._session.run(self._outputs, inputs), strict=True))


def resolve_device(device: str = "auto") -> str:
    """Turn a ``--device`` choice into ``cpu``, ``cuda`` or ``mps``.

    ``auto`` is ``cuda`` where PyTorch and a usable NVIDIA GPU are both there, else ``cpu``; PyTorch
    is not even imported unless the driver says that there is a GPU. InputError ``device`` where the
    device asked for cannot be used.
    """
    if device not in DEVICES:
        raise InputError("device", f"Unknown device '{device}': choose one of {', '.join(DEVICES)}.")
    if device == "cpu" or (device == "auto" and not _nvidia_gpu_present()):
        return "cpu"
    if importlib.util.find_spec("torch") is None:
        if device == "auto":
            return "cpu"
        raise InputError(
            "device", f"--device {device} needs PyTorch, which is not installed here: use --device cpu."
        )
    import torch

    usable = torch.backends.mps.is_available() if device == "mps" else torch.cuda.is_available()
    if device == "auto":
        return "cuda" if usable else "cpu"
    if not usable:
        raise InputError("device", f"PyTorch finds no usable {device} device here: use --device cpu.")
    return device


def load_network(name: str | Path, device: str = "auto", threads: int | None = None) -> Network:
    """Load the shipped network ``name`` (a file name in ``models/weights`` without its ending).

    A path, likewise without its ending, is that of a vertex predictor somebody trained for a body of their
    own: it is small and always runs on the processor. ``device`` as in :func:`resolve_device`; ``threads`` is
    the number of processor threads (default: all cores) and has no meaning on a GPU.
    """
    resolved = resolve_device(device)
    if isinstance(name, Path):
        return _own_network(Path(f"{name}.onnx"), threads)
    if resolved == "cpu":
        return OnnxNetwork(weights_path(f"{name}.onnx"), threads)
    from .backend_torch import TorchNetwork

    return TorchNetwork(name, resolved)


def _own_network(path: Path, threads: int | None) -> Network:
    try:
        return OnnxNetwork(path, threads)
    except Exception as error:  # whatever ONNX Runtime finds wrong with it
        raise InputError("weights", f"{path} is no network that can be run: train it again.") from error


NetworkLoader = Callable[[str], Network]
"""What a part that needs networks is given: a network's name to the network on the chosen device."""


def _nvidia_gpu_present() -> bool:
    """Ask the NVIDIA driver itself, which is quick, where importing PyTorch takes seconds."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        count = ctypes.c_int(0)
        return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    except OSError:
        return False
