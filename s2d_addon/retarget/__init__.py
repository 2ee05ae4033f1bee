# SPDX-License-Identifier: GPL-3.0-or-later
"""Applying a clip's motion to the user's own character."""
