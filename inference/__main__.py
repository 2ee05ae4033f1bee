# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m sparse2dense.inference``: the same as the ``s2d`` command."""

from .cli import main

raise SystemExit(main())
