# SPDX-License-Identifier: GPL-3.0-or-later
"""What this Python can decode with: asked by the add-on of a Python that its user points it to."""

from __future__ import annotations

import importlib.util
import platform
from typing import Any

from ..models.errors import S2DError

PACKAGES = {
    "numpy": "numpy",
    "cv2": "opencv-python-headless",
    "onnxruntime": "onnxruntime",
    "constriction": "constriction",
    "torch": "torch",
    "safetensors": "safetensors",
}
"""What decoding on a GPU imports, and what pip calls it."""


def probe() -> dict[str, Any]:
    """Return what there is to decode on a GPU with.

    ``python`` and ``torch`` are versions, ``missing`` the packages to install, ``device`` is ``cuda``,
    ``mps`` or ``cpu``, and ``device_name`` what its maker calls it. Raises S2DError where PyTorch does not
    start.
    """
    missing = [name for module, name in PACKAGES.items() if importlib.util.find_spec(module) is None]
    found = {"python": platform.python_version(), "missing": missing, "device": "cpu"}
    found |= {"torch": "", "device_name": platform.processor() or platform.machine()}
    if "torch" in missing:
        return found
    try:
        import torch
    except (ImportError, OSError) as error:
        raise S2DError("torch", f"PyTorch does not start ({error}): install it anew.") from error
    found["torch"] = torch.__version__
    if torch.cuda.is_available():
        found |= {"device": "cuda", "device_name": torch.cuda.get_device_name()}
    elif torch.backends.mps.is_available():
        found |= {"device": "mps"}
    return found
