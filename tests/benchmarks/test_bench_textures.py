# SPDX-License-Identifier: GPL-3.0-or-later
"""The texture bench draws a texture where the body shows it, and its rivals are what they are called."""

import numpy as np
import pytest

pytest.importorskip("numba")
pytest.importorskip("anny")

from sparse2dense.benchmarks import bench_textures as bench
from sparse2dense.inference.format.clip import Reference
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.camera import Camera

BODY = load_body()
CAMERA = Camera(300, 300, 128, 128)


@pytest.fixture(scope="module")
def standing():
    vertices = BODY.rest(np.zeros(BODY.shape_size))[0]
    return (vertices - vertices.mean(axis=0) + [0, 0, 2.6]).astype(np.float32)


@pytest.fixture(scope="module")
def reference(standing):
    """A body whose upper half is red and whose lower half is blue."""
    half = np.full((512, 512, 3), (200, 20, 20), np.uint8)
    red, covered = bench.draw(BODY, standing, CAMERA, half, (256, 256))
    picture = np.where((covered > 0)[..., None], red, 128).astype(np.uint8)
    picture[140:][covered[140:] > 0] = (20, 20, 200)
    return Reference(0, picture, np.uint8(255 * (covered > 0.5)))


def test_what_is_projected_is_drawn_where_it_was(standing, reference):
    texture = bench.projection(BODY, CAMERA, reference, standing)
    drawn, covered = bench.draw(BODY, standing, CAMERA, texture, (256, 256))
    inside = covered == 1
    off = np.abs(drawn[inside].astype(int) - reference.picture[inside])
    assert np.median(off) == 0
    assert off.mean() < 20


def test_a_part_has_the_mean_of_what_is_shown_of_it(standing, reference):
    texture = bench.mean_colours(BODY, CAMERA, reference, standing)
    drawn, covered = bench.draw(BODY, standing, CAMERA, texture, (256, 256))
    row, column = np.argwhere(covered == 1).T
    head, foot = row.argmin(), row.argmax()
    np.testing.assert_allclose(drawn[row[head], column[head]], (200, 20, 20), atol=30)
    np.testing.assert_allclose(drawn[row[foot], column[foot]], (20, 20, 200), atol=30)


def test_a_table_says_by_how_much_it_is_better():
    worse = {"vggcos": 0.08, "ssimulacra2": -20.0, "psnr": 15.0}
    better = {"vggcos": 0.04, "ssimulacra2": -5.0, "psnr": 20.0}
    groups = ("all", "front", "side", "back")
    values = {method: dict.fromkeys(groups, worse) for method in ("ours", "parts", "projected")}
    values |= {"sent": dict.fromkeys(groups, better), "seconds": 0.5, "sent_seconds": 4.0, "bytes": 9100.0}
    text = "\n".join(bench.tables({"people": 3, "references": {"1": values}}))
    (line,) = (line for line in text.splitlines() if "9.1 kB" in line)
    assert line.count("50% in VGGcos and 15.0 in SSIMULACRA2") == 3
    assert "Better by 0% in VGGcos and 0.0 in SSIMULACRA2" in text
    assert "0.0400" in text and "-5.0" in text
