# SPDX-License-Identifier: GPL-3.0-or-later
"""Every bench in its quick form, by the command line, and the page that is made of them."""

import json
import os
from pathlib import Path

import pytest

pytest.importorskip("anny")
pytest.importorskip("matplotlib")
pytest.importorskip("markdown")
pytest.importorskip("zstandard")

from sparse2dense.benchmarks import bench_report
from sparse2dense.inference.cli import main
from sparse2dense.models.training.motion import ARCHIVE

pytestmark = pytest.mark.slow

DATA = os.environ.get("S2D_DATA")
NAMES = ("speed", "keypoints", "vertices")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    if not DATA or not (Path(DATA) / ARCHIVE).is_file():
        pytest.skip(f"S2D_DATA names no folder with {ARCHIVE}")
    folder = tmp_path_factory.mktemp("bench")
    for name in NAMES:
        assert main(["bench", name, "--quick", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def found(out):
    return {name: json.loads((out / f"{name}.json").read_text(encoding="utf-8")) for name in NAMES}


def test_every_measurement_says_where_it_comes_from(found):
    for results in found.values():
        assert {"machine", "versions", "commit", "date", "command"} <= set(results)


def test_stages_add_up_to_the_whole_way(found):
    speed = found["speed"]
    encoding = speed["encoding"]
    # Stages lie one after the other in it; what comes before the first is long on a busy machine.
    assert 0.3 < sum(encoding["stages_wall_ms"].values()) / encoding["wall_ms"] < 1.02
    short, long = speed["mesh"]
    assert long["frames"] == 2 * short["frames"]
    assert 0 < long["peak_mib"] < 1000
    assert speed["modules"]["generator"]["gmac"] > speed["modules"]["of that, dense_motion"]["gmac"] > 0


def test_coarser_steps_cost_fewer_bits_and_more_error(found):
    fine, coarse = next(iter(found["keypoints"]["sets"].values()))["steps"]
    assert fine["bits"] > coarse["bits"]
    assert fine["error_mm"] < coarse["error_mm"]


def test_noise_and_coding_cost_accuracy(found):
    conditions = found["vertices"]["conditions"]
    raw = {name: values["methods"]["network"]["raw_mm"] for name, values in conditions.items()}
    assert raw["noise 0 mm"] < raw["coded, step 6 mm"] < raw["noise 10 mm"]


def test_the_page_shows_them_all(out, found):
    page = out / "docs" / "RESULTS.md"
    assert main(["bench", "report", "--out", str(out), "--markdown", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.count("**A quick trial, not a measurement.**") == len(NAMES)
    assert f"| {found['vertices']['conditions']['noise 0 mm']['methods']['network']['raw_mm']:.1f} |" in text
    assert {path.name for path in (out / "docs" / "results").iterdir()} == {
        "vertices_heat.jpg",
        "keypoints_curves.jpg",
        *(f"{name}.json" for name in NAMES),
    }
    assert (out / bench_report.PAGE).stat().st_size > 50_000
