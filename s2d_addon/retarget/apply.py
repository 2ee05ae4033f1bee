# SPDX-License-Identifier: GPL-3.0-or-later
"""Applying a clip's motion to an armature: what it needs is read, worked out, and written as a new action."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Matrix

from ...models.rotations import angles_between, unit
from .. import compat
from ..bake.actions import note_motion
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
from .ik_limbs import DRIVES, POLE, IkLimb, end_control, ends_apart, pole_control, reach
from .options import S2DRetargetSettings, limbs_with_ik, mapped_bones
from .placing import find_place
from .reading import pose_bones, read_rig, rotation_property
from .transfer import retarget

_AGREE = 0.002
"""Metres, at a person's size, by which thinned FK keys may lead hands and feet astray where IK has keys too:
they stay where they are when the other takes over."""

_TINY = 1e-6
_FINEST = math.radians(0.05)  # a finer tolerance than this keeps every key
_ROUNDS = 3  # in which IK bones find their lengths
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
    limbs = limbs_with_ik(settings) if settings.ik != "NONE" else []
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
        rig = read_rig(target, bone_map, [name for limb in limbs for name in (limb.end, limb.pole)])
    result = retarget(motion, rig, bone_map, place, keep_feet=settings.keep_feet)
    exact = pose(rig, result.rotations, result.root, result.location)
    distance = settings.distance / 1000 * place.scale
    kept = straight_keys(result.location, distance)
    travel = Channels(f"{pose_bones(target)[result.root].path_from_id()}.location", result.location, kept)
    angle = settings.angle
    while True:
        turns = _thinned_turns(target, result.rotations, angle)
        shown = {name: from_channels(turn.between_keys(), turn.mode) for name, turn in turns.items()}
        posed = pose(rig, shown, result.root, travel.between_keys())
        if not limbs or not angle or ends_apart(limbs, posed, exact) <= _AGREE * place.scale:
            break
        angle = angle / 2 if angle > _FINEST else 0.0
    ik = _ik_channels(target, limbs, exact, angle, distance)
    times = scene.scene_frames(root, frames, present(context.scene))
    fixed = _with_switches(target, limbs, fixed, settings.ik)
    curves = _write_action(target, root.name, [*turns.values(), travel, *ik, *fixed], times)
    lengths = _ik_lengths(target, limbs, exact, times, distance, context)
    _add_channels(curves, lengths, times)
    action = present(present(target.animation_data).action)
    compat.group_curves(action)
    note_motion(action, root, len(frames), settings.preset, bone_map)
    errors = direction_errors(posed, result.wanted)
    worst_bone, worst = furthest_off(errors)
    return Applied(
        frames=len(frames),
        bones=len(result.rotations),
        keys=sum(
            len(channels.kept) * channels.values.shape[1]
            for channels in (*turns.values(), travel, *ik, *lengths, *fixed)
        ),
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
            fixed += _at_rest(bone)
    return fixed


def _at_rest(bone: bpy.types.PoseBone) -> list[Channels]:
    """Put a bone to its place at rest; return the keys that keep it there."""
    bone.matrix_basis = Matrix()
    path, once = bone.path_from_id(), np.array([0])
    turn = to_channels(np.eye(3)[None], bone.rotation_mode)
    return [
        Channels(f"{path}.{rotation_property(bone)}", turn, once),
        Channels(f"{path}.location", np.zeros((1, 3)), once),
    ]


def _ik_channels(
    target: bpy.types.Object, limbs: list[IkLimb], posed: Motion, angle: float, distance: float
) -> list[Channels]:
    """Return what IK controls do so that they pose the ``limbs`` as ``posed`` has them, with few keys."""
    turns, places = {}, {}
    for limb in limbs:
        turns[limb.end], places[limb.end] = end_control(limb, posed)
        places[limb.pole] = pole_control(limb, posed)
    bones = pose_bones(target)
    travels = [
        Channels(f"{bones[name].path_from_id()}.location", values, straight_keys(values, distance))
        for name, values in places.items()
    ]
    return [*_thinned_turns(target, turns, angle).values(), *travels]


def _with_switches(
    target: bpy.types.Object, limbs: list[IkLimb], fixed: list[Channels], drives: str
) -> list[Channels]:
    """Let the IK or the FK controls move the ``limbs``; return ``fixed`` with the keys that keep it so."""
    bones, channels = pose_bones(target), {channel.path: channel for channel in fixed}
    for limb in limbs:
        settings = bones[limb.settings]
        for key, value in ((POLE, True), (DRIVES, drives == "FK")):
            if (before := settings.get(key)) is not None:
                settings[key] = type(before)(value)  # a number or a truth value, as Rigify's version has it
                path = f'{settings.path_from_id()}["{key}"]'
                channels[path] = Channels(path, np.array([[float(value)]]), np.array([0]))
        for name in limb.resting:
            if name in bones:
                channels |= {channel.path: channel for channel in _at_rest(bones[name])}
    return [*channels.values()]


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


def _write_action(
    target: bpy.types.Object, name: str, channels: list[Channels], times: np.ndarray
) -> bpy.types.ActionChannelbagFCurves:
    """Give the armature a new action, and return its curves; the one it had stays in the file."""
    if target.animation_data and target.animation_data.action:
        target.animation_data.action.use_fake_user = True
    curves = compat.new_fcurves(target, name)
    _add_channels(curves, channels, times)
    return curves


def _add_channels(
    curves: bpy.types.ActionChannelbagFCurves, channels: list[Channels], times: np.ndarray
) -> None:
    for channel in channels:
        for i, column in enumerate(channel.values.T):
            add_curve(curves, channel.path, times[channel.kept], column[channel.kept], i)


def _ik_lengths(
    target: bpy.types.Object,
    limbs: list[IkLimb],
    posed: Motion,
    times: np.ndarray,
    distance: float,
    context: bpy.types.Context,
) -> list[Channels]:
    """Return the scale that lets IK bend the ``limbs`` as ``posed`` has them, with few keys.

    Rigify lets IK stretch bones, and Blender's solver then shortens a little what need only bend, by more the
    nearer hand and shoulder are. Where that is measured the scale undoes it, as Rigify's own snapping does;
    in between it follows how near they are.
    """
    if not limbs or not target.visible_get() or armature_of(target).pose_position == "REST":
        return []  # Blender solves nothing
    reaches = np.stack([reach(limb, posed) for limb in limbs], axis=1)
    spread = np.argsort(reaches, axis=0)[np.linspace(0, len(reaches) - 1, _SAMPLES).round().astype(int)]
    samples = np.unique(spread)
    bones = [pose_bones(target)[limb.upper] for limb in limbs]
    scales = np.ones((len(samples), len(limbs)))
    for i, _ in _frames_shown(samples, times, context):
        for _round in range(_ROUNDS):
            for bone, scale in zip(bones, scales[i], strict=True):
                bone.scale = (scale,) * 3
            present(context.view_layer).update()
            scales[i] *= [bone.bone.length / max((bone.tail - bone.head).length, _TINY) for bone in bones]
    channels = []
    for bone, near, scale in zip(bones, reaches.T, scales.T, strict=True):
        order = np.argsort(near[samples])
        values = np.interp(near, near[samples][order], scale[order])[:, None].repeat(3, axis=1)
        kept = straight_keys(values, distance / bone.bone.length)
        channels.append(Channels(f"{bone.path_from_id()}.scale", values, kept))
    return channels


def _frames_shown(
    frames: np.ndarray, times: np.ndarray, context: bpy.types.Context
) -> Iterator[tuple[int, int]]:
    """Show some of the frames whose scene frames are ``times`` one after another, then what was shown."""
    shown_in = present(context.scene)
    before = shown_in.frame_current_final
    for i, frame in enumerate(frames.tolist()):
        shown_in.frame_set(math.floor(times[frame]), subframe=float(times[frame] % 1))
        yield i, frame
    shown_in.frame_set(math.floor(before), subframe=before % 1)


def _warnings(
    target: bpy.types.Object, posed: Motion, names: list[str], times: np.ndarray, context: bpy.types.Context
) -> list[str]:
    """Warn where Blender's pose is another than the one worked out, as constraints and drivers make it."""
    if armature_of(target).pose_position == "REST":
        said = say("The armature shows its rest position: set it to Pose Position to see the motion.")
        return [said]
    if not target.visible_get():
        return []  # Blender does not pose what is hidden
    samples = np.unique(np.linspace(0, len(times) - 1, _SAMPLES).round().astype(int))
    bones = np.array([posed.rig.index(name) for name in names])
    shown = []
    for _ in _frames_shown(samples, times, context):
        shown.append([np.array(pose_bones(target)[name].matrix)[:3, :3] for name in names])
    turns = np.swapaxes(unit(np.swapaxes(shown, -1, -2)), -1, -2)  # without bones' scale
    wanted = posed.rotations[samples[:, None], bones]
    return held_elsewhere(dict(zip(names, np.degrees(angles_between(turns, wanted)).T, strict=True)))
