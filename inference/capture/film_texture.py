# SPDX-License-Identifier: GPL-3.0-or-later
"""The body's texture, gathered from the whole film at the film's own sharpness.

    silhouettes, mesh of up to 60 frames ─▶ how well each shows each vertex ─▶ few that together show most
    those of the film, read once more ────▶ the body laid on each ──────────▶ paint_views ─▶ (side, side, 3)

Many frames that lie a pixel or two apart on the body blur each other, and each edge between two is a seam.
So few are taken: the first reference, which counts for most, and each that shows more of the body than those
before it. On each the body is laid anew (:mod:`.alignment`), more exactly than its motion, which is smooth
and of one body, can follow. What no frame shows is filled as decoding fills it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import cv2
import numpy as np

from ...models.body import BodyModel
from ...models.camera import Camera
from ..decoding.texture import CANVAS, Blend, Sight, View, every_vertex, paint_views
from ..decoding.vertices import VertexDecoder
from ..format.clip import Clip
from ..runtime.progress import Progress, unwatched
from .alignment import picture_shifts
from .silhouettes import Silhouettes
from .smoothing import speeds

_LOOKED_AT = 60  # frames, at most, among which the pictures are chosen
_PICTURES = 8  # at most, besides the first reference
_WORTH = 0.002  # how much more of the body, of what is shown so far, a further picture has to show
_SOFT = 0.5  # power of how well a vertex is shown: one that is shown somewhat is worth much
_BLUR = 0.1  # how much less a picture is worth for each pixel of a canvas of 256 that the body moves a frame
_SHARE = 0.3  # of the weight of other pictures, where the first reference shows the body too
_CLEAR = 6.0  # pixels, of a canvas of 256, off an outline within which others are preferred
_BLEND = Blend(best=3.0, alike=80.0)
_LONGEST = 1024  # pixels along the longer side of what is cut out around the person
_MARGIN = 0.03  # of the canvas's shorter side, around their mask


class Picture(Protocol):
    """A film's picture, as :class:`.film.reader.Picture` is one: made at either size when it is asked for."""

    @property
    def canvas(self) -> np.ndarray:
        """The picture at canvas size, uint8 RGB."""

    @property
    def source(self) -> np.ndarray:
        """The picture at the film's own size, uint8 RGB."""


def gather_texture(
    clip: Clip,
    pictures: Iterator[Picture],
    silhouettes: Silhouettes,
    predictor: VertexDecoder,
    side: int,
    progress: Progress = unwatched,
) -> np.ndarray:
    """Return the texture ``(side, side, 3)`` uint8 RGB of a film's person, the first row at v = 1.

    ``clip`` has its references, and its keypoints as a decoder has them; ``pictures`` are all of it, of which
    few are shown, and ``predictor`` is that of its body and shape. The stage is ``texture``.
    """
    chosen = _chosen_frames(clip, silhouettes, predictor, progress)
    favoured = clip.references[0].frame
    views, wanted = [], _of_frames(pictures, chosen)
    shown: list[Picture] = []  # the one that the body is being laid on

    def canvases() -> Iterator[tuple[int, np.ndarray]]:
        for frame, picture in wanted:
            shown[:] = [picture]
            yield frame, picture.canvas

    shifts = picture_shifts(clip, canvases(), silhouettes, predictor.body.model, predictor)
    for done, (frame, shift) in enumerate(zip(chosen, shifts, strict=True), 1):
        share = 1.0 if frame == favoured else _SHARE
        mask = 255 * silhouettes.mask(frame)
        vertices = predictor.predict(clip.keypoints, frame, frame + 1)[0]
        views.append(_view(clip, predictor, shown[0].source, mask, vertices, shift, share))
        progress("texture", _LOOKED_AT + done, _LOOKED_AT + len(chosen))
    return paint_views(predictor.body, views, side, _BLEND)


def _chosen_frames(
    clip: Clip, silhouettes: Silhouettes, predictor: VertexDecoder, progress: Progress
) -> list[int]:
    """Return the frames, in order, that together show most of the body, the first reference's among them."""
    every = every_vertex(predictor.body.model)
    unit = min(clip.width, clip.height) / CANVAS
    moved = speeds(clip.camera.project(clip.keypoints), 1.0).mean(axis=1) / unit
    frames, scores = [], []
    for done, frame in enumerate(_spread(silhouettes.frames, clip.references[0].frame), 1):
        mask = 255 * silhouettes.mask(frame)
        vertices = predictor.predict(clip.keypoints, frame, frame + 1)[0]
        sight = Sight(predictor.body, clip.camera, mask, vertices, unit, clear=_CLEAR)
        covered, person = sight.surface.coverage > 0.5, mask > 127
        agreement = (covered & person).sum() / max(1, int((covered | person).sum()))
        certainty = 1.0 if clip.certainty is None else float(clip.certainty[frame].mean())
        quality = agreement**2 * certainty / (1 + _BLUR * moved[frame])
        frames.append(frame)
        scores.append(sight.seen(every)[1] * (sight.scale**2 * quality))
        progress("texture", min(done, _LOOKED_AT), _LOOKED_AT + _PICTURES)
    shown = np.array(scores, np.float32)
    shown /= max(float(shown.max()), 1e-12)
    first = frames.index(clip.references[0].frame)
    chosen = _choose(shown**_SOFT, _texels(predictor.body.model), first)
    return sorted(frames[index] for index in chosen)


def _spread(frames: Sequence[int], first: int) -> list[int]:
    """Return up to :data:`_LOOKED_AT` of the frames, evenly spread, and the ``first`` reference's."""
    places = np.linspace(0, len(frames) - 1, min(_LOOKED_AT, len(frames))).round().astype(int)
    return sorted({first, *(frames[place] for place in places)})


def _choose(shown: np.ndarray, worth: np.ndarray, first: int) -> list[int]:
    """Choose among N frames that show each vertex so well, ``(N, V)``, of ``worth`` ``(V,)``, greedily."""
    chosen, best = [first], shown[first]
    while len(chosen) <= _PICTURES:
        gain = np.maximum(shown - best, 0) @ worth
        index = int(gain.argmax())
        if gain[index] <= _WORTH * (best @ worth):
            break
        chosen.append(index)
        best = np.maximum(best, shown[index])
    return chosen


def _texels(body: BodyModel) -> np.ndarray:
    """Return how much of the UV map lies about each vertex: ``(V,)`` float32."""
    a, b, c = (body.uv[body.faces_uv[:, corner]] for corner in range(3))
    ab, ac = b - a, c - a
    areas = np.abs(ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0])
    return np.bincount(body.faces.ravel(), np.repeat(areas, 3), len(body.weights)).astype(np.float32)


def _of_frames(pictures: Iterator[Picture], frames: Sequence[int]) -> Iterator[tuple[int, Picture]]:
    """Yield those of the ``pictures`` that are of the ``frames``, with their numbers."""
    wanted, last = set(frames), max(frames)
    for frame, picture in enumerate(pictures):
        if frame in wanted:
            yield frame, picture
        if frame == last:
            return


def _view(
    clip: Clip,
    predictor: VertexDecoder,
    picture: np.ndarray,
    mask: np.ndarray,
    vertices: np.ndarray,
    shift: np.ndarray,
    share: float,
) -> View:
    """Cut the person out of a film's ``picture`` ``(H, W, 3)``; ``mask`` and ``shift`` are of the canvas."""
    height, width = picture.shape[:2]
    to_film = np.array([width / clip.width, height / clip.height])
    margin = _MARGIN * min(clip.width, clip.height)
    seen = mask if mask.any() else np.full_like(mask, 255)
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    low = np.array([columns[0], rows[0]]) - margin
    high = np.array([columns[-1], rows[-1]]) + 1 + margin
    left, top = np.clip(np.floor(low * to_film), 0, (width, height)).astype(int).tolist()
    right, bottom = np.clip(np.ceil(high * to_film), 0, (width, height)).astype(int).tolist()
    shrunk = min(1.0, _LONGEST / max(right - left, bottom - top))
    # A canvas of surfaces has even sides.
    across, down = (max(2, 2 * round(shrunk * side / 2)) for side in (right - left, bottom - top))
    box, size = np.s_[top:bottom, left:right], (across, down)
    crop = cv2.resize(np.ascontiguousarray(picture[box]), size, interpolation=cv2.INTER_AREA)
    person = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)[box]
    person = cv2.resize(person, size, interpolation=cv2.INTER_LINEAR)
    zoom = to_film * size / np.array([right - left, bottom - top])
    offset = np.array([left, top]) / to_film * zoom
    camera = Camera(
        clip.camera.fx * zoom[0],
        clip.camera.fy * zoom[1],
        clip.camera.cx * zoom[0] - offset[0],
        clip.camera.cy * zoom[1] - offset[1],
    )
    unit = min(clip.width, clip.height) / CANVAS * float(zoom.mean())
    sight = Sight(predictor.body, camera, person, vertices, unit, (shift * zoom).astype(np.float32), _CLEAR)
    return View(sight, crop, share)
