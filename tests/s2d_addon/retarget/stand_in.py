# SPDX-License-Identifier: GPL-3.0-or-later
"""As much of Blender as applying a motion touches, in plain Python; what that really does is seen in it."""

import importlib
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
from sparse2dense.s2d_addon.bake.rig import pose
from sparse2dense.s2d_addon.retarget.channels import from_channels


class Anything:
    """A class of Blender's, or a property or decorator of its: takes all, does nothing."""

    def __init__(self, *_args, **options):
        self.options = options

    @classmethod
    def poll_message_set(cls, message):
        cls.said = message


class Shelf(ModuleType):
    """A module with a class of every name, made when it is first asked for."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        made = type(name, (Anything,), {})
        setattr(self, name, made)
        return made


def modules():
    """What stands in for Blender's modules, by name."""
    names = (
        "bpy",
        "bpy.types",
        "bpy.props",
        "bpy.utils",
        "bpy.path",
        "bpy.app",
        "bpy.app.handlers",
        "mathutils",
    )
    made = {name: Shelf(name) for name in names}
    for name in names[1:]:
        above, _, own = name.rpartition(".")
        if above:
            setattr(made[above], own, made[name])
    return made


class Named(list):
    """Things by name or one after the other, as Blender has them."""

    def __getitem__(self, name):
        return next(item for item in self if item.name == name)

    def get(self, name, default=None):
        return next((item for item in self if item.name == name), default)


class Pairs(Named):
    """A list that Blender keeps in a file."""

    def add(self):
        self.append(SimpleNamespace(name="", theirs=""))
        return self[-1:][0]

    def __getitem__(self, key):
        return list.__getitem__(self, key) if isinstance(key, slice) else super().__getitem__(key)


def settings(target=None, bones=None, **fields):
    """The settings of a scene; a map's ``bones`` in lines."""
    made = {"place": "CLIP", "keep_feet": False, "ik": "NONE", "angle": 0.0, "distance": 0.0}
    made |= {"preset": "", "outcome": ""}
    made = SimpleNamespace(target=target, pairs=Pairs(), **made | fields)
    for ours, theirs in (bones or {}).items():
        pair = made.pairs.add()
        pair.name, pair.theirs = ours, theirs
    return made


class Layout:
    """A layout that remembers what is drawn: ``drawn`` holds (what, arguments, options, what came of it)."""

    def __init__(self):
        self.drawn = []

    def __getattr__(self, what):
        if what.startswith("__"):
            raise AttributeError(what)

        def draw(*arguments, **options):
            made = Layout()
            self.drawn.append((what, arguments, options, made))
            return made

        return draw

    def all(self, what):
        """Everything of a kind, in order, that was drawn here or inside."""
        found = []
        for kind, arguments, options, made in self.drawn:
            if kind == what:
                found.append((arguments, options, made))
            found += made.all(what)
        return found


class PoseBone:
    """A bone as it is posed, with custom properties."""

    def __init__(self, name, hero):
        self.name, self.hero, self.properties = name, hero, {}
        self.parent, self.children, self.constraints = None, [], []
        self.rotation_mode = "QUATERNION"
        self.rotation_quaternion, self.rotation_axis_angle = (1, 0, 0, 0), (0, 0, 1, 0)
        self.rotation_euler = self.location = (0, 0, 0)
        self.matrix_basis = np.eye(4)

    def get(self, name):
        return self.properties.get(name)

    def __setitem__(self, name, value):
        self.properties[name] = value

    def path_from_id(self):
        return f'pose.bones["{self.name}"]'

    @property
    def matrix(self):
        """What the curves make of the bone in the frame that is shown, and then ``hero.held``."""
        motion, j = self.hero.shown, self.hero.rig.index(self.name)
        matrix = np.eye(4)
        matrix[:3, :3] = 1.7 * self.hero.held.get(self.name, np.eye(3)) @ motion.rotations[0, j]
        matrix[:3, 3] = motion.heads[0, j]
        return matrix


class Hero:
    """An armature object with the bones of a rig, which plays the curves that it is given."""

    def __init__(self, blender, rig, name="Hero"):
        self.name, self.type, self.rig, self.blender = name, "ARMATURE", rig, blender
        self.matrix_world, self.library, self.animation_data = np.eye(4), None, None
        self.curves, self.held, self.shown, self.visible = {}, {}, None, True
        bones = Named(PoseBone(bone, self) for bone in rig.names)
        for bone, parent in zip(bones, rig.parents, strict=True):
            if parent >= 0:
                bone.parent = bones[rig.names[parent]]
                bone.parent.children.append(bone)
        self.pose = SimpleNamespace(bones=bones)
        self.data = blender.types.Armature()
        self.data.pose_position = "POSE"
        self.data.bones = Named(
            SimpleNamespace(
                name=bone,
                matrix_local=rig.rest[j],
                tail_local=rig.tails[j],
                use_connect=False,
                use_inherit_rotation=True,
                use_local_location=True,
                use_deform=True,
            )
            for j, bone in enumerate(rig.names)
        )

    def visible_get(self):
        return self.visible

    def motion(self, times):
        """Pose the rig as the curves do at scene frames ``(T,)``: in straight lines, held at the ends."""
        rotations, location = {}, np.zeros((len(times), 3))
        for bone in self.pose.bones:
            kind = {"QUATERNION": "quaternion", "AXIS_ANGLE": "axis_angle"}.get(bone.rotation_mode, "euler")
            values = self._channels(f"{bone.path_from_id()}.rotation_{kind}", times)
            if values is not None:
                rotations[bone.name] = from_channels(values, bone.rotation_mode)
        root = self.rig.names[0]
        values = self._channels(f'pose.bones["{root}"].location', times)
        return pose(self.rig, rotations, root, location if values is None else values)

    def _channels(self, path, times):
        curves = [self.curves[key] for key in sorted(self.curves) if key[0] == path]
        return np.stack([np.interp(times, *curve) for curve in curves], axis=1) if curves else None


class Scene:
    """A scene that shows frames of a hero."""

    def __init__(self, hero):
        self.hero, self.frame_current_final, self.visited = hero, 7.25, []

    def frame_set(self, frame, subframe=0.0):
        assert isinstance(frame, int)
        assert 0 <= subframe < 1
        self.hero.shown = self.hero.motion(np.array([frame + subframe]))
        self.visited.append(frame + subframe)


def load(*names):
    """Import modules of the add-on, ``retarget.apply`` for example, with the stand-ins in Blender's place.

    Returns all modules that came with them, by name. Nobody else gets to see those: they leave again.
    """
    before, made = dict(sys.modules), modules()
    sys.modules.update(made)
    try:
        for name in names:
            importlib.import_module(f"sparse2dense.s2d_addon.{name}")
        kept = {name: module for name, module in sys.modules.items() if name not in before} | made
    finally:
        for name in list(sys.modules):
            if name.partition(".")[0] in ("bpy", "mathutils", "sparse2dense"):
                del sys.modules[name]
                if name in before:
                    sys.modules[name] = before[name]
    return kept
