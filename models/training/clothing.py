# SPDX-License-Identifier: GPL-3.0-or-later
"""How far clothes and hair stand out from the body on average: ``models/weights/clothing.npz``.

The picture shows the dressed person, the mesh is the naked one. Seen from another side a sleeve two
centimetres off the arm moves otherwise than the arm does, so the dense motion is taken from the body as
people usually wear it (:meth:`..body.BodyModel.dressed`). It is measured on the training split's people.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.spatial import cKDTree
from trimesh.geometry import faces_to_edges

from ..body import CLOTHING_NAME, BodyModel
from ..body_catalogue import load_body
from ..outputs import ARRAYS, Kind
from ..shipped import WEIGHTS
from ..whole_files import whole_file
from .avatars import Avatar, Wardrobe
from .motion import data_dir

_FARTHEST = 0.10  # metres; what is farther away is another part of the clothes
_BESIDE = 0.012  # metres off the normal at which a point of cloth still counts as above the vertex
_SAMPLES = 6  # points a side of a triangle of cloth
_NEIGHBOURS = 64  # points of cloth looked at for each vertex
_SMOOTHINGS = 4


def stands_out(body: BodyModel, avatar: Avatar) -> np.ndarray:
    """Return how far ``(V,)`` metres above each vertex at rest the outermost cloth or hair lies."""
    rest = avatar.rest[: len(body.vertices_mean)]
    worn = avatar.faces[(avatar.faces >= len(rest)).all(1)]
    corners = avatar.rest[worn]  # (F, 3, 3)
    steps = np.arange(_SAMPLES + 1) / _SAMPLES
    first, second = (axis.ravel() for axis in np.meshgrid(steps, steps))
    inside = first + second <= 1
    shares = np.stack([1 - first - second, first, second], 1)[inside].astype(np.float32)
    points = np.einsum("sc,fcd->fsd", shares, corners).reshape(-1, 3)
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-12)
    # The tree of a grid that is finer than needed costs more than it tells.
    kept = np.unique(np.round(points / 0.004).astype(np.int32), axis=0, return_index=True)[1]
    points, facing = points[kept], across.repeat(len(shares), 0)[kept]

    normals = body.normals(rest)
    apart, nearest = cKDTree(points).query(rest, k=_NEIGHBOURS, distance_upper_bound=_FARTHEST)
    nearest = np.where(np.isfinite(apart), nearest, 0)
    offset = points[nearest] - rest[:, None]
    height = np.einsum("vnd,vd->vn", offset, normals)
    beside = np.linalg.norm(offset - height[..., None] * normals[:, None], axis=-1)
    outward = np.einsum("vnd,vd->vn", facing[nearest], normals) > 0  # else the other leg's trousers
    above = np.isfinite(apart) & (beside < _BESIDE) & (height > 0) & outward
    return np.where(above, height, 0).max(1).astype(np.float32)


def average_clothing(body: BodyModel, wardrobe: Wardrobe, people: int, seed: int = 0) -> np.ndarray:
    """Return the mean of :func:`stands_out` ``(V,)`` over random people, smoothed over the skin."""
    total = np.zeros(len(body.vertices_mean))
    for index in range(people):
        rng = np.random.default_rng([seed, index])
        rest, _ = body.rest(rng.normal(0, 1, body.shape_size).clip(-2, 2))
        mixed = rng if rng.random() < 0.75 else None
        total += stands_out(body, wardrobe.dress(rest, 2, rng, mixed))
    mean = total / people
    first, second = faces_to_edges(body.faces).T
    beside = coo_array((np.ones(len(first)), (first, second)), shape=(len(mean), len(mean))).tocsr()
    beside = beside + beside.T
    for _ in range(_SMOOTHINGS):
        mean = (mean + beside @ mean / np.maximum(beside.sum(1), 1)) / 2
    return mean.astype(np.float32)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``s2d train clothing``."""
    parser.add_argument("--data", type=Path, default=os.environ.get("S2D_DATA"), help="folder of the assets")
    parser.add_argument("--people", type=int, default=400, help="to average over (400)")
    parser.add_argument("--out", type=Path, default=WEIGHTS, metavar="DIR", help="where the file goes")


def outputs(args: argparse.Namespace) -> dict[Path, Kind]:
    """Return the files that :func:`run` writes, each with its kind."""
    return {args.out / CLOTHING_NAME: ARRAYS}


def run(args: argparse.Namespace) -> None:
    """Measure and write the file."""
    body = load_body("anny")
    thickness = average_clothing(body, Wardrobe(body, data_dir(args.data), "train"), args.people)
    with whole_file(args.out / CLOTHING_NAME) as aside:
        np.savez_compressed(aside, anny=thickness.astype(np.float16))
    print(
        f"Clothes and hair stand out by {1000 * thickness.mean():.1f} mm on average, "
        f"{1000 * np.percentile(thickness, 95):.0f} mm at the most common 5 percent."
    )
