# SPDX-License-Identifier: GPL-3.0-or-later
"""Baking a clip: shape keys, an armature, Alembic and USD files."""
