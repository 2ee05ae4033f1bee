# SPDX-License-Identifier: GPL-3.0-or-later
"""Drawing the frames of a clip from its reference pictures, its plate, and each frame's body.

Away from the person a frame is the plate. So the networks draw no more of it than the box around the
body, with room for clothes and hair and for what the networks look at, and frames are drawn several at
once, each on one thread: both together make a video five to ten times as fast as drawing all of every
frame, one after another.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np

from ...models.body import BodyModel
from ...models.errors import InputError
from ...models.mesh_motion import Surface, see_body
from ..format.clip import Clip, Reference
from ..runtime.backends import Network, NetworkLoader
from ..runtime.parallel import in_order

_BLOCK = 8  # canvas pixels; the networks take whole blocks
_MARGIN = 16  # canvas pixels drawn around the person, so that the networks see some background
_FADE = 8  # canvas pixels over which what is drawn fades into the plate, at the margin's outer rim
_BLENDED = 2  # references that a frame is drawn from; each costs the networks a quarter more
_FALL_OFF = 8  # how fast a reference's share falls as it shows less than the best
_CLOSE = 0.1  # of the best: how far ahead of the next a reference counts fully
_LITTLE = 1e-6  # as good as nothing, but safe to divide by


class FrameSynthesiser:
    """Draws any frame of a clip from that frame's keypoints and vertices alone.

    ``clip`` carries the references, the plate, the camera and the keypoints at the references' frames;
    ``reference_vertices`` are the body's ``(V, 3)`` at each reference's frame. ``load`` gives the
    networks ``reference_encoder``, run here once a reference, and ``generator``, best on one thread each,
    since :meth:`frames` draws ``threads`` frames at once (default: as many as there are cores).
    InputError for a canvas whose sides are not multiples of 8, or a clip without pictures.
    """

    def __init__(
        self,
        clip: Clip,
        body: BodyModel,
        reference_vertices: Sequence[np.ndarray],
        load: NetworkLoader,
        threads: int | None = None,
    ) -> None:
        if not clip.references:
            raise InputError("no_picture", "This clip is a motion without pictures: it has no video to draw.")
        if clip.width % _BLOCK or clip.height % _BLOCK:
            raise InputError(
                "bad_canvas", f"The canvas is {clip.width}x{clip.height}; both sides must be multiples of 8."
            )
        self._threads = threads or os.cpu_count() or 1
        self._camera = clip.camera
        self._generator = load("generator")
        encoder = load("reference_encoder")
        self._clip, self._body = clip, body
        self._still_plate = _as_tensor(clip.background(0)) if clip.views is None else None
        self._sources = [
            _Source(clip, reference, vertices, self._look_at(vertices), self._plate(reference.frame), encoder)
            for reference, vertices in zip(clip.references, reference_vertices, strict=True)
        ]
        # The choice seldom changes, and a network keeps on its device what it is given again.
        self._inputs_of = functools.lru_cache(maxsize=2)(self._stack)

    def frames(self, poses: Iterable[tuple]) -> Iterator[np.ndarray]:
        """Draw the frames of ``poses``, tuples as :meth:`frame` takes them, in order but several at once.

        Poses are taken only a few frames ahead of the picture that is returned.
        """
        return in_order(self.frame, poses, self._threads)

    def frame(self, keypoints: np.ndarray, vertices: np.ndarray, number: int | None = None) -> np.ndarray:
        """Draw ``(H, W, 3)`` uint8 RGB from ``keypoints`` ``(23, 3)`` and ``vertices`` ``(V, 3)``, metres.

        ``number`` is the frame's in the clip, which tells where a moving camera looks.
        It is blended from the two references that show most of this frame's visible body.
        """
        surface = self._look_at(vertices)
        background = self._plate(number)
        picture = background[0].copy()
        if len(surface.cells):
            motions = [surface.motion_to(source.surface) for source in self._sources]
            chosen, shares = _choose(np.array([(motion[2] * motion[3]).sum() for motion in motions]))
            reach = max(self._sources[index].reach(vertices[:, 2]) for index in chosen)
            rows, columns = _part_around(surface.coverage, _MARGIN + reach)
            plate = background[..., rows, columns]
            motion = np.stack([motions[index][:, rows, columns] for index in chosen])
            drawn = self._generator(
                **self._inputs_of(chosen),
                plate=plate,
                motion=motion[None],
                keypoints=self._camera.project(keypoints)[None].astype(np.float32),
                origin=np.array([[columns.start, rows.start]], np.float32),
                shares=shares[None],
            )["picture"]
            fade = np.outer(_fade(rows, picture.shape[1]), _fade(columns, picture.shape[2]))
            picture[:, rows, columns] += fade * (drawn[0] - plate[0])
        return np.rint(picture.transpose(1, 2, 0) * 255).astype(np.uint8)

    def _look_at(self, vertices: np.ndarray) -> Surface:
        return see_body(self._body, vertices, self._camera.project, self._clip.width, self._clip.height)

    def _plate(self, number: int | None) -> np.ndarray:
        """Return a frame's background as a tensor."""
        if self._still_plate is not None:
            return self._still_plate
        if number is None:
            raise ValueError("the camera moves: a frame's number is needed to know where it looks")
        return _as_tensor(self._clip.background(number))

    def _stack(self, chosen: tuple[int, ...]) -> dict[str, np.ndarray]:
        """Return what the generator takes of the ``chosen`` references, their axis second."""
        inputs = [self._sources[index].inputs for index in chosen]
        return {name: np.stack([each[name] for each in inputs], axis=1) for name in inputs[0]}


def _choose(shown: np.ndarray) -> tuple[tuple[int, ...], np.ndarray]:
    """Choose the references to blend from how much of the frame's body each has ``shown`` ``(N,)``.

    Returns their indices in rising order and the share of each, float32, over 0 to 1: it falls off as the
    reference shows less than the best, and to 0 by where another takes its place, so that nothing jumps.
    """
    best_first = np.argsort(-shown, kind="stable")
    chosen = np.sort(best_first[:_BLENDED])
    best, least = max(shown.max(), _LITTLE), shown[best_first[_BLENDED]] if len(shown) > _BLENDED else 0
    shares = (shown[chosen] / best) ** _FALL_OFF * np.clip((shown[chosen] - least) / (_CLOSE * best), 0, 1)
    return tuple(chosen.tolist()), np.maximum(shares, _LITTLE).astype(np.float32)


class _Source:
    """A reference picture made ready: its motion to other frames, and what the generator takes of it."""

    def __init__(
        self,
        clip: Clip,
        reference: Reference,
        vertices: np.ndarray,
        surface: Surface,
        plate: np.ndarray,
        encoder: Network,
    ) -> None:
        self.surface = surface
        picture, mask = _as_tensor(reference.picture), _as_tensor(reference.mask[..., None])
        keypoints = clip.camera.project(np.asarray(clip.keypoints[reference.frame]))
        self.inputs = encoder(reference=picture, mask=mask, plate=plate) | {
            "references": picture,
            "masks": mask,
            "reference_coverage": surface.coverage[None, None],
            "reference_keypoints": keypoints[None].astype(np.float32),
        }
        self._distance = float(np.median(vertices[:, 2]))
        self._reach = _overhang(mask[0, 0], surface.coverage)

    def reach(self, depth: np.ndarray) -> float:
        """Return how many canvas pixels clothes and hair may stand out from a body of ``depth`` ``(V,)``."""
        return self._reach * max(1.0, self._distance / max(float(np.median(depth)), 0.01))


def _overhang(mask: np.ndarray, coverage: np.ndarray) -> float:
    """Return how far the person's ``mask`` ``(H, W)`` goes beyond the body's ``coverage``, canvas pixels."""
    bare = (coverage == 0).astype(np.uint8)
    if bare.all():
        return 0.0
    return float(cv2.distanceTransform(bare, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[mask > 0.5].max(initial=0))


def _part_around(coverage: np.ndarray, margin: float) -> tuple[slice, slice]:
    """Return the rows and columns of the canvas, in whole blocks, within ``margin`` of what is covered."""
    part = []
    for axis, side in ((1, coverage.shape[0]), (0, coverage.shape[1])):
        covered = np.flatnonzero(coverage.any(axis))
        first = (covered[0] - margin) // _BLOCK * _BLOCK
        last = -((covered[-1] + 1 + margin) // -_BLOCK) * _BLOCK
        part.append(slice(max(0, int(first)), min(side, int(last))))
    return part[0], part[1]


def _fade(part: slice, side: int) -> np.ndarray:
    """Return the weights, 0 to 1, of a part's pixels along one axis: falling off but at the canvas's ends."""
    weights = np.ones(part.stop - part.start, np.float32)
    ramp = (np.arange(_FADE, dtype=np.float32) + 0.5) / _FADE
    if part.start > 0:
        weights[:_FADE] = ramp
    if part.stop < side:
        weights[-_FADE:] = np.minimum(weights[-_FADE:], ramp[::-1])
    return weights


def _as_tensor(picture: np.ndarray) -> np.ndarray:
    """Turn ``(H, W, C)`` uint8 into ``(1, C, H, W)`` float32, 0 to 1."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32) / 255
