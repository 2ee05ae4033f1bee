# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a file: to programs as JSON, to people as a table."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from sparse2dense.inference.format.container import S2DFile
from sparse2dense.inference.format.info import bytes_table, file_info
from sparse2dense.models.keypoints import KEYPOINT_NAMES
from sparse2dense.models.shipped import WEIGHTS

DATA = Path(__file__).parents[2] / "data"


def test_what_a_filmed_clip_holds(filmed, filmed_file):
    path, sizes = filmed_file
    info = json.loads(json.dumps(file_info(S2DFile.open(path))))
    networks = info.pop("networks")
    assert {name: digest for name, digest in networks.items()} == {
        name: hashlib.sha256((WEIGHTS / f"{name}.onnx").read_bytes()).hexdigest()[:8]
        for name in ("vertex_predictor", "reference_encoder", "generator")
    }
    np.testing.assert_allclose(info.pop("shape"), filmed.shape, atol=1e-3)
    rates = info.pop("kbps")
    assert info == {
        "version": 2,
        "people": 1,
        "shown": 1,
        "frames": 320,
        "fps": [30000, 1001],
        "seconds": pytest.approx(320 * 1001 / 30000),
        "size": [136, 200],
        "camera": [[210.5, 0, 68], [0, 211, 99.5], [0, 0, 1]],
        "moving_camera": True,
        "moving_plate": False,
        "keypoint_names": list(KEYPOINT_NAMES),
        "keypoint_step_mm": 4,
        "group_frames": 300,
        "references": 2,
        "body": "anny",
        "doubts": None,
        "bytes": sizes,
    }
    assert rates.keys() == sizes.keys()
    for name, size in sizes.items():
        assert rates[name] == pytest.approx(size * 8 / (320 * 1001 / 30000) / 1000, abs=5e-5)
        assert rates[name] == round(rates[name], 4)


def test_every_byte_is_accounted_for(filmed_file, panned_file):
    for path, sizes in (filmed_file, panned_file):
        found = file_info(S2DFile.open(path))["bytes"]
        assert found == sizes
        assert sizes["total"] == path.stat().st_size
        assert sizes["total"] == sum(size for name, size in sizes.items() if name != "total")
    assert list(filmed_file[1]) == ["header", "plate", "reference", "keypoints", "index", "total"]
    assert set(panned_file[1]) - set(filmed_file[1]) == {"camera_motion"}
    assert filmed_file[1]["header"] < 150


def test_a_motion_has_no_pictures_to_tell_of():
    info = file_info(S2DFile.open(DATA / "golden_spaced.s2d"))
    assert (info["references"], info["moving_plate"]) == (0, False)
    assert list(info["bytes"]) == ["header", "keypoints", "index", "total"]


def test_people_get_a_table(filmed_file):
    info = file_info(S2DFile.open(filmed_file[0]))
    info["bytes"] = {"header": 91, "keypoints": 12_345, "total": 12_436}
    info["kbps"] = {"header": 0.0682, "keypoints": 9.2495, "total": 9.3177}
    assert bytes_table(info) == [
        "part             bytes    kbit/s",
        "header              91      0.07",
        "keypoints       12,345      9.25",
        "total           12,436      9.32",
    ]
