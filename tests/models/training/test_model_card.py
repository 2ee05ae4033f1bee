# SPDX-License-Identifier: GPL-3.0-or-later
"""Measured figures go into the model card by themselves."""

import pytest
from sparse2dense.models.errors import InputError
from sparse2dense.models.training.model_card import put_into_card


def test_a_measured_part_replaces_what_stood_between_its_marks_and_nothing_else(tmp_path):
    card = tmp_path / "CARD.md"
    card.write_text("Before.\n<!-- speed -->\nold\n<!-- end of speed -->\nAfter.\n", encoding="utf-8")
    for lines in (["| new |", "| 3 mm, better ↓ |"], ["| newer |"]):
        put_into_card(card, "speed", lines)
        wanted = ["Before.", "<!-- speed -->", *lines, "<!-- end of speed -->", "After."]
        assert card.read_text(encoding="utf-8").splitlines() == wanted


def test_a_card_without_the_place_stays_as_it_is(tmp_path):
    card = tmp_path / "CARD.md"
    card.write_text("<!-- speed -->\n", encoding="utf-8")
    with pytest.raises(InputError, match="end of speed"):
        put_into_card(card, "speed", ["new"])
    assert card.read_text(encoding="utf-8") == "<!-- speed -->\n"
