# SPDX-License-Identifier: GPL-3.0-or-later
"""A ``.s2d`` file from a stranger, opened for reading. Its bytes: ``docs/FORMAT.md``.

A part is read and checked when it is asked for, and of the tracks only the groups that hold the frames asked
for are decoded.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from ...models.errors import InputError, S2DError
from ...models.keypoints import KEYPOINT_NAMES
from ...models.shipped import weights_sha256
from . import homography_coding, keypoint_coding, picture_coding
from .certainty import decode_certainty
from .clip import Clip, Person, Reference, Shot, seen_background
from .fields import ByteReader
from .header import HASH_BYTES, MAX_HEADER, Header, Part, unpack_header


class S2DFile:
    """A ``.s2d`` file opened for reading one person's clip; parts are read and decoded when asked for.

    Frames are counted from the person's first. Attributes: ``path``; ``headers`` of all its people,
    ``person``, which of them (from 0) is read, and ``header``, that one's; ``parts``, all the file's in file
    order. Every method raises InputError that names the file where it is damaged.
    """

    def __init__(self, path: Path, headers: list[Header], parts: list[Part], person: int = 0) -> None:
        """Hold what :meth:`open` has checked."""
        self.path = path
        self.headers = headers
        self.person = person
        self.header = headers[person]
        self.parts = parts
        self._decoded_group: tuple[int, np.ndarray] | None = None
        self._decoded_views: tuple[int, np.ndarray] | None = None

    @classmethod
    def open(cls, path: str | os.PathLike) -> S2DFile:
        """Read and check the header of ``path``, for the first person's clip.

        Raises InputError if it is not a whole ``.s2d`` file.
        """
        path = Path(path)
        try:
            size = path.stat().st_size
            with path.open("rb") as file:
                head = file.read(MAX_HEADER)
        except OSError as error:
            raise InputError("cannot_read", f"cannot read {path}: {error.strerror or error}.") from error
        with _naming(path):
            headers, parts = unpack_header(head)
            end = parts[-1].end
            if end != size:
                what = "cut short" if end > size else "followed by bytes that do not belong to it"
                raise InputError("damaged", f"the file is {what} ({size} bytes where it should have {end}).")
        return cls(path, headers, parts)

    def people(self) -> list[S2DFile]:
        """Return this file as opened for each of its people."""
        return [S2DFile(self.path, self.headers, self.parts, i) for i in range(len(self.headers))]

    @property
    def sha256(self) -> str:
        """The hexadecimal SHA-256 of the whole file."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def sizes(self) -> dict[str, int]:
        """Return the bytes of the header and of each part, of all people, and their total.

        The index of groups, which since version 2 is part of the keypoints, is told apart from them.
        """
        sizes = {"header": self.parts[0].start}
        for part in self.parts:
            sizes[part.name] = sizes.get(part.name, 0) + part.size
        if self.header.version > 1:
            with _naming(self.path):
                sizes["index"] = sum(file._index_bytes() for file in self.people())
            sizes["keypoints"] -= sizes["index"]
        return sizes | {"total": sum(sizes.values())}

    def check(self) -> None:
        """Compare every part with its checksum; InputError where one was altered or damaged."""
        with _naming(self.path):
            for part in self.parts:
                self._read(part)

    def clip(self, keypoints: np.ndarray | None = None) -> Clip:
        """Decode the person's clip, all but the ``keypoints`` where these are decoded already."""
        header = self.header
        plate, origin = self.plate()
        return Clip(
            fps=header.fps,
            camera=header.camera,
            width=header.width,
            height=header.height,
            keypoints=self.keypoints(0, header.frames) if keypoints is None else keypoints,
            body=header.body,
            shape=header.shape,
            references=self.references(),
            plate=plate,
            moving_camera=header.moving_camera,
            views=self.views(0, header.frames),
            plate_origin=origin,
            certainty=self.certainty(),
            texture=self.texture(),
        )

    def shot(self) -> Shot:
        """Decode the shot with all its people."""
        header = self.header
        people = [
            Person(
                keypoints=file.keypoints(0, file.header.frames),
                body=file.header.body,
                shape=file.header.shape,
                references=[
                    replace(reference, frame=reference.frame + file.header.first)
                    for reference in file.references()
                ],
                certainty=file.certainty(),
                texture=file.texture(),
                first=file.header.first,
            )
            for file in self.people()
        ]
        with _naming(self.path):
            plate, origin = self._plate
        return Shot(
            fps=header.fps,
            camera=header.camera,
            width=header.width,
            height=header.height,
            frames=header.shot_frames,
            people=people,
            plate=plate,
            moving_camera=header.moving_camera,
            views=self.views(-header.first, header.frames + header.after),
            plate_origin=origin,
        )

    def keypoints(self, start: int, stop: int) -> np.ndarray:
        """Return frames ``start`` to ``stop`` as ``(stop - start, 23, 3)`` float32, metres in camera space.

        Decodes only the groups that hold them.
        """
        with _naming(self.path):
            groups = self._groups_of(start, stop, self.header.frames)
            pieces = [self._group(group)[part] for group, part in groups]
        return np.concatenate([np.zeros((0, len(KEYPOINT_NAMES), 3), np.float32), *pieces])

    def views(self, start: int, stop: int) -> np.ndarray | None:
        """Return where the canvases of frames ``start`` to ``stop`` lie in the plate (:attr:`.Clip.views`).

        ``(stop - start, 4, 2)`` float32 pixels, or None where the plate stands still. Frames may lie before
        and after the person's, in the shot. Decodes only the groups that hold them.
        """
        header = self.header
        if not header.moving_plate:
            return None
        with _naming(self.path):
            groups = self._groups_of(header.first + start, header.first + stop, header.shot_frames)
            pieces = [self._views_group(group)[part] for group, part in groups]
        return np.concatenate([np.zeros((0, 4, 2), np.float32), *pieces])

    def certainty(self) -> np.ndarray | None:
        """Return how certain each of the body's regions is (:attr:`.Clip.certainty`), None if not known."""
        with _naming(self.path):
            for part in self.parts_of("certainty"):
                return decode_certainty(self._read(part), self.header.frames, self.header.fps)
        return None

    def texture(self) -> np.ndarray | None:
        """Decode the picture of the body's UV map (:attr:`.Clip.texture`), None where none was sent."""
        with _naming(self.path):
            for part in self.parts_of("texture"):
                return picture_coding.decode_texture(self._read(part))
        return None

    def parts_of(self, name: str) -> list[Part]:
        """Return the person's parts of a kind, in file order."""
        return self._parts_of(self.person, name)

    @property
    def has_pictures(self) -> bool:
        """Whether the person was filmed, and is no motion alone."""
        return bool(self.parts_of("reference"))

    def references(self) -> list[Reference]:
        """Decode the person's reference pictures; none for a motion without video."""
        with _naming(self.path):
            found = [self._reference(part) for part in self.parts_of("reference")]
        return [replace(reference, frame=reference.frame - self.header.first) for reference in found]

    def plate(self) -> tuple[np.ndarray | None, tuple[int, int]]:
        """Decode the background ``(H, W, 3)`` uint8 behind the person, or None if the file holds none.

        With it comes the place (left, top) of its first pixel in the canvas, which is at or outside the
        canvas's. Where nobody's background was sent it is the shot's first reference, and None if that is
        the person's own.
        """
        if not self.has_pictures:
            return None, (0, 0)
        with _naming(self.path):
            plate, origin = self._plate
            if plate is None and self._first_reference_part not in self.parts_of("reference"):
                return self._first_reference.picture, (0, 0)
        return plate, origin

    def network_warnings(self) -> list[str]:
        """Say in one line, if any, which networks that the file was made for are here as other versions."""
        here = network_hashes(tuple(self.header.networks))
        other = [name for name, digest in self.header.networks.items() if here.get(name, digest) != digest]
        if not other:
            return []
        told = ", ".join(name.replace("_", " ") for name in other)
        return [f"{self.path.name} was made for other weights ({told}): it may look a little different."]

    def unshown_warnings(self) -> list[str]:
        """Say, in a line each, what of the file the clip lacks: other people, parts of kinds to come."""
        warnings = []
        if len(self.headers) > 1:
            told = f"{len(self.headers)} people, and number {self.person + 1} is shown"
            warnings.append(f"{self.path.name} holds {told}.")
        names = {part.name for part in self.parts if part.passed_over and part.person in (None, self.person)}
        if names:
            told = ", ".join(sorted(names)).replace("_", " ")
            warnings.append(
                f"{self.path.name} also holds what this program cannot read ({told}): it is passed over."
            )
        return warnings

    def _read(self, part: Part) -> bytes:
        try:
            with self.path.open("rb") as file:
                file.seek(part.start)
                data = file.read(part.size)
        except OSError as error:
            raise InputError("cannot_read", f"{error.strerror or error}.") from error
        if zlib.crc32(data) != part.crc:
            raise InputError(
                "damaged", f"the {part.name} part was altered or damaged (its checksum is wrong)."
            )
        return data

    def _parts_of(self, person: int | None, name: str) -> list[Part]:
        found = (part for part in self.parts if part.name == name and not part.passed_over)
        return [part for part in found if part.person == person]

    @cached_property
    def _first_reference_part(self) -> Part:
        """The shot's first reference, in a file that has one."""
        return next(part for part in self.parts if part.name == "reference")

    @cached_property
    def _first_reference(self) -> Reference:
        frame, mask, data = self._opened_reference(self._first_reference_part)
        return Reference(
            frame, picture_coding.decode_picture(data, self.header.width, self.header.height), mask
        )

    @cached_property
    def _plate(self) -> tuple[np.ndarray | None, tuple[int, int]]:
        for part in self._parts_of(None, "plate"):
            first, moving = self._first_reference, self.header.moving_plate
            hidden = first.mask
            for other in self.parts:
                if other.name == "reference" and other.person != self._first_reference_part.person:
                    frame, mask, _ = self._opened_reference(other)
                    hidden = np.maximum(hidden, mask) if frame == first.frame else hidden
            return picture_coding.decode_plate(self._read(part), first.picture, hidden, moving)
        return None, (0, 0)

    def _opened_reference(self, part: Part) -> tuple[int, np.ndarray, bytes]:
        """Return a reference's frame of the shot, its mask and what its picture is coded as."""
        reader, header = ByteReader(self._read(part)), self.headers[part.person or 0]
        frame, mask_size = reader.varint(), reader.varint()
        if not 0 <= frame - header.first < header.frames:
            raise InputError("damaged", "a reference picture is of a frame in which its person is not there.")
        mask = picture_coding.decode_mask(reader.take(mask_size), header.width, header.height)
        return frame, mask, reader.rest()

    def _reference(self, part: Part) -> Reference:
        if part is self._first_reference_part:
            return self._first_reference
        width, height = self.header.width, self.header.height
        frame, mask, data = self._opened_reference(part)
        if not self.header.cropped:
            return Reference(frame, picture_coding.decode_picture(data, width, height), mask)
        background, origin = self._plate
        if background is None:
            background = self._first_reference.picture
        if self.header.moving_plate:
            group, within = divmod(frame, self.header.group_frames)
            view = self._views_group(group)[within]
            background = seen_background(background, origin, view, width, height)
        return Reference(frame, picture_coding.decode_crop(data, background, mask), mask)

    def _groups_of(self, start: int, stop: int, frames: int) -> Iterator[tuple[int, slice]]:
        """Yield the groups of a track that hold frames ``start`` to ``stop``, and which of theirs."""
        if not 0 <= start <= stop <= frames:
            raise ValueError(f"frames {start} to {stop} of {frames}")
        size = self.header.group_frames
        for group in range(start // size, -(-stop // size)):
            first = group * size
            yield group, slice(max(start - first, 0), stop - first)

    def _frames_in(self, group: int, frames: int) -> int:
        return min(self.header.group_frames, frames - group * self.header.group_frames)

    def _index_bytes(self) -> int:
        """Return how much of the keypoints part, since version 2, is the index of its groups."""
        (part,) = self.parts_of("keypoints")
        reader = ByteReader(self._read(part))
        for _ in range(self.header.groups):
            reader.varint()
        return part.size - len(reader.rest())

    @cached_property
    def _group_bytes(self) -> list[tuple[int, bytes]]:
        """The spacing and the bytes of each group."""
        track = index = ByteReader(self._read(*self.parts_of("keypoints")))
        if self.header.version == 1:
            index = ByteReader(self._read(*self.parts_of("index")))
        sizes = [index.varint() for _ in range(self.header.groups)]
        groups = []
        for size in sizes:
            group = ByteReader(track.take(size))
            spacing = group.take(1)[0] if self.header.spaced else 1
            if not 1 <= spacing <= keypoint_coding.MAX_SPACING:
                raise InputError(
                    "damaged", f"the keypoints are damaged: {spacing} frames apart is no spacing."
                )
            groups.append((spacing, group.rest()))
        if index.rest() or track.rest():
            raise InputError("damaged", "the index does not fit the keypoints.")
        return groups

    def _group(self, group: int) -> np.ndarray:
        if self._decoded_group is None or self._decoded_group[0] != group:
            spacing, data = self._group_bytes[group]
            frames = self._frames_in(group, self.header.frames)
            decoded = keypoint_coding.decode_group(data, frames, self.header.step_um, spacing)
            self._decoded_group = group, decoded
        return self._decoded_group[1]

    @cached_property
    def _views_bytes(self) -> list[bytes]:
        reader = ByteReader(self._read(*self._parts_of(None, "camera_motion")))
        groups = -(-self.header.shot_frames // self.header.group_frames)
        sizes = [reader.varint() for _ in range(groups)]
        found = [reader.take(size) for size in sizes]
        if reader.rest():
            raise InputError("damaged", "the camera's motion is longer than the clip.")
        return found

    def _views_group(self, group: int) -> np.ndarray:
        if self._decoded_views is None or self._decoded_views[0] != group:
            header = self.header
            decoded = homography_coding.decode_group(
                self._views_bytes[group],
                self._frames_in(group, header.shot_frames),
                header.width,
                header.height,
            )
            self._decoded_views = group, decoded
        return self._decoded_views[1]


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the file in the InputErrors of a block."""
    try:
        yield
    except InputError as error:
        raise InputError(error.code, f"{path}: {error}") from None


def network_hashes(names: tuple[str, ...]) -> dict[str, bytes]:
    """Return the first bytes of the SHA-256 of those of the named networks that are here."""
    found = {}
    for name in names:
        with suppress(S2DError):  # a network that is not here is not one the clip was made for
            found[name] = bytes.fromhex(weights_sha256(f"{name}.onnx"))[:HASH_BYTES]
    return found
