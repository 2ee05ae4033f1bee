# SPDX-License-Identifier: GPL-3.0-or-later
"""Decoded clips, written as files of other programs."""
