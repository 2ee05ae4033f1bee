# SPDX-License-Identifier: GPL-3.0-or-later
"""What a clip is decoded to: a folder that fills part by part, and ``clip.json``, which names what is there.

The contract between decoding, which writes such folders, and whoever reads them, such as the add-on; so NumPy
is all that is needed here. ``clip.json`` holds a :class:`Description` and is written again after each part:

- ``body``: ``body.npz``, see :class:`RestBody`; ``mannequin.png``, its UV map as nobody in particular looks
  (:mod:`.mannequin`); and of a clip with pictures the first, ``reference.png``;
- ``mesh``: of a clip with pictures, unless it is edited, ``texture.png``, the body's UV map as the person
  looks (:mod:`.texture`); ``mesh.pc2`` and ``keypoints.pc2``, every frame's vertices and keypoints
  (:mod:`.point_cache`), and ``mesh.npz``, what they are in camera space: ``faces`` ``(F, 3)``, ``uv``
  ``(F, 3, 2)`` by corner, ``keypoints`` ``(T, 23, 3)``, ``keypoint_names`` ``(23,)``, ``keypoint_bones``
  ``(B, 2)``, ``camera`` ``(3, 3)`` K in pixels, ``fps`` (numerator, denominator), and if asked for
  ``vertices`` ``(T, V, 3)``;
- ``skeleton``: ``skeleton.npz``, the standard skeleton and its motion (:mod:`.skeleton_fit`);
- ``video``: ``video.webm`` or ``video.mp4``, every frame's picture;
- ``film``: ``film.mp4``, the same frames of the film that the clip was made of, with its sound, where
  somebody has asked for it (:mod:`..backdrop`).
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ...models.array_files import read_arrays
from ...models.camera import Camera
from ...models.whole_files import publish, staging_folder
from .floor import Floor
from .point_cache import open_pc2

DESCRIPTION_FILE = "clip.json"

FILES = {
    "body": "body.npz",
    "mannequin": "mannequin.png",
    "reference": "reference.png",
    "texture": "texture.png",
    "mesh": "mesh.pc2",
    "keypoints": "keypoints.pc2",
    "mesh_data": "mesh.npz",
    "skeleton": "skeleton.npz",
    "video": "video.webm",
    "film": "film.mp4",
}
"""The files' names by what they hold; a video may have the ending of another of :data:`VIDEO_FORMATS`."""

VIDEO_FORMATS = ("webm", "mp4")
_HOLDS = {name: what for what, name in FILES.items()} | {
    f"video.{ending}": "video" for ending in VIDEO_FORMATS
}

PICTURE_NETWORKS = ("reference_encoder", "generator")
"""Entries of :attr:`Description.weights` that only the video depends on."""

Finished = Callable[[str], None]
"""Called with the name of a part when its files are there."""

_MOST = 2**31 - 1  # frames or pixels: what the fields of other programs hold


@dataclass(frozen=True)
class Description:
    """What ``clip.json`` says of a clip, of what it was decoded with, and of the parts that are there."""

    clip: str  # the .s2d file's SHA-256
    frames: int
    fps: Fraction
    width: int  # canvas, pixels
    height: int
    camera: Camera
    has_video: bool  # whether there is, or will be, a video
    files: dict[str, str]  # names of the files that are there, by what they hold
    warnings: list[str]
    written: frozenset[str] = frozenset()  # names of all files that decoding ever wrote there, or is about to
    body: str = ""  # name of the body model
    measures: dict[str, dict[str, Any]] = field(default_factory=dict)  # value, min, max, unit, label, …
    edits: dict[str, Any] = field(default_factory=dict)  # how the motion was cleaned up
    weights: dict[str, str] = field(default_factory=dict)  # first digits of each network's SHA-256
    bounds: np.ndarray | None = None  # (2, 3) float32, lowest and highest of all vertices, Blender's axes
    floor: Floor | None = None  # in camera space
    # How certain each region of the body is, wherever that changes: the frame, and from 0 (a guess) to 1
    # (seen). Empty where it is not known.
    certainty: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    # Where the motion of a part of the body is a guess: from which frame, to before which, and of what.
    doubts: list[tuple[int, int, str]] = field(default_factory=list)
    # When a foot is held: likewise, and which foot, "left" or "right". None where foot lock holds none.
    contacts: list[tuple[int, int, str]] | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``clip.json`` holds."""
        content: dict[str, Any] = {
            "clip": self.clip,
            "frames": self.frames,
            "fps": [self.fps.numerator, self.fps.denominator],
            "width": self.width,
            "height": self.height,
            "camera": asdict(self.camera),
            "body": self.body,
            "measures": self.measures,
            "edits": self.edits,
            "has_video": self.has_video,
            "weights": self.weights,
            "files": self.files,
            "written": sorted(self.written),
            "warnings": self.warnings,
        }
        if self.bounds is not None:
            content["bounds"] = self.bounds.tolist()
        if self.floor is not None:
            content["floor"] = {name: value.tolist() for name, value in asdict(self.floor).items()}
        if self.certainty:
            content["certainty"] = {
                region: [list(run) for run in runs] for region, runs in self.certainty.items()
            }
        if self.doubts:
            content["doubts"] = [list(doubt) for doubt in self.doubts]
        if self.contacts is not None:
            content["contacts"] = [list(contact) for contact in self.contacts]
        return content

    @classmethod
    def from_json(cls, content: object) -> Description:
        """Read what :meth:`as_json` gives; ValueError, which names the field, for anything else.

        What earlier versions did not write yet may be missing.
        """
        given = _Fields(content, "it")
        camera = given.fields("camera")
        focal_x, focal_y = camera.number("fx"), camera.number("fy")
        if min(focal_x, focal_y) <= 0:
            raise ValueError("its camera has no focal length")
        files = _file_names(given.texts("files"))
        return cls(
            clip=given.text("clip"),
            frames=given.count("frames"),
            fps=given.rate("fps"),
            width=given.count("width"),
            height=given.count("height"),
            camera=Camera(focal_x, focal_y, camera.number("cx"), camera.number("cy")),
            has_video=given.flag("has_video"),
            files=files,
            warnings=given.lines("warnings"),
            written=frozenset(given.lines("written") if given.has("written") else files.values()),
            body=given.text("body", ""),
            measures=_measures(given.fields("measures", {})),
            edits=given.fields("edits", {}).content,
            weights=given.texts("weights", {}),
            bounds=given.points("bounds", (2, 3), np.float32) if given.has("bounds") else None,
            floor=_floor(given.fields("floor")) if given.has("floor") else None,
            certainty=_certainty(given.fields("certainty", {})),
            doubts=given.spans("doubts") if given.has("doubts") else [],
            contacts=given.spans("contacts") if given.has("contacts") else None,
        )

    @property
    def mesh_from(self) -> tuple[str, dict[str, Any], dict[str, str]]:
        """What the mesh depends on besides the body: the clip, the edits, and the networks that make it."""
        weights = {name: digest for name, digest in self.weights.items() if name not in PICTURE_NETWORKS}
        return self.clip, self.edits, weights


@dataclass(frozen=True)
class RestBody:
    """The arrays of ``body.npz``: a body at rest, Blender's axes, soles at z = 0, facing -y."""

    vertices: np.ndarray  # (V, 3) float32, metres
    faces: np.ndarray  # (F, 3) int32
    uv: np.ndarray  # (F, 3, 2) float32, one a face corner
    model: str = ""  # first digits of the SHA-256 of the user's own model file, nothing for Anny


# ---- reading ---------------------------------------------------------------------------------


def read_description(folder: Path) -> Description:
    """Read a decoded folder's ``clip.json``; OSError, which says what is wrong, where that cannot be done."""
    path = folder / DESCRIPTION_FILE
    try:
        return Description.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, RecursionError) as error:
        raise OSError(f"{path} is damaged: {error}") from error


def read_rest_body(path: Path) -> RestBody:
    """Read a ``body.npz``; OSError, which says what is wrong, where it is none or damaged."""
    arrays = _arrays(path, ("vertices", "faces", "uv"), ("model",))
    vertices, faces, uv = arrays["vertices"], arrays["faces"], arrays["uv"]
    if vertices.dtype.kind != "f" or vertices.shape[1:] != (3,) or not len(vertices):
        raise OSError(f"{path} is damaged: its vertices are {vertices.dtype} {vertices.shape}")
    if faces.dtype.kind not in "iu" or faces.shape[1:] != (3,) or not len(faces):
        raise OSError(f"{path} is damaged: its faces are {faces.dtype} {faces.shape}")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise OSError(f"{path} is damaged: its faces join vertices that it does not have")
    if uv.dtype.kind != "f" or uv.shape != (len(faces), 3, 2):
        raise OSError(f"{path} is damaged: its uv are {uv.dtype} {uv.shape}")
    return RestBody(
        np.ascontiguousarray(vertices, np.float32),
        np.ascontiguousarray(faces, np.int32),
        np.ascontiguousarray(uv, np.float32),
        str(arrays.get("model", "")),  # which earlier versions did not write
    )


def read_bones(path: Path) -> np.ndarray:
    """Return the pairs ``(B, 2)`` of keypoints that a bone joins, from a ``mesh.npz``; OSError likewise."""
    bones = _arrays(path, ("keypoint_bones",))["keypoint_bones"]
    if bones.dtype.kind not in "iu" or bones.shape[1:] != (2,) or bones.min(initial=0) < 0:
        raise OSError(f"{path} is damaged: its keypoint_bones are no pairs of keypoints")
    return bones


def _arrays(path: Path, names: tuple[str, ...], perhaps: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    try:
        arrays = read_arrays(path, (*names, *perhaps))
    except ValueError as error:
        raise OSError(f"{path} is damaged: {error}") from error
    if missing := [name for name in names if name not in arrays]:
        raise OSError(f"{path} is damaged: it lacks {', '.join(missing)}")
    return arrays


class _Fields:
    """A JSON object from a stranger: its fields by name, ValueError where one is missing or another kind."""

    def __init__(self, content: object, name: str) -> None:
        if not isinstance(content, dict):
            raise ValueError(f"{name} is no JSON object")
        self.content: dict[str, Any] = content

    def has(self, name: str) -> bool:
        return self.content.get(name) is not None

    def fields(self, name: str, default: object = None) -> _Fields:
        return _Fields(self._field(name, default), name)

    def text(self, name: str, default: str | None = None) -> str:
        value = self._field(name, default)
        if not isinstance(value, str):
            raise ValueError(f"{name} is no text")
        return value

    def flag(self, name: str) -> bool:
        value = self._field(name)
        if not isinstance(value, bool):
            raise ValueError(f"{name} is neither true nor false")
        return value

    def number(self, name: str) -> float:
        return _number(self._field(name), name)

    def count(self, name: str) -> int:
        return _count(self._field(name), name)

    def rate(self, name: str) -> Fraction:
        value = self._field(name)
        if not isinstance(value, list) or len(value) != 2:
            raise ValueError(f"{name} is not numerator and denominator")
        return Fraction(_count(value[0], name), _count(value[1], name))

    def lines(self, name: str) -> list[str]:
        value = self._field(name)
        if not isinstance(value, list) or not all(isinstance(line, str) for line in value):
            raise ValueError(f"{name} is no list of lines")
        return value

    def texts(self, name: str, default: object = None) -> dict[str, str]:
        given = self.fields(name, default)
        return {key: given.text(key) for key in given.content}

    def points(self, name: str, shape: tuple[int, ...], dtype: type[np.floating]) -> np.ndarray:
        value, wrong = self._field(name), ValueError(f"{name} does not hold {shape} numbers")
        try:
            points = np.array(value, np.float64)
        except (ValueError, TypeError, OverflowError) as error:
            raise wrong from error
        if points.shape != shape or not np.isfinite(points).all():
            raise wrong
        return points.astype(dtype)

    def runs(self, name: str) -> list[tuple[int, float]]:
        value = self._field(name)
        if not isinstance(value, list) or not all(isinstance(run, list) and len(run) == 2 for run in value):
            raise ValueError(f"{name} is no list of frames and numbers")
        runs = [(_count(start, name, least=0), _number(number, name)) for start, number in value]
        starts = [start for start, _ in runs]
        if starts[:1] != [0] or starts != sorted(set(starts)) or any(not 0 <= run[1] <= 1 for run in runs):
            raise ValueError(f"{name} holds no runs of numbers from 0 to 1")
        return runs

    def spans(self, name: str) -> list[tuple[int, int, str]]:
        value = self._field(name)
        if not isinstance(value, list) or not all(
            isinstance(span, list) and len(span) == 3 for span in value
        ):
            raise ValueError(f"{name} is no list of two frames and a text")
        spans = [(_count(start, name, least=0), _count(stop, name), text) for start, stop, text in value]
        if not all(isinstance(text, str) and start < stop for start, stop, text in spans):
            raise ValueError(f"{name} holds no spans of frames, each with a text")
        return spans

    def _field(self, name: str, default: object = None) -> object:
        value = self.content.get(name, default)
        if value is None:
            raise ValueError(f"it lacks {name}")
        return value


def _number(value: object, name: str) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):
            if math.isfinite(value):
                return float(value)
    raise ValueError(f"{name} is no number")


def _count(value: object, name: str, least: int = 1) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _MOST:
        raise ValueError(f"{name} is no whole number of {least} or more")
    return value


def _file_names(files: dict[str, str]) -> dict[str, str]:
    for name in files.values():
        if name in ("", ".", "..") or set("/\\:") & set(name):
            raise ValueError(f"files holds {name!r}, which is no name of a file in the folder")
    return files


def _measures(given: _Fields) -> dict[str, dict[str, Any]]:
    for name in given.content:
        measure = given.fields(name)
        for number in ("value", "min", "max"):
            measure.number(number)
        for text in ("unit", "label", "description"):
            measure.text(text)
    return given.content


def _certainty(given: _Fields) -> dict[str, list[tuple[int, float]]]:
    return {region: given.runs(region) for region in given.content}


def _floor(given: _Fields) -> Floor:
    return Floor(*(given.points(name, (3,), np.float64) for name in ("up", "point", "forward")))


# ---- writing ---------------------------------------------------------------------------------


class DecodedFolder:
    """A folder that is being filled: files are written to ``staging``, and get their places part by part.

    With ``kept``, what an earlier decoding left there stays as it is until :meth:`place` is called.
    """

    def __init__(
        self,
        folder: Path,
        staging: Path,
        description: Description,
        finished: Finished = lambda part: None,
        kept: bool = False,
    ) -> None:
        self.staging = staging
        self._folder, self._description, self._finished = folder, description, finished
        self._said, self._kept = description, kept
        self._parts: list[str] = []  # that have no place yet

    @property
    def files(self) -> dict[str, Path]:
        """The finished files by what they hold."""
        names = self._description.files.items()
        staged = {what: self.staging / name for what, name in names if (self.staging / name).exists()}
        return {what: self._folder / name for what, name in names} | staged

    def publish(self, part: str, **facts: Any) -> None:
        """Give the files in ``staging`` their places, then say so in ``clip.json``, with ``facts`` for it."""
        staged = {what: name for name, what in _HOLDS.items() if (self.staging / name).exists()}
        self._description = replace(self._description, files=self._description.files | staged, **facts)
        self._parts.append(part)
        if not self._kept:
            self.place()

    def place(self) -> None:
        """Give all parts that were published their places."""
        if not self._parts:
            return
        staged = [name for name in self._description.files.values() if (self.staging / name).exists()]
        written = self._said.written | {*staged, DESCRIPTION_FILE}
        # First what is there of the same decoding, and which names are ours: whenever the process is killed,
        # clip.json names nothing that another has written, and the next decoding knows what it may replace.
        self._describe(replace(self._said, written=written))
        for name in staged:
            publish(self.staging / name, self._folder)
        self._describe(replace(self._description, written=written))
        parts, self._parts = self._parts, []
        for part in parts:
            self._finished(part)

    def _describe(self, description: Description) -> None:
        self._said = description
        aside = self.staging / DESCRIPTION_FILE
        text = json.dumps(description.as_json(), indent=2, ensure_ascii=False)
        aside.write_text(f"{text}\n", encoding="utf-8")
        publish(aside, self._folder)


@contextlib.contextmanager
def open_folder(
    folder: Path, description: Description, model: str = "", finished: Finished = lambda part: None
) -> Iterator[DecodedFolder]:
    """Begin to fill ``folder``, which is made where needed; ``finished`` is called after each part.

    What it holds of an earlier decoding stays part of it where that was of the same clip, with the same
    edits, networks and body ``model`` (:attr:`RestBody.model`), so that the mesh comes out the same. Another
    that is whole stays as it is until the block ends, and is then replaced: all parts are finished together.
    A block that fails leaves the parts that were published before, or what it would have replaced, and no
    other file. InputError ``output_unwritable`` where the folder cannot be written.
    """
    with staging_folder(folder) as staging:
        before, before_model = _earlier(folder)
        description = replace(description, written=written_before(folder))
        same = before and before_model == model and before.mesh_from == description.mesh_from
        if before and same:
            description = replace(
                description,
                files={what: name for what, name in before.files.items() if (folder / name).is_file()},
                weights=before.weights | description.weights,
                bounds=before.bounds,
                floor=before.floor,
                contacts=before.contacts,
            )
        filling = DecodedFolder(folder, staging, description, finished, kept=bool(before and not same))
        yield filling
        filling.place()


def written_before(folder: Path) -> frozenset[str]:
    """Return the names of the files in ``folder`` that are decoding's own, as its ``clip.json`` tells."""
    try:
        description = read_description(folder)
    except OSError:
        return frozenset()
    return description.written | {*description.files.values(), DESCRIPTION_FILE}


def _earlier(folder: Path) -> tuple[Description | None, str]:
    """Return what was decoded to a folder before, None where nothing whole was, and its body's model."""
    try:
        before = read_description(folder)
        body = read_rest_body(folder / before.files.get("body", FILES["body"]))
        mesh = folder / before.files.get("mesh", FILES["mesh"])
        if mesh.exists():
            open_pc2(mesh)
    except OSError:
        return None, ""
    return before, body.model
