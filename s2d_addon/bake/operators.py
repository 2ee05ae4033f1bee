# SPDX-License-Identifier: GPL-3.0-or-later
"""Baking the active clip's motion to keyframes or to a file: the operators and their panel."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import bpy
import numpy as np

from ...inference.decoding.decoded_folder import FILES
from ...models.errors import InputError
from ..clip import scene
from ..clip.ui import ClipOperator, ClipPanel, active_clip
from ..engine.decoded import open_point_cache
from ..registering import registration
from ..translating import label_text, say, translatable
from ..typed import OperatorResult, mesh_of, present
from . import actions, armature, scene_files, shape_keys
from .bake_report import MANY_SHAPE_KEYS, Baked, told
from .clip_skeleton import read_skeleton
from .keys import Progress
from .rig_presets import LIMBS, RIG_PRESETS, TRUNK
from .standing_rig import PlacedPoints, RigOptions, even_scale, standing_rig

BAKED = "clip_baked"  # on the clip's empty: what the last bake made, for the panel
_BUTTON_KIND = "s2d_bake_kind"  # in the context of a kind's button, which alone can tell poll what it is
_Icon = Literal["SHAPEKEY_DATA", "ARMATURE_DATA", "FILE"]
_KINDS: tuple[tuple[str, str, str, _Icon, int], ...] = (
    (
        "EXPORTABLE",
        translatable("Exportable Shape Keys"),
        translatable(
            "Relative shape keys: glTF carries them, and FBX with NLA Strips and All Actions off in its "
            "exporter. Slow beyond some hundred keys"
        ),
        "SHAPEKEY_DATA",
        0,
    ),
    (
        "FAST",
        translatable("Fast Shape Keys"),
        translatable("Absolute shape keys along one curve: plays fast, in Blender only"),
        "SHAPEKEY_DATA",
        1,
    ),
    (
        "ARMATURE",
        translatable("Armature"),
        translatable(
            "An armature on the floor that moves the mesh, its rest pose upright at the origin: to edit, "
            "retarget and export"
        ),
        "ARMATURE_DATA",
        2,
    ),
    (
        "ALEMBIC",
        "Alembic",
        translatable("Every vertex at every scene frame, to an .abc file for other programs"),
        "FILE",
        3,
    ),
    (
        "USD",
        "USD",
        translatable("Every vertex at every scene frame, to a .usdc file for other programs"),
        "FILE",
        4,
    ),
)


class _MotionOperator(ClipOperator):
    """An operator on the motion of the active clip's mesh."""

    modes = {"OBJECT"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Allow it on a clip whose mesh is there and decoded."""
        if not super().poll(context):
            return False
        mesh = scene.find_part(active_clip(context), "mesh")
        if mesh is None:
            cls.poll_message_set(say("The clip's mesh was deleted: import the clip again"))
            return False
        if mesh_of(mesh).library:
            cls.poll_message_set(say("The clip's mesh belongs to another file: bake it there"))
            return False
        if mesh.get(scene.WAITING):
            cls.poll_message_set(say("The clip's motion is still being decoded"))
            return False
        return True


class S2D_OT_bake(_MotionOperator):
    """Turn the clip's motion, from its in to its out point, into keyframes or a file"""

    bl_idname = "s2d.bake"
    bl_label = "Bake to Keyframes"
    bl_options = {"REGISTER", "UNDO"}

    kind: Annotated[
        str,
        bpy.props.EnumProperty(name="Kind", description="What the motion is turned into", items=_KINDS),
    ]
    tolerance: Annotated[
        float,
        bpy.props.FloatProperty(
            name="Tolerance (mm)",
            description="How far a vertex may stray between two keys. 0: a key for every frame",
            default=5.0,
            min=0.0,
            soft_max=20.0,
        ),
    ]
    mixed: Annotated[
        bool,
        bpy.props.BoolProperty(
            name="Mixed Keys",
            description="Fewer shape keys and files of half the size: frames are mixtures of some of them. "
            "Weights then go below 0, and programs that cut them off there show another motion",
            default=False,
        ),
    ]
    preset: Annotated[
        str,
        bpy.props.EnumProperty(
            name="Bones",
            description="Whose names, axes and hierarchy the armature's bones have",
            items=[(key, preset.label, preset.description) for key, preset in RIG_PRESETS.items()],
        ),
    ]
    rest_pose: Annotated[
        str,
        bpy.props.EnumProperty(
            name="Rest Pose",
            description="How the armature and its mesh stand at rest",
            items=(
                ("A", "A-Pose", "Arms halfway down"),
                ("T", "T-Pose", "Arms level"),
            ),
        ),
    ]
    root_motion: Annotated[
        bool,
        bpy.props.BoolProperty(
            name="Root Motion",
            description="The root bone goes the person's way on the floor and turns with it, as game engines "
            "take root motion. Off: it stays at the origin and the hips carry all",
            default=True,
        ),
    ]
    stretch: Annotated[
        bool,
        bpy.props.BoolProperty(
            name="Follow the Skin",
            description="Bones may leave their places by some millimetres, so that the skin is where it is "
            "in the clip. Off: they only turn, and joints stay connected",
            default=True,
        ),
    ]
    seam: Annotated[
        int,
        bpy.props.IntProperty(
            name="Loop",
            description="How many of the last frames go over into the first one's pose, so that the action "
            "repeats without a jump. 0: no loop",
            default=0,
            min=0,
            soft_max=30,
        ),
    ]
    filepath: Annotated[
        str,
        bpy.props.StringProperty(
            name="File",
            description="Where the Alembic or USD file goes",
            subtype="FILE_PATH",
            options={"SKIP_SAVE"},
        ),
    ]
    filter_glob: Annotated[str, bpy.props.StringProperty(default="*.abc;*.usdc", options={"HIDDEN"})]
    check_existing: Annotated[bool, bpy.props.BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"})]

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Allow it on a clip whose mesh is there and decoded, and a kind that this Blender knows."""
        if said := scene_files.lacking(getattr(context, _BUTTON_KIND, "")):
            cls.poll_message_set(said)
            return False
        return super().poll(context)

    @classmethod
    def description(cls, _context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """Say what the button's kind is."""
        return say(next(kind[2] for kind in _KINDS if kind[0] == properties.kind))

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> OperatorResult:
        """Ask for a file where one is to be written."""
        if self.kind not in scene_files.SUFFIXES:
            return self.execute(context)
        if said := scene_files.lacking(self.kind):
            self.report({"ERROR"}, f"{said}.")
            return {"CANCELLED"}
        self.filepath = scene_files.with_ending(bpy.path.clean_name(active_clip(context).name), self.kind)
        self.filter_glob = f"*{scene_files.SUFFIXES[self.kind]}"
        present(context.window_manager).fileselect_add(self)
        return {"RUNNING_MODAL"}

    def draw(self, _context: bpy.types.Context) -> None:
        """Draw the options of the kind that is baked."""
        layout = present(self.layout)
        layout.use_property_split = True
        layout.prop(self, "kind")
        if self.kind == "ARMATURE":
            for name in ("preset", "rest_pose", "root_motion", "stretch", "seam"):
                layout.prop(self, name)
        if self.kind == "EXPORTABLE":
            layout.prop(self, "mixed")
        if self.kind not in scene_files.SUFFIXES:
            layout.prop(self, "tolerance")

    def check(self, _context: bpy.types.Context) -> bool:
        """Give the name in the file dialog its ending, so that it asks before a file is replaced."""
        if self.kind not in scene_files.SUFFIXES or not Path(self.filepath).name:
            return False
        before, self.filepath = self.filepath, scene_files.with_ending(self.filepath, self.kind)
        return self.filepath != before

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Bake, and say how well it went."""
        root = active_clip(context)
        to_file = self.kind in scene_files.SUFFIXES
        path = None
        if to_file:
            given = bpy.path.abspath(self.filepath)
            if not given or Path(given).is_dir():
                self.report({"ERROR"}, "No file was chosen: choose where the motion is to be written.")
                return {"CANCELLED"}
            path = Path(scene_files.with_ending(given, self.kind))
            if str(path) != str(Path(given)) and path.exists():
                said = say("{path} is there already: choose it itself, or another name.", path=path)
                self.report({"ERROR"}, said)
                return {"CANCELLED"}
        try:
            with _progress(context) as progress:
                baked = self._export(root, path, context) if path else self._bake(root, context, progress)
        except (InputError, OSError) as error:
            cure = say("Relink the clip's folder, or import it again.")
            if to_file:
                cure = say("Choose another folder.")
            self.report({"ERROR"}, told(error, cure))
            return {"CANCELLED"}
        outcome = baked.describe(say(next(kind[1] for kind in _KINDS if kind[0] == self.kind)))
        if not to_file:
            root[BAKED] = outcome
        self.report({"INFO"}, f"{outcome}.")
        if self.kind == "EXPORTABLE" and baked.keys and baked.keys > MANY_SHAPE_KEYS:
            said = say("{count} shape keys play slowly: allow a greater tolerance.", count=baked.keys)
            self.report({"WARNING"}, said)
        return {"FINISHED"}

    def _bake(self, root: bpy.types.Object, context: bpy.types.Context, progress: Progress) -> Baked:
        mesh, frames = present(scene.find_part(root, "mesh")), np.array(scene.frames_shown(root))
        folder, tolerance = scene.motion_folder(root), self.tolerance / 1000
        points = open_point_cache(folder / FILES["mesh"])[frames[0] : frames[-1] + 1]
        times = scene.scene_frames(root, frames, present(context.scene))
        if self.kind == "ARMATURE":
            return self._bake_armature(root, mesh, points, times, context, progress)
        _unbake(root, mesh)
        return shape_keys.bake_shape_keys(
            mesh,
            points,
            times,
            absolute=self.kind == "FAST",
            mixed=self.mixed,
            tolerance=tolerance,
            progress=progress,
        )

    def _bake_armature(
        self,
        root: bpy.types.Object,
        mesh: bpy.types.Object,
        points: np.ndarray,
        times: np.ndarray,
        context: bpy.types.Context,
        progress: Progress,
    ) -> Baked:
        clip = read_skeleton(scene.motion_folder(root), np.array(scene.frames_shown(root)))
        place = np.array(scene.place_below(root, mesh))
        options = RigOptions(
            RIG_PRESETS[self.preset], self.rest_pose, self.root_motion, self.stretch, self.seam
        )
        placed, scale = PlacedPoints(points, place), even_scale(place, root.name)
        fps = root[scene.CLIP_FPS] * root[scene.SPEED]
        skeleton = standing_rig(clip, placed, scale, fps, options, lambda done: progress(0.5 * done))
        _unbake(root, mesh)
        scene.set_loose(root, mesh)
        item, baked = armature.bake_armature(
            mesh,
            f"{root.name} armature",
            skeleton,
            placed.before(self.seam),  # of a loop's seam the clip has nothing
            times,
            context,
            tolerance=self.tolerance / 1000,
            cyclic=self.seam > 0,
            progress=lambda done: progress(0.5 + 0.5 * done),
        )
        preset = RIG_PRESETS[self.preset]
        ours = (*TRUNK, *(f"{limb}.{side}" for side in "LR" for limb in LIMBS))
        bones = {name: theirs for name in ours for theirs in preset.names(name)[:1]}
        action = present(present(item.animation_data).action)
        actions.note_motion(action, root, len(times), preset.label, bones)
        item[scene.CLIP_PART] = "armature"
        scene.link_loose(root, item)
        return baked

    def _export(self, root: bpy.types.Object, path: Path, context: bpy.types.Context) -> Baked:
        ends = np.array(scene.frames_shown(root))[[0, -1]]
        first, last = scene.scene_frames(root, ends, present(context.scene))
        frames = range(math.floor(first), math.ceil(last - 1e-3) + 1)
        return scene_files.export_mesh(present(scene.find_part(root, "mesh")), path, frames, context)


class S2D_OT_unbake(_MotionOperator):
    """Let the mesh play the decoded clip again: baked keys and armature are removed"""

    bl_idname = "s2d.unbake"
    bl_label = "Remove Bake"
    bl_options = {"UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Allow it on a baked clip."""
        if not super().poll(context):
            return False
        if not active_clip(context).get(BAKED):
            cls.poll_message_set(say("The clip is not baked"))
            return False
        return True

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Play the point cache again."""
        root = active_clip(context)
        cache = scene.motion_folder(root) / FILES["mesh"]
        if not cache.is_file():
            said = say("{path} is missing: relink the clip's folder, or import the clip again.", path=cache)
            self.report({"ERROR"}, said)
            return {"CANCELLED"}
        _unbake(root, present(scene.find_part(root, "mesh")))
        scene.play_motion(root, cache)
        return {"FINISHED"}


def _unbake(root: bpy.types.Object, mesh: bpy.types.Object) -> None:
    """Take everything off ``mesh`` that moves it: the point cache, or what an earlier bake has made."""
    modifier = scene.point_cache(mesh)
    if modifier:
        mesh.driver_remove(f'modifiers["{modifier.name}"].eval_frame')
        mesh.modifiers.remove(modifier)
    if root.get(BAKED):
        shape_keys.remove_shape_keys(mesh)
        armature.remove_armature(mesh, scene.find_parts(root, "armature"))
        scene.bring_back(root, mesh)
        del root[BAKED]


@contextmanager
def _progress(context: bpy.types.Context) -> Iterator[Progress]:
    """Show the share of the work that is done beside the pointer."""
    manager = present(context.window_manager)
    manager.progress_begin(0, 1)
    try:
        yield manager.progress_update
    finally:
        manager.progress_end()


def draw_kinds(layout: bpy.types.UILayout, text: str = "{kind}") -> None:
    """Draw a button or an entry a kind of bake; ``text`` has its name in it."""
    for kind, name, _, icon, _ in _KINDS:
        row = layout.row(align=True)
        row.context_string_set(_BUTTON_KIND, kind)
        shown = label_text(text, kind=label_text(name))
        present(row.operator(S2D_OT_bake.bl_idname, text=shown, icon=icon)).kind = kind


class S2D_PT_bake(ClipPanel):
    """Baking of the active clip."""

    bl_label = "Bake"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw a button a kind, and how the last bake went."""
        layout, root = self.layout, active_clip(context)
        baked = root.get(BAKED)
        draw_kinds(layout.column(align=True))
        if baked:
            box = layout.box().column(align=True)
            for i, line in enumerate(baked.split(", ")):
                box.label(text=line, translate=False, icon="CHECKMARK" if i == 0 else "BLANK1")
            for item in scene.find_parts(root, "armature"):
                actions.draw_actions(layout, item)
            layout.operator(S2D_OT_unbake.bl_idname, icon="LOOP_BACK")


register, unregister = registration((S2D_OT_bake, S2D_OT_unbake, S2D_PT_bake))
