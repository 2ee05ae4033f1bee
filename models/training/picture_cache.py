# SPDX-License-Identifier: GPL-3.0-or-later
"""Training examples for the picture networks: synthetic people, made as wrong as decoding finds them.

Drawing a person costs more than learning from it on a processor, so examples are drawn once, by processes
of their own, into a folder that training reads over and over while it grows. Deleting it loses nothing.

What decoding gets is never the truth, so neither is what training gets: the bodies are off by a smooth
field of a few millimetres to centimetres, the person mask is loose and coarse, reference and plate went
through AVIF.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..keypoints import KEYPOINT_NAMES
from ..mesh_motion import GRID, MeshMotion

WINDOW = (224, 160)
"""Height and width of an example: a standing person on a canvas of 256 fits."""

_MASK_CELL = 4  # pixels; as a .s2d stores the mask of a canvas of 256
_MIRRORED = [
    KEYPOINT_NAMES.index(name.replace("left", "*").replace("right", "left").replace("*", "right"))
    for name in KEYPOINT_NAMES
]


@dataclass(frozen=True)
class Rendering:
    """Where examples come from and go to."""

    data: Path
    folder: Path
    count: int  # examples in all
    backgrounds: Path | None = None
    seed: int = 0
    targets: int = 2  # frames of one person in an example


def start_renderers(rendering: Rendering, processes: int) -> list[multiprocessing.Process]:
    """Start processes that fill the folder; they end when it is full, or with this process."""
    rendering.folder.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    running = [
        context.Process(target=_render, args=(rendering, first, processes), daemon=True)
        for first in range(processes)
    ]
    for process in running:
        process.start()
    return running


def _render(rendering: Rendering, first: int, step: int) -> None:
    from .people import People

    cv2.setNumThreads(1)
    if hasattr(os, "nice"):
        os.nice(10)  # training has the right of way
    people, parent = None, multiprocessing.parent_process()
    for index in range(first, rendering.count, step):
        path = rendering.folder / f"{index:06d}.npz"
        if path.exists():
            continue
        if not parent.is_alive():
            return
        if people is None:
            people = People(
                rendering.data,
                "train",
                seed=rendering.seed,
                targets=rendering.targets,
                backgrounds=rendering.backgrounds,
            )
        rng = np.random.default_rng([rendering.seed, index])
        example = make_example(people.sample(index), people.body, rng)
        if example is not None:
            aside = path.with_suffix(f".{os.getpid()}.part")
            with aside.open("wb") as file:
                np.savez(file, **example)
            os.replace(aside, path)


def make_example(sample: dict[str, Any], body: Any, rng: np.random.Generator) -> dict[str, np.ndarray] | None:
    """Turn a sample of :class:`.people.People` into an example on a window around the person.

    Returns arrays named as the networks' inputs (pictures ``(H, W, C)`` uint8, the rest float16 or
    float32) and ``frames``, ``masks``, ``flow``, ``known``, ``visible``, all with a first axis of
    targets; None where a target shows hardly anything of the person, or what the reference cuts off.
    """
    masks = np.concatenate([sample["reference_mask"][None], sample["masks"]])
    if min((mask > 127).sum() for mask in masks) < 200 or _cut_off(sample):
        return None
    scale, shift = _frame_person(masks.max(0) > 127, rng)

    def cut(picture: np.ndarray, interpolation: int = cv2.INTER_LINEAR) -> np.ndarray:
        to_window = np.array([[scale, 0, shift[0] + (scale - 1) / 2], [0, scale, shift[1] + (scale - 1) / 2]])
        size = (WINDOW[1], WINDOW[0])
        return cv2.warpAffine(
            picture, to_window, size, flags=interpolation, borderMode=cv2.BORDER_REFLECT_101
        )

    reference, plate, mask = _as_coded(
        cut(sample["reference"]), cut(sample["plate"]), cut(sample["reference_mask"]), rng
    )

    camera, wrong = sample["camera"], _Mistakes(sample["reference_vertices"], rng)

    def project(points: np.ndarray) -> np.ndarray:
        return (camera.project(points) * scale + shift).astype(np.float32)

    vertices = wrong(sample["reference_vertices"])
    motion = MeshMotion(body.faces, project(vertices), vertices[:, 2], WINDOW[1], WINDOW[0])
    example = {
        "reference": reference,
        "plate": plate,
        "mask": mask,
        "reference_coverage": motion.coverage.astype(np.float16),
        "reference_keypoints": project(wrong.points(body.keypoints(vertices))),
    }
    targets: dict[str, list[np.ndarray]] = {
        name: [] for name in ("frames", "masks", "motion", "keypoints", "flow", "known", "visible")
    }
    for index, frame in enumerate(sample["frames"]):
        vertices = wrong(sample["vertices"][index])
        targets["frames"].append(cut(frame))
        targets["masks"].append(cut(sample["masks"][index]))
        targets["motion"].append(motion(project(vertices), vertices[:, 2]).astype(np.float16))
        targets["keypoints"].append(project(wrong.points(body.keypoints(vertices))))
        person = (sample["masks"][index] > 200).astype(np.float32)
        flow = np.dstack([sample["flow"][index] * person[..., None] * scale, person])
        flow = _halve(cut(flow, cv2.INTER_NEAREST))
        targets["known"].append(flow[..., 2] == 1)
        targets["flow"].append(np.moveaxis(flow[..., :2], 2, 0).astype(np.float16))
        seen = cut(sample["visible"][index].astype(np.float32) * person, cv2.INTER_NEAREST)
        targets["visible"].append(_halve(seen) == 1)
    return example | {name: np.stack(values) for name, values in targets.items()}


def _cut_off(sample: dict[str, Any]) -> bool:
    """Say whether a keypoint on a target's canvas lies off the reference's: nobody could draw it then."""
    height, width = sample["reference_mask"].shape
    keypoints = np.concatenate([sample["reference_keypoints"][None], sample["keypoints"]])
    pixels = sample["camera"].project(keypoints)
    inside = ((pixels >= 0) & (pixels < (width, height))).all(-1)
    return bool((inside[1:] & ~inside[0]).any())


def _frame_person(person: np.ndarray, rng: np.random.Generator) -> tuple[float, np.ndarray]:
    """Choose how canvas pixels become window pixels: ``window = scale * canvas + shift``."""
    rows, columns = np.flatnonzero(person.any(1)), np.flatnonzero(person.any(0))
    low = np.array([columns[0], rows[0]], np.float64)
    high = np.array([columns[-1], rows[-1]], np.float64) + 1
    window = np.array(WINDOW[::-1], np.float64)
    scale = min(1.0, float((window / (high - low + 8)).min()))
    scale *= rng.uniform(0.85, 1)
    canvas = np.array(person.shape[::-1]) * scale
    # The window slides as far as it holds the person, and leaves the canvas only where it must.
    shift = rng.uniform(-low * scale, window - high * scale)
    room = window - canvas
    return scale, np.round(np.clip(shift, np.minimum(room, 0), np.maximum(room, 0)))


class _Mistakes:
    """How a decoder's bodies differ from the true ones: a smooth field, partly the same in all frames."""

    def __init__(self, material: np.ndarray, rng: np.random.Generator) -> None:
        self._rng, self._material = rng, material
        self._own = np.exp(rng.uniform(np.log(0.002), np.log(0.012)))
        self._shared = self._field(np.exp(rng.uniform(np.log(0.003), np.log(0.025))))
        self._deeper = 1 + rng.normal(0, 0.01)

    def __call__(self, vertices: np.ndarray) -> np.ndarray:
        moved = vertices + self._shared + self._field(self._own) + self._rng.normal(0, self._own / 2, 3)
        moved *= self._deeper
        return moved.astype(np.float32)

    def points(self, keypoints: np.ndarray) -> np.ndarray:
        return keypoints + self._rng.normal(0, self._own / 2, keypoints.shape)

    def _field(self, size: float) -> np.ndarray:
        total = np.zeros_like(self._material)
        for _ in range(4):
            direction = self._rng.normal(0, 1, 3)
            wave = direction / np.linalg.norm(direction) * 2 * np.pi / self._rng.uniform(0.4, 1.6)
            phase = self._material @ wave.astype(np.float32) + self._rng.uniform(0, 2 * np.pi)
            total += np.sin(phase)[:, None] * self._rng.normal(0, size * 0.7, 3).astype(np.float32)
        return total


def _as_coded(
    reference: np.ndarray, plate: np.ndarray, mask: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return reference, plate and mask as a decoder would find them."""
    loose = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.5, 2.5))
    loose = ((loose > rng.uniform(30, 160)) * 255).astype(np.uint8)
    height, width = mask.shape
    cells = cv2.resize(loose, (width // _MASK_CELL, height // _MASK_CELL), interpolation=cv2.INTER_AREA)
    coarse = cv2.resize((cells > 127).astype(np.uint8) * 255, (width, height), interpolation=cv2.INTER_LINEAR)
    reach = 4 * _MASK_CELL + 1
    hidden = cv2.dilate(coarse, np.ones((reach, reach), np.uint8)).astype(np.float32) / 255
    if rng.random() < 0.8:
        quality = int(rng.uniform(25, 75))
        reference, plate = _through_avif(reference, quality), _through_avif(plate, max(quality - 10, 15))
    share = cv2.blur(np.float32(hidden > 0), (9, 9))[..., None]
    behind = np.rint(plate * share + reference * (1 - share)).astype(np.uint8)
    return reference, behind, coarse


def _through_avif(picture: np.ndarray, quality: int) -> np.ndarray:
    options = [cv2.IMWRITE_AVIF_QUALITY, quality, cv2.IMWRITE_AVIF_SPEED, 9]
    coded = cv2.imencode(".avif", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)[1]
    return cv2.cvtColor(cv2.imdecode(coded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def _halve(values: np.ndarray) -> np.ndarray:
    return cv2.resize(values, (WINDOW[1] // GRID, WINDOW[0] // GRID), interpolation=cv2.INTER_AREA)


def batches(folder: Path, people: int, rng: np.random.Generator) -> Iterator[dict[str, np.ndarray]]:
    """Yield batches for ever: ``people`` examples, randomly mirrored and tinted, float32, pictures 0 to 1.

    Inputs of the networks that belong to the reference have a first axis of ``people``, all else of
    people times targets (person-major).
    """
    paths: list[Path] = []
    count = 0
    while True:
        if count % 200 == 0:
            paths = sorted(folder.glob("*.npz"))
        count += 1
        examples = []
        for path in rng.choice(np.array(paths, object), people, replace=len(paths) < people):
            with np.load(path, allow_pickle=False) as stored:
                examples.append(_vary({name: stored[name] for name in stored.files}, rng))
        targets = ("frames", "masks", "motion", "keypoints", "flow", "known", "visible")
        yield {
            name: (np.concatenate if name in targets else np.stack)([example[name] for example in examples])
            for name in examples[0]
        }


def _vary(example: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    gain = rng.uniform(0.8, 1.2) * rng.uniform(0.92, 1.08, 3)
    gamma = np.exp(rng.normal(0, 0.15))
    table = (np.linspace(0, 1, 256)[:, None] ** gamma * gain).clip(0, 1).astype(np.float32)
    mirror = rng.random() < 0.5
    varied = {}
    for name, stored in example.items():
        if name.endswith("keypoints"):
            value = stored
            if mirror:
                value = stored[..., _MIRRORED, :] * np.float32([-1, 1]) + np.float32([WINDOW[1], 0])
            varied[name] = value
            continue
        if name in ("reference", "plate", "frames"):
            value = np.stack([table[:, c][stored[..., c]] for c in range(3)], -3)
        elif name in ("mask", "masks"):
            value = stored[..., None, :, :].astype(np.float32) / 255
        elif name in ("known", "visible", "reference_coverage"):
            value = stored[..., None, :, :].astype(np.float32)
        else:
            value = stored.astype(np.float32)
        if mirror:
            value = value[..., ::-1]
            if name in ("flow", "motion"):
                value = value.copy()
                value[:, 0] *= -1
        varied[name] = np.ascontiguousarray(value)
    return varied
