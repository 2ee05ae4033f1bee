# SPDX-License-Identifier: GPL-3.0-or-later
"""Which bones of other people's rigs are which bones of the clip's skeleton: presets, and the user's own.

The clip's bones have the names of Rigify's metarigs. A rig's own names are compared without case, and
without the namespaces that other programs put before them (``mixamorig:``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ...models.errors import InputError
from ...models.whole_files import write_whole
from ..bake.rig_presets import LIMBS, MIXAMO_LIMBS, TRUNK, UNREAL_LIMBS, VRM_LIMBS, VRM_TRUNK
from ..translating import label_text, say, translatable

TRUNK_BONES, LIMB_BONES = TRUNK, LIMBS
BONES = TRUNK_BONES + tuple(f"{limb}.{side}" for side in "LR" for limb in LIMB_BONES)
"""All bones that can be mapped, from the hips up, then the left and the right limbs."""

_TRUNK_LABELS = (
    translatable("Hips"),
    translatable("Spine"),
    translatable("Spine 2"),
    translatable("Chest"),
    translatable("Neck"),
    translatable("Neck 2"),
    translatable("Head"),
)
_LIMB_LABELS = (
    translatable("Shoulder"),
    translatable("Upper Arm"),
    translatable("Forearm"),
    translatable("Hand"),
    translatable("Thigh"),
    translatable("Shin"),
    translatable("Foot"),
    translatable("Toe"),
)

_SUFFIX = ".json"
_MOST_BYTES = 1 << 20
_LONGEST_NAME = 255
_SHOWN = 4  # names of a rig that no preset fits
_ENOUGH = 0.6  # of a preset's bones must be there to choose it by itself


@dataclass(frozen=True)
class Preset:
    """Names of a kind of rig, ordered as :data:`TRUNK_BONES` and :data:`LIMB_BONES`, ``-`` where it has none.

    In the limbs' names ``*`` stands for the left one of ``sides``, or the right.
    """

    label: str
    trunk: str
    limbs: str
    sides: tuple[str, str]

    @property
    def bones(self) -> dict[str, str]:
        """The rig's name of each bone of the clip's skeleton that it has."""
        names = dict(zip(TRUNK_BONES, self.trunk.split(), strict=True))
        for letter, side in zip("LR", self.sides, strict=True):
            for limb, name in zip(LIMB_BONES, self.limbs.split(), strict=True):
                names[f"{limb}.{letter}"] = name.replace("*", side)
        return {ours: theirs for ours, theirs in names.items() if theirs != "-"}


PRESETS = (
    Preset(
        "Rigify Controls (FK)",
        "torso - spine_fk.002 spine_fk.003 neck - head",
        "shoulder.* upper_arm_fk.* forearm_fk.* hand_fk.* thigh_fk.* shin_fk.* foot_fk.* toe_fk.*",
        ("L", "R"),
    ),
    Preset("Rigify Metarig", " ".join(TRUNK_BONES), " ".join(f"{limb}.*" for limb in LIMB_BONES), ("L", "R")),
    Preset(
        "Rigify Deform Bones",
        " ".join(f"DEF-{name}" for name in TRUNK_BONES),
        " ".join(f"DEF-{limb}.*" for limb in LIMB_BONES),
        ("L", "R"),
    ),
    Preset("Mixamo", "Hips Spine Spine1 Spine2 Neck - Head", MIXAMO_LIMBS, ("Left", "Right")),
    Preset("VRM, Unity Humanoid", VRM_TRUNK, VRM_LIMBS, ("left", "right")),
    Preset("Unreal 5", "pelvis spine_01 spine_03 spine_05 neck_01 neck_02 head", UNREAL_LIMBS, ("l", "r")),
    Preset(
        "Unreal 4, MPFB Game Engine",
        "pelvis spine_01 spine_02 spine_03 neck_01 - head",
        UNREAL_LIMBS,
        ("l", "r"),
    ),
    Preset(
        "MPFB Default, MakeHuman",
        "root spine04 spine03 spine01 neck01 neck02 head",
        "clavicle.* upperarm01.* lowerarm01.* wrist.* upperleg01.* lowerleg01.* foot.* toe1-1.*",
        ("L", "R"),
    ),
    Preset(
        "MPFB CMU, MotionBuilder",
        "Hips LowerBack Spine Spine1 Neck Neck1 Head",
        MIXAMO_LIMBS,
        ("Left", "Right"),
    ),
    Preset(
        "VRoid",
        "J_Bip_C_Hips J_Bip_C_Spine J_Bip_C_Chest J_Bip_C_UpperChest J_Bip_C_Neck - J_Bip_C_Head",
        "J_Bip_*_Shoulder J_Bip_*_UpperArm J_Bip_*_LowerArm J_Bip_*_Hand "
        "J_Bip_*_UpperLeg J_Bip_*_LowerLeg J_Bip_*_Foot J_Bip_*_ToeBase",
        ("L", "R"),
    ),
    Preset(
        "Daz Genesis 8",
        "hip abdomenLower abdomenUpper chestUpper neckLower neckUpper head",
        "*Collar *ShldrBend *ForearmBend *Hand *ThighBend *Shin *Foot *Toe",
        ("l", "r"),
    ),
    Preset(
        "Daz Genesis 9",
        "hip spine1 spine2 spine4 neck1 neck2 head",
        "*_shoulder *_upperarm *_forearm *_hand *_thigh *_shin *_foot *_toes",
        ("l", "r"),
    ),
    Preset(
        "Character Creator, AccuRIG",
        "CC_Base_Hip CC_Base_Waist CC_Base_Spine01 CC_Base_Spine02 "
        "CC_Base_NeckTwist01 CC_Base_NeckTwist02 CC_Base_Head",
        "CC_Base_*_Clavicle CC_Base_*_Upperarm CC_Base_*_Forearm CC_Base_*_Hand "
        "CC_Base_*_Thigh CC_Base_*_Calf CC_Base_*_Foot CC_Base_*_ToeBase",
        ("L", "R"),
    ),
    Preset(
        "Auto-Rig Pro Controls (FK)",
        "c_root_master.x c_spine_01.x c_spine_02.x c_spine_03.x c_neck.x - c_head.x",
        "c_shoulder.* c_arm_fk.* c_forearm_fk.* c_hand_fk.* c_thigh_fk.* c_leg_fk.* c_foot_fk.* c_toes_fk.*",
        ("l", "r"),
    ),
)
"""Rigs as their makers name them; of those that fit equally well, the first."""

SWITCHES = {
    **{"IK_FK": 1.0, "FK_limb_follow": 0.0, "neck_follow": 1.0, "head_follow": 1.0},  # Rigify
    "ik_fk_switch": 1.0,  # Auto-Rig Pro
}
"""Custom properties that make a rig's FK controls move the limbs, each bone turning with its parent."""

RESTING = ("hips", "chest")
"""Rigify's controls that move the spine besides its FK controls, and so have to be at rest."""


def label(ours: str) -> str:
    """Return what animators call a bone of the clip's skeleton, in the user's language."""
    if ours in TRUNK_BONES:
        return label_text(_TRUNK_LABELS[TRUNK_BONES.index(ours)])
    limb, _, side = ours.partition(".")
    return f"{label_text(_LIMB_LABELS[LIMB_BONES.index(limb)])}.{side}"


def has_fk_controls(names: Iterable[str]) -> bool:
    """Tell whether mapped bones are FK controls, of a generated Rigify rig or of Auto-Rig Pro."""
    return any(name.partition(".")[0].endswith("_fk") for name in names)


def match(bones: dict[str, str], names: Iterable[str]) -> dict[str, str]:
    """Return a map's entries that a rig with bones ``names`` has, in the rig's own spelling."""
    spelling = {_plain(name): name for name in reversed(list(names))}
    return {ours: spelling[_plain(theirs)] for ours, theirs in bones.items() if _plain(theirs) in spelling}


def detect(names: Iterable[str]) -> Preset | None:
    """Return the preset that fits a rig with bones ``names``, or None."""
    names = list(names)

    def share(preset: Preset) -> float:
        return len(match(preset.bones, names)) / len(preset.bones)

    best = max(PRESETS, key=share)
    return best if share(best) >= _ENOUGH else None


def check(bones: dict[str, str], rig: str, connected: dict[str, bool], *, keep_feet: bool) -> None:
    """Raise InputError ``bone_map`` where a motion cannot be carried over by a map.

    ``connected`` says of each bone of the armature, which the user calls ``rig``, whether it is connected to
    its parent. With ``keep_feet`` there has to be a foot.
    """
    hips = bones.get(TRUNK_BONES[0], "")
    if gone := [theirs for theirs in bones.values() if theirs not in connected]:
        said = say('"{rig}" has no bone "{bone}": pick another in the list.', rig=rig, bone=gone[0])
        raise InputError("bone_map", said)
    if twice := [theirs for theirs in bones.values() if list(bones.values()).count(theirs) > 1]:
        said = say('"{bone}" is in the list twice: keep one, empty the other.', bone=twice[0])
        raise InputError("bone_map", said)
    if not hips:
        raise InputError("bone_map", say("The hips are not mapped: pick a bone for them in the list."))
    if keep_feet and not {"foot.L", "foot.R"} & bones.keys():
        said = say('No foot is mapped: pick a bone for one, or switch "Keep Feet on Floor" off.')
        raise InputError("bone_map", said)
    if connected[hips]:
        said = say(
            '"{bone}" is connected to its parent and cannot travel: disconnect it in Edit Mode, or map the '
            "hips to another bone.",
            bone=hips,
        )
        raise InputError("bone_map", said)


def _plain(name: str) -> str:
    """Return a name in small letters without a namespace."""
    return re.sub(r"^(.*:|mixamorig\d*_?)", "", name.lower())


# ---- by name ---------------------------------------------------------------------------------


def find(name: str, rig: str, names: Iterable[str], own: Path) -> tuple[str, dict[str, str]]:
    """Return what the map of the preset ``name`` is called, and the map; of no name, the one that fits best.

    ``rig`` is what the user calls the armature, whose bones have ``names``; ``own`` is the folder of the
    user's own presets. InputError ``bone_map`` where none fits or a file holds none, OSError where it cannot
    be read.
    """
    if not name:
        names = list(names)
        preset = detect(names)
        if preset is None:
            known = ", ".join(preset.label for preset in PRESETS)
            seen = ", ".join(f'"{name}"' for name in list(names)[:_SHOWN])
            said = say(
                'No preset fits "{rig}", whose bones are called {seen} ...: names of {known} were looked '
                "for: choose one, or pick bones in the list.",
                rig=rig,
                seen=seen,
                known=known,
            )
            raise InputError("bone_map", said)
        return preset.label, preset.bones
    for preset in PRESETS:
        if preset.label == name:
            return name, preset.bones
    return name, load(own / f"{name}{_SUFFIX}")


# ---- the user's own --------------------------------------------------------------------------


def own_presets(folder: Path) -> list[str]:
    """Return the names of the maps that were saved in ``folder``."""
    return sorted(path.stem for path in folder.glob(f"*{_SUFFIX}")) if folder.is_dir() else []


def save(folder: Path, name: str, bones: dict[str, str]) -> Path:
    """Write a map as JSON, whole or not at all. InputError ``bone_map`` for a name that no file can have."""
    if not name.strip() or name != name.strip(". ") or re.search(r'[\\/:*?"<>|\x00-\x1f]', name):
        said = say('"{name}" cannot be a file\'s name: use letters, digits, spaces, - and _.', name=name)
        raise InputError("bone_map", said)
    path = folder / f"{name}{_SUFFIX}"
    write_whole(path, json.dumps({"bones": bones}, indent=2, ensure_ascii=False))
    return path


def load(path: Path) -> dict[str, str]:
    """Read a map. OSError where it cannot be read, InputError ``bone_map`` where it is none."""
    if path.stat().st_size > _MOST_BYTES:
        said = say("{file} is too large to be a bone map: choose another file.", file=path.name)
        raise InputError("bone_map", said)
    try:
        bones = json.loads(path.read_text(encoding="utf-8"))["bones"]
        entries = [(ours, theirs) for ours, theirs in bones.items() if ours in BONES]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        said = say("{file} is no bone map: save one to see what it looks like.", file=path.name)
        raise InputError("bone_map", said) from error
    if not all(isinstance(theirs, str) and len(theirs) <= _LONGEST_NAME for _, theirs in entries):
        said = say("{file} has something else than names of bones: mend or delete it.", file=path.name)
        raise InputError("bone_map", said)
    return dict(entries)
