# SPDX-License-Identifier: GPL-3.0-or-later
"""Training examples for the picture networks: synthetic people, made as wrong as decoding finds them.

Drawing a person costs more than learning from it on a processor, so examples are drawn once, by processes
of their own, into a folder that training reads over and over while it grows. Deleting it loses nothing.

What decoding gets is never the truth, so neither is what training gets: keypoints have an estimator's and
the coder's faults, the body's shape is the one that was fitted, the person mask is loose and coarse,
references and plate went through AVIF, and a moving camera's plate is warped by an estimated homography.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.spatial import cKDTree

from ..body import BodyModel
from ..body_catalogue import load_body
from ..keypoints import KEYPOINT_INDEX, KEYPOINT_NAMES, MIRRORED
from ..whole_files import whole_file
from ..windows import radius_frames, sample_windows, trunk_frames
from .backgrounds import on_centres
from .keypoint_faults import fitted_shape, spoil
from .people import FPS, People, Variety

LABEL_CELL = 2
"""Window pixels a cell of the labels of flow."""

WINDOW = (224, 160)
"""Height and width of an example: a standing person on a canvas of 256 fits."""

_MASK_CELL = 4  # pixels; as a .s2d stores the mask of a canvas of 256
_MOST_UNSEEN = 4  # keypoints of a target that no reference's canvas shows
_JITTER = 0.01  # metres, largest standard deviation of what capture leaves of the estimator's noise
_LIMBS = (
    ("nose", "left_ear", "right_ear"),
    *(
        tuple(f"{side}_{point}" for point in points)
        for side in ("left", "right")
        for points in (
            ("shoulder",),
            ("elbow",),
            ("wrist", "pinky", "index"),
            ("hip",),
            ("knee",),
            ("ankle", "heel", "foot_index"),
        )
    ),
)
"""Keypoints that an estimator misplaces together."""


@dataclass(frozen=True)
class Rendering:
    """Where examples come from and go to."""

    data: Path
    folder: Path
    count: int  # examples in all
    backgrounds: Path | None = None
    seed: int = 0
    references: int = 2  # pictures of the person that are sent
    targets: int = 2  # frames in a row to be drawn from them
    device: str | None = None  # what draws, as PyTorch names it; numba if None


def start_renderers(rendering: Rendering, processes: int) -> list[BaseProcess]:
    """Start processes that fill the folder; they end when it is full, or with this process."""
    rendering.folder.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    running: list[BaseProcess] = [
        context.Process(target=_render, args=(rendering, first, processes), daemon=True)
        for first in range(processes)
    ]
    for process in running:
        process.start()
    return running


def _render(rendering: Rendering, first: int, step: int) -> None:
    cv2.setNumThreads(1)
    if hasattr(os, "nice"):
        os.nice(10)  # training has the right of way
    people, parent = None, multiprocessing.parent_process()
    for index in range(first, rendering.count, step):
        path = rendering.folder / f"{index:06d}.npz"
        if path.exists():
            continue
        if parent is not None and not parent.is_alive():
            return
        if people is None:
            people = People(
                rendering.data,
                "train",
                seed=rendering.seed,
                references=rendering.references,
                targets=rendering.targets,
                backgrounds=rendering.backgrounds,
                variety=Variety(),
                device=rendering.device,
            )
        rng = np.random.default_rng([rendering.seed, index])
        example = make_example(people.sample(index), people.body, rng)
        if example is not None:
            with whole_file(path) as aside, aside.open("wb") as file:
                np.savez(file, allow_pickle=False, **example)


def make_example(
    sample: dict[str, Any], body: BodyModel, rng: np.random.Generator
) -> dict[str, np.ndarray] | None:
    """Turn a sample of :class:`.people.People` into an example on a window ``(H, W)`` around the person.

    Returns, of R references and T targets:

    - uint8 ``references (R, H, W, 3)``, ``reference_masks (R, H, W)``, ``frames (T, H, W, 3)``,
      ``masks (T, H, W)``; ``reference_plates`` and ``plates``, the coded plate as warped to each of them
      (first axis 1 where the camera stands still);
    - the truth: ``flow (T, R, 2, H/2, W/2)`` float16 in window pixels, ``known (T, H/2, W/2)`` and ``visible
      (T, R, H/2, W/2)`` bool, ``vertices (T, V, 3)`` and ``reference_vertices (R, V, 3)`` float16 relative to
      ``root (3,)``, ``shape (S,)``;
    - what decoding has: keypoint ``windows (T, 15, 23, 3)`` and ``reference_windows (R, 15, 23, 3)`` float32
      metres, ``known_shape (S,)`` and ``camera (4,)`` float32 (fx, fy, cx, cy of the window, pixels).

    None where a picture shows hardly anything of the person, or a target much that no reference shows.
    """
    masks = np.concatenate([sample["reference_masks"], sample["masks"]])
    if min((mask > 127).sum() for mask in masks) < 200 or _cut_off(sample):
        return None
    scale, shift = _frame_person(masks.max(0) > 127, rng)
    to_window = np.array([[scale, 0, shift[0]], [0, scale, shift[1]], [0, 0, 1]])

    def cut(picture: np.ndarray, interpolation: int = cv2.INTER_LINEAR) -> np.ndarray:
        return cv2.warpAffine(
            picture,
            on_centres(to_window)[:2],
            WINDOW[::-1],
            flags=interpolation,
            borderMode=cv2.BORDER_REPLICATE,
        )

    references, reference_masks, plate = _as_coded(
        [cut(picture) for picture in sample["references"]],
        [cut(mask) for mask in sample["reference_masks"]],
        cut(sample["reference_plates"][0]),
        rng,
    )
    homographies = to_window @ sample["homographies"] @ np.linalg.inv(to_window)
    error = rng.uniform(0, 0.8)
    targets = len(sample["frames"])
    plates = [_warped(plate, each, cut(true), error, rng) for each, true in zip(
        homographies, [*sample["plates"], *sample["reference_plates"][1:]], strict=True
    )]  # fmt: skip
    still = all(each is plate for each in plates)
    flow, known, visible = _flow_labels(sample, scale, cut)
    root = sample["reference_keypoints"][0].mean(0)
    tracks = _as_captured([*sample["reference_tracks"], sample["track"]], rng)
    radius = radius_frames(FPS)
    camera = sample["camera"]
    focal = scale * np.array([camera.fx, camera.fy])
    centre = scale * np.array([camera.cx, camera.cy]) + shift
    return {
        "references": np.stack(references),
        "reference_masks": np.stack(reference_masks),
        "reference_plates": plate[None] if still else np.stack([plate, *plates[targets:]]),
        "plates": plate[None] if still else np.stack(plates[:targets]),
        "frames": np.stack([cut(frame) for frame in sample["frames"]]),
        "masks": np.stack([cut(mask) for mask in sample["masks"]]),
        "flow": flow,
        "known": known,
        "visible": visible,
        "vertices": (sample["vertices"] - root).astype(np.float16),
        "reference_vertices": (sample["reference_vertices"] - root).astype(np.float16),
        "root": root.astype(np.float32),
        "shape": sample["shape"],
        "windows": sample_windows(tracks[-1], FPS, radius, radius + targets).astype(np.float32),
        "reference_windows": np.concatenate(
            [sample_windows(track, FPS, radius, radius + 1) for track in tracks[:-1]]
        ).astype(np.float32),
        "known_shape": fitted_shape(body, sample["shape"], rng),
        "camera": np.concatenate([focal, centre]).astype(np.float32),
    }


def _cut_off(sample: dict[str, Any]) -> bool:
    """Say whether many keypoints on a target's canvas lie off all references': nobody could draw them."""
    height, width = sample["reference_masks"].shape[1:]

    def inside(keypoints: np.ndarray) -> np.ndarray:
        pixels = sample["camera"].project(keypoints)
        return ((pixels >= 0) & (pixels < (width, height))).all(-1)

    unseen = inside(sample["keypoints"]) & ~inside(sample["reference_keypoints"]).any(0)
    return bool(unseen.sum(1).max() > _MOST_UNSEEN)


def _flow_labels(
    sample: dict[str, Any], scale: float, cut: Callable[..., np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ``flow``, ``known`` and ``visible`` of an example; known are cells that the person fills."""
    flows, known, visible = [], [], []
    rows, columns = np.mgrid[: WINDOW[0] : LABEL_CELL, : WINDOW[1] : LABEL_CELL]
    cells = np.stack([columns, rows]) + LABEL_CELL / 2
    for index, mask in enumerate(sample["masks"]):
        person = (mask > 200).astype(np.float32)
        filled = _halve(cut(person, cv2.INTER_NEAREST)) == 1
        known.append(filled)
        for flow, seen in zip(sample["flow"][index], sample["visible"][index], strict=True):
            moved = np.moveaxis(_halve(cut(flow * (scale * person[..., None]), cv2.INTER_NEAREST)), 2, 0)
            flows.append(moved.astype(np.float16))
            place = cells + moved
            inside = (place >= 0).all(0) & (place[0] < WINDOW[1]) & (place[1] < WINDOW[0])
            visible.append((_halve(cut(seen * person, cv2.INTER_NEAREST)) == 1) & inside)
    both = sample["flow"].shape[:2]
    return (
        np.stack(flows).reshape(*both, 2, *known[0].shape),
        np.stack(known),
        np.stack(visible).reshape(*both, *known[0].shape),
    )


def _frame_person(person: np.ndarray, rng: np.random.Generator) -> tuple[float, np.ndarray]:
    """Choose how canvas pixels become window pixels: ``window = scale * canvas + shift``.

    The window never leaves the canvas; of people too large for it, it shows a part.
    """
    rows, columns = np.flatnonzero(person.any(1)), np.flatnonzero(person.any(0))
    low = np.array([columns[0], rows[0]], np.float64)
    high = np.array([columns[-1], rows[-1]], np.float64) + 1
    window, canvas = np.array(WINDOW[::-1], np.float64), np.array(person.shape[::-1], np.float64)
    scale = min(1.0, float((window / (high - low + 8)).min())) * rng.uniform(0.85, 1)
    scale = max(scale, float((window / canvas).max()))
    ends = -low * scale, window - high * scale  # the other way round where the window shows a part
    shift = rng.uniform(np.minimum(*ends), np.maximum(*ends))
    return scale, np.round(np.clip(shift, window - canvas * scale, 0))


def _as_captured(tracks: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """Return keypoint tracks ``(L, 23, 3)`` of one clip as decoding finds them.

    What an estimator gets wrong all the time is the same in all of them: limbs off by up to three centimetres
    (as the trunk sees them), the whole nearer or farther. The rest is drawn anew for each track.
    """
    bias = rng.normal(0, 0.003, (len(KEYPOINT_NAMES), 3))
    for limb in _LIMBS:
        if rng.random() < 0.35:
            direction = rng.normal(0, 1, 3)
            offset = direction / np.linalg.norm(direction) * rng.uniform(0.005, 0.03)
            bias[[KEYPOINT_INDEX[name] for name in limb]] += offset
    deeper = 1 + rng.normal(0, 0.01)
    step = rng.uniform(0.004, 0.012)  # of the quantiser: about 1 to 3.5 mm of noise
    found = []
    for track in tracks:
        axes, _ = trunk_frames(track)
        spoilt = spoil((track + bias @ np.swapaxes(axes, 1, 2))[None], rng, _JITTER)[0] * deeper
        found.append((np.round(spoilt / step) * step).astype(np.float32))
    return found


def _as_coded(
    references: list[np.ndarray], masks: list[np.ndarray], plate: np.ndarray, rng: np.random.Generator
) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Return references, masks and plate as a decoder would find them.

    The plate is only sent where the first reference's person hides it.
    """
    blur, threshold = rng.uniform(0.5, 2.5), rng.uniform(30, 160)
    coded = rng.random() < 0.8
    quality = int(rng.uniform(25, 75))
    if coded:
        references = [_through_avif(reference, quality) for reference in references]
        plate = _through_avif(plate, max(quality - 10, 15))
    height, width = masks[0].shape
    coarse = []
    for mask in masks:
        loose = (cv2.GaussianBlur(mask, (0, 0), blur) > threshold).astype(np.uint8) * 255
        cells = cv2.resize(loose, (width // _MASK_CELL, height // _MASK_CELL), interpolation=cv2.INTER_AREA)
        solid = (cells > 127).astype(np.uint8) * 255
        coarse.append(cv2.resize(solid, (width, height), interpolation=cv2.INTER_LINEAR))
    reach = 4 * _MASK_CELL + 1
    hidden = cv2.dilate(coarse[0], np.ones((reach, reach), np.uint8))
    share = cv2.blur((hidden > 0).astype(np.float32), (9, 9))[..., None]
    behind = np.rint(plate * share + references[0] * (1 - share)).astype(np.uint8)
    return references, coarse, behind


def _warped(
    plate: np.ndarray, homography: np.ndarray, true: np.ndarray, error: float, rng: np.random.Generator
) -> np.ndarray:
    """Return the plate as moved by a homography known to ``error`` pixels; ``true`` where it does not reach.

    The plate itself, if the homography is the identity.
    """
    if np.allclose(homography / homography[2, 2], np.eye(3), atol=1e-9):
        return plate
    height, width = plate.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
    moved = cv2.perspectiveTransform(corners[None], homography)[0] + rng.normal(0, error, (4, 2))
    estimated = on_centres(cv2.getPerspectiveTransform(corners.astype(np.float32), moved.astype(np.float32)))
    return cv2.warpPerspective(
        plate, estimated, (width, height), true.copy(), cv2.INTER_LINEAR, cv2.BORDER_TRANSPARENT
    )


def _through_avif(picture: np.ndarray, quality: int) -> np.ndarray:
    options = [cv2.IMWRITE_AVIF_QUALITY, quality, cv2.IMWRITE_AVIF_SPEED, 9]
    coded = cv2.imencode(".avif", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR_RGB))


def _halve(values: np.ndarray) -> np.ndarray:
    size = WINDOW[1] // LABEL_CELL, WINDOW[0] // LABEL_CELL
    return cv2.resize(values, size, interpolation=cv2.INTER_AREA)


def load_example(path: Path, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Load an example, randomly mirrored and tinted, as the networks take it.

    All float32, pictures and masks 0 to 1, channels first (one channel where :func:`make_example` has
    none); ``vertices`` and ``reference_vertices`` in camera space, ``root`` added.
    """
    with np.load(path, allow_pickle=False) as stored:
        return _vary({name: stored[name] for name in stored.files}, rng)


def _vary(example: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    gain = rng.uniform(0.8, 1.2) * rng.uniform(0.92, 1.08, 3)
    gamma = np.exp(rng.normal(0, 0.15))
    table = (np.linspace(0, 1, 256)[:, None] ** gamma * gain).clip(0, 1).astype(np.float32)
    mirror = rng.random() < 0.5
    varied = {}
    for name in ("references", "frames", "reference_plates", "plates"):
        value = np.stack([table[:, c][example[name][..., c]] for c in range(3)], -3)
        varied[name] = value[..., ::-1] if mirror else value
    for name in ("reference_masks", "masks", "known", "visible"):
        value = example[name][..., None, :, :].astype(np.float32)
        varied[name] = (value[..., ::-1] if mirror else value) / (255 if name.endswith("masks") else 1)
    varied["flow"] = example["flow"].astype(np.float32)
    varied |= {name: example[name] for name in ("windows", "reference_windows")}
    for name in ("vertices", "reference_vertices"):
        varied[name] = example[name].astype(np.float32) + example["root"]
    if mirror:
        aside = np.array([-1, 1, 1], np.float32)
        varied["flow"] = varied["flow"][..., ::-1] * aside[:2, None, None]
        for name, order in (("windows", MIRRORED), ("vertices", _mirrored_vertices())):
            for each in (name, f"reference_{name}"):
                varied[each] = varied[each][..., order, :] * aside
    camera = example["camera"].copy()
    if mirror:
        camera[2] = WINDOW[1] - camera[2]
    varied |= {"camera": camera, "shape": example["shape"], "known_shape": example["known_shape"]}
    # A still camera's plate is stored once.
    for name, like in (("reference_plates", "references"), ("plates", "frames")):
        varied[name] = np.broadcast_to(varied[name], varied[like].shape)
    return {name: np.ascontiguousarray(value) for name, value in varied.items()}


@cache
def _mirrored_vertices() -> np.ndarray:
    """Return each vertex's opposite ``(V,)``; all shapes are symmetric, so a mirrored body is a body."""
    mean = load_body("anny").vertices_mean
    return cKDTree(mean).query(mean * np.array([-1, 1, 1], np.float32))[1]
