# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine from Blender's side: the child process, what it leaves, and where that is kept."""
