# SPDX-License-Identifier: GPL-3.0-or-later
"""Bone maps: presets of other programs' rigs, what can be used of them, and the user's own."""

import json

import pytest
from sparse2dense.models.errors import InputError
from sparse2dense.s2d_addon.retarget import bone_maps

PRESETS = {preset.label: preset for preset in bone_maps.PRESETS}


# ---- presets ---------------------------------------------------------------------------------


def test_presets_name_the_bones_of_both_sides():
    mixamo = PRESETS["Mixamo"].bones
    assert mixamo["spine"] == "Hips"
    assert mixamo["spine.003"] == "Spine2"
    assert mixamo["spine.006"] == "Head"
    assert mixamo["upper_arm.L"] == "LeftArm"
    assert mixamo["toe.R"] == "RightToeBase"
    assert "spine.005" not in mixamo
    assert PRESETS["Unreal 5"].bones["thigh.R"] == "thigh_r"
    assert PRESETS["Rigify Metarig"].bones == {ours: ours for ours in bone_maps.BONES}
    assert PRESETS["Rigify Deform Bones"].bones["foot.L"] == "DEF-foot.L"


@pytest.mark.parametrize("preset", bone_maps.PRESETS, ids=lambda preset: preset.label)
def test_every_preset_maps_hips_head_and_limbs_once_and_is_found_by_its_rig(preset):
    bones = preset.bones
    assert set(bones) <= set(bone_maps.BONES)
    assert len(set(bones.values())) == len(bones)
    assert {"spine", "spine.006", "upper_arm.L", "hand.R", "thigh.L", "foot.R"} <= bones.keys()
    assert bone_maps.detect(bones.values()) is preset
    assert bone_maps.match(bones, bones.values()) == bones


@pytest.mark.parametrize(
    "before", ["", "mixamorig:", "mixamorig5:", "mixamorig_", "mixamorig", "Rig|mixamorig:"]
)
def test_names_are_found_in_any_case_and_namespace(before):
    mixamo = PRESETS["Mixamo"]
    names = [f"{before}{name}" for name in mixamo.bones.values()]
    assert bone_maps.detect(names) is mixamo
    assert list(bone_maps.match(mixamo.bones, names).values()) == names
    shouted = [name.upper() for name in names]
    assert list(bone_maps.match(mixamo.bones, shouted).values()) == shouted


def test_presets_stay_as_their_makers_name_them():
    with pytest.raises(AttributeError):
        PRESETS["Mixamo"].trunk = "Pelvis"


def test_of_bones_alike_the_first_is_taken():
    assert bone_maps.match({"spine": "hips"}, ["Hips", "hips", "a:hips"]) == {"spine": "Hips"}


def test_a_rig_with_most_of_a_presets_bones_is_that_rig_and_with_few_none():
    names = list(PRESETS["MPFB Default, MakeHuman"].bones.values())
    assert bone_maps.detect(names[: round(0.65 * len(names))]) is PRESETS["MPFB Default, MakeHuman"]
    assert bone_maps.detect(names[: round(0.55 * len(names))]) is None
    ten = [name for name in names if "leg" in name or "foot" in name or "toe" in name]
    assert bone_maps.detect(ten) is None
    assert bone_maps.detect([]) is None
    assert bone_maps.detect(iter(["Bone", "Bone.001"])) is None


def test_six_tenths_of_a_presets_bones_are_enough():
    names = list(PRESETS["Unreal 5"].bones.values())
    assert len(names) == 23
    assert bone_maps.detect(names[-14:]) is not None
    assert bone_maps.detect(names[-13:]) is None


def test_labels_are_what_animators_call_bones():
    assert [bone_maps.label(ours) for ours in bone_maps.TRUNK_BONES] == [
        "Hips", "Spine", "Spine 2", "Chest", "Neck", "Neck 2", "Head"
    ]  # fmt: skip
    assert bone_maps.label("upper_arm.L") == "Upper Arm.L"


def test_fk_controls_are_known_by_their_ending():
    assert bone_maps.has_fk_controls(PRESETS["Rigify Controls (FK)"].bones.values())
    assert bone_maps.has_fk_controls(["torso", "upper_arm_fk.L"])
    assert bone_maps.has_fk_controls(PRESETS["Auto-Rig Pro Controls (FK)"].bones.values())
    assert not bone_maps.has_fk_controls(PRESETS["Rigify Metarig"].bones.values())
    assert not bone_maps.has_fk_controls(["arm.fk", "my_fk_arm", "x._fk"])


# ---- what can be used ------------------------------------------------------------------------

USABLE = {"spine": "Hips", "thigh.L": "Leg", "foot.L": "Foot"}
LOOSE = dict.fromkeys(["Hips", "Leg", "Foot", "Tail"], False)


def test_a_usable_map_is_no_error():
    bone_maps.check(USABLE, "Hero", LOOSE, keep_feet=True)
    bone_maps.check({"spine": "Hips", "foot.R": "Foot"}, "Hero", LOOSE, keep_feet=True)
    bone_maps.check({"spine": "Hips"}, "Hero", LOOSE, keep_feet=False)
    bone_maps.check(USABLE, "Hero", LOOSE | {"Leg": True, "Foot": True}, keep_feet=True)


@pytest.mark.parametrize(
    ("bones", "connected", "said"),
    [
        (USABLE | {"hand.L": "Paw"}, LOOSE, '"Hero" has no bone "Paw": pick'),
        (USABLE | {"hand.L": "Leg"}, LOOSE, '"Leg" is in the list twice: keep'),
        ({"thigh.L": "Leg", "foot.L": "Foot"}, LOOSE, "hips are not mapped: pick"),
        ({}, LOOSE, "hips are not mapped"),
        ({"spine": "Hips", "toe.L": "Foot"}, LOOSE, 'No foot is mapped: .*"Keep Feet on Floor" off'),
        (USABLE, LOOSE | {"Hips": True}, '"Hips" is connected to its parent .*: disconnect'),
    ],
)
def test_a_map_that_cannot_be_used_says_what_to_do(bones, connected, said):
    with pytest.raises(InputError, match=said) as raised:
        bone_maps.check(bones, "Hero", connected, keep_feet=True)
    assert raised.value.code == "bone_map"


# ---- by name ---------------------------------------------------------------------------------


def test_a_preset_is_found_by_its_name_or_by_the_rig(tmp_path):
    unreal = PRESETS["Unreal 5"]
    names = list(unreal.bones.values())
    assert bone_maps.find("", "Hero", names, tmp_path) == ("Unreal 5", unreal.bones)
    assert bone_maps.find("Mixamo", "Hero", names, tmp_path) == ("Mixamo", PRESETS["Mixamo"].bones)
    bone_maps.save(tmp_path, "mine", USABLE)
    assert bone_maps.find("mine", "Hero", names, tmp_path) == ("mine", USABLE)
    with pytest.raises(InputError, match='No preset fits "Hero", whose') as raised:
        bone_maps.find("", "Hero", iter(["Bone", "Bone.001"]), tmp_path)
    assert raised.value.code == "bone_map"
    assert '"Bone", "Bone.001"' in str(raised.value), "what it has"
    assert "Unreal 5" in str(raised.value), "and what was looked for"
    with pytest.raises(OSError, match="other"):
        bone_maps.find("other", "Hero", names, tmp_path)


# ---- the user's own --------------------------------------------------------------------------


def test_own_maps_are_kept_under_their_names(tmp_path):
    folder = tmp_path / "maps"
    assert bone_maps.own_presets(folder) == []
    bones = {"spine": "Becken ü", "upper_arm.L": "腕"}
    path = bone_maps.save(folder, "mein rig", bones)
    assert path == folder / "mein rig.json"
    bone_maps.save(folder, "a", {})
    (folder / "notes.txt").write_text("none of them")
    assert bone_maps.own_presets(folder) == ["a", "mein rig"]
    assert bone_maps.load(path) == bones
    bone_maps.save(folder, "mein rig", {"spine": "Hips"})
    assert bone_maps.load(path) == {"spine": "Hips"}
    assert "腕" in bone_maps.save(folder, "b", bones).read_text(encoding="utf-8"), (
        "people can read and edit it"
    )


def test_bones_that_the_clip_does_not_have_are_passed_over(tmp_path):
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"bones": {"spine": "Hips", "tail": "Tail"}, "version": 9}))
    assert bone_maps.load(path) == {"spine": "Hips"}


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"bones": []}', '{"bones": null}', "[" * 5000, "\\ud800", '{"bones": 3}']
)
def test_files_that_are_no_maps_are_refused_by_name(tmp_path, content):
    path = tmp_path / "mein rig.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"mein rig\.json is no bone map: save one") as raised:
        bone_maps.load(path)
    assert raised.value.code == "bone_map"


def test_files_that_hold_something_else_than_names_are_refused(tmp_path):
    path = tmp_path / "mein rig.json"
    for value in (3, None, ["Hips"], "x" * 256):
        path.write_text(json.dumps({"bones": {"spine": value}}))
        with pytest.raises(InputError, match=r"mein rig\.json has something else") as raised:
            bone_maps.load(path)
        assert raised.value.code == "bone_map"
    path.write_text(json.dumps({"bones": {"spine": "x" * 255}}))
    assert bone_maps.load(path) == {"spine": "x" * 255}


def test_huge_files_are_not_read(tmp_path):
    path = tmp_path / "mein rig.json"
    whole = json.dumps({"bones": {"spine": "Hips"}})
    path.write_text(whole + " " * ((1 << 20) - len(whole)))
    assert bone_maps.load(path) == {"spine": "Hips"}
    path.write_text(whole + " " * ((1 << 20) - len(whole) + 1))
    with pytest.raises(InputError, match="too large") as raised:
        bone_maps.load(path)
    assert raised.value.code == "bone_map"


@pytest.mark.parametrize(
    "name", ["", " ", "a/b", "a\\b", "..", "nul\0", " x", "x ", "x.", "a:b", 'a"b', "a?b", "a\nb"]
)
def test_names_that_no_file_can_have_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="cannot be a file's name: use") as raised:
        bone_maps.save(tmp_path, name, {})
    assert raised.value.code == "bone_map"
    assert not list(tmp_path.iterdir())
