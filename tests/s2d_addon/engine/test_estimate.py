# SPDX-License-Identifier: GPL-3.0-or-later
"""How long encoding will take: as the last encodings here did, for what there is to do."""

import pytest
from sparse2dense.s2d_addon.engine.estimate import Encoding, estimate, note

SHORT = Encoding(frames=100, rate=25, film_pixels=1280 * 720, canvas_pixels=256 * 456)


def test_estimate_follows_the_encodings_of_this_machine(tmp_path):
    measured = tmp_path / "not there yet" / "encodings.json"
    guess, known = estimate(SHORT, measured)
    assert not known and 2 < guess < 60
    for _ in range(3):
        note(SHORT, 4 * guess, measured)
    assert estimate(SHORT, measured) == (pytest.approx(4 * guess), True)
    for _ in range(5):  # a faster machine now, and one that was slow once
        note(SHORT, guess / 2, measured)
    note(SHORT, 100 * guess, measured)
    assert estimate(SHORT, measured)[0] == pytest.approx(guess / 2)


def test_more_to_do_takes_longer(tmp_path):
    usual = estimate(SHORT, tmp_path / "none")[0]
    longer = Encoding(400, 25, SHORT.film_pixels, SHORT.canvas_pixels)
    finer = Encoding(100, 25, SHORT.film_pixels, 4 * SHORT.canvas_pixels)
    larger = Encoding(100, 25, 9 * SHORT.film_pixels, SHORT.canvas_pixels)
    for other in (longer, finer, larger):
        assert estimate(other, tmp_path / "none")[0] > 1.3 * usual
    slow_motion = Encoding(400, 100, SHORT.film_pixels, SHORT.canvas_pixels)  # the same four seconds
    assert usual < estimate(slow_motion, tmp_path / "none")[0] < estimate(longer, tmp_path / "none")[0]
    assert SHORT.size("SMALL") < SHORT.size("BALANCED") < SHORT.size("BALANCED", 3) < SHORT.size("HIGH", 3)


@pytest.mark.parametrize("content", ["no json", "{}", "[-1, 0, 1e9]", '["x"]', "5"])
def test_a_damaged_file_is_none(tmp_path, content):
    (tmp_path / "measured.json").write_text(content)
    assert estimate(SHORT, tmp_path / "measured.json") == estimate(SHORT, tmp_path / "none")
