# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture of the body's UV map, so that its mesh looks like the person who was filmed.

    references, masks ─┬─▶ what they show of each point of the surface ────────────┐
    vertices there ────┘   over what they show of it on the body's other side ─────┤
                           over what they show before it ──────────────────────────┤
                           over what lies around it on the mesh ───────────────────┴─▶ (side, side, 3)

A picture counts for a point by how well it shows it: from ahead, with nothing before it, away from outlines,
near the camera, sharp. All this falls off smoothly, so that nothing has an edge where one picture ends and
another begins. Where none shows it, each source stands in for the one before: a left sleeve looks like the
right one, the back of a shirt like its front, and the rest like its surroundings, above all like what lies
beside it around the limb, since clothes end in rings around limbs. Surroundings are those on the mesh,
whatever the islands of the UV map are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ...models.body import BodyModel
from ...models.camera import Camera
from ...models.mesh_motion import VISIBLE_WITHIN, Surface, fill_outward
from ...models.shaped_body import ShapedBody
from ..format.clip import Reference

SIDE = 512
"""Pixels along the texture's edges unless asked otherwise."""

CANVAS = 256
"""Pixels of the short side of the canvas to which the lengths in pixels here belong."""

_ERODED = 2.0  # pixels inside the person's mask from which colours are taken as they are
_CLEAR = 3.0  # pixels from an outline at which it spoils nothing any more, unless asked otherwise
_DEEP = 0.05  # metres between neighbouring pixels that are an outline inside the body
_FAR = 0.15  # metres between them at rest, likewise
_GRAZING, _AHEAD = 0.1, 0.7  # cosines to the line of sight: seen not at all, and fully
_SUMMED = 1.5  # power of the weights of pictures, of which the sum says how well a point is seen at all
_ROBUST = 3  # rounds in which what most pictures show is found
_ENOUGH = (0.01, 0.1, 1.0)  # weight at which each source counts half, and what stands in for it half
_TRUST = (1.0, 0.1, 0.01)  # what each source's weight counts where surroundings are filled from it
_THICK = 0.2  # metres at rest between a point and what is seen before it, if it is of the same limb
_RINGS = 15.0  # how much stiffer the mesh is around a limb than along it
_HAIR = 0.01  # metres that hair usually stands out from the head, where there is any
_HAIRLINE = 0.001  # how stiff the mesh is between hair and skin
_HOLD = 100.0  # how firmly what is seen stands against its surroundings
_ROUNDS = 120  # of conjugate gradients, at most
_SOLVED = 1e-3  # of the residual at the start: then they end


@dataclass(frozen=True)
class Blend:
    """How a point's colour is made of those in which several pictures show it.

    ``best`` is the power of their weights: the higher, the more it is that of the picture that shows it best.
    ``alike`` is how far, of 255, a colour may be from that of most pictures before it counts less, as where
    one shows something that hides the body. None: all count.
    """

    best: float = 1.5
    alike: float | None = None


@dataclass(frozen=True)
class Points:
    """Points on a mesh: the corners ``(N, 3)`` of the triangles they lie in, and their weights ``(N, 3)``."""

    corners: np.ndarray
    weights: np.ndarray

    def of(self, values: np.ndarray) -> np.ndarray:
        """Return what vertices ``(V, C)`` have there, ``(N, C)`` float32."""
        there = np.zeros((len(self.corners), values.shape[1]), np.float32)
        for corner in range(3):
            there += self.weights[:, corner, None] * values.take(self.corners[:, corner], axis=0)
        return there

    def some(self, chosen: np.ndarray) -> Points:
        """Return those of the indices ``chosen``."""
        return Points(self.corners[chosen], self.weights[chosen])


def paint_texture(
    shaped: ShapedBody,
    camera: Camera,
    references: Sequence[Reference],
    vertices: Sequence[np.ndarray],
    side: int = SIDE,
) -> np.ndarray:
    """Return the texture ``(side, side, 3)`` uint8 RGB of a body's UV map, the first row at v = 1.

    ``vertices`` hold the body ``(V, 3)`` at each of the ``references``' frames, one or more, in camera
    space, metres.
    """
    unit = min(references[0].mask.shape) / CANVAS
    views = [
        View(Sight(shaped, camera, reference.mask, posed, unit), reference.picture)
        for reference, posed in zip(references, vertices, strict=True)
    ]
    return paint_views(shaped, views, side)


def paint_views(shaped: ShapedBody, views: Sequence[View], side: int, blend: Blend = Blend()) -> np.ndarray:
    """Return the texture ``(side, side, 3)`` uint8 RGB of what one or more ``views`` of the body show."""
    body = shaped.model
    sources = _Sources(shaped, views, blend)
    colours, _, trust = sources.mixed(every_vertex(body))
    filled = _fill_surface(shaped, sources.head, colours, trust)
    cells, atlas = unfold(body, side)
    texture = np.full((side, side, 3), filled.mean(axis=0), np.float32)
    if len(cells):  # a body may have no UV map to speak of
        colours, opacity, _ = sources.mixed(atlas)
        around = atlas.of(filled)
        texture.reshape(-1, 3)[cells] = around + opacity[:, None] * (colours - around)
        texture = pad_islands(texture, cells)
    return np.clip(np.rint(texture), 0, 255).astype(np.uint8)


class _Sources:
    """All that tells the colour of a point: the pictures, the body's other side, what is seen before it."""

    def __init__(self, shaped: ShapedBody, views: Sequence[View], blend: Blend) -> None:
        body = shaped.model
        self.head = body.weights[:, [name.startswith("head") for name in body.bone_names]].sum(axis=1) > 0.5
        self._views, self._blend = views, blend
        self._mirror = _mirrored_vertices(shaped.vertices)
        worth = np.array([view.worth for view in views])
        self._worth = (worth / max(worth.max(), 1e-6)).astype(np.float32)

    def mixed(self, points: Points) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the colours ``(N, 3)`` of points, 0 to 255, their opacity, and how far to trust them."""
        colours = np.zeros((len(points.corners), 3), np.float32)
        trust = np.zeros(len(colours), np.float32)
        left = np.ones_like(trust)  # what the sources so far leave open
        sources = self._seen, self._mirrored, self._before
        for source, enough, share in zip(sources, _ENOUGH, _TRUST, strict=True):
            colour, weight = source(points)
            taken = left * weight / (weight + enough)
            colours += taken[:, None] * colour
            trust += left * share * weight
            left -= taken
        return colours / np.maximum(1 - left, 1e-9)[:, None], 1 - left, trust

    def _seen(self, points: Points) -> tuple[np.ndarray, np.ndarray]:
        return self._weighed([view.seen(points) for view in self._views])

    def _mirrored(self, points: Points) -> tuple[np.ndarray, np.ndarray]:
        return self._seen(Points(self._mirror[points.corners], points.weights))

    def _before(self, points: Points) -> tuple[np.ndarray, np.ndarray]:
        colour, weight = self._weighed([view.before(points) for view in self._views])
        faceless = 1 - points.of(self.head[:, None].astype(np.float32))[:, 0]
        return colour, weight * faceless

    def _weighed(self, views: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean colour of views, each with its weights, and their sum."""
        weights = np.stack([worth * weight for worth, (_, weight) in zip(self._worth, views, strict=True)])
        total = (weights**_SUMMED).sum(axis=0)
        if self._blend.alike is not None:
            weights = _agreed(np.stack([colour for colour, _ in views]), weights, self._blend.alike)
        weights **= self._blend.best
        shares = weights / np.maximum(weights.sum(axis=0), 1e-12)
        return sum(share[:, None] * colour for share, (colour, _) in zip(shares, views, strict=True)), total


def _agreed(colours: np.ndarray, weights: np.ndarray, alike: float) -> np.ndarray:
    """Return the ``weights`` ``(K, N)`` of K pictures, less where few others share the colour.

    ``colours`` are ``(K, N, 3)``. Iteratively reweighted means with the weights of Geman and McClure (1987).
    """
    agreed = weights
    for _ in range(_ROBUST):
        total = np.maximum(agreed.sum(axis=0), 1e-12)
        mean = np.einsum("kn,knc->nc", agreed, colours) / total[:, None]
        squares = ((colours - mean) ** 2).sum(axis=-1)
        agreed = weights / (1 + squares / alike**2) ** 2
    return agreed


class Sight:
    """How well a picture of the body shows the points on its surface, whatever their colours.

    ``mask`` ``(H, W)`` uint8 is where the person is in the picture of that ``camera``, ``vertices``
    ``(V, 3)`` the body then, ``shift`` ``(V, 2)`` how many pixels off the camera's projection they are seen,
    and ``unit`` how many pixels one is of a canvas whose short side has :data:`CANVAS`. ``clear`` is how many
    such pixels off an outline it spoils nothing any more.

    ``scale`` is pixels a metre, ``inside`` ``(H, W)`` how deep a pixel lies in the mask, ``surface`` what
    the picture shows of the body.
    """

    def __init__(
        self,
        shaped: ShapedBody,
        camera: Camera,
        mask: np.ndarray,
        vertices: np.ndarray,
        unit: float,
        shift: np.ndarray | None = None,
        clear: float = _CLEAR,
    ) -> None:
        body, (height, width) = shaped.model, mask.shape
        posed = body.dressed(vertices)
        shift = np.zeros((len(posed), 2), np.float32) if shift is None else shift
        self._camera, self.unit = camera, unit
        geometry = [posed, body.normals(vertices), shaped.vertices, shift]
        self._geometry = np.hstack(geometry).astype(np.float32)
        self.surface = Surface(body.faces, camera.project(posed) + shift, posed[:, 2], width, height)
        self._shown = _shown_at_rest(self.surface, shaped.vertices)
        self.inside = cv2.distanceTransform((mask > 127).astype(np.uint8), cv2.DIST_L2, 5)
        apart = np.minimum(self.inside, _from_outlines(self._shown))
        unspoilt = np.clip((apart - unit) / (clear * unit), 0, 1) ** 2
        self._clear = np.where(self.inside > 0, np.maximum(unspoilt, 0.01), 0).astype(np.float32)
        self.scale = camera.fx / max(float(np.median(posed[:, 2])), 0.1)

    def seen(self, points: Points) -> tuple[np.ndarray, np.ndarray]:
        """Return where points are in the picture ``(N, 2)`` and how well they are seen ``(N,)``, 0 to 1."""
        place, depth, cosine, _ = self._look(points)
        facing = np.clip((cosine - _GRAZING) / (_AHEAD - _GRAZING), 0, 1)
        behind = depth - _nearest(self._shown[..., 3], place)
        shown = np.clip(2 - behind / (VISIBLE_WITHIN / 2), 0, 1)
        return place, facing**2 * shown * sample(self._clear, place)

    def before(self, points: Points) -> tuple[np.ndarray, np.ndarray]:
        """Return where points are that face away, and how far what is seen before them is of the same limb.

        Places are ``(N, 2)`` pixels, the weights ``(N,)`` 0 to 1.
        """
        place, _, cosine, rest = self._look(points)
        there = np.stack([_nearest(self._shown[..., axis], place) for axis in range(3)], axis=1)
        apart = np.linalg.norm(rest - there, axis=1)
        same = np.clip(2 - apart / (_THICK / 2), 0, 1)
        away = np.clip(-cosine / _AHEAD, 0, 1)
        return place, away * same * sample(self._clear, place)

    def _look(self, points: Points) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return where points are in the picture ``(N, 2)``, their depth, the cosine, and where they rest."""
        geometry = points.of(self._geometry)
        at, normal = geometry[:, :3], geometry[:, 3:6]
        squares = np.einsum("ij,ij->i", at, at) * np.einsum("ij,ij->i", normal, normal)
        cosine = -np.einsum("ij,ij->i", at, normal) / np.sqrt(np.maximum(squares, 1e-12))
        return self._camera.project(at) + geometry[:, 9:], at[:, 2], cosine, geometry[:, 6:9]


class View:
    """A picture ``(H, W, 3)`` uint8 RGB made ready to be asked what it shows of the body's surface.

    ``worth`` is what it counts beside others: how large and how sharp it shows the person, by the ``share``
    that it is given.
    """

    def __init__(self, sight: Sight, picture: np.ndarray, share: float = 1.0) -> None:
        self._sight, inside = sight, sight.inside
        self._picture = _without_background(picture, inside, _ERODED * sight.unit)
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        sharpness = float(np.abs(cv2.Laplacian(grey, cv2.CV_32F))[inside > 0].sum())
        self.worth = share * sight.scale**2 * sharpness / max(float((inside > 0).sum()), 1)

    def seen(self, points: Points) -> tuple[np.ndarray, np.ndarray]:
        """Return the colours ``(N, 3)`` of points and how well they are seen ``(N,)``, 0 to 1."""
        place, weight = self._sight.seen(points)
        return sample(self._picture, place), weight

    def before(self, points: Points) -> tuple[np.ndarray, np.ndarray]:
        """Return the colours ``(N, 3)`` of what is seen before points that face away, if of the same limb.

        The weights ``(N,)`` are 0 to 1.
        """
        place, weight = self._sight.before(points)
        return sample(self._picture, place), weight


def _shown_at_rest(surface: Surface, rest: np.ndarray) -> np.ndarray:
    """Return where at rest lies what each pixel shows, and its depth: ``(H, W, 4)`` float32."""
    shown = np.zeros((*surface.size, 4), np.float32)
    corners = surface.faces[surface.triangles]
    shown.reshape(-1, 4)[surface.cells, :3] = Points(corners, surface.weights).of(rest)
    shown[..., 3] = surface.distance
    return shown


def _from_outlines(shown: np.ndarray) -> np.ndarray:
    """Return how far, in pixels, each one is from where one limb ends before another, as ``shown`` tells."""
    around = np.ones((3, 3), np.uint8)
    steps = np.asarray(cv2.dilate(shown, around)) - cv2.erode(shown, around)
    smooth = np.asarray((steps < [_FAR, _FAR, _FAR, _DEEP]).all(axis=-1), np.uint8)
    return np.asarray(cv2.distanceTransform(smooth, cv2.DIST_L2, 5))


def _without_background(picture: np.ndarray, inside: np.ndarray, margin: float) -> np.ndarray:
    """Return the picture ``(H, W, 3)`` float32, of which the person alone is left and goes on all around.

    ``inside`` ``(H, W)`` is how deep a pixel lies in the mask; its outermost ``margin`` pixels do not count.
    """
    height, width = inside.shape
    known = inside > min(margin, float(inside.max()) / 2)
    weighted = np.dstack([picture * known[..., None], known]).astype(np.float32)
    even = cv2.copyMakeBorder(weighted, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    return fill_outward(even)[:height, :width]


def every_vertex(body: BodyModel) -> Points:
    """Return the points that are the body's vertices."""
    count = len(body.weights)
    first = np.tile(np.eye(3, dtype=np.float32)[0], (count, 1))
    return Points(np.stack([np.arange(count)] * 3, axis=1), first)


def unfold(body: BodyModel, side: int) -> tuple[np.ndarray, Points]:
    """Return the pixels ``(N,)``, row by row, that the UV map covers, and the points they show."""
    places = (body.uv * [side, -side] + [0, side]).astype(np.float32)
    a, b, c = (places[body.faces_uv[:, corner]] for corner in range(3))
    turned = (b - a)[:, 1] * (c - a)[:, 0] < (b - a)[:, 0] * (c - a)[:, 1]
    order = np.where(turned[:, None], [0, 2, 1], [0, 1, 2])
    faces_uv, faces = (np.take_along_axis(each, order, axis=1) for each in (body.faces_uv, body.faces))
    flat = Surface(faces_uv, places, np.ones(len(places), np.float32), side, side)
    return flat.cells, Points(faces[flat.triangles], flat.weights)


def pad_islands(texture: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Give every pixel outside the islands, ``cells`` ``(N,)`` row by row, the colour of the nearest inside.

    So no seam shows, however small a program draws the texture ``(side, side, 3)``.
    """
    outside = np.ones(texture.shape[:2], np.uint8)
    outside.ravel()[cells] = 0
    labels = cv2.distanceTransformWithLabels(outside, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)[1]
    nearest = np.zeros(int(labels.max()) + 1, np.int64)
    nearest[labels.ravel()[cells]] = cells
    return texture.reshape(-1, 3)[nearest[labels]]


def sample(picture: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return a picture ``(H, W[, C])`` float32 at places ``(N, 2)``, pixels: ``(N[, C])``."""
    rows = -(-len(places) // SIDE)  # OpenCV takes no rows of any length
    grid = np.zeros((rows * SIDE, 2), np.float32)
    grid[: len(places)] = places - 0.5
    x, y = np.ascontiguousarray(grid.T).reshape(2, rows, SIDE)
    found = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found).reshape(rows * SIDE, *picture.shape[2:])[: len(places)]


def _nearest(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return those of the pixels ``(H, W)`` in which places ``(N, 2)`` lie, or which are nearest to them."""
    height, width = values.shape
    column = np.clip(places[:, 0], 0, width - 1).astype(np.int64)
    row = np.clip(places[:, 1], 0, height - 1).astype(np.int64)
    return values[row, column]


# ---- the mesh --------------------------------------------------------------------------------


def _mirrored_vertices(rest: np.ndarray) -> np.ndarray:
    """Return for each vertex ``(V, 3)`` of a body at rest the one nearest to its place on the other side."""
    points = rest - np.array([(rest[:, 0].min() + rest[:, 0].max()) / 2, 0, 0], np.float32)
    mirror = np.arange(len(points))
    sides = np.flatnonzero(points[:, 0] > -1e-3), np.flatnonzero(points[:, 0] < 1e-3)
    for here, there in (sides, sides[::-1]):
        others = points[there] * np.array([-1, 1, 1], np.float32)
        squares = (others**2).sum(axis=1)
        for start in range(0, len(here), 1024):
            some = here[start : start + 1024]
            mirror[some] = there[(squares - 2 * points[some] @ others.T).argmin(axis=1)]
    return mirror


def _fill_surface(
    shaped: ShapedBody, head: np.ndarray, colours: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Spread what is known of vertices over the mesh: ``(V, 3)``, harmonic where nothing is.

    ``colours`` ``(V, 3)`` count by their ``weights`` ``(V,)``; ``head`` ``(V,)`` says which are the head's.
    """
    first, second, stiffness = _springs(shaped, head)
    starts = np.flatnonzero(np.diff(first, prepend=-1))
    joined = first[starts]
    # Parts that nothing is known of, such as the mouth's inside, have the mean.
    mean = weights @ colours / max(float(weights.sum()), 1e-9)
    firm = _HOLD * weights[:, None] + 1e-6
    given = (_HOLD * weights[:, None] * colours + 1e-6 * mean).astype(np.float32)
    diagonal = firm.copy()
    diagonal[joined, 0] += np.add.reduceat(stiffness, starts)

    def apply(values: np.ndarray) -> np.ndarray:
        result = diagonal * values
        result[joined] -= np.add.reduceat(stiffness[:, None] * values.take(second, axis=0), starts, axis=0)
        return result

    # Conjugate gradients, the diagonal as preconditioner, the three colours side by side.
    filled = given / firm
    residual = given - apply(filled)
    step = residual / diagonal
    rho = (residual * step).sum(axis=0)
    end = _SOLVED**2 * rho
    for _ in range(_ROUNDS):
        if (rho <= end).all():
            break
        moved = apply(step)
        length = rho / np.maximum((step * moved).sum(axis=0), 1e-20)
        filled += length * step
        residual -= length * moved
        ready = residual / diagonal
        before, rho = rho, (residual * ready).sum(axis=0)
        step = ready + rho / np.maximum(before, 1e-20) * step
    return filled


def _springs(shaped: ShapedBody, head: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mesh's edges in both directions, by their first vertex, and how stiff they are, ``(E,)``.

    The shorter the stiffer, above all around limbs and trunk; hair ends where face and neck begin.
    """
    body, rest = shaped.model, shaped.vertices
    pairs = np.concatenate([body.faces[:, [i, j]] for i in range(3) for j in range(3) if i != j])
    codes = np.unique(pairs[:, 0].astype(np.int64) * len(rest) + pairs[:, 1])
    first, second = np.divmod(codes, len(rest))
    edges = rest[second] - rest[first]
    squares = np.maximum((edges**2).sum(axis=1), 1e-8)
    along = (edges * _limb_axes(shaped)[first]).sum(axis=1) ** 2 / squares
    stiffness = np.sqrt(squares.mean() / squares) / (1 + _RINGS * along * ~head[first])
    if body.clothing is not None:
        hair = head & (body.clothing > _HAIR)
        stiffness *= np.where(hair[first] == hair[second], 1, _HAIRLINE)
    return first, second, stiffness.astype(np.float32)


def _limb_axes(shaped: ShapedBody) -> np.ndarray:
    """Return along which direction ``(V, 3)`` at rest the bone goes that moves each vertex most."""
    parents, joints = shaped.model.parents, shaped.joints
    axes = np.zeros_like(joints)
    np.add.at(axes, parents[1:], joints[1:] - joints[parents[1:]])
    ends = np.setdiff1d(np.arange(1, len(parents)), parents)
    axes[ends] = joints[ends] - joints[parents[ends]]
    axes /= np.maximum(np.linalg.norm(axes, axis=1, keepdims=True), 1e-6)
    return axes[shaped.model.weights.argmax(axis=1)]
