# SPDX-License-Identifier: GPL-3.0-or-later
"""Making everything under ``models/weights``: bodies, motion, synthetic people, training and export."""
