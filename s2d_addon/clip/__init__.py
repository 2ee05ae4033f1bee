# SPDX-License-Identifier: GPL-3.0-or-later
"""An imported clip in the scene: its parts, its time and place, its clean-up, and what keeps it alive."""
