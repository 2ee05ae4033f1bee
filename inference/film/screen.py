# SPDX-License-Identifier: GPL-3.0-or-later
"""One picture of a film as people see it: upright, whole, in a screen's colours, of the film's one size."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import cv2
import numpy as np
from av.buffer import Buffer
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.reformatter import ColorTrc, Interpolation, VideoReformatter

from .tone_mapping import cube_file

_BEHIND = 128
"""Shade of grey behind what is transparent: neither dark nor light clothes vanish in it."""

_BRIGHT = {ColorTrc.SMPTE2084: "pq", ColorTrc.ARIB_STD_B67: "hlg"}
_TICK = Fraction(1, 1000)  # of time within a chain of filters, which none of them asks for
_SAME_SHAPE = 0.01  # by how much the aspect ratio of a picture may differ from the film's, to fill it


@dataclass(frozen=True)
class Turn:
    """How a stored picture is turned to be seen: transposed, then mirrored across, then mirrored down."""

    transposed: bool = False
    across: bool = False
    down: bool = False

    @classmethod
    def of(cls, frame: VideoFrame) -> Turn:
        """Read the display matrix of a picture: its quarter turns and reflections."""
        found = frame.side_data.get("DISPLAYMATRIX")
        if found is None:
            return cls()
        a, b, _, c, d, *_ = np.frombuffer(memoryview(cast(Buffer, found)), np.int32).tolist()
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(False, a < 0, d < 0)
        return cls(True, c < 0, b < 0)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and height of a picture of these sides, turned; or, of a turned one, unturned."""
        return (height, width) if self.transposed else (width, height)

    def apply(self, picture: np.ndarray) -> np.ndarray:
        """Turn ``(H, W, 3)``."""
        if self.transposed:
            picture = cv2.transpose(picture)
        if self.across or self.down:
            picture = cv2.flip(picture, -1 if self.across and self.down else int(self.across))
        return picture


class Screen:
    """Turns decoded pictures of a film into ``(height, width, 3)`` uint8 RGB pictures of one size.

    10-bit and wide-gamut pictures (PQ, HLG) are tone-mapped, transparent ones laid on grey; one whose shape
    is not the film's is shown whole, with black beside it.
    """

    def __init__(self, film: tuple[int, int], size: tuple[int, int]) -> None:
        """``film`` is the size of the film's first picture, upright, and ``size`` what it becomes."""
        self._film, self._size = film, size
        self._plain, self._toners = VideoReformatter(), dict[int, Chain]()
        self._turns: dict[int, Turn] = {}  # by rotation: a frame whose matrix is read is freed late

    def show(self, frame: VideoFrame) -> np.ndarray:
        """Return one picture."""
        if frame.rotation not in self._turns:
            self._turns[frame.rotation] = Turn.of(frame)
        turn = self._turns[frame.rotation]
        own = turn.size(frame.width, frame.height)
        fitting = self._fitting(*own)
        picture = turn.apply(self._rgb(frame, turn.size(*fitting), shrinks=fitting[0] < own[0]))
        if fitting == self._size:
            return picture
        beside, above = self._size[0] - fitting[0], self._size[1] - fitting[1]
        left, top = beside // 2, above // 2
        return cv2.copyMakeBorder(picture, top, above - top, left, beside - left, cv2.BORDER_CONSTANT)

    def _fitting(self, width: int, height: int) -> tuple[int, int]:
        """Return how large a picture is shown: on all of the screen if its shape is the film's."""
        across, up = self._film[0] / width, self._film[1] / height
        if abs(across / up - 1) < _SAME_SHAPE:
            return self._size
        scale = min(across, up)
        sides = (
            round(width * scale / self._film[0] * self._size[0]),
            round(height * scale / self._film[1] * self._size[1]),
        )
        return max(1, sides[0]), max(1, sides[1])

    def _rgb(self, frame: VideoFrame, size: tuple[int, int], shrinks: bool) -> np.ndarray:
        how = Interpolation.AREA if shrinks else Interpolation.BICUBIC
        if any(part.is_alpha for part in frame.format.components):
            picture = self._plain.reformat(frame, *size, format="rgba", interpolation=how).to_ndarray()
            part = picture[..., 3:].astype(np.float32) / 255
            return (picture[..., :3] * part + _BEHIND * (1 - part)).round().astype(np.uint8)
        if frame.color_trc in _BRIGHT:
            deep = self._plain.reformat(frame, *size, format="rgb48le", interpolation=how)
            (frame,) = self._toner(frame.color_trc).run(deep)
        return self._plain.reformat(frame, *size, format="rgb24", interpolation=how).to_ndarray()

    def _toner(self, transfer: int) -> Chain:
        if transfer not in self._toners:
            cube = cube_file(_BRIGHT[ColorTrc(transfer)])
            self._toners[transfer] = Chain(("lut3d", {"file": str(cube)}))
        return self._toners[transfer]


def deinterlaced(pictures: Iterable[tuple[float, VideoFrame]]) -> Iterator[tuple[float, VideoFrame]]:
    """Yield each picture in one piece, at its time: of its two fields the first's moment is shown.

    From the first interlaced picture on, all are held until their neighbours are there, which tell what
    moved.
    """
    weaver, times = Chain(("bwdif", {"mode": "send_frame", "deint": "interlaced"})), deque[float]()
    for time, frame in pictures:
        if frame.interlaced_frame or times:
            times.append(time)
            for woven in weaver.run(frame):
                yield times.popleft(), woven
        else:
            yield time, frame
    for woven in weaver.rest():
        yield times.popleft(), woven


class Chain:
    """A chain of libavfilter's filters, built anew where pictures of another kind come."""

    def __init__(self, *filters: tuple[str, dict[str, str]]) -> None:
        """``filters`` are names and options."""
        self._filters = filters
        self._kind: tuple[object, ...] = ()
        self._graph: Graph | None = None

    def run(self, frame: VideoFrame) -> Iterator[VideoFrame]:
        """Put one picture in; yield those that are ready."""
        kind = (frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range)
        if self._graph is None or kind != self._kind:
            yield from self.rest()
            self._kind, self._graph = kind, self._built(frame)
        frame.pts, frame.time_base = None, _TICK
        self._graph.push(frame)
        yield from self._ready(self._graph)

    def rest(self) -> Iterator[VideoFrame]:
        """Yield what the chain still holds; after that it begins anew."""
        graph, self._graph = self._graph, None
        if graph is not None:
            graph.push(None)
            yield from self._ready(graph)

    def _built(self, frame: VideoFrame) -> Graph:
        graph = Graph()
        source = graph.add(
            "buffer",
            video_size=f"{frame.width}x{frame.height}",
            pix_fmt=frame.format.name,
            time_base=str(_TICK),
            colorspace=str(frame.colorspace),
            range=str(frame.color_range),
        )
        nodes = [graph.add(name, **options) for name, options in self._filters]
        graph.link_nodes(source, *nodes, graph.add("buffersink")).configure()
        return graph

    @staticmethod
    def _ready(graph: Graph) -> Iterator[VideoFrame]:
        while True:
            try:
                yield graph.vpull()
            except (BlockingIOError, EOFError):
                return
