# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs networks: ONNX Runtime on the processor, PyTorch on a GPU, threads over frames."""
