# SPDX-License-Identifier: GPL-3.0-or-later
"""The mesh's material: the texture that decoding painted of the clip's pictures, shown or not."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import bpy

from ..typed import mesh_of, present
from .storage import link_path

_NODE, _PLAIN_NODE = "Texture", "Plain"
_ROUGHNESS = 0.8  # as of cloth and skin: the light of the day it was filmed is in the texture


def dress(mesh: bpy.types.Object, path: Path) -> None:
    """Give the mesh a material with the texture at ``path``, unless the user has given it one."""
    if mesh.material_slots:
        return
    material = bpy.data.materials.new(mesh.name)
    if not material.node_tree:
        material.use_nodes = True
    tree = present(material.node_tree)
    node = cast("bpy.types.ShaderNodeTexImage", tree.nodes.new("ShaderNodeTexImage"))
    node.name = node.label = _NODE
    node.location = (-300, 300)
    # Not images.load, which reads the file at once.
    node.image = bpy.data.images.new(path.name, 1, 1)
    node.image.source = "FILE"
    node.image.filepath = link_path(path)
    cast("bpy.types.NodeSocketFloat", present(_surface(tree)).inputs["Roughness"]).default_value = _ROUGHNESS
    mesh_of(mesh).materials.append(material)
    show_texture(mesh, True)


def texture_image(mesh: bpy.types.Object) -> bpy.types.Image | None:
    """Return the texture's picture, None where the mesh has none or the user has changed its material."""
    node = _texture_node(mesh)
    return node.image if node else None


def can_show(mesh: bpy.types.Object) -> bool:
    """Whether the mesh's material has the texture and a surface to show it on."""
    return _texture_node(mesh) is not None and _surface(_node_tree(mesh)) is not None


def shows_texture(mesh: bpy.types.Object) -> bool:
    """Whether the texture is what the surface shows."""
    node = _texture_node(mesh)
    return bool(node and present(node.outputs)["Color"].is_linked)


def show_texture(mesh: bpy.types.Object, shown: bool) -> None:
    """Let the surface show the texture of a mesh that :func:`can_show` it, or be plain."""
    tree, node = present(_node_tree(mesh)), present(_texture_node(mesh))
    surface, colour = present(_surface(tree)), present(node.outputs)["Color"]
    if shown:
        tree.links.new(colour, surface.inputs["Base Color"])
    else:
        for link in list(colour.links or ()):
            tree.links.remove(link)
    # Solid shading shows the picture node that was active last, linked or not: without a picture, none.
    tree.nodes.active = node if shown else _plain_node(tree)


def own_material(mesh: bpy.types.Object) -> None:
    """Give the mesh a material of its own, where one of Blender's duplicates shares it."""
    slot = mesh.material_slots[0]
    slot.link = "OBJECT"  # a linked duplicate shares its mesh, and with it the mesh's material
    slot.material = present(slot.material or mesh_of(mesh).materials[0]).copy()


def _texture_node(mesh: bpy.types.Object) -> bpy.types.ShaderNodeTexImage | None:
    tree = _node_tree(mesh)
    return cast("bpy.types.ShaderNodeTexImage | None", tree.nodes.get(_NODE)) if tree else None


def _plain_node(tree: bpy.types.NodeTree) -> bpy.types.Node:
    if there := tree.nodes.get(_PLAIN_NODE):
        return there
    node = tree.nodes.new("ShaderNodeTexImage")
    node.name = node.label = _PLAIN_NODE
    node.location = (-300, 0)
    return node


def _node_tree(mesh: bpy.types.Object) -> bpy.types.NodeTree | None:
    return mesh.active_material.node_tree if mesh.active_material else None


def _surface(tree: bpy.types.NodeTree | None) -> bpy.types.Node | None:
    nodes = tree.nodes if tree else ()
    return next((node for node in nodes if node.type == "BSDF_PRINCIPLED"), None)
