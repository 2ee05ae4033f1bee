# SPDX-License-Identifier: GPL-3.0-or-later
"""The ``.s2d`` bit stream, whole: what a file holds, and its bytes (``docs/FORMAT.md``)."""
