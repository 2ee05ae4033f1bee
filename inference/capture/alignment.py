# SPDX-License-Identifier: GPL-3.0-or-later
"""How far the body's keypoints lie from where outlines and pictures show them.

The pose estimator looks at one frame at a time and is off by a few pixels, each time otherwise. First the
body is laid on the person's outlines. What is drawn later is a reference moved by the mesh, so then the
encoder does just that, measures by optical flow how far every point of the body lies from where it was filmed
(DIS, Kroeger et al., 2016), and finds how far the keypoints that carry it should move: direct alignment, as
visual odometry does it, with the body for the scene, and the outlines to keep it from drifting with what a
reference has wrong. Some frames a second are measured; it is evidence that :mod:`.motion_fit` weighs with all
else that is known.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np

from ...models.body import BodyModel
from ...models.keypoints import BONES, KEYPOINT_NAMES
from ...models.mesh_motion import VISIBLE_WITHIN, Surface, warp_over_plate
from ...models.shaped_body import ShapedBody
from ..decoding.vertices import VertexDecoder
from ..format.clip import Clip, Reference
from ..runtime.parallel import in_order
from .silhouettes import Outline, Silhouettes

_ROUNDS = 3  # of warping and measuring a frame
_REACH = 0.07  # metres at rest, standard deviation of how far a keypoint carries the skin with it
_FARTHEST = 0.06  # of the canvas's shorter side: what is found farther away is another thing
_ALIKE = 0.01  # of it: how far flow forth and back may end beside where it began
_OUTLIER = 0.006  # of it: an error from which on a point counts less and less
_REWEIGHTINGS, _MOST = 4, 2500  # times that a step is solved for, and points that it is solved from
_CLOSE = 0.002  # of the canvas's shorter side: a step below which the next would bring nothing
_CELL = 2  # canvas pixels a side, of which the nearest vertex is evidence
_SHOWN = 0.5  # of a cell's surface: how much the reference must show
# Cells of evidence, on a canvas of 256, that outweigh staying and staying with the next joint, and that a
# pixel of the outline is worth.
_STAY, _TOGETHER, _RIM = 8.0, 6.0, 2.0
_RATE = 12.0  # frames a second that are measured at most
_CERTAINTY = 0.02  # 1 / square pixels of such a canvas that a cell of evidence is worth: neighbours err alike


class _Evidence(NamedTuple):
    """How far N points of the body lie from where they were filmed."""

    carried: np.ndarray  # (N, 23): how far each keypoint takes each point along
    apart: np.ndarray  # (N, 2) pixels
    known: np.ndarray  # (N, 2, 2): projects a way onto what is known of it, all or that across an outline
    weight: np.ndarray  # (N,)


class Offsets(NamedTuple):
    """How far each keypoint of a frame should move in the picture, and how certain that is."""

    frame: int
    moved: np.ndarray  # (23, 2) canvas pixels
    certainty: np.ndarray  # (23, 2, 2) inverse covariances, 1 / square pixels


def looked_at(clip: Clip, silhouettes: Silhouettes) -> list[int]:
    """Return the frames that are measured: some each second, for motion is smooth, and the references."""
    apart = float(clip.fps) / _RATE
    chosen: list[int] = []
    for frame in silhouettes.frames:
        if not chosen or frame - chosen[-1] > apart - 0.5:
            chosen.append(frame)
    return sorted({*chosen, *(reference.frame for reference in clip.references)})


def outline_offsets(
    clip: Clip, silhouettes: Silhouettes, body: BodyModel, predictor: VertexDecoder
) -> Iterator[Offsets]:
    """Yield what :func:`picture_offsets` does, by the person's outlines alone: no picture is needed."""
    alone = replace(clip, references=[])
    frames = ((number, None) for number in looked_at(alone, silhouettes))
    yield from _offsets(_Aligner(alone, silhouettes, body, predictor), frames)


def picture_offsets(
    clip: Clip,
    frames: Iterable[np.ndarray],
    silhouettes: Silhouettes,
    body: BodyModel,
    predictor: VertexDecoder,
) -> Iterator[Offsets]:
    """Yield the :class:`Offsets` of the frames that are :func:`looked_at`, in order.

    ``clip`` has its references, plate and keypoints; ``frames`` are all of it ``(H, W, 3)`` uint8 RGB,
    and ``predictor`` is that of its body and shape. Frames are taken a few ahead of what is yielded.
    """
    chosen = set(looked_at(clip, silhouettes))
    measured = ((number, frame) for number, frame in enumerate(frames) if number in chosen)
    yield from _offsets(_Aligner(clip, silhouettes, body, predictor), measured)


def picture_shifts(
    clip: Clip,
    frames: Iterable[tuple[int, np.ndarray]],
    silhouettes: Silhouettes,
    body: BodyModel,
    predictor: VertexDecoder,
) -> Iterator[np.ndarray]:
    """Yield for each of ``frames`` how far the body lies from where that picture shows it.

    The frames come with their numbers, and are ``(H, W, 3)`` uint8 RGB of the canvas's size; all else is as
    of :func:`picture_offsets`. Yields ``(V, 2)`` float32, canvas pixels that each vertex is off.
    """
    aligner = _Aligner(clip, silhouettes, body, predictor)
    for number, frame in frames:
        with _single_threaded_opencv():
            found = aligner.offsets(number, frame, aligner.vertices(number))
        yield aligner.carry(found.moved)


def _offsets(aligner: _Aligner, frames: Iterable[tuple[int, np.ndarray | None]]) -> Iterator[Offsets]:
    calls = ((number, frame, aligner.vertices(number)) for number, frame in frames)
    with _single_threaded_opencv():
        yield from in_order(aligner.offsets, calls, os.cpu_count() or 1)


@contextlib.contextmanager
def _single_threaded_opencv() -> Iterator[None]:
    """Keep OpenCV's calls to one thread each: frames are worked on several at once already."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


class _Aligner:
    """What is the same for all frames of a clip.

    All else is laid on the first reference, and that on nothing but its outline; the other references are
    laid on those before them, before any frame is looked at.
    """

    def __init__(
        self, clip: Clip, silhouettes: Silhouettes, body: BodyModel, predictor: VertexDecoder
    ) -> None:
        self._clip, self._silhouettes, self._body, self._predictor = clip, silhouettes, body, predictor
        self._carried = _carried(ShapedBody(body, clip.shape))
        self._side = min(clip.width, clip.height)
        self._cells = (self._side / 256) ** 2
        first, second = np.array(BONES).T
        bones = np.zeros((len(BONES), len(KEYPOINT_NAMES)))
        bones[np.arange(len(BONES)), first], bones[np.arange(len(BONES)), second] = 1, -1
        self._prior = self._cells * (_STAY * np.eye(len(KEYPOINT_NAMES)) + _TOGETHER * bones.T @ bones)
        self._local = threading.local()
        self._sources: list[tuple[Reference, Surface]] = []
        self._known: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for reference in clip.references:
            number = reference.frame
            vertices = self.vertices(number)
            moved = self._lay(number, reference.picture, vertices)
            self._known[number] = moved
            pixels, depth = self._project(vertices)
            surface = self._surface(pixels + self._carried @ moved[0], depth)
            self._sources.append((reference, surface))

    def vertices(self, number: int) -> np.ndarray:
        """Return a frame's vertices ``(V, 3)``."""
        return self._predictor.predict(self._clip.keypoints, number, number + 1)[0]

    def offsets(self, number: int, frame: np.ndarray | None, vertices: np.ndarray) -> Offsets:
        """Return what :func:`picture_offsets` yields of one frame."""
        known = self._known.get(number)
        return Offsets(number, *(self._lay(number, frame, vertices) if known is None else known))

    def carry(self, moved: np.ndarray) -> np.ndarray:
        """Return how far the vertices ``(V, 2)`` go along where keypoints have ``moved`` ``(23, 2)``."""
        return np.einsum("vk,kc->vc", self._carried, moved.astype(np.float32))

    def _lay(
        self, number: int, frame: np.ndarray | None, vertices: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        pixels, depth = self._project(vertices)
        outline = self._silhouettes.outline(number)
        offsets = np.zeros((len(KEYPOINT_NAMES), 2))
        certainty = np.zeros((len(KEYPOINT_NAMES), 2, 2))
        for _ in range(_ROUNDS):
            surface = self._surface(pixels, depth)
            found = [None if outline is None else self._by_outline(surface, outline)]
            if self._sources and frame is not None:
                found.append(self._by_picture(frame, self._clip.background(number), surface))
            evidence = [each for each in found if each is not None and len(each.weight)]
            if not evidence:
                break
            step, certainty = self._solve(_Evidence(*map(np.concatenate, zip(*evidence, strict=True))))
            offsets += step
            if np.abs(step).max() < _CLOSE * self._side:
                break
            pixels = pixels + self.carry(step)
        return offsets, certainty

    def _by_outline(self, surface: Surface, outline: Outline) -> _Evidence:
        places, normal, apart = outline.misfit(surface, _FARTHEST * self._side)
        corners = self._body.faces[surface.triangles[places]]
        carried = np.einsum("nc,nck->nk", surface.weights[places], self._carried[corners])
        across = normal[:, :, None] * normal[:, None]
        weight = np.full(len(places), _RIM * self._side / 256)
        return _Evidence(carried, normal * apart[:, None], across, weight)

    def _by_picture(self, frame: np.ndarray, background: np.ndarray, surface: Surface) -> _Evidence | None:
        pixels, depth = surface.points[:, :2], surface.points[:, 2]
        maps = [surface.motion_to(source) for _, source in self._sources]
        best = max(range(len(maps)), key=lambda index: float((maps[index][2] * maps[index][3]).sum()))
        seen = self._in_front(pixels, depth, maps[best][3])
        if not len(seen):  # and no part of the frame to measure flow in
            return None
        part = self._around(pixels[seen])
        reference, source = self._sources[best]
        warped = warp_over_plate(
            reference.picture, reference.mask, background, maps[best], source.coverage, part
        )
        place = pixels[seen].astype(int) - (part[1].start, part[0].start)
        filmed, warped = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (frame[part], warped))
        kept, apart = self._apart(filmed, warped, place)
        every = 1 + np.count_nonzero(kept) // _MOST
        carried, apart = self._carried[seen[kept][::every]], apart[::every]
        both = np.broadcast_to(np.eye(2, dtype=np.float32), (len(apart), 2, 2))
        return _Evidence(carried, apart, both, np.full(len(apart), float(every)))

    def _project(self, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where the dressed body is seen ``(V, 2)``, canvas pixels, and how deep ``(V,)`` it lies."""
        dressed = self._body.dressed(vertices)
        return self._clip.camera.project(dressed).astype(np.float32), dressed[:, 2]

    def _surface(self, pixels: np.ndarray, depth: np.ndarray) -> Surface:
        return Surface(self._body.faces, pixels, depth, self._clip.width, self._clip.height)

    def _in_front(self, pixels: np.ndarray, depth: np.ndarray, shown: np.ndarray) -> np.ndarray:
        """Return the vertices that frame and reference show, of those in a cell of its map the nearest.

        ``shown`` ``(H, W)`` is the map's visibility in the reference.
        """
        shown = shown[::_CELL, ::_CELL]
        rows, columns = shown.shape
        column, row = np.floor(pixels * (1 / _CELL)).T
        inside = (column >= 0) & (row >= 0) & (column < columns) & (row < rows)
        flat = np.where(inside, row * columns + column, 0).astype(np.int64)
        nearest = np.full(rows * columns, np.inf, np.float32)
        np.minimum.at(nearest, flat[inside], depth[inside])
        around = cv2.erode(nearest.reshape(rows, columns), np.ones((3, 3), np.uint8)).ravel()
        front = (depth == nearest[flat]) & (depth < around[flat] + VISIBLE_WITHIN)
        return np.flatnonzero(inside & front & (shown.ravel()[flat] > _SHOWN))

    def _around(self, points: np.ndarray) -> tuple[slice, slice]:
        """Return the rows and columns of the canvas in which flow from the points ``(n, 2)`` can end.

        At least a third of the canvas's shorter side each, since DIS crashes on pictures of a few pixels.
        """
        margin, canvas = 2 * _FARTHEST * self._side, np.array([self._clip.width, self._clip.height])
        low, high = points.min(axis=0) - margin, points.max(axis=0) + margin
        size = np.minimum(np.maximum(np.ceil(high - low), self._side // 3), canvas)
        left, top = np.clip((low + high - size) / 2, 0, canvas - size).astype(int).tolist()
        width, height = size.astype(int).tolist()
        return slice(top, top + height), slice(left, left + width)

    def _apart(self, frame: np.ndarray, warped: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return of which points flow tells ``(n,)`` bool, and how far those lie from where they were filmed.

        ``frame`` and ``warped`` ``(h, w)`` are grey, and the points ``at`` ``(n, 2)`` int pixels of them.
        """
        flow = self._flow()
        frame = np.ascontiguousarray(frame)
        forth, back = _flow_between(flow, frame, warped), _flow_between(flow, warped, frame)
        found = forth[at[:, 1], at[:, 0]]
        there = np.clip(np.rint(at + found).astype(int), 0, np.array(frame.shape[::-1]) - 1)
        missed = np.linalg.norm(found + back[there[:, 1], there[:, 0]], axis=1)
        kept = (missed < _ALIKE * self._side) & (np.linalg.norm(found, axis=1) < _FARTHEST * self._side)
        return kept, -found[kept]

    def _solve(self, evidence: _Evidence) -> tuple[np.ndarray, np.ndarray]:
        """Return the keypoints' step ``(23, 2)`` that brings the points nearest to their places.

        Iteratively reweighted least squares. OpenCV multiplies: BLAS would wake its threads for so little.
        """
        carried, apart, known, weight = (np.asarray(each, np.float32) for each in evidence)
        count = len(KEYPOINT_NAMES)
        apart, step = np.einsum("nac,nc->na", known, apart), np.zeros((count, 2))
        for _ in range(_REWEIGHTINGS):
            moved = _product(carried, step.astype(np.float32))
            off = np.linalg.norm(apart - np.einsum("nac,nc->na", known, moved), axis=1)
            trust = weight / np.maximum(1, off / (_OUTLIER * self._side))
            weighted = [carried * (trust * known[:, a, b])[:, None] for a, b in ((0, 0), (0, 1), (1, 1))]
            xx, xy, yy = (_product(each, carried, cv2.GEMM_1_T) for each in weighted)
            normal = np.block([[xx, xy], [xy, yy]]) + np.kron(np.eye(2), self._prior)
            right = _product(carried, apart * trust[:, None], cv2.GEMM_1_T)
            step = np.linalg.solve(normal, right.T.ravel()).reshape(2, count).T
        evident = np.stack([np.diag(part) for part in (xx, xy, xy, yy)], axis=-1).reshape(count, 2, 2)
        return step, evident * (_CERTAINTY / self._cells) / (self._side / 256) ** 2

    def _flow(self) -> cv2.DISOpticalFlow:
        if not hasattr(self._local, "flow"):
            self._local.flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
            self._local.flow.setFinestScale(max(0, 1 + round(np.log2(self._side / 256))))
        return self._local.flow


def _product(first: np.ndarray, second: np.ndarray, flags: int = 0) -> np.ndarray:
    # The stubs ask for a matrix to add.
    return np.asarray(cv2.gemm(first, second, 1, None, 0, flags=flags))  # type: ignore[call-overload]


def _flow_between(flow: cv2.DISOpticalFlow, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    # The stubs ask for a flow to begin with.
    return np.asarray(flow.calc(start, end, None))  # type: ignore[call-overload]


def _carried(body: ShapedBody) -> np.ndarray:
    """Return how far each keypoint takes each vertex along ``(V, 23)``, rows summing to one."""
    distance = ((body.vertices[:, None] - body.keypoints) ** 2).sum(axis=-1)
    near = np.exp((distance.min(axis=1, keepdims=True) - distance) / (2 * _REACH**2))
    return (near / near.sum(axis=1, keepdims=True)).astype(np.float32)
