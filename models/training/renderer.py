# SPDX-License-Identifier: GPL-3.0-or-later
"""A small software rasteriser for training pictures: one pass gives triangle and place on it, a sample.

Everything else (colour, mask, flow, visibility) is read off those two, so all labels agree with the
picture by construction. Compiled by numba for one core; workers run one each. The picture is drawn at
``SAMPLES`` samples a pixel edge and averaged, which gives silhouettes the soft edge a lens gives.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numba import njit

SAMPLES = 2
"""Samples along each edge of a pixel."""

FAR = 1e6
"""Depth (m) of a sample where nothing was drawn."""

NEAR = 0.1
"""Least depth (m) that is drawn."""

SHADOW_CELL = 0.025
"""Metres along the edge of a shadow map's cell."""

TOLERANCE = 0.02
"""Metres by which a visible point may lie behind the nearest one."""

AMBIENT = np.array(
    [[0, -1, 0], *([np.cos(a) * 0.87, -0.5, np.sin(a) * 0.87] for a in (0.4, 1.97, 3.54, 5.11))], np.float32
)
"""Directions from which the light of sky and surroundings comes when points are asked how open they are."""


@dataclass(frozen=True)
class Drawing:
    """Frames of one avatar, and what their labels are read off."""

    colour: np.ndarray  # (n, H, W, 3) float32 premultiplied by the coverage, 0..255
    coverage: np.ndarray  # (n, H, W) float32 0..1
    distance: np.ndarray  # (n, H, W) float32 metres to what a pixel shows nearest, 0 off the person
    points: np.ndarray  # (n, G, 3) float32 camera space; the first V are the naked body
    # These points, and the samples, where the renderer keeps them: arrays, or tensors on a device.
    posed: Any
    triangle: Any  # n of (h, w)
    place: Any  # n of (h, w, 2)
    depth: Any  # n of (h, w)

    def __getitem__(self, frames: slice) -> Drawing:
        """Return some of the frames."""
        return Drawing(**{field.name: getattr(self, field.name)[frames] for field in fields(self)})


@njit(cache=True, nogil=True, fastmath=True)
def skin(
    rest: np.ndarray, bones: np.ndarray, weights: np.ndarray, transforms: np.ndarray, out: np.ndarray
) -> None:
    """Pose vertices by linear blend skinning.

    ``rest (G, 3)`` float32, ``bones (G, K)`` int16 and ``weights (G, K)`` float32 (zeros last),
    ``transforms (B, 3, 4)`` float32 from rest to camera space; writes ``out (G, 3)`` float32.
    """
    for g in range(rest.shape[0]):
        x, y, z = rest[g, 0], rest[g, 1], rest[g, 2]
        px = py = pz = np.float32(0)
        for k in range(bones.shape[1]):
            w = weights[g, k]
            if w == 0:
                break
            t = transforms[bones[g, k]]
            px += w * (t[0, 0] * x + t[0, 1] * y + t[0, 2] * z + t[0, 3])
            py += w * (t[1, 0] * x + t[1, 1] * y + t[1, 2] * z + t[1, 3])
            pz += w * (t[2, 0] * x + t[2, 1] * y + t[2, 2] * z + t[2, 3])
        out[g, 0], out[g, 1], out[g, 2] = px, py, pz


@njit(cache=True, nogil=True, fastmath=True)
def blend(values: np.ndarray, index: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return the sums ``(n, C)`` float32 of ``values (V, C)`` at ``index (n, k)`` times ``shares (n, k)``."""
    out = np.zeros((index.shape[0], values.shape[1]), np.float32)
    for n in range(index.shape[0]):
        for k in range(index.shape[1]):
            for c in range(values.shape[1]):
                out[n, c] += shares[n, k] * values[index[n, k], c]
    return out


@njit(cache=True, nogil=True, fastmath=True)
def vertex_normals(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return area-weighted unit normals ``(G, 3)`` float32 of ``points (G, 3)`` under ``faces (F, 3)``."""
    normals = np.zeros(points.shape, np.float32)
    for f in range(faces.shape[0]):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, az = points[j, 0] - points[i, 0], points[j, 1] - points[i, 1], points[j, 2] - points[i, 2]
        bx, by, bz = points[k, 0] - points[i, 0], points[k, 1] - points[i, 1], points[k, 2] - points[i, 2]
        nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        for v in (i, j, k):
            normals[v, 0] += nx
            normals[v, 1] += ny
            normals[v, 2] += nz
    for g in range(points.shape[0]):
        length = np.sqrt(normals[g, 0] ** 2 + normals[g, 1] ** 2 + normals[g, 2] ** 2) + np.float32(1e-20)
        normals[g, 0] /= length
        normals[g, 1] /= length
        normals[g, 2] /= length
    return normals


@njit(cache=True, nogil=True, fastmath=True)
def rasterise(  # noqa: PLR0915 - one loop, and numba kernels are cheapest whole
    points: np.ndarray,
    faces: np.ndarray,
    uv: np.ndarray,
    material: np.ndarray,
    recess: np.ndarray,
    closed: np.ndarray,
    textures: np.ndarray,
    focal: np.float32,
    centre_x: np.float32,
    centre_y: np.float32,
    height: int,
    width: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw triangles with a depth buffer.

    ``points (G, 3)`` camera space; ``faces (F, 3)`` int32; ``uv (F, 3, 2)``; ``material (F,)`` the
    layer of ``textures (M, S, S, 4)`` whose alpha cuts holes; ``recess (M,)`` metres by which a
    material is drawn deeper than it is (skin lies below cloth even where the two touch); of ``closed
    (M,)`` bool materials the faces that look away are not drawn. ``focal`` and centre are float32 in
    samples, as are ``height`` and ``width``. Triangles nearer than ``NEAR`` are left out.

    Returns ``triangle (h, w)`` int32 (-1 where nothing is), ``place (h, w, 2)`` float32 (perspective
    correct barycentric weights of the second and third corner), ``depth (h, w)`` float32 (``FAR``
    where nothing is).
    """
    triangle = np.full((height, width), -1, np.int32)
    place = np.zeros((height, width, 2), np.float32)
    nearness = np.full((height, width), np.float32(1 / FAR))
    one, half = np.float32(1), np.float32(0.5)
    count = points.shape[0]
    sx = np.empty(count, np.float32)
    sy = np.empty(count, np.float32)
    inv = np.empty(count, np.float32)
    for g in range(count):
        inv[g] = one / max(points[g, 2], np.float32(NEAR))
        sx[g] = points[g, 0] * inv[g] * focal + centre_x
        sy[g] = points[g, 1] * inv[g] * focal + centre_y
    size = textures.shape[1]
    texels = np.float32(size)
    edge_x, edge_y = np.float32(width), np.float32(height)
    for f in range(faces.shape[0]):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        x0, y0, x1, y1, x2, y2 = sx[i], sy[i], sx[j], sy[j], sx[k], sy[k]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        layer = material[f]
        if area == 0 or (closed[layer] and area > 0):
            continue
        # Sample n lies at n + 1/2; positive numbers are cut off towards 0.
        left = int(max(min(x0, x1, x2), half) + half)
        right = int(min(max(x0, x1, x2) + half, edge_x)) - 1
        top = int(max(min(y0, y1, y2), half) + half)
        bottom = int(min(max(y0, y1, y2) + half, edge_y)) - 1
        if left > right or top > bottom:
            continue
        i0, i1, i2 = inv[i], inv[j], inv[k]
        if max(i0, i1, i2) >= np.float32(1 / NEAR):
            continue
        scale = one / area
        deeper = recess[layer]
        step1, step2 = (y2 - y0) * scale, (y0 - y1) * scale
        for row in range(top, bottom + 1):
            y = np.float32(row) + half - y0
            x = np.float32(left) + half - x0
            b1 = (x * (y2 - y0) - (x2 - x0) * y) * scale - step1
            b2 = ((x1 - x0) * y - x * (y1 - y0)) * scale - step2
            for column in range(left, right + 1):
                b1 += step1
                b2 += step2
                b0 = one - b1 - b2
                if b0 < 0 or b1 < 0 or b2 < 0:
                    continue
                near = b0 * i0 + b1 * i1 + b2 * i2
                drawn = near / (one + deeper * near)
                if drawn <= nearness[row, column]:
                    continue
                p1, p2 = b1 * i1 / near, b2 * i2 / near
                p0 = one - p1 - p2
                u = p0 * uv[f, 0, 0] + p1 * uv[f, 1, 0] + p2 * uv[f, 2, 0]
                v = p0 * uv[f, 0, 1] + p1 * uv[f, 1, 1] + p2 * uv[f, 2, 1]
                tu = min(max(int(u * texels), 0), size - 1)
                tv = min(max(int(v * texels), 0), size - 1)
                if textures[layer, tv, tu, 3] < 128:
                    continue
                nearness[row, column] = drawn
                triangle[row, column] = f
                place[row, column, 0] = p1
                place[row, column, 1] = p2
    return triangle, place, one / nearness


@njit(cache=True, nogil=True, fastmath=True)
def reach(points: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Return how much of the light from each of ``directions (D, 3)`` reaches ``points (G, 3)``.

    ``(G, D)`` float32 0..1, soft. A shadow map in a direction holds the point nearest to the light of each
    cell of :data:`SHADOW_CELL`; a point is lit by the four cells around it in which it lies less than twice
    that behind the nearest.
    """
    out = np.empty((points.shape[0], directions.shape[0]), np.float32)
    one, half, cells = np.float32(1), np.float32(0.5), np.float32(1 / SHADOW_CELL)
    count = points.shape[0]
    place = np.empty((count, 3), np.float32)
    for d in range(directions.shape[0]):
        x, y, z = directions[d, 0], directions[d, 1], directions[d, 2]
        # Two axes across the light (Duff et al., Building an Orthonormal Basis, Revisited, 2017).
        sign = one if z >= 0 else -one
        a = -one / (sign + z)
        b = x * y * a
        left, top = np.float32(1e9), np.float32(1e9)
        right, bottom = -left, -top
        for g in range(count):
            px, py, pz = points[g, 0] * cells, points[g, 1] * cells, points[g, 2] * cells
            u = px * (one + sign * x * x * a) + py * (sign * b) - pz * (sign * x)
            v = px * b + py * (sign + y * y * a) - pz * y
            place[g, 0], place[g, 1], place[g, 2] = u, v, px * x + py * y + pz * z
            left, right, top, bottom = min(left, u), max(right, u), min(top, v), max(bottom, v)
        columns, rows = int(right - left) + 3, int(bottom - top) + 3
        nearest = np.full((rows, columns), np.float32(-1e9))
        for g in range(count):
            column, row = int(place[g, 0] - left) + 1, int(place[g, 1] - top) + 1
            nearest[row, column] = max(nearest[row, column], place[g, 2])
        for g in range(count):
            u, v = place[g, 0] - left + half, place[g, 1] - top + half
            column, row = int(u), int(v)
            u, v = u - np.float32(column), v - np.float32(row)
            lit = np.float32(0)
            for i in range(2):
                for j in range(2):
                    behind = nearest[row + i, column + j] - place[g, 2] - one
                    share = (u if j else one - u) * (v if i else one - v)
                    lit += share * (one - min(max(behind, np.float32(0)), one))
            out[g, d] = lit
    return out


@njit(cache=True, nogil=True, fastmath=True)
def openness(points: np.ndarray, normals: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Return what of the light the body itself lets through to its ``points (G, 3)``: ``(G, 2)`` float32.

    First of the lamp's, then of sky's and ground's. ``light (5, 3)`` is as :func:`shade` takes it.
    """
    directions = np.empty((1 + len(AMBIENT), 3), np.float32)
    directions[0] = light[0]
    directions[1:] = AMBIENT
    reached = reach(points, directions)
    out = np.empty((points.shape[0], 2), np.float32)
    one = np.float32(1)
    for g in range(points.shape[0]):
        total = weight = np.float32(1e-6)
        for d in range(1, directions.shape[0]):
            facing = np.float32(0.1)
            for c in range(3):
                facing += normals[g, c] * directions[d, c]
            if facing > 0:
                total += facing * reached[g, d]
                weight += facing
        out[g, 0] = one - light[4, 0] * (one - reached[g, 0])
        out[g, 1] = one - light[4, 1] * (one - total / weight)
    return out


@njit(cache=True, nogil=True, fastmath=True)
def _between(
    values: np.ndarray, i: int, j: int, k: int, p0: np.float32, p1: np.float32, p2: np.float32
) -> tuple[np.float32, np.float32, np.float32]:
    """Return what lies between three of ``values (G, 3)``, by their weights."""
    return (
        p0 * values[i, 0] + p1 * values[j, 0] + p2 * values[k, 0],
        p0 * values[i, 1] + p1 * values[j, 1] + p2 * values[k, 1],
        p0 * values[i, 2] + p1 * values[j, 2] + p2 * values[k, 2],
    )


@njit(cache=True, nogil=True, fastmath=True)
def shade(
    triangle: np.ndarray,
    place: np.ndarray,
    points: np.ndarray,
    normals: np.ndarray,
    faces: np.ndarray,
    uv: np.ndarray,
    material: np.ndarray,
    textures: np.ndarray,
    tint: np.ndarray,
    light: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Colour the samples and average them to pixels.

    ``tint (G, 3)`` multiplies the texture in linear light; ``light (5, 3)``: the unit direction
    towards the lamp, the linear RGB of lamp, sky (from above) and ground (from below), and how dark (0 to
    1) the body's shadow on itself and the ambient occlusion are (the last number is not used).

    Returns the premultiplied colour ``(H, W, 3)`` float32 in 0..255 and the coverage ``(H, W)``
    float32 in 0..1.
    """
    height, width = triangle.shape[0] // SAMPLES, triangle.shape[1] // SAMPLES
    colour = np.zeros((height, width, 3), np.float32)
    coverage = np.zeros((height, width), np.float32)
    one, half = np.float32(1), np.float32(0.5)
    share = np.float32(1 / (SAMPLES * SAMPLES))
    size = textures.shape[1]
    texels, last = np.float32(size), np.float32(size - 1.001)
    shadowed = light[4, 0] > 0 or light[4, 1] > 0
    open_to = openness(points, normals, light) if shadowed else normals[:, :2]
    for row in range(height * SAMPLES):
        for column in range(width * SAMPLES):
            f = triangle[row, column]
            if f < 0:
                continue
            i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
            p1, p2 = place[row, column, 0], place[row, column, 1]
            p0 = one - p1 - p2
            nx, ny, nz = _between(normals, i, j, k, p0, p1, p2)
            length = np.sqrt(nx * nx + ny * ny + nz * nz) + np.float32(1e-12)
            # Cloth is one sheet: seen from inside, its normal must face the camera too.
            if nx * points[i, 0] + ny * points[i, 1] + nz * points[i, 2] > 0:
                length = -length
            nx, ny, nz = nx / length, ny / length, nz / length
            lamp = max(nx * light[0, 0] + ny * light[0, 1] + nz * light[0, 2], np.float32(0))
            up = half - half * ny
            around = one
            if shadowed:
                lamp *= p0 * open_to[i, 0] + p1 * open_to[j, 0] + p2 * open_to[k, 0]
                around = p0 * open_to[i, 1] + p1 * open_to[j, 1] + p2 * open_to[k, 1]
            u = (p0 * uv[f, 0, 0] + p1 * uv[f, 1, 0] + p2 * uv[f, 2, 0]) * texels - half
            v = (p0 * uv[f, 0, 1] + p1 * uv[f, 1, 1] + p2 * uv[f, 2, 1]) * texels - half
            u = min(max(u, np.float32(0)), last)
            v = min(max(v, np.float32(0)), last)
            tu, tv = int(u), int(v)
            du, dv = u - np.float32(tu), v - np.float32(tv)
            layer = material[f]
            for c in range(3):
                above = textures[layer, tv, tu, c] * (one - du) + textures[layer, tv, tu + 1, c] * du
                below = textures[layer, tv + 1, tu, c] * (one - du) + textures[layer, tv + 1, tu + 1, c] * du
                texel = (above + (below - above) * dv) * np.float32(1 / 255)
                tinted = texel * texel * (p0 * tint[i, c] + p1 * tint[j, c] + p2 * tint[k, c])
                ambient = light[2, c] * up + light[3, c] * (one - up)
                if shadowed:
                    ambient *= around
                lit = tinted * (light[1, c] * lamp + ambient)
                colour[row // SAMPLES, column // SAMPLES, c] += (
                    min(np.sqrt(lit), one) * np.float32(255) * share
                )
            coverage[row // SAMPLES, column // SAMPLES] += share
    return colour, coverage


@njit(cache=True, nogil=True, fastmath=True)
def distances(triangle: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Return the depth ``(H, W)`` float32 (m) of what each pixel shows nearest, 0 where it shows nothing."""
    height, width = triangle.shape[0] // SAMPLES, triangle.shape[1] // SAMPLES
    out = np.zeros((height, width), np.float32)
    for row in range(height * SAMPLES):
        for column in range(width * SAMPLES):
            if triangle[row, column] >= 0:
                r, c, z = row // SAMPLES, column // SAMPLES, depth[row, column]
                if out[r, c] == 0 or z < out[r, c]:
                    out[r, c] = z
    return out


@njit(cache=True, nogil=True, fastmath=True)
def trace(
    triangle: np.ndarray,
    place: np.ndarray,
    depth: np.ndarray,
    faces: np.ndarray,
    reference_points: np.ndarray,
    reference_depth: np.ndarray,
    focal: np.float32,
    centre_x: np.float32,
    centre_y: np.float32,
    tolerance: np.float32,
) -> tuple[np.ndarray, np.ndarray]:
    """Find where each pixel of a target picture lies in the reference picture.

    ``triangle``, ``place`` and ``depth`` are the target's samples, ``reference_points (G, 3)`` the
    vertices posed as in the reference, ``reference_depth`` its depth samples; focal length and centre
    in samples. A point is visible in the reference if nothing there is nearer than it by more than
    ``tolerance`` metres.

    Returns ``flow (H, W, 2)`` float32, position in the reference less own position in pixels (0 off
    the person), and ``visible (H, W)`` bool. Each pixel speaks for its nearest covered sample.
    """
    height, width = triangle.shape[0] // SAMPLES, triangle.shape[1] // SAMPLES
    flow = np.zeros((height, width, 2), np.float32)
    visible = np.zeros((height, width), np.bool_)
    for row in range(height):
        for column in range(width):
            best = np.float32(FAR)
            r = c = 0
            for a in range(row * SAMPLES, (row + 1) * SAMPLES):
                for b in range(column * SAMPLES, (column + 1) * SAMPLES):
                    if triangle[a, b] >= 0 and depth[a, b] < best:
                        best, r, c = depth[a, b], a, b
            if best >= FAR:
                continue
            f = triangle[r, c]
            p1, p2 = place[r, c, 0], place[r, c, 1]
            p0 = np.float32(1) - p1 - p2
            x, y, z = _between(reference_points, faces[f, 0], faces[f, 1], faces[f, 2], p0, p1, p2)
            z = max(z, np.float32(NEAR))
            sx, sy = x / z * focal + centre_x, y / z * focal + centre_y
            flow[row, column, 0] = (sx - (c + np.float32(0.5))) / SAMPLES
            flow[row, column, 1] = (sy - (r + np.float32(0.5))) / SAMPLES
            if 0 <= sx < reference_depth.shape[1] and 0 <= sy < reference_depth.shape[0]:
                visible[row, column] = z < reference_depth[int(sy), int(sx)] + tolerance
    return flow, visible
