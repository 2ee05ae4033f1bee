# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures the motion that capture makes of films: ``s2d bench capture``.

Four questions, each on films of its own. How far is it from the truth where a filmed man's joints are known
from four calibrated views (``truth``), and on held-out synthetic people in situations that phones film
(``people``)? Is it steady, on the floor and in the picture where no truth is known (``films``)? Is it
the same motion if the film is turned, mirrored, slower or backwards (``turned``)? Beside it stands
what the pose estimator itself says of the same frames. Errors that a filmed person would see as a habit (bent
knees, a stoop) are told with their sign. What capture makes of a film is kept, so a run that was stopped
(``--minutes``) goes on where it ended.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..inference.capture.pipeline import CaptureOptions
from ..inference.capture.pose_lifter import look_at
from ..inference.decoding.floor import estimate_floor
from ..inference.decoding.vertices import VertexDecoder
from ..inference.demo import PACKAGED_CLIP
from ..inference.film.reader import VideoReader
from ..inference.film.writer import VideoWriter
from ..inference.runtime.backends import load_network
from ..models.body_catalogue import load_body
from ..models.errors import InputError
from ..models.fetch import fetch
from ..models.keypoints import BLAZEPOSE_INDEX, FEET, KEYPOINT_NAMES
from ..models.mesh_motion import Surface
from ..models.outputs import JSON, PNG, Kind
from ..models.shaped_body import ShapedBody
from ..models.shipped import weights_sha256
from ..models.training.motion import data_dir
from ..models.training.postures import KINDS, PosedPeople
from .capture_pictures import around, draw_errors, draw_postures, draw_sheet
from .captured_films import Films, Motion, OutOfTimeError, Seen, people_in
from .changed_films import CHANGES, Change, compare_turned
from .held_out_people import SECONDS
from .held_out_people import film as film_person
from .motion_metrics import (
    ANGLES,
    OF_KEYPOINTS,
    acceleration,
    exchanged_in_clip,
    measure,
    root_aligned,
    sliding,
)
from .results import OUT, write_results

PARTS = ("truth", "people", "films", "turned")
OURS, ESTIMATOR = "Sparse2Dense", "BlazePose's own"

PUBLISHED = (
    ("SAM 3D Body", None, 54.8),
    ("PromptHMR", 36.6, 58.7),
    ("WHAM", 35.9, 57.8),
)
"""What others report on 3DPW: name, PA-MPJPE and MPJPE in millimetres. **Not the same data.**"""

_TRUTH = "multiview/truth.npz"
_VIEWS = (
    ("one_cam01", PACKAGED_CLIP, "cam01"),
    ("one_cam02", "multiview/one_cam02.mp4", "cam02"),
    ("one_cam03", "multiview/one_cam03.mp4", "cam03"),
    ("two_cam01", "multiview/two_cam01.mp4", "cam01"),
)
_MAN = "man"
_ERRORS, _POSTURES = "capture_errors.png", "capture_postures.png"
_SHEET_FRAMES, _MESHES = 8, 24  # of a film: drawn on a sheet; held against the estimator's mask
_JOINT_LANDMARKS = [BLAZEPOSE_INDEX[keypoint] for keypoint in OF_KEYPOINTS]
_SEEN = 0.5  # visibility of a landmark that a point is held against
_STANDING_SPEED, _STANDING_SECONDS = 0.15, 0.2  # metres a second in the picture, measured over so long
_STANDING_HEIGHT = 0.12  # metres above the floor, at most


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``s2d bench capture``."""
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("S2D_DATA"), help="folder of films, truth, assets, motion"
    )
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=list(PARTS), help="these alone, and no others on the page"
    )
    parser.add_argument("--clips", type=int, default=200, help="synthetic clips, in turn of every kind (200)")
    parser.add_argument("--seed", type=int, default=0, help="of the synthetic people")
    parser.add_argument("--sheets", action="store_true", help="draw contact sheets, from front and side")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start nothing after this")
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="where the results go")
    parser.add_argument(
        "--quick", action="store_true", help="half a second of little, to try the measurement"
    )


def outputs(args: argparse.Namespace) -> dict[Path, Kind]:
    """Return the files that :func:`run` writes, each with its kind."""
    drawn = {args.out / name: PNG for name in (_ERRORS, _POSTURES) if "truth" in args.only}
    return {args.out / "capture.json": JSON} | drawn


def run(args: argparse.Namespace) -> None:
    """Measure all parts, or go on with them; print the tables, write figures and pictures."""
    bench = _Bench(args)
    results: dict[str, Any] = {
        "quick": args.quick,
        "weights": weights_sha256("pose_lifter.onnx")[:12],
        "unfinished": [],
    }
    pictures: dict[str, str] = {}
    parts = {"truth": bench.truth, "people": bench.people, "films": bench.films, "turned": bench.turned}
    for part in args.only:
        results[part] = {}
        try:
            for name, figures in parts[part](pictures):
                results[part][name] = figures
        except OutOfTimeError:
            results["unfinished"].append(part)
    if "people" in results:
        results["people"] = _by_kind(results["people"])
    write_results("capture", results | {"pictures": pictures}, args.out)
    print("\n".join(tables(results)))


@dataclass(frozen=True)
class _Truth:
    """A man's joints in space, and where the estimator would put those of the body."""

    joints: np.ndarray  # (T, 12, 3) metres, the calibrated world
    fps: float
    to_estimator: np.ndarray  # (12, 23): from keypoints to where the estimator puts its joints
    stored: dict[str, np.ndarray]

    def seen_from(self, view: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return a view's joints ``(T, 12, 3)``, camera space, and ``(T, 12, 2)`` pixels, and the seconds."""
        at = [str(name) for name in self.stored["cameras"]].index(view)
        placed = self.stored["world_to_camera"][at]
        joints = self.joints @ placed[:, :3].T + placed[:, 3]
        pixels = joints @ self.stored["K"][at].T
        seconds = (np.arange(len(joints)) + self.stored["offsets"][at]) / self.fps
        return joints, pixels[..., :2] / pixels[..., 2:], seconds


def load_truth(data: Path) -> _Truth:
    """Load the joints that were triangulated. InputError ``no_data`` where they are not in the folder."""
    path = Path(data) / _TRUTH
    if not path.is_file():
        raise InputError(
            "no_data", f"The films' truth {_TRUTH} is not in '{data}': leave it out with --only."
        )
    with np.load(path, allow_pickle=False) as stored:
        values = {name: stored[name] for name in stored.files}
    if [str(name) for name in values["keypoint_names"]] != list(KEYPOINT_NAMES):
        raise InputError("no_data", f"{path} is of other keypoints.")
    joints = values[_MAN][:, _JOINT_LANDMARKS].astype(np.float64)
    return _Truth(joints, float(values["fps"]), values["estimator_points"].astype(np.float64), values)


class _Bench:
    """The four parts: each yields a film's name and figures when they are there, and adds its pictures."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._out, self._seed, self._sheets, self._quick = args.out, args.seed, args.sheets, args.quick
        self._data = None if args.data is None else Path(args.data)
        self._clips = 2 if args.quick else args.clips
        self._body = load_body()
        self._network = load_network("vertex_predictor", "cpu")
        self._work = args.out / "capture"
        deadline = time.time() + 60 * args.minutes
        self._films = Films(self._work, deadline, end=0.5 if args.quick else None)

    def truth(self, pictures: dict[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Hold films of a man against his triangulated joints."""
        data = data_dir(self._data)
        truth = load_truth(data)
        curves: dict[str, dict[str, list[float]]] = {}
        postures: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for name, film, view in _VIEWS[:1] if self._quick else _VIEWS:
            joints, pixels, seconds = truth.seen_from(view)
            person = _nearest_person(data / film, pixels, seconds, self._films.end)
            motion, seen = self._see(data / film, person)
            frames = motion.at(seconds)
            there = (frames >= 0) & (frames < len(motion.keypoints))
            true, at = joints[there], frames[there]
            ours = {
                OURS: truth.to_estimator @ motion.keypoints[at].astype(np.float64),
                ESTIMATOR: _estimated(seen, motion)[motion.first + at],
            }
            yield name, {"person": person} | {who: measure(points, true) for who, points in ours.items()}
            curves[name] = {who: _errors(points, true) for who, points in ours.items()}
            postures[name] = ours[OURS], true
            self._draw_sheet(data / film, motion)
        draw_errors(curves, self._out / _ERRORS)
        draw_postures(postures, self._out / _POSTURES)
        pictures[_ERRORS] = "Mean error of a frame's joints, hips laid on the true ones."
        pictures[_POSTURES] = (
            "The mean posture, turned to the front frame by frame, and the same from the side, the camera "
            "held level: grey is the truth, red is ours."
        )

    def people(self, _pictures: dict[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Hold films of synthetic people against their own keypoints, a clip of every kind in turn."""
        data = data_dir(self._data)
        truth = load_truth(data)
        source = PosedPeople(data, "held_out", 0.5 if self._quick else SECONDS, self._seed)
        for number in range(self._clips):
            index, kind = divmod(number, len(KINDS))
            name = list(KINDS)[kind]
            film, keypoints = film_person(source, name, index, self._work / "people", self._films.begin)
            motion = self._films.motion(film, CaptureOptions(whole=True))
            seen = self._films.seen(film)
            figures: dict[str, Any] = {"kind": name, OURS: None, ESTIMATOR: None}
            if motion is not None and seen is not None:
                there = np.flatnonzero(seen.landmarks.score[: len(keypoints)] > 0)
                ours, true = (points[:, OF_KEYPOINTS] for points in (motion.keypoints, keypoints))
                figures[OURS] = measure(ours, true, upright=False)
                theirs = _estimated(seen, motion)[there], (truth.to_estimator @ keypoints)[there]
                figures[ESTIMATOR] = measure(*theirs, upright=False)
            yield f"{name}_{index}", figures

    def films(self, pictures: dict[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Hold filmed clips against what the estimator sees in them, and against the floor."""
        for name, film in self._filmed():
            motion, seen = self._see(film)
            yield name, self._without_truth(motion, seen)
            self._draw_sheet(film, motion)
            if self._sheets and film == PACKAGED_CLIP:  # others are not ours to show on a page
                pictures[_sheet(film)] = "The packaged clip, its mesh from the camera, and from their right."

    def turned(self, _pictures: dict[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Hold the motion of the packaged clip, turned as its film, against that of the turned film."""
        reader = VideoReader(PACKAGED_CLIP, end=self._films.end)
        frames = [cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for frame in
                  reader.source_frames()]  # fmt: skip
        plain, _ = self._turned_film("plain", Change(), frames, reader.fps, None)
        assert plain is not None  # the packaged clip shows a man
        focal = plain.camera.fx * frames[0].shape[1] / plain.size[0]
        for name, change in list(CHANGES.items())[: 2 if self._quick else None]:
            motion, size = self._turned_film(name, change, frames, reader.fps, focal)
            if motion is None:
                yield name, {"found": False}
                continue
            yield name, {"found": True} | compare_turned(plain, motion, change, frames[0].shape[1::-1], size)

    def _turned_film(
        self, name: str, change: Change, frames: list[np.ndarray], fps: Fraction, focal: float | None
    ) -> tuple[Motion | None, tuple[int, int]]:
        """Film a changed clip, capture it, and return its size (width, height) too."""
        size = change.size(frames[0].shape[1::-1])
        tried = "_quick" if self._quick else ""
        path = self._work / "turned" / f"{name.replace(' ', '_')}{tried}.mp4"
        if not path.is_file():
            self._films.begin()
            with VideoWriter(path, fps * change.rate, *size) as writer:
                for frame in change.frames(frames):
                    writer.write(frame)
        fov = None if focal is None else float(np.degrees(2 * np.arctan(max(size) / 2 / focal)))
        return self._films.motion(path, CaptureOptions(fov=fov, whole=True)), size

    def _see(self, film: Path, person: int = 1) -> tuple[Motion, Seen]:
        motion, seen = self._films.motion(film, CaptureOptions(person=person)), self._films.seen(film, person)
        if motion is None or seen is None:
            raise InputError("no_person", f"{film}: nobody is found in the video.")
        return motion, seen

    def _filmed(self) -> Iterator[tuple[str, Path]]:
        yield "packaged clip", PACKAGED_CLIP
        if self._quick:
            return
        if self._data is not None and (dance := self._data / "clips" / "dance_still_camera.mp4").is_file():
            yield "dancer (measured only)", dance
        fetch("sports2d", self._work)
        yield "Sports2D's demo", self._work / "sports2d" / "demo.mp4"

    def _without_truth(self, motion: Motion, seen: Seen) -> dict[str, Any]:
        keypoints = motion.keypoints.astype(np.float64)
        part = slice(motion.first, motion.first + len(keypoints))
        landmarks = seen.landmarks.part(part)
        joints = keypoints[:, OF_KEYPOINTS]
        mapped = self._data is not None and (self._data / _TRUTH).is_file()
        if self._data is not None and mapped:
            joints = load_truth(self._data).to_estimator @ keypoints
        off = np.linalg.norm(motion.camera.project(joints) - landmarks.image[:, _JOINT_LANDMARKS], axis=-1)
        counts = (landmarks.visibility[:, _JOINT_LANDMARKS] > _SEEN) & (landmarks.score > 0)[:, None]
        overlap, below = self._mesh_figures(motion, seen.masks[part])
        person = ShapedBody(self._body, motion.shape)
        floor = estimate_floor(motion.keypoints, float(motion.fps), person)
        standing = standing_feet(keypoints, landmarks.image, landmarks.visibility, motion)
        standing &= floor.heights(keypoints[:, FEET]) - person.sole_heights < _STANDING_HEIGHT
        return {
            "frames": len(keypoints),
            "exchanged": {
                OURS: float(exchanged_in_clip(keypoints).mean()),
                ESTIMATOR: float(
                    exchanged_in_clip(landmarks.world[landmarks.score > 0][:, list(BLAZEPOSE_INDEX)]).mean()
                ),
            },
            "reprojection_px": float(off[counts].mean() * 256 / min(motion.size)),
            "estimator_points": mapped,
            "iou": overlap,
            "sliding_mm_s": None
            if motion.moving
            else sliding(keypoints[:, FEET], standing, floor.up, float(motion.fps)),
            "standing": float(standing.mean()),
            "below_floor_mm": float(below.mean()),
            "below_floor_worst_mm": float(below.max()),
            "acceleration_m_s2": acceleration(keypoints, float(motion.fps)),
        }

    def _mesh_figures(self, motion: Motion, masks: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the mean IoU of mesh and mask, and how far (mm) the mesh goes below its floor by frame."""
        person = ShapedBody(self._body, motion.shape)
        floor = estimate_floor(motion.keypoints, float(motion.fps), person)
        overlaps, below = [], []
        for frame in _spread(len(motion.keypoints), _MESHES):
            mesh = self._mesh(motion, frame)
            shown = silhouette(mesh, self._body.faces, motion)
            both = np.count_nonzero(shown | masks[frame])
            if masks[frame].any():
                overlaps.append(np.count_nonzero(shown & masks[frame]) / both)
            below.append(1000 * max(0.0, -float(floor.heights(mesh).min())))
        return float(np.mean(overlaps)), np.array(below)

    def _mesh(self, motion: Motion, frame: int) -> np.ndarray:
        predictor = VertexDecoder(ShapedBody(self._body, motion.shape), float(motion.fps), self._network)
        return predictor.predict(motion.keypoints, frame, frame + 1)[0].astype(np.float64)

    def _draw_sheet(self, film: Path, motion: Motion) -> None:
        if not self._sheets:
            return
        frames = _spread(len(motion.keypoints), _SHEET_FRAMES)
        wanted = {motion.first + frame for frame in frames}
        reader = VideoReader(film, end=self._films.end)
        shown = [picture for number, picture in enumerate(reader.source_frames()) if number in wanted]
        pictures = around(shown, motion.camera.project(motion.keypoints[frames]) / motion.size)
        meshes = [self._mesh(motion, frame) for frame in frames]
        path = self._out / _sheet(film)
        draw_sheet(pictures, meshes, self._body.faces, path)
        print(path)


# ---- what is compared ------------------------------------------------------------------------


def standing_feet(
    keypoints: np.ndarray, image: np.ndarray, visibility: np.ndarray, motion: Motion
) -> np.ndarray:
    """Return which heels and toes ``(T, 4)`` bool stand still in the picture, whatever capture makes of them.

    From the estimator's landmarks ``(T, 33, 2)`` on the canvas: seen, and slower than a slow step there, at
    the person's depth.
    """
    feet = [BLAZEPOSE_INDEX[point] for point in FEET]
    reach = max(1, round(_STANDING_SECONDS * float(motion.fps) / 2))
    padded = np.pad(image[:, feet], ((reach, reach), (0, 0), (0, 0)), mode="edge")
    moved = np.linalg.norm(padded[2 * reach :] - padded[: -2 * reach], axis=-1)
    metres = moved * keypoints[:, FEET, 2] / motion.camera.fx
    return (metres < _STANDING_SPEED * 2 * reach / float(motion.fps)) & (visibility[:, feet] > _SEEN)


def silhouette(vertices: np.ndarray, faces: np.ndarray, motion: Motion) -> np.ndarray:
    """Return where a mesh ``(V, 3)`` shows on the motion's canvas, ``(H, W)`` bool."""
    width, height = motion.size
    surface = Surface(faces, motion.camera.project(vertices), vertices[:, 2], width, height)
    shown = np.zeros(height * width, bool)
    shown[surface.cells] = True
    return shown.reshape(height, width)


def _nearest_person(film: Path, pixels: np.ndarray, seconds: np.ndarray, end: float | None) -> int:
    """Return the number of the person whose track lies nearest to true joints ``(T, 12, 2)`` of the film."""
    fps = float(VideoReader(film).fps)
    hips = pixels[:, 6:8].mean(axis=1)
    apart = []
    for track in people_in(film, end):
        at = np.clip(np.searchsorted(seconds, np.array(track.frames) / fps), 0, len(hips) - 1)
        places = np.array([(roi.x, roi.y) for roi in track.rois])
        apart.append(float(np.median(np.linalg.norm(places - hips[at], axis=1))))
    if not apart:
        raise InputError("no_person", f"{film}: nobody is found in the video.")
    return 1 + int(np.argmin(apart))


def _estimated(seen: Seen, motion: Motion) -> np.ndarray:
    """Return the estimator's own joints ``(T, 12, 3)`` in metres, in the axes of the motion's camera."""
    keypoints = list(BLAZEPOSE_INDEX)
    world, image = seen.landmarks.world[:, keypoints], seen.landmarks.image[:, keypoints]
    camera = motion.camera
    axes = look_at((image.mean(axis=1) - (camera.cx, camera.cy)) / (camera.fx, camera.fy))
    return (world @ np.swapaxes(axes, -1, -2))[:, OF_KEYPOINTS]


def _errors(joints: np.ndarray, true: np.ndarray) -> list[float]:
    about = true - true[:, 6:8].mean(axis=1, keepdims=True)
    off = np.linalg.norm(root_aligned(joints, true) - about, axis=-1).mean(axis=1)
    return [round(1000 * float(value), 1) for value in off]


def _sheet(film: Path) -> str:
    return f"capture_{film.stem}.png"


def _spread(count: int, wanted: int) -> list[int]:
    return np.unique(np.linspace(0, count - 1, min(wanted, count)).round().astype(int)).tolist()


def _by_kind(clips: dict[str, Any]) -> dict[str, Any]:
    """Return the means over clips of every kind; clips in which nobody is found are only counted."""
    kinds: dict[str, Any] = {}
    for kind in KINDS:
        of_kind = [clip for clip in clips.values() if clip["kind"] == kind]
        if not of_kind:
            continue
        found = [clip for clip in of_kind if clip[OURS] is not None]
        kinds[kind] = {"clips": len(of_kind), "lost": len(of_kind) - len(found)}
        if found:
            kinds[kind] |= {who: _mean([clip[who] for clip in found]) for who in (OURS, ESTIMATOR)}
    return kinds


def _mean(values: list[Any]) -> Any:
    if isinstance(values[0], dict):
        return {name: _mean([value[name] for value in values]) for name in values[0]}
    return float(np.mean(values))


# ---- words -----------------------------------------------------------------------------------


def summary(results: dict[str, Any]) -> list[str]:
    """Return what the motion is like on each of the films with truth, a line each."""
    return [
        f"Captured motion, {name}: PA {values[OURS]['pa']:.0f} mm, root-aligned {values[OURS]['root']:.0f} "
        f"(BlazePose's own {values[ESTIMATOR]['pa']:.0f} and {values[ESTIMATOR]['root']:.0f}); knees "
        f"{values[OURS]['knees']['signed']:+.0f}°, trunk {values[OURS]['trunk']['signed']:+.0f}°."
        for name, values in results.get("truth", {}).items()
    ]


def tables(results: dict[str, Any]) -> list[str]:
    """Return the lines of Markdown that say what was measured, and how it came out."""
    lines = [
        f"Lifter {results['weights']}. *Limbs* is the mean angle between directions of limbs and trunk and "
        "the true ones, in the camera's axes; *turned* the same after the one rotation a clip that fits "
        "best. *PA* has each frame moved, turned and scaled to fit best; *root* has the hips laid on the "
        "true ones and one scale a clip; *depth* is its part along the line of sight; all over twelve "
        "joints. Knees, elbows: difference of the inner angle, absolute and in brackets signed (negative: "
        "bent more than in truth); *trunk*: of its lean towards the camera (positive: ours leans more). "
        "*Exchanged* is the share of frames in which left and right are taken for each other. "
        f"*{ESTIMATOR}* are the pose estimator's landmarks in metres, as it gives them, in the same run.",
        "",
    ]
    if results.get("truth"):
        lines += _truth_table(results["truth"])
    if results.get("people"):
        lines += _people_table(results["people"])
    if results.get("films"):
        lines += _films_table(results["films"])
    if results.get("turned"):
        lines += _turned_table(results["turned"])
    if results.get("unfinished"):
        lines += [f"Not finished: {', '.join(results['unfinished'])}. Run it again, and it goes on.", ""]
    return lines[:-1]


_HEADS = "limbs ° | turned ° | PA mm | root mm | depth mm | knees ° | elbows ° | trunk ° | exchanged"


def _cells(values: dict[str, Any]) -> str:
    cells = [f"{values[name]:.1f}" for name in ("limbs", "turned")]
    cells += [f"{values[name]:.0f}" for name in ("pa", "root", "depth")]
    cells += [f"{values[name]['absolute']:.0f} ({values[name]['signed']:+.0f})" for name in ANGLES]
    return " | ".join([*cells, f"{values['exchanged']:.0%}"])


def _truth_table(films: dict[str, Any]) -> list[str]:
    lines = [
        "**Films with truth**: one man who balances on a treadmill, from three sides, and once with a "
        "rendered woman who hides him in part. His joints are triangulated from four calibrated views, "
        "good to about 2 cm, and are the estimator's: ours are taken to where the estimator puts them on "
        "average, which leaves a floor of 20 to 30 mm and 4 to 5°. The person followed is the one found "
        "nearest to the man's true hips in the picture.",
        "",
        f"| film | | {_HEADS} |",
        f"| --- | --- |{' ---: |' * 9}",
    ]
    for name, values in films.items():
        lines += [f"| {name} | {who} | {_cells(values[who])} |" for who in (OURS, ESTIMATOR)]
    for name, aligned, plain in PUBLISHED:
        shown = "" if aligned is None else f"{aligned:.1f}"
        lines.append(
            f"| *3DPW: not the same data* | {name}, as published | | | {shown} | {plain:.1f} | | | | | |"
        )
    return [*lines, ""]


def _people_table(kinds: dict[str, Any]) -> list[str]:
    lines = [
        f"**Held-out synthetic people**: clips of {SECONDS:g} s, other bodies, clothes and motions than any "
        "training saw; all but the first four kinds are of people who stand and walk, half of them as "
        "captured (CMU, knees bent) and half with straight legs. Ours against the body's own joints, the "
        "estimator's against where it puts them on average, in the frames in which it sees somebody. Here "
        "the trunk's lean is that out of the picture's plane, whichever way up people are.",
        "",
        f"| | clips | nobody found | | {_HEADS} |",
        f"| --- | ---: | ---: | --- |{' ---: |' * 9}",
    ]
    for kind, values in kinds.items():
        for who in (OURS, ESTIMATOR):
            if who in values:
                title = KINDS[kind].title
                lines.append(
                    f"| {title} | {values['clips']} | {values['lost']} | {who} | {_cells(values[who])} |"
                )
    return [*lines, ""]


def _films_table(films: dict[str, Any]) -> list[str]:
    points = (
        "taken to where the estimator puts them on average"
        if all(values["estimator_points"] for values in films.values())
        else "of the body's own points"
    )
    lines = [
        "**Filmed clips without truth**: *exchanged* against most of the clip, which counts who turns round; "
        f"*reprojection*, {points}, from the landmarks that are seen, in pixels of 256 across the picture's "
        "shorter side; *IoU* of the mesh and the estimator's mask; *sliding*, along the floor, of heels and "
        "toes whose landmarks stand still in the picture, and the share of these; how far the mesh "
        "goes *below the floor* on average and at worst; *acceleration*, mean over keypoints.",
        "",
        "| film | frames | exchanged | BlazePose's | reprojection px | IoU | sliding mm/s | standing | "
        "below floor mm | worst | acceleration m/s² |",
        f"| --- |{' ---: |' * 10}",
    ]
    for name, values in films.items():
        slid = values["sliding_mm_s"]
        cells = [
            name,
            str(values["frames"]),
            *(f"{values['exchanged'][who]:.0%}" for who in (OURS, ESTIMATOR)),
            f"{values['reprojection_px']:.1f}",
            f"{values['iou']:.3f}",
            "" if slid is None else f"{slid:.0f}",
            f"{values['standing']:.0%}",
            f"{values['below_floor_mm']:.0f}",
            f"{values['below_floor_worst_mm']:.0f}",
            f"{values['acceleration_m_s2']:.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _turned_table(changes: dict[str, Any]) -> list[str]:
    lines = [
        "**The same film, changed**: the packaged clip turned clockwise, mirrored or re-timed, written as "
        "a film again, and captured, with the field of view known; the difference to the motion of the "
        "plain film, changed likewise: in the picture (pixels of 256), and in space with the hips laid on "
        "each other. At half the rate every second picture is left out, at double each is shown twice.",
        "",
        "| | px | mm | exchanged |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, values in changes.items():
        if values["found"]:
            lines.append(f"| {name} | {values['px']:.1f} | {values['mm']:.0f} | {values['exchanged']:.0%} |")
        else:
            lines.append(f"| {name} | nobody found | | |")
    return [*lines, ""]
