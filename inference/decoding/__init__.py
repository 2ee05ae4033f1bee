# SPDX-License-Identifier: GPL-3.0-or-later
"""From a clip to meshes, skeletons and pictures, and to the files that hold them."""
