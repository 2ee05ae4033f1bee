# SPDX-License-Identifier: GPL-3.0-or-later
"""The mesh's material: what its surface shows, which is one of the pictures of its UV map, or one colour."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import bpy

from ..translating import translatable
from ..typed import mesh_of, present
from .storage import link_path

LOOKS = {
    "TEXTURED": (
        translatable("Textured"),
        translatable("The colours of the person, taken from the clip's pictures"),
    ),
    "MANNEQUIN": (
        translatable("Mannequin"),
        translatable("Nobody in particular: one colour, and smooth underwear"),
    ),
    "PLAIN": (translatable("Plain"), translatable("One colour, which shows the shape")),
}
"""What a surface may show: label and description by name."""

_NODES = {"TEXTURED": "Texture", "MANNEQUIN": "Mannequin", "PLAIN": "Plain"}
_ROUGHNESS = 0.8  # as of cloth and skin: the light of the day it was filmed is in the texture
_LOOK = "s2d_look"  # of the mesh: what the user has chosen, if anything


def dress(mesh: bpy.types.Object, look: str, path: Path) -> None:
    """Add the picture at ``path`` to what the mesh's material can show, unless the user has given it another.

    It is shown unless the user has chosen another look.
    """
    if not mesh.material_slots:
        mesh_of(mesh).materials.append(_new_material(mesh.name))
    elif not looks(mesh) or _node(mesh, look):
        return
    node = _picture_node(present(_node_tree(mesh)), look)
    # Not images.load, which reads the file at once.
    node.image = bpy.data.images.new(path.name, 1, 1)
    node.image.source = "FILE"
    node.image.filepath = link_path(path)
    if mesh.get(_LOOK, look) == look:
        _show(mesh, look)


def pictures(mesh: bpy.types.Object) -> list[bpy.types.Image]:
    """Return the pictures that the mesh's material can show."""
    nodes = [_node(mesh, look) for look in LOOKS]
    return [node.image for node in nodes if node and node.image]


def looks(mesh: bpy.types.Object) -> list[str]:
    """Return which of :data:`LOOKS` the mesh can have; none where the user has changed its material."""
    if _surface(_node_tree(mesh)) is None:
        return []
    there = [look for look in LOOKS if (node := _node(mesh, look)) and node.image]
    return [*there, "PLAIN"] if there else []


def shown_look(mesh: bpy.types.Object) -> str:
    """Return which of :data:`LOOKS` the mesh has."""
    for look in LOOKS:
        node = _node(mesh, look)
        if node and present(node.outputs)["Color"].is_linked:
            return look
    return "PLAIN"


def show_look(mesh: bpy.types.Object, look: str) -> None:
    """Let the surface of a mesh show one of its :func:`looks`, and go on showing it when there are more."""
    choose_look(mesh, look)
    _show(mesh, look)


def choose_look(mesh: bpy.types.Object, look: str) -> None:
    """Say which look a mesh is to have as soon as it can."""
    mesh[_LOOK] = look


def own_material(mesh: bpy.types.Object) -> None:
    """Give the mesh a material of its own, where one of Blender's duplicates shares it."""
    slot = mesh.material_slots[0]
    slot.link = "OBJECT"  # a linked duplicate shares its mesh, and with it the mesh's material
    slot.material = present(slot.material or mesh_of(mesh).materials[0]).copy()


def _show(mesh: bpy.types.Object, look: str) -> None:
    tree = present(_node_tree(mesh))
    node = _node(mesh, look) or _picture_node(tree, look)
    colour = present(_surface(tree)).inputs["Base Color"]
    for link in list(colour.links or ()):
        tree.links.remove(link)
    if look != "PLAIN":
        tree.links.new(present(node.outputs)["Color"], colour)
    # Solid shading shows the picture node that was active last, linked or not: without a picture, none.
    tree.nodes.active = node


def _new_material(name: str) -> bpy.types.Material:
    material = bpy.data.materials.new(name)
    if not material.node_tree:
        material.use_nodes = True
    tree = present(material.node_tree)
    cast("bpy.types.NodeSocketFloat", present(_surface(tree)).inputs["Roughness"]).default_value = _ROUGHNESS
    return material


def _picture_node(tree: bpy.types.NodeTree, look: str) -> bpy.types.ShaderNodeTexImage:
    node = cast("bpy.types.ShaderNodeTexImage", tree.nodes.new("ShaderNodeTexImage"))
    node.name = node.label = _NODES[look]
    node.location = (-300, 300 * (1 - list(LOOKS).index(look)))
    return node


def _node(mesh: bpy.types.Object, look: str) -> bpy.types.ShaderNodeTexImage | None:
    tree = _node_tree(mesh)
    return cast("bpy.types.ShaderNodeTexImage | None", tree.nodes.get(_NODES[look])) if tree else None


def _node_tree(mesh: bpy.types.Object) -> bpy.types.NodeTree | None:
    return mesh.active_material.node_tree if mesh.active_material else None


def _surface(tree: bpy.types.NodeTree | None) -> bpy.types.Node | None:
    nodes = tree.nodes if tree else ()
    return next((node for node in nodes if node.type == "BSDF_PRINCIPLED"), None)
