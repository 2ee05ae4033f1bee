# SPDX-License-Identifier: GPL-3.0-or-later
"""How motion is applied: the scene's settings, with the map of bones as a list."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, TypeAlias, cast

import bpy

from ..bake.armature import armature_of
from ..clip import scene
from ..engine.settings import PACKAGE
from ..typed import present
from . import bone_maps
from .ik_limbs import IkLimb, ik_limbs

_SETTINGS = "s2d_retarget"  # of the scene
_Pairs: TypeAlias = "bpy.types.bpy_prop_collection_idprop[S2DBonePair]"  # in words: Blender's takes no [...]


def _is_foreign_armature(_settings: bpy.types.PropertyGroup, item: bpy.types.Object) -> bool:
    return item.type == "ARMATURE" and scene.find_root(item) is None


def _detect(settings: S2DRetargetSettings, _context: bpy.types.Context) -> None:
    """Fill in the map that fits a newly chosen armature."""
    names = bone_names(settings)
    preset = bone_maps.detect(names)
    fill_map(settings, bone_maps.match(preset.bones, names) if preset else {}, preset.label if preset else "")


class S2DBonePair(bpy.types.PropertyGroup):
    """A bone of the clip's skeleton, by its ``name``, and the one of the armature that moves like it."""

    theirs: Annotated[
        str,
        bpy.props.StringProperty(
            name="Bone", description="Bone of your armature that moves like this one. Empty: left as it is"
        ),
    ]


class S2DRetargetSettings(bpy.types.PropertyGroup):
    """How motion is applied to an armature."""

    target: Annotated[
        bpy.types.Object | None,
        bpy.props.PointerProperty(
            name="Armature",
            description="The armature that the motion is applied to",
            type=bpy.types.Object,
            poll=_is_foreign_armature,
            update=_detect,
        ),
    ]
    pairs: Annotated[_Pairs, bpy.props.CollectionProperty(type=S2DBonePair)]
    active: Annotated[int, bpy.props.IntProperty(name="Bone", description="The selected pair of bones")]
    preset: Annotated[
        str,
        bpy.props.StringProperty(
            name="Preset", description="Where the map of bones came from", options={"HIDDEN"}
        ),
    ]
    place: Annotated[
        str,
        bpy.props.EnumProperty(
            name="Place",
            description="Where the armature moves",
            items=(
                ("ARMATURE", "Where It Stands", "Begin where the armature stands at rest, facing as it does"),
                ("CLIP", "At the Clip", "Move where the clip's person does"),
            ),
        ),
    ]
    keep_feet: Annotated[
        bool,
        bpy.props.BoolProperty(
            name="Keep Feet on Floor",
            description=(
                "Raise and lower the hips so that the feet are as high above the floor as the person's"
            ),
            default=True,
        ),
    ]
    ik: Annotated[
        str,
        bpy.props.EnumProperty(
            name="IK Hands and Feet",
            description="Whether the IK controls of arms and legs get keys too, which pose them as the FK "
            "controls do, and which of the two move the limbs afterwards",
            items=(
                ("NONE", "No Keys", "Only the FK controls get keys"),
                ("FK", "Keyed, FK Drives", "Both get keys, and the FK controls move the limbs"),
                ("IK", "Keyed, IK Drives", "Both get keys, and the IK controls move the limbs"),
            ),
        ),
    ]
    angle: Annotated[
        float,
        bpy.props.FloatProperty(
            name="Key Tolerance",
            description="How far a bone may turn away between two keys. 0: a key for every frame",
            subtype="ANGLE",
            default=math.radians(1),
            min=0.0,
            soft_max=math.radians(5),
        ),
    ]
    distance: Annotated[
        float,
        bpy.props.FloatProperty(
            name="Hips (mm)",
            description="How far the hips may stray between two keys, at a person's size",
            default=2.0,
            min=0.0,
            soft_max=20.0,
        ),
    ]
    outcome: Annotated[
        str,
        bpy.props.StringProperty(
            name="Outcome",
            description="How well the last motion applied fits",
            options={"HIDDEN", "SKIP_SAVE"},
        ),
    ]


def retarget_settings(context: bpy.types.Context) -> S2DRetargetSettings:
    """Return the settings of the context's scene."""
    return cast(S2DRetargetSettings, getattr(present(context.scene), _SETTINGS))


def add_to_scenes() -> None:
    """Give every scene the settings, whose class is registered."""
    setattr(bpy.types.Scene, _SETTINGS, bpy.props.PointerProperty(type=S2DRetargetSettings))


def remove_from_scenes() -> None:
    """Remove what :func:`add_to_scenes` added."""
    delattr(bpy.types.Scene, _SETTINGS)


# ---- the map ---------------------------------------------------------------------------------


def fill_map(settings: S2DRetargetSettings, bones: dict[str, str], preset: str) -> None:
    """Write a map into the list, a line for each bone of the clip's skeleton."""
    settings.pairs.clear()
    for ours in bone_maps.BONES:
        pair = settings.pairs.add()
        pair.name, pair.theirs = ours, bones.get(ours, "")
    settings.preset, settings.outcome = preset, ""


def mapped_bones(settings: S2DRetargetSettings) -> dict[str, str]:
    """Return the map in the list, the hips first."""
    return {pair.name: pair.theirs for pair in settings.pairs if pair.theirs}


def limbs_with_ik(settings: S2DRetargetSettings) -> list[IkLimb]:
    """Return the limbs of the chosen armature that have IK controls, and whose FK controls are mapped."""
    mapped = mapped_bones(settings).values()
    return [limb for limb in ik_limbs(bone_names(settings)) if {*limb.fk} <= {*mapped}]


def bone_names(settings: S2DRetargetSettings) -> list[str]:
    """Return the names of the chosen armature's bones; none where none is chosen."""
    return [bone.name for bone in armature_of(settings.target).bones] if settings.target else []


def own_folder() -> Path:
    """Return where the user's own maps are kept."""
    try:
        return Path(bpy.utils.extension_path_user(PACKAGE, path="bone_maps"))
    except ValueError:  # not installed as an extension, but imported as a Python package
        return Path(bpy.utils.user_resource("DATAFILES", path="sparse2dense_bone_maps"))
