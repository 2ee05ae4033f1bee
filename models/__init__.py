# SPDX-License-Identifier: GPL-3.0-or-later
"""Bodies, keypoints, the networks by the paper's names, and their weights."""
