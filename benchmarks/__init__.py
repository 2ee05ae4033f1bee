# SPDX-License-Identifier: GPL-3.0-or-later
"""Measurements that a sceptic can repeat: ``s2d bench``."""
