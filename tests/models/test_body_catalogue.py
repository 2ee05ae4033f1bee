# SPDX-License-Identifier: GPL-3.0-or-later
"""Bodies are opened by name, from a file or from the folder where the user keeps theirs."""

import numpy as np
import pytest
from sparse2dense.inference.decoding.point_cache import rest_for_blender
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.errors import InputError
from sparse2dense.models.shaped_body import ShapedBody
from sparse2dense.models.smpl import model_file


@pytest.mark.parametrize(
    ("name", "files"),  # the first of the files is the one to be taken
    [
        ("smpl", ["smpl/SMPL_NEUTRAL.pkl", "smpl/SMPL_MALE.pkl", "SMPLX_NEUTRAL.npz"]),
        ("smpl", ["basicmodel_neutral_lbs_10_207_0_v1.1.0.pkl", "basicmodel_f_lbs_10_207_0_v1.1.0.pkl"]),
        ("smplh", ["smplh/neutral/model.npz", "SMPLH_FEMALE.pkl"]),
        ("smplx", ["SMPLX_NEUTRAL_2020.npz", "SMPLX_FEMALE.npz", "SMPLX_NEUTRAL_2020_vertex_predictor.onnx"]),
        ("smplx", ["a folder/SMPLX_MALE.npz"]),
    ],
)
def test_a_folder_is_searched_for_the_names_that_files_come_with(tmp_path, name, files):
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert model_file(name, tmp_path) == tmp_path / files[0]


def test_a_folder_without_the_model_is_said_so(tmp_path):
    (tmp_path / "SMPL_NEUTRAL.npz").touch()
    with pytest.raises(InputError, match=r"SMPLX_NEUTRAL\.npz") as caught:
        load_body("smplx", tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_the_packaged_body_needs_no_folder(tmp_path):
    body = load_body("anny", tmp_path)
    rest = rest_for_blender(ShapedBody(body, np.zeros(body.shape_size)))
    assert rest[:, 2].min() == 0 and rest[:, 2].max() > 1.5
