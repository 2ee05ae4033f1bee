# SPDX-License-Identifier: GPL-3.0-or-later
"""Applying the active clip's motion to the user's own armature: the bone map, the operators and the panel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix

from .. import compat
from ..bake.armature import read_skeleton
from ..bake.keyframes import add_curve
from ..clip import scene
from ..clip.ui import ClipOperator, ClipPanel, draw_messages
from ..engine.settings import PACKAGE
from . import bone_maps, transfer

_SAMPLES = 5  # frames at which Blender's own pose is compared with the one worked out
_NOTICEABLE = 1.0  # degrees between the two
_UNIFORM = 1e-3  # share by which an armature object's scales may differ


# ---- settings --------------------------------------------------------------------------------


def _is_foreign_armature(_settings: bpy.types.PropertyGroup, item: bpy.types.Object) -> bool:
    return item.type == "ARMATURE" and scene.find_root(item) is None


def _detect(settings: S2DRetargetSettings, _context: bpy.types.Context) -> None:
    """Fill in the map that fits a newly chosen armature."""
    names = _bone_names(settings.target) if settings.target else []
    preset = bone_maps.detect(names)
    fill_map(settings, bone_maps.match(preset.bones, names) if preset else {}, preset.label if preset else "")


class S2DBonePair(bpy.types.PropertyGroup):
    """A bone of the clip's skeleton, by its ``name``, and the one of the armature that moves like it."""

    theirs: bpy.props.StringProperty(
        name="Bone", description="Bone of your armature that moves like this one. Empty: left as it is"
    )


class S2DRetargetSettings(bpy.types.PropertyGroup):
    """How motion is applied to an armature."""

    target: bpy.props.PointerProperty(
        name="Armature",
        description="The armature that the motion is applied to",
        type=bpy.types.Object,
        poll=_is_foreign_armature,
        update=_detect,
    )
    pairs: bpy.props.CollectionProperty(type=S2DBonePair)
    active: bpy.props.IntProperty(name="Bone", description="The selected pair of bones")
    preset: bpy.props.StringProperty(
        name="Preset", description="Where the map of bones came from", options={"HIDDEN"}
    )
    place: bpy.props.EnumProperty(
        name="Place",
        description="Where the armature moves",
        items=(
            ("ARMATURE", "Where It Stands", "Begin where the armature stands at rest, facing as it does"),
            ("CLIP", "At the Clip", "Move where the clip's person does"),
        ),
    )
    keep_feet: bpy.props.BoolProperty(
        name="Keep Feet on Floor",
        description="Raise and lower the hips so that the feet are as high above the floor as the person's",
        default=True,
    )
    angle: bpy.props.FloatProperty(
        name="Key Tolerance",
        description="How far a bone may turn away between two keys. 0: a key for every frame",
        subtype="ANGLE",
        default=math.radians(1),
        min=0.0,
        soft_max=math.radians(5),
    )
    distance: bpy.props.FloatProperty(
        name="Hips (mm)",
        description="How far the hips may stray between two keys, at a person's size",
        default=2.0,
        min=0.0,
        soft_max=20.0,
    )
    outcome: bpy.props.StringProperty(
        name="Outcome", description="How well the last motion applied fits", options={"HIDDEN", "SKIP_SAVE"}
    )


def fill_map(settings: S2DRetargetSettings, bones: dict[str, str], preset: str) -> None:
    """Write a map into the list, a line for each bone of the clip's skeleton."""
    settings.pairs.clear()
    for ours in bone_maps.BONES:
        pair = settings.pairs.add()
        pair.name, pair.theirs = ours, bones.get(ours, "")
    settings.preset, settings.outcome = preset, ""


def _bone_names(target: bpy.types.Object) -> list[str]:
    return [bone.name for bone in target.data.bones]


def _own_folder() -> Path:
    """Return where the user's own maps are kept."""
    try:
        return Path(bpy.utils.extension_path_user(PACKAGE, path="bone_maps"))
    except ValueError:  # not installed as an extension, but imported as a Python package
        return Path(bpy.utils.user_resource("DATAFILES", path="sparse2dense_bone_maps"))


# ---- the map ---------------------------------------------------------------------------------


class MapOperator(ClipOperator):
    """An operator on the map of bones."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Allow it once an armature is chosen."""
        if not super().poll(context):
            return False
        if context.scene.s2d_retarget.target is None:
            cls.poll_message_set("Choose the armature first")
            return False
        return True


class S2D_OT_bone_map_preset(MapOperator):
    """Replace the map of bones by a preset"""

    bl_idname = "s2d.bone_map_preset"
    bl_label = "Bone Map Preset"
    bl_options = {"UNDO"}

    preset: bpy.props.StringProperty(
        name="Preset", description="A preset's name, or one of your own. Empty: find the one that fits"
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Fill in what the armature has of the preset's bones."""
        settings = context.scene.s2d_retarget
        names = _bone_names(settings.target)
        built_in = {preset.label: preset for preset in bone_maps.PRESETS}
        try:
            if not self.preset:
                preset = bone_maps.detect(names)
                if preset is None:
                    raise ValueError(
                        f'No preset fits "{settings.target.name}": choose one, or pick bones in the list.'
                    )
                label, bones = preset.label, preset.bones
            elif self.preset in built_in:
                label, bones = self.preset, built_in[self.preset].bones
            else:
                label = self.preset
                bones = bone_maps.load(_own_folder() / f"{self.preset}{bone_maps.SUFFIX}")
        except (OSError, ValueError) as error:
            self.report({"ERROR"}, _message(error, "Save the map again, or choose another preset."))
            return {"CANCELLED"}
        found = bone_maps.match(bones, names)
        fill_map(settings, found, label)
        if len(found) < len(bones):
            missing = len(bones) - len(found)
            self.report({"WARNING"}, f'{missing} bones of "{label}" are not in "{settings.target.name}".')
        return {"FINISHED"}


class S2D_OT_bone_map_clear(MapOperator):
    """Empty the map of bones"""

    bl_idname = "s2d.bone_map_clear"
    bl_label = "Clear Bone Map"
    bl_options = {"UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Empty every line."""
        fill_map(context.scene.s2d_retarget, {}, "")
        return {"FINISHED"}


class S2D_OT_bone_map_save(MapOperator):
    """Keep the map of bones as a preset of your own"""

    bl_idname = "s2d.bone_map_save"
    bl_label = "Save Bone Map"

    name: bpy.props.StringProperty(name="Name", description="What the preset is called", default="My Rig")

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Ask for a name."""
        return context.window_manager.invoke_props_dialog(self)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Write the preset's file."""
        settings = context.scene.s2d_retarget
        try:
            path = bone_maps.save(_own_folder(), self.name, _mapped(settings))
        except (OSError, ValueError) as error:
            self.report({"ERROR"}, _message(error, "Make room there, or free the folder for writing."))
            return {"CANCELLED"}
        settings.preset = self.name
        self.report({"INFO"}, f"Saved {path}.")
        return {"FINISHED"}


class S2D_MT_bone_map(bpy.types.Menu):
    """Presets of the map of bones."""

    bl_idname = "S2D_MT_bone_map"
    bl_label = "Bone Map Presets"

    def draw(self, _context: bpy.types.Context) -> None:
        """Draw an entry a preset, the user's own below."""
        operator = S2D_OT_bone_map_preset.bl_idname
        self.layout.operator(operator, text="Detect", icon="VIEWZOOM").preset = ""
        self.layout.separator()
        for preset in bone_maps.PRESETS:
            self.layout.operator(operator, text=preset.label, translate=False).preset = preset.label
        own = bone_maps.own_presets(_own_folder())
        if own:
            self.layout.separator()
        for name in own:
            self.layout.operator(operator, text=name, translate=False).preset = name
        self.layout.separator()
        self.layout.operator(S2D_OT_bone_map_save.bl_idname, icon="FILE_TICK")


class S2D_UL_bone_map(bpy.types.UIList):
    """The map of bones: the clip's on the left, the armature's on the right."""

    def draw_item(
        self,
        context: bpy.types.Context,
        layout: bpy.types.UILayout,
        _settings: S2DRetargetSettings,
        item: S2DBonePair,
        _icon: int,
        _active_settings: S2DRetargetSettings,
        _active_name: str,
    ) -> None:
        """Draw a line."""
        target = context.scene.s2d_retarget.target
        row = layout.split(factor=0.4)
        row.label(text=bone_maps.label(item.name), translate=False)
        row.prop_search(item, "theirs", target.data, "bones", text="")


def _mapped(settings: S2DRetargetSettings) -> dict[str, str]:
    return {pair.name: pair.theirs for pair in settings.pairs if pair.theirs}


# ---- applying --------------------------------------------------------------------------------


class S2D_OT_retarget(MapOperator):
    """Give the armature a new action with the clip's motion; the action it has is kept in the file"""

    bl_idname = "s2d.retarget"
    bl_label = "Apply Motion"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Allow it where the armature may get an action."""
        if not super().poll(context):
            return False
        target = context.scene.s2d_retarget.target
        mesh = scene.find_part(scene.find_root(context.object), "mesh")
        if mesh and scene.WAITING in mesh:
            cls.poll_message_set("The clip's motion is still being decoded")
            return False
        if context.view_layer.objects.get(target.name) != target:
            cls.poll_message_set("The armature is not in this view layer: add it, or choose another")
            return False
        if target.library:
            cls.poll_message_set("The armature is linked from another file: make a library override first")
            return False
        if target.animation_data and target.animation_data.use_tweak_mode:
            cls.poll_message_set("Leave the tweak mode of the Nonlinear Animation editor first (Tab)")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Apply the motion, and say how well it fits."""
        settings, root = context.scene.s2d_retarget, scene.find_root(context.object)
        try:
            applied = apply_motion(root, settings, context)
        except ValueError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        for warning in applied.warnings:
            self.report({"WARNING"}, warning)
        settings.outcome = (
            f"{applied.frames} frames, {applied.bones} bones, {applied.keys} keys: bones point "
            f"{applied.mean:.2f}° off on average, {applied.worst:.2f}° at most ({applied.worst_bone})"
        )
        self.report({"INFO"}, f'Applied to "{settings.target.name}": {settings.outcome}.')
        return {"FINISHED"}


@dataclass(frozen=True)
class Applied:
    """What applying made, and how far bones point from where they should, in degrees."""

    frames: int
    bones: int
    keys: int
    mean: float
    worst: float
    worst_bone: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Channels:
    """Curves of one property: its ``path``, ``values`` (T, C) over the clip's frames, and which have keys."""

    path: str
    values: np.ndarray
    keep: np.ndarray


def apply_motion(
    root: bpy.types.Object, settings: S2DRetargetSettings, context: bpy.types.Context
) -> Applied:
    """Apply the clip's motion, from its in to its out point, to the armature of ``settings``.

    Raises ValueError where the clip's skeleton, the map or the armature does not allow it; the message says
    what to do.
    """
    target = settings.target
    frames = np.array(scene.frames_shown(root))
    motion = _read_motion(root, frames)
    bone_map = _checked_map(settings, motion.rig)
    rig, fixed = read_rig(target, bone_map), []
    place = _place(root, target, rig, motion.rig, bone_map, settings.place)
    if bone_maps.is_rigify(bone_map.values()):
        fixed = _switch_to_fk(target)
        context.view_layer.update()  # the switches' drivers set how strongly constraints act
        rig = read_rig(target, bone_map)
    result = transfer.retarget(motion, rig, bone_map, place, keep_feet=settings.keep_feet)
    channels = _thinned(target, result, settings.angle, settings.distance / 1000 * place.scale)
    times = scene.scene_frames(root, frames, context.scene)
    _write_action(target, root.name, [*channels, *fixed], times)
    posed = _posed(target, rig, result, channels)
    errors = transfer.direction_errors(posed, result.wanted)
    if target.data.pose_position == "REST":
        warnings = ["The armature shows its rest position: set it to Pose Position to see the motion."]
    elif not target.visible_get():
        warnings = []  # Blender does not pose what is hidden
    else:
        warnings = _differences(target, posed, list(result.rotations), times, context)
    return Applied(
        frames=len(frames),
        bones=len(result.rotations),
        keys=sum(int(channel.keep.sum()) for channel in channels),
        mean=float(errors.mean()),
        worst=float(errors.max()),
        worst_bone=list(result.wanted)[int(errors.max(axis=0).argmax())],
        warnings=tuple(warnings),
    )


def _read_motion(root: bpy.types.Object, frames: np.ndarray) -> transfer.Motion:
    """Read the given frames of the clip's skeleton. Raises ValueError where it is missing."""
    skeleton = read_skeleton(scene.motion_folder(root), frames)
    rest = skeleton.matrices[0]
    location = (skeleton.locations - rest[:3, 3]) @ rest[:3, :3]
    return skeleton.move(list(np.swapaxes(skeleton.rotations, 0, 1)), location)


def _checked_map(settings: S2DRetargetSettings, ours: transfer.Rig) -> dict[str, str]:
    """Return the map, the hips first. Raises ValueError where it cannot be used."""
    mapped, names = _mapped(settings), set(_bone_names(settings.target))
    if gone := [theirs for theirs in mapped.values() if theirs not in names]:
        raise ValueError(f'"{settings.target.name}" has no bone "{gone[0]}": pick another in the list.')
    if twice := [theirs for theirs in mapped.values() if list(mapped.values()).count(theirs) > 1]:
        raise ValueError(f'"{twice[0]}" is in the list twice: keep one, empty the other.')
    if ours.names[0] not in mapped:
        raise ValueError("The hips are not mapped: pick a bone for them in the list.")
    if settings.keep_feet and not {"foot.L", "foot.R"} & mapped.keys():
        raise ValueError('No foot is mapped: pick a bone for one, or switch "Keep Feet on Floor" off.')
    if settings.target.data.bones[mapped[ours.names[0]]].use_connect:
        raise ValueError(
            f'"{mapped[ours.names[0]]}" is connected to its parent and cannot travel: disconnect it in Edit '
            "Mode, or map the hips to another bone."
        )
    return mapped


# ---- the armature ----------------------------------------------------------------------------


def read_rig(target: bpy.types.Object, bone_map: dict[str, str]) -> transfer.Rig:
    """Read the mapped bones of an armature at rest, with all bones that carry them, and the fingers.

    Constraints are left out, except where they hang a bone whole on another one.
    """
    order: dict[str, tuple[str | None, bool]] = {}  # of each bone: what carries it, and whether as it is

    def add(bone: bpy.types.PoseBone, above: tuple[str, ...] = ()) -> None:
        if bone.name in order:
            return
        carrier, same = _carrier(target, bone) if bone.name not in mapped else (bone.parent, False)
        if carrier and carrier.name in above:
            carrier, same = bone.parent, False
        if carrier:
            add(carrier, (*above, bone.name))
        order[bone.name] = carrier.name if carrier else None, same

    mapped = list(bone_map.values())
    for name in mapped:
        add(target.pose.bones[name])
    for ours, theirs in bone_map.items():
        if ours.startswith("hand"):
            for finger in target.pose.bones[theirs].children:
                add(finger)
    places = {name: j for j, name in enumerate(order)}
    bones = [target.data.bones[name] for name in order]
    rest = np.array([bone.matrix_local for bone in bones])
    parents = np.array([-1 if carrier is None else places[carrier] for carrier, _ in order.values()])
    offsets = [
        np.eye(4) if same else rest[j] if parents[j] < 0 else np.linalg.inv(rest[parents[j]]) @ rest[j]
        for j, (_, same) in enumerate(order.values())
    ]
    return transfer.Rig(
        names=tuple(order),
        parents=parents,
        rest=rest,
        tails=np.array([bone.tail_local for bone in bones]),
        offsets=np.array(offsets),
        basis=np.array([_unscaled(target.pose.bones[name].matrix_basis) for name in order]),
        turns=np.array([bone.use_inherit_rotation for bone in bones]),
        shifts=np.array([bone.use_local_location for bone in bones]),
        deforming=np.array([bone.use_deform for bone in bones]),
    )


def _carrier(target: bpy.types.Object, bone: bpy.types.PoseBone) -> tuple[bpy.types.PoseBone | None, bool]:
    """Return the bone that carries ``bone``, and whether it takes that bone's pose just as it is.

    The carrier is the parent, unless a constraint hangs the bone whole on another one, as in control rigs.
    """
    for constraint in reversed(bone.constraints):
        if constraint.mute or not constraint.influence or constraint.type == "COPY_SCALE":
            continue
        if constraint.type == "COPY_TRANSFORMS":
            spaces = {constraint.owner_space, constraint.target_space}
            whole = constraint.influence == 1 and constraint.mix_mode == "REPLACE" and len(spaces) == 1
            if whole and spaces <= {"WORLD", "POSE"} and constraint.target == target:
                return target.pose.bones.get(constraint.subtarget, bone.parent), True
        elif constraint.type == "ARMATURE" and constraint.influence == 1:
            carriers = [entry for entry in constraint.targets if entry.weight]
            if len(carriers) == 1 and carriers[0].target == target:
                return target.pose.bones.get(carriers[0].subtarget, bone.parent), False
        break
    return bone.parent, False


def _unscaled(matrix: Matrix) -> Matrix:
    location, rotation, _ = matrix.decompose()
    return Matrix.LocRotScale(location, rotation, None)


def _switch_to_fk(target: bpy.types.Object) -> list[Channels]:
    """Let a Rigify rig follow its FK controls alone; return the keys that keep it so."""
    once = np.array([True])
    fixed = []
    for bone in target.pose.bones:
        path = bone.path_from_id()
        for key, value in bone_maps.SWITCHES.items():
            if key in bone:
                bone[key] = value
                fixed.append(Channels(f'{path}["{key}"]', np.array([[value]]), once))
        if bone.name in bone_maps.RESTING:
            bone.matrix_basis = Matrix()
            turn = transfer.to_channels(np.eye(3)[None], bone.rotation_mode)
            fixed.append(Channels(f"{path}.{_mode_path(bone)}", turn, once))
            fixed.append(Channels(f"{path}.location", np.zeros((1, 3)), once))
    return fixed


def _mode_path(bone: bpy.types.PoseBone) -> str:
    return {"QUATERNION": "rotation_quaternion", "AXIS_ANGLE": "rotation_axis_angle"}.get(
        bone.rotation_mode, "rotation_euler"
    )


# ---- the place -------------------------------------------------------------------------------


def _place(
    root: bpy.types.Object,
    target: bpy.types.Object,
    rig: transfer.Rig,
    ours: transfer.Rig,
    bone_map: dict[str, str],
    place: str,
) -> transfer.Place:
    """Return how positions of the clip become positions in the target's space."""
    scales = target.matrix_world.to_scale()
    if max(scales) - min(scales) > _UNIFORM * max(scales) or target.matrix_world.determinant() < 0:
        raise ValueError(f'"{target.name}" is scaled unevenly: apply its scale first (Ctrl A, Scale).')
    upright = transfer.rest_facing(ours, rig, bone_map)
    own = {name: name for name in ours.names if name in bone_map}
    scale = transfer.hip_height(rig, bone_map, upright) / transfer.hip_height(ours, own, np.eye(3))
    if scale <= 0:
        raise ValueError(f'The hips of "{target.name}" are not above its feet: mend the map of its legs.')
    floor = scene.floor_placement(root)
    stands = root.matrix_world
    if np.allclose(stands, Matrix(), atol=1e-4):  # in camera space, where up is not the world's
        stands = floor
    up = _turn(stands).T @ (0, 0, 1)
    point = np.array(floor.inverted().translation)
    if place == "CLIP":
        to_target = target.matrix_world.inverted() @ root.matrix_world
        origin = np.array(target.matrix_world.inverted() @ root.matrix_world @ floor.inverted().translation)
        return transfer.Place(_turn(to_target), point, origin, up, scale)
    forward = _turn(stands) @ _turn(floor).T @ (0, -1, 0)
    if np.hypot(*forward[:2]) > 1e-3:
        x, y = forward[:2] / np.hypot(*forward[:2])
        facing = np.array([(-y, x, 0), (-x, -y, 0), (0, 0, 1)])  # takes (x, y, 0) to -Y
    else:
        facing = np.eye(3)
    hips = rig.rest[rig.index(bone_map[ours.names[0]]), :3, 3]
    vertical = upright[:, 2]
    level = transfer.floor_level(rig, bone_map, upright)
    origin = hips + (level - hips @ vertical) * vertical
    return transfer.Place(upright @ facing @ _turn(stands), point, origin, up, scale)


def _turn(matrix: Matrix) -> np.ndarray:
    return np.array(matrix.to_3x3().normalized())


# ---- keys ------------------------------------------------------------------------------------


def _thinned(
    target: bpy.types.Object, result: transfer.Retargeted, angle: float, distance: float
) -> list[Channels]:
    """Turn the motion into channels with keys: the bones' rotations in their order, the location last."""
    bones = [target.pose.bones[name] for name in result.rotations]
    modes = [bone.rotation_mode for bone in bones]
    turns = [
        transfer.to_channels(rotations, mode)
        for rotations, mode in zip(result.rotations.values(), modes, strict=True)
    ]
    kept = transfer.keys_within(turns, modes, angle)
    kept += transfer.thin([result.location], [np.full(3, distance / np.sqrt(3))])
    paths = [f"{bone.path_from_id()}.{_mode_path(bone)}" for bone in bones]
    paths.append(f"{target.pose.bones[result.root].path_from_id()}.location")
    return [Channels(*channel) for channel in zip(paths, [*turns, result.location], kept, strict=True)]


def _posed(
    target: bpy.types.Object,
    rig: transfer.Rig,
    result: transfer.Retargeted,
    channels: list[Channels],
) -> transfer.Motion:
    """Pose the rig as its thinned keys do."""
    *turns, location = [transfer.between_keys(channel.values, channel.keep) for channel in channels]
    rotations = {
        name: transfer.from_channels(values, target.pose.bones[name].rotation_mode)
        for name, values in zip(result.rotations, turns, strict=True)
    }
    return transfer.pose(rig, rotations, result.root, location)


def _write_action(target: bpy.types.Object, name: str, channels: list[Channels], times: np.ndarray) -> None:
    """Give the armature a new action; the one it had stays in the file."""
    if target.animation_data and target.animation_data.action:
        target.animation_data.action.use_fake_user = True
    curves = compat.new_fcurves(target, name)
    for channel in channels:
        kept = np.flatnonzero(channel.keep)
        for i, column in enumerate(channel.values.T):
            add_curve(curves, channel.path, times[kept], column[kept], i)
    compat.group_curves(target.animation_data.action)


def _differences(
    target: bpy.types.Object,
    posed: transfer.Motion,
    names: list[str],
    times: np.ndarray,
    context: bpy.types.Context,
) -> list[str]:
    """Warn where Blender's pose is another than the one worked out, as constraints and drivers make it."""
    before = context.scene.frame_current_final
    worst = dict.fromkeys(names, 0.0)
    for i in np.unique(np.linspace(0, len(times) - 1, _SAMPLES).round().astype(int)):
        context.scene.frame_set(math.floor(times[i]), subframe=float(times[i] % 1))
        shown = np.array([_turn(target.pose.bones[name].matrix) for name in names])
        wanted = posed.rotations[i, [posed.rig.index(name) for name in names]]
        angles = np.degrees(transfer.angles_between(shown, wanted))
        worst = {name: max(worst[name], float(angle)) for name, angle in zip(names, angles, strict=True)}
    context.scene.frame_set(math.floor(before), subframe=before % 1)
    off = [name for name, angle in worst.items() if angle > _NOTICEABLE]
    if not off:
        return []
    return [
        f'Constraints or drivers turn "{off[0]}" and the bones on it by {max(worst.values()):.0f}° away from '
        "the motion: mute them, or map the bones that control these."
    ]


def _message(error: Exception, cure: str) -> str:
    """Return one line for people: what went wrong, where, and what to do."""
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}. {cure}"
    return str(error)


# ---- the panel -------------------------------------------------------------------------------


class S2D_PT_retarget(ClipPanel, bpy.types.Panel):
    """The clip's motion on the user's own armature."""

    bl_label = "Apply to Armature"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the choice of armature, the map of bones, and the button."""
        layout, settings = self.layout, context.scene.s2d_retarget
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(settings, "target", icon="ARMATURE_DATA")
        if settings.target is None:
            return
        row = layout.row(align=True)
        row.menu(S2D_MT_bone_map.bl_idname, text=settings.preset or "Choose a Bone Map", translate=False)
        row.operator(S2D_OT_bone_map_clear.bl_idname, text="", icon="X")
        layout.template_list(S2D_UL_bone_map.__name__, "", settings, "pairs", settings, "active", rows=6)
        column = layout.column()
        for name in ("place", "keep_feet", "angle", "distance"):
            column.prop(settings, name)
        layout.operator(S2D_OT_retarget.bl_idname, icon="ARMATURE_DATA")
        if settings.outcome:
            draw_messages(layout, context, [settings.outcome], "INFO")


_CLASSES = (
    S2DBonePair,
    S2DRetargetSettings,
    S2D_OT_bone_map_preset,
    S2D_OT_bone_map_clear,
    S2D_OT_bone_map_save,
    S2D_MT_bone_map,
    S2D_UL_bone_map,
    S2D_OT_retarget,
    S2D_PT_retarget,
)


def register() -> None:
    """Register settings, operators and panel."""
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.Scene.s2d_retarget = bpy.props.PointerProperty(type=S2DRetargetSettings)


def unregister() -> None:
    """Remove what :func:`register` added."""
    del bpy.types.Scene.s2d_retarget
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
