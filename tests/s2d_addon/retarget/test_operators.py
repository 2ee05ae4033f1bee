# SPDX-License-Identifier: GPL-3.0-or-later
"""The buttons: when they can be pressed, what they say, and what the panel shows."""

import errno
from types import SimpleNamespace

import numpy as np
import pytest
from sparse2dense.models.errors import InputError
from sparse2dense.s2d_addon.bake.rig import simple_rig
from sparse2dense.s2d_addon.retarget import bone_maps
from sparse2dense.s2d_addon.retarget.fit_report import Applied

from .stand_in import Hero, Layout, Named, settings

MIXAMO = next(preset for preset in bone_maps.PRESETS if preset.label == "Mixamo")


def hero_with(addon, names):
    count = len(names)
    rest = np.tile(np.eye(4), (count, 1, 1))
    return Hero(addon.bpy, simple_rig(list(names), np.arange(count) - 1, rest, np.ones((count, 3))))


@pytest.fixture
def stage(addon, tmp_path, monkeypatch):
    """A scene with a clip that is active, and an armature that is chosen."""
    operators = addon.operators
    made = SimpleNamespace(folder=tmp_path, hero=hero_with(addon, MIXAMO.bones.values()), said=[], mesh={})
    made.settings = settings(made.hero)
    made.context = SimpleNamespace(
        scene=SimpleNamespace(s2d_retarget=made.settings),
        view_layer=SimpleNamespace(objects=Named([made.hero])),
    )
    made.active = True
    monkeypatch.setattr(operators.ClipOperator, "poll", classmethod(lambda _cls, _context: made.active))
    monkeypatch.setattr(operators, "active_clip", lambda context: (context is made.context) and "the clip")
    monkeypatch.setattr(operators, "own_folder", lambda: tmp_path)
    scene = SimpleNamespace(WAITING="clip_waiting", find_part=lambda root, part: made.mesh, find_root=bool)
    monkeypatch.setattr(operators, "scene", scene)

    def press(operator, **properties):
        button = operator()
        for name, value in properties.items():
            setattr(button, name, value)
        button.report = lambda kinds, text: made.said.append((*kinds, text))
        return button.execute(made.context)

    made.press = press
    return made


def mapped(stage):
    return {pair.name: pair.theirs for pair in stage.settings.pairs if pair.theirs}


# ---- when ------------------------------------------------------------------------------------


def test_maps_need_a_clip_and_an_armature(addon, stage):
    button = addon.operators.S2D_OT_bone_map_preset
    assert button.poll(stage.context)
    stage.settings.target = None
    assert not button.poll(stage.context)
    assert button.said == "Choose the armature first"
    stage.settings.target, stage.active = stage.hero, False
    assert not button.poll(stage.context)


def test_motion_is_applied_only_where_it_can_be(addon, stage):
    button = addon.operators.S2D_OT_retarget
    assert button.poll(stage.context)
    stage.mesh = None
    assert button.poll(stage.context), "the mesh was deleted, its motion was not"
    for change, said in (
        (lambda: setattr(stage, "mesh", {"clip_waiting": True}), "still being decoded"),
        (lambda: setattr(stage.hero, "animation_data", SimpleNamespace(use_tweak_mode=True)), "tweak mode"),
        (lambda: setattr(stage.hero, "library", "another.blend"), "linked from another file"),
        (stage.context.view_layer.objects.clear, "not in this view layer"),
        (lambda: setattr(stage.settings, "target", None), "Choose the armature"),
    ):
        stage.mesh = {}
        change()
        assert not button.poll(stage.context)
        assert said in button.said
    stage.settings.target, stage.active = stage.hero, False
    assert not button.poll(stage.context)


def test_an_armature_of_the_same_name_elsewhere_is_not_it(addon, stage):
    stage.context.view_layer.objects[:] = [SimpleNamespace(name="Hero")]
    assert not addon.operators.S2D_OT_retarget.poll(stage.context)


def test_an_armature_that_is_animated_can_be_used(addon, stage):
    stage.hero.animation_data = SimpleNamespace(use_tweak_mode=False)
    assert addon.operators.S2D_OT_retarget.poll(stage.context)


# ---- maps ------------------------------------------------------------------------------------


def test_a_preset_fills_the_map(addon, stage):
    for preset in ("", "Mixamo"):
        assert stage.press(addon.operators.S2D_OT_bone_map_preset, preset=preset) == {"FINISHED"}
        assert mapped(stage) == MIXAMO.bones
        assert stage.settings.preset == "Mixamo"
        assert not stage.said
        assert stage.press(addon.operators.S2D_OT_bone_map_clear) == {"FINISHED"}
        assert (mapped(stage), stage.settings.preset) == ({}, "")


def test_bones_of_a_preset_that_are_missing_are_counted(addon, stage):
    assert stage.press(addon.operators.S2D_OT_bone_map_preset, preset="MPFB CMU, MotionBuilder") == {
        "FINISHED"
    }
    assert mapped(stage)["spine"] == "Hips"
    ((kind, said),) = stage.said
    assert kind == "WARNING"
    assert 'bones of "MPFB CMU, MotionBuilder" are not in "Hero"' in said
    theirs = next(preset for preset in bone_maps.PRESETS if preset.label == "MPFB CMU, MotionBuilder").bones
    assert said.startswith(f"{len(theirs) - len(mapped(stage))} ")


def test_a_rig_that_no_preset_fits_is_an_error(addon, stage):
    stage.settings.target = hero_with(addon, ["Bone"])
    assert stage.press(addon.operators.S2D_OT_bone_map_preset, preset="") == {"CANCELLED"}
    [(kind, said)] = stage.said
    assert kind == "ERROR" and said.startswith('No preset fits "Hero"')


def test_own_maps_are_saved_and_loaded(addon, stage):
    stage.press(addon.operators.S2D_OT_bone_map_preset, preset="")
    stage.settings.pairs["hand.L"].theirs = "RightHand"
    assert stage.press(addon.operators.S2D_OT_bone_map_save, name="Meine ü") == {"FINISHED"}
    assert stage.said == [("INFO", f"Saved {stage.folder / 'Meine ü.json'}.")]
    assert stage.settings.preset == "Meine ü"
    stage.press(addon.operators.S2D_OT_bone_map_clear)
    assert stage.press(addon.operators.S2D_OT_bone_map_preset, preset="Meine ü") == {"FINISHED"}
    assert mapped(stage) == MIXAMO.bones | {"hand.L": "RightHand"}


def test_maps_that_cannot_be_read_or_written_are_one_line(addon, stage, monkeypatch):
    assert stage.press(addon.operators.S2D_OT_bone_map_preset, preset="gone") == {"CANCELLED"}
    assert stage.press(addon.operators.S2D_OT_bone_map_save, name="a/b") == {"CANCELLED"}

    def full(*_args):
        raise OSError(errno.ENOSPC, "No space left on device", "/maps/a.json")

    monkeypatch.setattr(addon.operators.bone_maps, "save", full)
    assert stage.press(addon.operators.S2D_OT_bone_map_save, name="a") == {"CANCELLED"}
    kinds, lines = zip(*stage.said, strict=True)
    assert set(kinds) == {"ERROR"}
    assert "gone.json: No such file" in lines[0] and "choose another preset" in lines[0]
    assert "cannot be a file's name" in lines[1]
    assert lines[2].startswith("/maps/a.json: No space left on device. Make room")
    assert stage.settings.preset == ""


def test_saving_asks_for_a_name_first(addon, stage):
    button = addon.operators.S2D_OT_bone_map_save()
    manager = SimpleNamespace(
        invoke_props_dialog=lambda operator: {"RUNNING_MODAL"} if operator is button else None
    )
    stage.context.window_manager = manager
    assert button.invoke(stage.context, None) == {"RUNNING_MODAL"}


# ---- applying --------------------------------------------------------------------------------


def test_applying_tells_how_well_it_fits(addon, stage, monkeypatch):
    applied = Applied(120, 19, 345, 0.456, 3.21, "Hips", ("Mute it.", "Show it."))
    given = []
    monkeypatch.setattr(addon.operators, "apply_motion", lambda *args: given.append(args) or applied)
    assert stage.press(addon.operators.S2D_OT_retarget) == {"FINISHED"}
    assert given == [("the clip", stage.settings, stage.context)]
    assert stage.said[:2] == [("WARNING", "Mute it."), ("WARNING", "Show it.")]
    assert stage.said[2] == ("INFO", f'Applied to "Hero": {applied.describe()}.')
    assert stage.settings.outcome == applied.describe()


def test_what_forbids_applying_is_told(addon, stage, monkeypatch):
    errors = [
        InputError("bone_map", "The hips are not mapped."),
        OSError(errno.EACCES, "Permission denied", "skeleton.npz"),
    ]

    def refuse(*_args):
        raise errors[len(stage.said)]

    monkeypatch.setattr(addon.operators, "apply_motion", refuse)
    for _ in errors:
        assert stage.press(addon.operators.S2D_OT_retarget) == {"CANCELLED"}
    assert stage.said == [
        ("ERROR", "The hips are not mapped."),
        ("ERROR", "skeleton.npz: Permission denied. Relink the clip's folder, or import it again."),
    ]
    assert stage.settings.outcome == ""


# ---- what is drawn ---------------------------------------------------------------------------


def drawn_by(kind, stage, *arguments):
    made = kind()
    made.layout = Layout()
    made.draw(stage.context, *arguments)
    return made.layout


def test_the_menu_offers_detection_every_preset_and_the_users_own(addon, stage):
    menu = addon.operators.S2D_MT_bone_map
    built_in = ["", *(preset.label for preset in bone_maps.PRESETS)]

    def offered():
        layout = drawn_by(menu, stage)
        entries = [
            made.preset for (name, *_), _, made in layout.all("operator") if name == "s2d.bone_map_preset"
        ]
        assert layout.all("operator")[-1][0] == ("s2d.bone_map_save",)
        return entries, len(layout.all("separator"))

    assert offered() == (built_in, 2)
    bone_maps.save(stage.folder, "mine", {})
    assert offered() == ([*built_in, "mine"], 3)
    assert drawn_by(menu, stage).all("operator")[0][1]["text"] == "Detect"


def test_names_are_never_translated(addon, stage):
    bone_maps.save(stage.folder, "mine", {})
    entries = drawn_by(addon.operators.S2D_MT_bone_map, stage).all("operator")
    named = [options for _, options, made in entries if "preset" in vars(made) and made.preset]
    assert len(named) == len(bone_maps.PRESETS) + 1
    assert not any(options["translate"] for options in named)


def test_a_line_of_the_list_is_the_clips_bone_and_the_armatures(addon, stage):
    layout = Layout()
    line = SimpleNamespace(name="upper_arm.L", theirs="")
    addon.operators.S2D_UL_bone_map().draw_item(stage.context, layout, None, line, 0, None, "", 0, 0)
    ((_, label, _),) = layout.all("label")
    assert label == {"text": "Upper Arm.L", "translate": False}
    ((found, options, _),) = layout.all("prop_search")
    assert found == (line, "theirs", stage.hero.data, "bones")
    assert options == {"text": ""}
    ((_, split, _),) = layout.all("split")
    assert 0.2 < split["factor"] < 0.6


def test_the_panel_shows_the_map_once_an_armature_is_chosen(addon, stage):
    panel = addon.operators.S2D_PT_retarget
    stage.settings.target = None
    layout = drawn_by(panel, stage)
    assert [arguments[1] for arguments, *_ in layout.all("prop")] == ["target"]
    assert not layout.all("template_list") and not layout.all("operator")
    stage.settings.target = stage.hero
    layout = drawn_by(panel, stage)
    shown = [arguments[1] for arguments, *_ in layout.all("prop")]
    assert shown == ["target", "place", "keep_feet", "angle", "distance"]
    assert layout.all("operator")[-1][0] == ("s2d.retarget",)
    ((menu, options, _),) = layout.all("menu")
    assert (menu, options["text"]) == (("S2D_MT_bone_map",), "Choose a Bone Map")
    assert not options["translate"]
    ((listed, rows, _),) = layout.all("template_list")
    assert listed == ("S2D_UL_bone_map", "", stage.settings, "pairs", stage.settings, "active")
    assert rows["rows"] >= 4
    assert layout.use_property_split is True and layout.use_property_decorate is False
    stage.settings.preset = "Mixamo"
    assert drawn_by(panel, stage).all("menu")[0][1]["text"] == "Mixamo"


def test_the_panel_shows_how_the_last_motion_fits(addon, stage, monkeypatch):
    shown = []
    monkeypatch.setattr(addon.operators, "draw_messages", lambda *arguments: shown.append(arguments))
    drawn_by(addon.operators.S2D_PT_retarget, stage)
    assert not shown
    stage.settings.outcome = "12 frames"
    layout = drawn_by(addon.operators.S2D_PT_retarget, stage)
    assert shown == [(layout, stage.context, ["12 frames"], "INFO")]
