# SPDX-License-Identifier: GPL-3.0-or-later
"""Building and checking the extension's zips, and finding a Blender for tests and the demo."""
