# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine: the `.s2d` file, capture, decoding, the command line and the worker; nothing of Blender."""
