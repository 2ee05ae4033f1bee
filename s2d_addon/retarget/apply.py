# SPDX-License-Identifier: GPL-3.0-or-later
"""Applying a clip's motion to an armature: what it needs is read, worked out, and written as a new action."""

from __future__ import annotations

import math
from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Matrix

from ...models.rotations import angles_between, unit
from .. import compat
from ..bake.armature import armature_of
from ..bake.clip_skeleton import read_skeleton
from ..bake.fcurves import add_curve
from ..bake.keys import straight_between, straight_keys
from ..bake.rig import Motion, pose
from ..clip import scene
from ..translating import say
from ..typed import present
from . import bone_maps
from .channels import from_channels, rotation_keys, to_channels
from .fit_report import Applied, direction_errors, furthest_off, held_elsewhere
from .options import S2DRetargetSettings, mapped_bones
from .placing import find_place
from .reading import pose_bones, read_rig, rotation_property
from .transfer import retarget

_SAMPLES = 5  # frames at which Blender's own pose is compared with the one worked out


@dataclass(frozen=True)
class Channels:
    """Curves of one property: its ``path``, ``values`` (T, C) over the clip's frames, the ``kept`` ones (K,)
    that have keys, and of rotations the ``mode``."""

    path: str
    values: np.ndarray
    kept: np.ndarray
    mode: str = ""

    def between_keys(self) -> np.ndarray:
        """Return the values (T, C) that the curves have, straight lines from key to key."""
        return straight_between(self.values, self.kept)


def apply_motion(
    root: bpy.types.Object, settings: S2DRetargetSettings, context: bpy.types.Context
) -> Applied:
    """Apply the clip's motion, from its in to its out point, to the armature of ``settings``.

    InputError where the clip's skeleton, the map or the armature does not allow it, OSError where a file
    cannot be read.
    """
    target, bone_map = present(settings.target), mapped_bones(settings)
    frames = np.array(scene.frames_shown(root))
    skeleton = read_skeleton(scene.motion_folder(root), frames)
    motion = skeleton.move(skeleton.channels())
    connected = {bone.name: bone.use_connect for bone in armature_of(target).bones}
    bone_maps.check(bone_map, target.name, connected, keep_feet=settings.keep_feet)
    rig, fixed = read_rig(target, bone_map), []
    place = find_place(
        settings.place,
        rig,
        motion.rig,
        bone_map,
        name=target.name,
        target_world=np.array(target.matrix_world),
        clip_world=np.array(root.matrix_world),
        floor=np.array(scene.floor_placement(root)),
    )
    if bone_maps.has_fk_controls(bone_map.values()):
        fixed = _switch_to_fk(target)
        present(context.view_layer).update()  # the switches' drivers set how strongly constraints act
        rig = read_rig(target, bone_map)
    result = retarget(motion, rig, bone_map, place, keep_feet=settings.keep_feet)
    turns = _thinned_turns(target, result.rotations, settings.angle)
    kept = straight_keys(result.location, settings.distance / 1000 * place.scale)
    travel = Channels(f"{pose_bones(target)[result.root].path_from_id()}.location", result.location, kept)
    times = scene.scene_frames(root, frames, present(context.scene))
    _write_action(target, root.name, [*turns.values(), travel, *fixed], times)
    shown = {name: from_channels(turn.between_keys(), turn.mode) for name, turn in turns.items()}
    posed = pose(rig, shown, result.root, travel.between_keys())
    errors = direction_errors(posed, result.wanted)
    worst_bone, worst = furthest_off(errors)
    return Applied(
        frames=len(frames),
        bones=len(result.rotations),
        keys=sum(len(channels.kept) for channels in (*turns.values(), travel)),
        mean=float(np.mean(list(errors.values()))),
        worst=worst,
        worst_bone=worst_bone,
        warnings=tuple(_warnings(target, posed, list(result.rotations), times, context)),
    )


def _switch_to_fk(target: bpy.types.Object) -> list[Channels]:
    """Let a rig of Rigify or Auto-Rig Pro follow its FK controls alone; return the keys that keep it so."""
    once = np.array([0])
    fixed = []
    for bone in pose_bones(target):
        path = bone.path_from_id()
        for key, value in bone_maps.SWITCHES.items():
            if bone.get(key) is not None:
                bone[key] = value
                fixed.append(Channels(f'{path}["{key}"]', np.array([[value]]), once))
        if bone.name in bone_maps.RESTING:
            bone.matrix_basis = Matrix()
            turn = to_channels(np.eye(3)[None], bone.rotation_mode)
            fixed.append(Channels(f"{path}.{rotation_property(bone)}", turn, once))
            fixed.append(Channels(f"{path}.location", np.zeros((1, 3)), once))
    return fixed


def _thinned_turns(
    target: bpy.types.Object, rotations: dict[str, np.ndarray], angle: float
) -> dict[str, Channels]:
    """Turn rotations of bones into channels of their rotation modes, with few keys."""
    turns = {}
    for name, values in rotations.items():
        bone = pose_bones(target)[name]
        channels = to_channels(values, bone.rotation_mode)
        kept = rotation_keys(channels, bone.rotation_mode, angle)
        turns[name] = Channels(
            f"{bone.path_from_id()}.{rotation_property(bone)}", channels, kept, bone.rotation_mode
        )
    return turns


def _write_action(target: bpy.types.Object, name: str, channels: list[Channels], times: np.ndarray) -> None:
    """Give the armature a new action; the one it had stays in the file."""
    if target.animation_data and target.animation_data.action:
        target.animation_data.action.use_fake_user = True
    curves = compat.new_fcurves(target, name)
    for channel in channels:
        for i, column in enumerate(channel.values.T):
            add_curve(curves, channel.path, times[channel.kept], column[channel.kept], i)
    compat.group_curves(present(present(target.animation_data).action))


def _warnings(
    target: bpy.types.Object, posed: Motion, names: list[str], times: np.ndarray, context: bpy.types.Context
) -> list[str]:
    """Warn where Blender's pose is another than the one worked out, as constraints and drivers make it."""
    if armature_of(target).pose_position == "REST":
        said = say("The armature shows its rest position: set it to Pose Position to see the motion.")
        return [said]
    if not target.visible_get():
        return []  # Blender does not pose what is hidden
    shown_in = present(context.scene)
    before = shown_in.frame_current_final
    samples = np.unique(np.linspace(0, len(times) - 1, _SAMPLES).round().astype(int))
    bones = np.array([posed.rig.index(name) for name in names])
    shown = []
    for i in samples:
        shown_in.frame_set(math.floor(times[i]), subframe=float(times[i] % 1))
        shown.append([np.array(pose_bones(target)[name].matrix)[:3, :3] for name in names])
    shown_in.frame_set(math.floor(before), subframe=before % 1)
    turns = np.swapaxes(unit(np.swapaxes(shown, -1, -2)), -1, -2)  # without bones' scale
    wanted = posed.rotations[samples[:, None], bones]
    return held_elsewhere(dict(zip(names, np.degrees(angles_between(turns, wanted)).T, strict=True)))
