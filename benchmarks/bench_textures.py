# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures how like themselves textured people look: ``s2d bench textures``.

Synthetic people that training never saw go through a file with their true keypoints. The texture that
decoding makes is laid on the true body at the clip's last moment, seen from eight sides, beside the truth:
the same person in clothes. Beside it stands the one that ``--texture`` gathers of all frames and sends, as it
comes back from the file. Two simpler textures stand on the same body: a mean colour for each of its parts,
and the first reference's colours wherever a point projects to. Only the body counts where both show it:
clothes and hair that stand out from it, which no texture gives a body, are the truth's in all pictures.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from ..inference.capture.film_texture import gather_texture
from ..inference.capture.silhouettes import Silhouettes
from ..inference.decoding.texture import SIDE, Points, pad_islands, paint_texture, sample, unfold
from ..inference.decoding.vertices import VertexDecoder
from ..inference.format.clip import Clip, Reference
from ..inference.format.container import as_decoded, read_clip, write_clip
from ..inference.runtime.backends import load_network
from ..models.body import BodyModel
from ..models.camera import Camera
from ..models.mesh_motion import Surface, see_body
from ..models.outputs import JSON, PNG, Kind
from ..models.shaped_body import ShapedBody
from ..models.training.losses import Vgg
from ..models.training.motion import data_dir
from ..models.training.people import People
from ..models.training.picture_metrics import NAMES, measure, person_region
from ..models.whole_files import write_whole
from .held_out_people import drawn_clip
from .rate_metrics import load_vgg
from .results import OUT, write_results

METHODS = {
    "ours": "Sparse2Dense",
    "sent": "Sparse2Dense, `--texture`",
    "parts": "a mean colour a part of the body",
    "projected": "the first reference projected",
}
_TURNED = {"front": (0, 1, 7), "side": (2, 6), "back": (3, 4, 5)}  # eighths of a turn from the last frame
_COSTS = ("seconds", "sent_seconds", "bytes")  # on this machine; of the texture that is sent
_DIGITS = {"vggcos": 4, "ssimulacra2": 1, "psnr": 2}
_SIDES = 8
_FPS = 25
_FINER = 2  # samples along a pixel's edge, as of the truth
_SHEET = "textures.png"
_ON_SHEET = 4  # people


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``s2d bench textures``."""
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("S2D_DATA"), help="folder of assets and motion"
    )
    parser.add_argument("--people", type=int, default=12, help="synthetic people")
    parser.add_argument("--seconds", type=float, default=4, help="of a person's clip")
    parser.add_argument("--references", type=int, nargs="+", default=[1, 2], help="pictures of every clip")
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="where the results go")
    parser.add_argument("--quick", action="store_true", help="two people, to try the measurement")


def outputs(args: argparse.Namespace) -> dict[Path, Kind]:
    """Return the files that :func:`run` writes, each with its kind."""
    return {args.out / "textures.json": JSON, args.out / _SHEET: PNG}


def run(args: argparse.Namespace) -> None:
    """Measure, write the figures and a sheet, and print the table."""
    people, vgg = 2 if args.quick else args.people, load_vgg()
    source = People(data_dir(args.data), "held_out")
    counts: dict[str, dict[str, Any]] = {}
    rows: list[np.ndarray] = []
    for references in args.references:
        found = []
        for index in range(people):
            figures, row = measure_person(vgg, source, index, round(args.seconds * _FPS), references)
            found.append(figures)
            if references == args.references[0] and index < _ON_SHEET:
                rows.append(row)
        counts[str(references)] = _means(found)
    results = {
        "quick": args.quick,
        "people": people,
        "references": counts,
        "pictures": {
            _SHEET: "From the top, of each person: the truth, Sparse2Dense, the same with `--texture`, "
            "mean colours, projection"
        },
    }
    write_whole(args.out / _SHEET, cv2.imencode(".png", np.vstack(rows)[..., ::-1])[1].tobytes())
    write_results("textures", results, args.out)
    print("\n".join(tables(results)))


def tables(results: dict[str, Any]) -> list[str]:
    """Return the lines of Markdown tables of what :func:`run` measured."""
    lines = [
        f"{results['people']} held-out synthetic people, each seen from {_SIDES} sides; the texture has "
        f"{SIDE}x{SIDE} pixels.",
        "",
        "| references | texture | VGGcos (HED) ↓ | SSIMULACRA2 ↑ | PSNR dB ↑ | "
        + " | ".join(f"{side}: VGGcos ↓ | SSIMULACRA2 ↑" for side in _TURNED)
        + " |",
        "| --- " * (5 + 2 * len(_TURNED)) + "|",
    ]
    for references, values in results["references"].items():
        for method, title in METHODS.items():
            cells = [_cell(values[method]["all"], metric) for metric in NAMES]
            cells += [_cell(values[method][side], metric) for side in _TURNED for metric in NAMES[:2]]
            lines.append(f"| {references} | {title} | {' | '.join(cells)} |")
    lines.append("")
    for references, values in results["references"].items():
        lines += [
            f"References: {references}. {_better(values, 'ours', 'parts', 'projected')}; made in "
            f"{values['seconds']:.2f} s.",
            "",
            f"With `--texture`, {values['bytes'] / 1000:.1f} kB more. "
            f"{_better(values, 'sent', 'parts', 'projected', 'ours')}; made in "
            f"{values['sent_seconds']:.1f} s.",
            "",
        ]
    return lines[:-1]


def _better(values: dict[str, Any], method: str, *rivals: str) -> str:
    """Say by how much a method's figures are better than its rivals'."""
    ours = values[method]["all"]
    beside = [
        f"{1 - ours['vggcos'] / values[rival]['all']['vggcos']:.0%} in VGGcos and "
        f"{ours['ssimulacra2'] - values[rival]['all']['ssimulacra2']:.1f} in SSIMULACRA2 against "
        f"{METHODS[rival]}"
        for rival in rivals
    ]
    return f"Better by {', by '.join(beside)}"


def _means(people: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the means over people of what :func:`measure_person` returns of each."""
    return {
        method: {
            group: {
                metric: float(np.mean([each[method][group][metric] for each in people])) for metric in NAMES
            }
            for group in people[0][method]
        }
        for method in METHODS
    } | {name: float(np.median([each[name] for each in people])) for name in _COSTS}


def _cell(values: dict[str, float], metric: str) -> str:
    return f"{values[metric]:.{_DIGITS[metric]}f}"


def measure_person(
    vgg: Vgg, source: People, index: int, frames: int, references: int
) -> tuple[dict[str, Any], np.ndarray]:
    """Measure each method on the person of that index, and draw a row of a sheet.

    Returns by method and group of sides the metrics, with :data:`_COSTS`, and the row's pictures, uint8.
    """
    body, (clip, costs) = source.body, _coded(source, index, frames, references)
    shaped = ShapedBody(body, clip.shape)
    predictor = VertexDecoder(shaped, clip.fps, load_network("vertex_predictor", "cpu"))
    there = [predictor.predict(clip.keypoints, each.frame, each.frame + 1)[0] for each in clip.references]
    started = time.perf_counter()
    ours = paint_texture(shaped, clip.camera, clip.references, there)
    costs["seconds"] = time.perf_counter() - started
    textures = {
        "ours": ours,
        "sent": clip.texture,
        "parts": mean_colours(body, clip.camera, clip.references[0], there[0]),
        "projected": projection(body, clip.camera, clip.references[0], there[0]),
    }
    found: dict[str, list[dict[str, float]]] = {method: [] for method in METHODS}
    row = []
    for seen in source.turntable(index, frames, _FPS, _SIDES):
        pictures = {}
        for method, texture in textures.items():
            drawn, covered = draw(body, seen["vertices"], clip.camera, texture, seen["mask"].shape)
            both = ((covered > 0.5) & (seen["mask"] > 127))[..., None]
            pictures[method] = np.where(both, drawn, seen["frame"])
            region = person_region(pictures[method], seen["frame"], np.uint8(255 * both[..., 0]))
            found[method].append(measure(vgg, *region))
        row.append(np.vstack([seen["frame"], *pictures.values()]))
    groups = {"all": range(_SIDES), **_TURNED}
    figures: dict[str, Any] = {
        method: {
            group: {metric: float(np.mean([values[side][metric] for side in sides])) for metric in NAMES}
            for group, sides in groups.items()
        }
        for method, values in found.items()
    }
    return figures | costs, np.hstack(row)


@dataclass(frozen=True)
class _Frame:
    """A picture of a film that is no larger than the canvas."""

    canvas: np.ndarray

    @property
    def source(self) -> np.ndarray:
        return self.canvas


def _coded(source: People, index: int, frames: int, references: int) -> tuple[Clip, dict[str, float]]:
    """Return a person's clip as it comes back from a file, with its texture, and what that cost."""
    head, filmed = source.clip(index, frames, _FPS)
    shown = [frames * number // references for number in range(references)]
    keypoints, pictures, film = [], [], []
    silhouettes = Silhouettes(*head["reference"].shape[1::-1])
    for number, frame in enumerate(filmed):
        keypoints.append(frame["keypoints"])
        film.append(_Frame(frame["frame"]))
        silhouettes.put(number, frame["mask"])
        if number in shown:
            pictures.append(Reference(number, frame["frame"], frame["mask"]))
    clip = drawn_clip(source.body.name, head, keypoints, pictures)
    body = ShapedBody(source.body, clip.shape)
    predictor = VertexDecoder(body, clip.fps, load_network("vertex_predictor", "cpu"))
    started = time.perf_counter()
    clip.texture = gather_texture(as_decoded(clip), iter(film), silhouettes, predictor, SIDE)
    costs = {"sent_seconds": time.perf_counter() - started}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.s2d"
        costs["bytes"] = write_clip(clip, path)["texture"]
        return read_clip(path), costs


def draw(
    body: BodyModel, vertices: np.ndarray, camera: Camera, texture: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a textured body ``(V, 3)``, without light, on a canvas of ``size (H, W)``.

    Returns the picture ``(H, W, 3)`` uint8 and how much of each pixel the body covers ``(H, W)``.
    """
    height, width = size
    fine = Camera(*(_FINER * value for value in (camera.fx, camera.fy, camera.cx, camera.cy)))
    surface = Surface(body.faces, fine.project(vertices), vertices[:, 2], _FINER * width, _FINER * height)
    places = Points(body.faces_uv[surface.triangles], surface.weights).of(body.uv * [1, -1] + [0, 1])
    shown = np.zeros((*surface.size, 4), np.float32)
    shown.reshape(-1, 4)[surface.cells, :3] = sample(texture.astype(np.float32), places * len(texture))
    shown.reshape(-1, 4)[surface.cells, 3] = 1
    small = cv2.resize(shown, (width, height), interpolation=cv2.INTER_AREA)
    colour = small[..., :3] / np.maximum(small[..., 3:], 1e-6)
    return np.rint(colour).astype(np.uint8), small[..., 3]


def mean_colours(body: BodyModel, camera: Camera, reference: Reference, vertices: np.ndarray) -> np.ndarray:
    """Return a texture of one colour a part of the body: the mean of what the reference shows of it.

    A part that it does not show has the mean of all.
    """
    height, width = reference.mask.shape
    surface = see_body(body, vertices, camera.project, width, height)
    parts = body.bone_parts[np.arange(body.bone_count), np.rint(body.bone_blend).astype(int)]
    of_vertex = parts[body.weights.argmax(axis=1)]
    inside = reference.mask.ravel()[surface.cells] > 127
    shown = of_vertex[body.faces[surface.triangles, 0]][inside]
    colours = reference.picture.reshape(-1, 3)[surface.cells][inside].astype(np.float32)
    means = np.tile(colours.mean(axis=0), (int(parts.max()) + 1, 1))
    for part in np.unique(shown):
        means[part] = colours[shown == part].mean(axis=0)
    cells, points = unfold(body, SIDE)
    return _texture(cells, means[of_vertex[points.corners[:, 0]]])


def projection(body: BodyModel, camera: Camera, reference: Reference, vertices: np.ndarray) -> np.ndarray:
    """Return a texture of what the reference shows where each point projects to, seen or hidden."""
    cells, points = unfold(body, SIDE)
    places = camera.project(points.of(body.dressed(vertices)))
    return _texture(cells, sample(reference.picture.astype(np.float32), places))


def _texture(cells: np.ndarray, colours: np.ndarray) -> np.ndarray:
    texture = np.zeros((SIDE, SIDE, 3), np.float32)
    texture.reshape(-1, 3)[cells] = colours
    return np.clip(np.rint(pad_islands(texture, cells)), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    own = argparse.ArgumentParser(description=__doc__)
    add_arguments(own)
    torch.set_num_threads(1)
    run(own.parse_args())
