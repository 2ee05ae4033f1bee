# SPDX-License-Identifier: GPL-3.0-or-later
"""From a film, or from somebody's own keypoints, to a clip."""
