# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion files of other programs, read: named points in metres with a frame rate."""
