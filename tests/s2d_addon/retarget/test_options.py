# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene's settings: a newly chosen armature gets the map that fits, and maps are kept in lines."""

import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from sparse2dense.s2d_addon.bake.rig import simple_rig
from sparse2dense.s2d_addon.retarget import bone_maps

from .stand_in import Hero, settings

MIXAMO = next(preset for preset in bone_maps.PRESETS if preset.label == "Mixamo")


@pytest.fixture
def hero(addon):
    names = [f"mixamorig:{name}" for name in MIXAMO.bones.values()]
    count = len(names)
    return Hero(
        addon.bpy,
        simple_rig(names, np.arange(count) - 1, np.tile(np.eye(4), (count, 1, 1)), np.ones((count, 3))),
    )


@pytest.fixture
def registered(addon):
    """The settings' properties, as Blender is shown them."""
    with mock.patch.dict(sys.modules, addon.modules):
        addon.operators.register()
    yield addon.options.S2DRetargetSettings.__annotations__
    addon.operators.unregister()


def test_a_chosen_armature_gets_the_map_that_fits(addon, hero, registered):
    made = settings(hero, outcome="old")
    update = registered["target"].options["update"]
    update(made, None)
    assert made.preset == "Mixamo"
    assert made.outcome == ""
    assert [pair.name for pair in made.pairs] == list(bone_maps.BONES)
    assert made.pairs["forearm.R"].theirs == "mixamorig:RightForeArm"
    assert made.pairs["spine.005"].theirs == ""
    mapped = addon.options.mapped_bones(made)
    assert mapped == {ours: f"mixamorig:{theirs}" for ours, theirs in MIXAMO.bones.items()}
    assert next(iter(mapped)) == "spine"
    made.target = None
    update(made, None)
    assert made.preset == ""
    assert addon.options.mapped_bones(made) == {}
    assert len(made.pairs) == len(bone_maps.BONES)


def test_only_armatures_that_are_no_clips_can_be_chosen(addon, registered, hero, monkeypatch):
    monkeypatch.setattr(addon.options, "scene", SimpleNamespace(find_root=lambda item: item.clip))
    poll = registered["target"].options["poll"]
    hero.clip = None
    assert poll(None, hero)
    hero.type = "MESH"
    assert not poll(None, hero)
    hero.type, hero.clip = "ARMATURE", "a clip"
    assert not poll(None, hero), "a baked clip's own"


def test_every_scene_has_the_settings_while_the_add_on_is_on(addon):
    scene = addon.bpy.types.Scene
    with mock.patch.dict(sys.modules, addon.modules):
        addon.operators.register()
    assert scene.s2d_retarget.options["type"] is addon.options.S2DRetargetSettings
    context = SimpleNamespace(scene=SimpleNamespace(s2d_retarget="the settings"))
    assert addon.options.retarget_settings(context) == "the settings"
    addon.operators.unregister()
    assert "s2d_retarget" not in vars(scene)


def test_tolerances_are_a_degree_and_two_millimetres(registered):
    assert registered["angle"].options["default"] == pytest.approx(np.radians(1))
    assert registered["angle"].options["min"] == 0
    assert registered["distance"].options["default"] == 2
    assert registered["distance"].options["min"] == 0
    assert registered["keep_feet"].options["default"]
    assert {item[0] for item in registered["place"].options["items"]} == {"ARMATURE", "CLIP"}


def test_own_maps_are_kept_with_the_extension_or_with_blenders_files(addon, monkeypatch):
    def extension(package, path):
        if installed:
            return f"/{package}/{path}"
        raise ValueError("no extension")

    monkeypatch.setattr(addon.bpy.utils, "extension_path_user", extension)
    monkeypatch.setattr(addon.bpy.utils, "user_resource", lambda kind, path: f"/{kind}/{path}")
    installed = True
    assert addon.options.own_folder() == Path("/sparse2dense/bone_maps")
    installed = False
    assert addon.options.own_folder() == Path("/DATAFILES/sparse2dense_bone_maps")
