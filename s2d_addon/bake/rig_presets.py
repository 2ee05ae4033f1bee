# SPDX-License-Identifier: GPL-3.0-or-later
"""How programs want a baked armature: bones' names, their axes and which hangs on which. NumPy alone.

The clip's skeleton has Rigify's names. A preset gives each bone its name in another program; a bone without
one is part of the bone that carries it, and a bone with two is cut in two halves.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..translating import translatable

TRUNK = ("spine", "spine.001", "spine.002", "spine.003", "spine.004", "spine.005", "spine.006")
LIMBS = ("shoulder", "upper_arm", "forearm", "hand", "thigh", "shin", "foot", "toe")

UNREAL_LIMBS = "clavicle_* upperarm_* lowerarm_* hand_* thigh_* calf_* foot_* ball_*"
MIXAMO_LIMBS = "*Shoulder *Arm *ForeArm *Hand *UpLeg *Leg *Foot *ToeBase"
VRM_TRUNK = "hips spine chest upperChest neck - head"
VRM_LIMBS = "*Shoulder *UpperArm *LowerArm *Hand *UpperLeg *LowerLeg *Foot *Toes"


@dataclass(frozen=True)
class RigPreset:
    """Names in the order of :data:`TRUNK` and :data:`LIMBS`, ``-`` for none, ``a+b`` for two halves.

    In the limbs' names ``*`` stands for one of ``sides``. ``root`` is the bone on the floor, ``prefix`` goes
    before all other names. ``along`` is the axis that points along each bone, ``Y`` or ``X``.
    """

    label: str
    description: str
    root: str
    trunk: str
    limbs: str
    sides: tuple[str, str]
    prefix: str = ""
    along: str = "Y"

    def names(self, ours: str) -> tuple[str, ...]:
        """Return what a bone of the clip's skeleton is called, from its head on: none, one or two names."""
        if ours in TRUNK:
            found = self.trunk.split()[TRUNK.index(ours)]
        else:
            limb, _, letter = ours.partition(".")
            found = self.limbs.split()[LIMBS.index(limb)].replace("*", self.sides["LR".index(letter)])
        return () if found == "-" else tuple(self.prefix + name for name in found.split("+"))


RIG_PRESETS = {
    "RIGIFY": RigPreset(
        translatable("Rigify Meta-Rig"),
        translatable("Names of Rigify's human meta-rig, Y along the bones"),
        "root",
        " ".join(TRUNK),
        " ".join(f"{limb}.*" for limb in LIMBS),
        ("L", "R"),
    ),
    "MIXAMO": RigPreset(
        "Mixamo",
        translatable("Names of Mixamo's characters (mixamorig:Hips), Y along the bones"),
        "root",
        "Hips Spine Spine1 Spine2 Neck - Head",
        MIXAMO_LIMBS,
        ("Left", "Right"),
        prefix="mixamorig:",
    ),
    "UNREAL": RigPreset(
        "Unreal",
        translatable(
            "Names of Unreal Engine 5's mannequin (root, pelvis, spine_01 to spine_05), X along the bones"
        ),
        "root",
        "pelvis spine_01+spine_02 spine_03+spine_04 spine_05 neck_01 neck_02 head",
        UNREAL_LIMBS,
        ("l", "r"),
        along="X",
    ),
    "VRM": RigPreset(
        translatable("VRM Humanoid"),
        translatable("Names of VRM's and Unity's humanoid bones (hips, leftUpperArm), Y along the bones"),
        "root",
        VRM_TRUNK,
        VRM_LIMBS,
        ("left", "right"),
    ),
}
"""By the name of the bake's option."""
