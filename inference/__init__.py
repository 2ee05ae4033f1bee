# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine: the `.s2d` file, capture, decoding, the command line and the worker; nothing of Blender."""

import os

# NumPy's BLAS is called for many small products, in which its threads mostly wait for each other, awake: one
# takes less time, and half the processor's. Frames are what is worked on several at once.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
