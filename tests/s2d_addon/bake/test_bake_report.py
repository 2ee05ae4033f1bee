# SPDX-License-Identifier: GPL-3.0-or-later
"""What a bake made or what went wrong, in one line."""

import errno

from sparse2dense.models.errors import InputError
from sparse2dense.s2d_addon.bake.bake_report import Baked, told


def test_what_was_baked_is_told_in_millimetres_with_its_keys():
    said = Baked(frames=100, mean=0.001234, worst=0.0456, keys=17).describe("Armature")
    assert said == "Armature: 100 frames, 17 keys, 1.23 mm off on average, 45.60 mm at most"


def test_a_file_has_no_keys():
    said = Baked(frames=3, mean=0.0, worst=0.00001).describe("USD")
    assert said == "USD: 3 frames, 0.00 mm off on average, 0.01 mm at most"


def test_a_files_size_and_place_are_told(tmp_path):
    file = tmp_path / "walk.usdc"
    file.write_bytes(bytes(2_340_000))
    assert Baked(frames=3, mean=0.0, worst=0.0, file=file).describe("USD").endswith(f", 2.3 MB in {file}")


def test_errors_say_what_went_wrong_where_and_what_to_do():
    named = OSError(errno.EACCES, "Permission denied", "/maps/a.json")
    assert told(named, "Free it.") == "/maps/a.json: Permission denied. Free it."
    assert told(OSError("/clip/mesh.pc2 is damaged"), "Import it.") == "/clip/mesh.pc2 is damaged. Import it."
    assert told(InputError("bone_map", "No map: choose one."), "Free it.") == "No map: choose one."
