# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading and writing films, streamed both ways: the one room that opens a film, through PyAV."""
