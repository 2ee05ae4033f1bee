# SPDX-License-Identifier: GPL-3.0-or-later
"""A skinned and animated body as a binary glTF 2.0 file: metres, y up, facing +z.

One mesh with UVs and smooth normals, skinned to the standard skeleton, and one animation: a key a frame for
every bone's rotation and the root's place. The nodes themselves hold the rest pose.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pygltflib as gltf

from ...models.body import BodyModel
from ...models.rotations import apply, continuous, relative_to_parents, to_quaternions
from ...models.skeleton import INFLUENCES
from ..decoding.skeleton_fit import SkeletonMotion
from .uv_corners import split_at_seams

_COMPONENTS = {"f4": gltf.FLOAT, "u1": gltf.UNSIGNED_BYTE, "u2": gltf.UNSIGNED_SHORT, "u4": gltf.UNSIGNED_INT}
_COLOUR = [0.6, 0.6, 0.6, 1.0]


def write_glb(
    path: Path, motion: SkeletonMotion, body: BodyModel, fps: Fraction, texture: bytes | None = None
) -> None:
    """Write the mesh of ``body`` and a motion that stands with y up (:mod:`.standing`).

    ``texture`` is a PNG file with the picture of the body's UV map; without it the body is grey. OSError
    where the file cannot be written.
    """
    skeleton, bones = motion.skeleton, len(motion.skeleton.names)
    buffer = _Buffer()
    rest = relative_to_parents(skeleton.axes[None], skeleton.parents)
    above, places = skeleton.parents[1:], skeleton.heads.copy()
    places[1:] = apply(np.swapaxes(skeleton.axes, 1, 2)[above], places[1:] - places[above])
    nodes = [
        gltf.Node(
            name=name,
            translation=places[bone].tolist(),
            rotation=_xyzw(rest[:, bone])[0].tolist(),
            children=np.flatnonzero(skeleton.parents == bone).tolist(),
        )
        for bone, name in enumerate(skeleton.names)
    ]
    nodes.append(gltf.Node(name="body", mesh=0, skin=0))
    binds = np.tile(np.eye(4), (bones, 1, 1))
    binds[:, :3, :3] = np.swapaxes(skeleton.axes, 1, 2)
    binds[:, :3, 3] = -apply(binds[:, :3, :3], skeleton.heads)
    columns = np.swapaxes(binds, 1, 2).reshape(bones, 16)  # glTF keeps matrices column by column
    content = gltf.GLTF2(
        asset=gltf.Asset(version="2.0", generator="Sparse2Dense"),
        scene=0,
        scenes=[gltf.Scene(nodes=[0, bones])],
        nodes=nodes,
        meshes=[gltf.Mesh(name="body", primitives=[_primitive(buffer, motion, body)])],
        materials=[_material(textured=texture is not None)],
        skins=[
            gltf.Skin(
                joints=list(range(bones)), skeleton=0, inverseBindMatrices=buffer.add(columns, gltf.MAT4)
            )
        ],
        animations=[_animation(buffer, motion, fps)],
        accessors=buffer.accessors,
        bufferViews=buffer.views,
        buffers=[gltf.Buffer(byteLength=len(buffer.data))],
    )
    if texture is not None:
        content.images = [gltf.Image(bufferView=buffer.add_file(texture), mimeType="image/png")]
        content.samplers = [gltf.Sampler(magFilter=gltf.LINEAR, minFilter=gltf.LINEAR_MIPMAP_LINEAR)]
        content.textures = [gltf.Texture(source=0, sampler=0)]
        content.buffers[0].byteLength = len(buffer.data)
    content.set_binary_blob(buffer.data)
    with path.open("wb") as file:
        file.writelines(content.save_to_bytes())


class _Buffer:
    """The file's one buffer as it grows, each array in a view of its own, which pygltflib aligns."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[gltf.BufferView] = []
        self.accessors: list[gltf.Accessor] = []

    def add(
        self,
        array: np.ndarray,
        kind: str,
        *,
        dtype: str = "f4",
        target: int | None = None,
        bounds: bool = False,
    ) -> int:
        """Append rows ``(N, ...)`` and return the number of their accessor, with ``bounds`` if wanted."""
        rows = np.ascontiguousarray(array, f"<{dtype}")
        view = self._append(rows.tobytes(), target)
        extent: dict[str, Any] = {}
        if bounds:
            flat = rows.reshape(len(rows), -1)
            extent = {"min": flat.min(axis=0).tolist(), "max": flat.max(axis=0).tolist()}
        self.accessors.append(
            gltf.Accessor(
                bufferView=view,
                componentType=_COMPONENTS[dtype],
                count=len(rows),
                type=kind,
                **extent,
            )
        )
        return len(self.accessors) - 1

    def add_file(self, content: bytes) -> int:
        """Append a whole file and return the number of its view."""
        view = self._append(content, None)
        self.data += bytes(-len(self.data) % 4)
        return view

    def _append(self, content: bytes, target: int | None) -> int:
        self.views.append(
            gltf.BufferView(buffer=0, byteOffset=len(self.data), byteLength=len(content), target=target)
        )
        self.data += content
        return len(self.views) - 1


def _material(textured: bool) -> gltf.Material:
    surface = gltf.PbrMetallicRoughness(metallicFactor=0.0, roughnessFactor=0.8)
    if textured:
        surface.baseColorTexture = gltf.TextureInfo(index=0)
    else:
        surface.baseColorFactor = _COLOUR
    return gltf.Material(name="body", pbrMetallicRoughness=surface)


def _primitive(buffer: _Buffer, motion: SkeletonMotion, body: BodyModel) -> gltf.Primitive:
    skeleton = motion.skeleton
    chosen, chosen_uv, faces = split_at_seams(body)
    normals = body.normals(skeleton.vertices)
    normals[np.linalg.norm(normals, axis=1) < 0.5] = [0, 1, 0]  # of faces without area, and glTF wants units
    uv = body.uv[chosen_uv] * [1, -1] + [0, 1]  # from the top
    bones = np.argsort(-skeleton.weights, axis=1)[:, :INFLUENCES]
    weights = np.take_along_axis(skeleton.weights, bones, axis=1).astype(np.float32)
    bones[weights == 0] = 0  # what moves nothing names no bone
    vertex = gltf.ARRAY_BUFFER
    attributes = gltf.Attributes(
        POSITION=buffer.add(skeleton.vertices[chosen], gltf.VEC3, target=vertex, bounds=True),
        NORMAL=buffer.add(normals[chosen], gltf.VEC3, target=vertex),
        TEXCOORD_0=buffer.add(uv, gltf.VEC2, target=vertex),
        JOINTS_0=buffer.add(bones[chosen], gltf.VEC4, dtype="u1", target=vertex),
        WEIGHTS_0=buffer.add(weights[chosen], gltf.VEC4, target=vertex),
    )
    width = "u2" if len(chosen) < 65535 else "u4"
    indices = buffer.add(faces.ravel(), gltf.SCALAR, dtype=width, target=gltf.ELEMENT_ARRAY_BUFFER)
    return gltf.Primitive(attributes=attributes, indices=indices, material=0, mode=gltf.TRIANGLES)


def _animation(buffer: _Buffer, motion: SkeletonMotion, fps: Fraction) -> gltf.Animation:
    skeleton = motion.skeleton
    seconds = np.arange(len(motion.roots)) / float(fps)
    times = buffer.add(seconds, gltf.SCALAR, bounds=True)
    local = relative_to_parents(motion.rotations, skeleton.parents)
    animation = gltf.Animation(name="motion", samplers=[], channels=[])

    def add(bone: int, path: str, values: np.ndarray, kind: str) -> None:
        target = gltf.AnimationChannelTarget(node=bone, path=path)
        animation.channels.append(gltf.AnimationChannel(sampler=len(animation.samplers), target=target))
        output = buffer.add(values, kind)
        animation.samplers.append(gltf.AnimationSampler(input=times, output=output, interpolation="LINEAR"))

    add(0, "translation", motion.roots, gltf.VEC3)
    for bone, parent in enumerate(skeleton.parents):
        above = np.eye(3) if parent < 0 else skeleton.axes[parent]
        add(bone, "rotation", _xyzw(above.T @ local[:, bone] @ skeleton.axes[bone]), gltf.VEC4)
    return animation


def _xyzw(rotations: np.ndarray) -> np.ndarray:
    """Return rotations ``(T, 3, 3)`` as continuous quaternions ``(T, 4)`` in glTF's order."""
    return np.roll(continuous(to_quaternions(rotations)), -1, axis=-1)
