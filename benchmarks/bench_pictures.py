# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures the synthesised video against what it must beat: ``s2d bench pictures``.

Clips go the whole way, to a ``.s2d`` and back: synthetic people that training never saw (their keypoints
are the true ones, quantised by the file), and filmed clips through capture. Beside the networks' pictures
stand two that need none: the reference held still, and the same mesh motion warping the reference's
pixels over the plate. All three start from the same decoded reference, plate and vertices. Synthetic people
tell where each point of theirs lies in the reference, so there the dense motion is measured too.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import load_file
from torch.utils.flop_counter import FlopCounterMode

from ..inference.capture.pipeline import CaptureOptions, capture
from ..inference.decoding.synthesis import FrameSynthesiser
from ..inference.decoding.vertices import VertexDecoder
from ..inference.film.reader import VideoReader
from ..inference.format.clip import Clip, Reference
from ..inference.format.container import PLATE_QUALITY, REFERENCE_QUALITY, STEP_MM, read_clip, write_clip
from ..inference.runtime.backends import Network, NetworkLoader, load_network
from ..models.body import BodyModel
from ..models.body_catalogue import load_body
from ..models.generator import Generator, ReferenceEncoder
from ..models.mesh_motion import Surface, see_body, warp_over_plate
from ..models.outputs import JSON, Kind
from ..models.shaped_body import ShapedBody
from ..models.shipped import weights_path, weights_sha256
from ..models.training.export_pictures import example_inputs
from ..models.training.losses import Vgg
from ..models.training.model_card import put_into_card
from ..models.training.motion import data_dir
from ..models.training.people import People
from ..models.training.picture_metrics import NAMES, measure, person_region
from ..models.whole_files import write_whole
from .held_out_people import drawn_clip
from .rate_metrics import load_vgg

METHODS = ("ours", "still", "warp")
_TITLES = {
    "ours": "Sparse2Dense",
    "still": "reference held still",
    "warp": "mesh warps pixels over the plate",
}
_DIGITS = {"vggcos": 4, "ssimulacra2": 1, "psnr": 2}
_FPS = 25
_SAME = 0.01  # pixels: keypoints so near are of the same reference


@dataclass
class Scene:
    """A clip that went through a file, with the truth of the frames that are measured."""

    clip: Clip
    truth: dict[int, np.ndarray]  # (H, W, 3) uint8 by frame
    masks: dict[int, np.ndarray]  # (H, W) uint8 by frame; none where the truth does not tell
    flows: dict[int, tuple[np.ndarray, np.ndarray]]  # (H, W, 2) to the reference and (H, W) visible there
    bodies: dict[int, np.ndarray]  # (V, 3) true vertices, naked, of these frames and the reference's


@dataclass
class _Drawn:
    """A frame by each method, and how far their flows are from the truth, in pixels, where it is known."""

    pictures: dict[str, np.ndarray]
    truth: np.ndarray
    mask: np.ndarray
    flow_errors: dict[str, dict[str, float]]  # by method, of the whole body and of what the reference shows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``s2d bench pictures``."""
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("S2D_DATA"), help="folder of assets and motion"
    )
    parser.add_argument("--backgrounds", type=Path, help="folder of photographs to stand people before")
    parser.add_argument("--people", type=int, default=12, help="synthetic clips; 0 for none")
    parser.add_argument("--seconds", type=float, default=4, help="of a synthetic clip")
    parser.add_argument("--references", type=int, default=1, help="reference pictures of every clip")
    parser.add_argument("--step", type=float, default=STEP_MM, help="keypoint quantiser step, millimetres")
    parser.add_argument("--quality", type=int, default=REFERENCE_QUALITY, help="of the first reference")
    parser.add_argument(
        "--plate-quality", type=int, default=PLATE_QUALITY, help="of the plate and further references"
    )
    parser.add_argument("--videos", type=Path, nargs="*", default=[], help="filmed clips")
    parser.add_argument("--frames", type=int, default=24, help="frames measured of every clip, evenly spread")
    parser.add_argument("--sheets", type=Path, metavar="DIR", help="put a contact sheet of every clip there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--card", type=Path, metavar="FILE", help="put the tables into this model card")


def outputs(args: argparse.Namespace) -> dict[Path, Kind]:
    """Return the files that :func:`run` writes, each with its kind."""
    return {args.json: JSON} if args.json else {}


def run(args: argparse.Namespace) -> None:
    """Measure, print the tables, and write the figures and sheets that were asked for."""
    vgg = load_vgg()
    scenes: dict[str, Iterator[Scene]] = {}
    if args.people:
        scenes["held-out synthetic people"] = synthetic_scenes(
            data_dir(args.data), args.backgrounds, args.people, args.seconds, args.frames, args.references
        )
    for video in args.videos:
        scenes[video.name] = iter([filmed_scene(video, args.frames, args.references)])
    coding = {
        "step_mm": args.step,
        "reference_quality": args.quality,
        "plate_quality": args.plate_quality,
    }
    results = {
        "generator_sha256": weights_sha256("generator.onnx"),
        "gmac": _gmac(256, 256),
        "coding": coding,
        "sets": {
            name: measure_set(vgg, drawn, args.sheets, name, **coding) for name, drawn in scenes.items()
        },
    }
    print("\n".join(tables(results)))
    if args.json:
        write_whole(args.json, json.dumps(results, indent=2) + "\n")
    if args.card:
        put_into_card(args.card, "measured pictures", ["", *tables(results)])


def tables(results: dict) -> list[str]:
    """Return the lines of Markdown tables of what :func:`run` measured, one table a set."""
    gmac = results["gmac"]
    lines = [
        f"A 256x256 frame costs {gmac['generator']:.2f} GMAC, {gmac['generator_from_two']:.2f} from two "
        f"references; each reference {gmac['reference_encoder']:.2f} GMAC once a clip. "
        f"Weights: generator.onnx {results['generator_sha256'][:12]}. "
        f"Keypoints were sent in steps of {results['coding']['step_mm']:g} mm, the reference at quality "
        f"{results['coding']['reference_quality']}.",
        "",
    ]
    for name, values in results["sets"].items():
        lines += [
            f"**{name}**: clips {values['clips']}, frames {values['frames']}, bytes a clip "
            f"{values['bytes_per_clip']:,}, milliseconds a frame {values['milliseconds']:.0f}",
            "",
            "| | VGGcos (HED) ↓ | SSIMULACRA2 ↑ | PSNR dB ↑ | person: VGGcos ↓ | SSIMULACRA2 ↑ | PSNR dB ↑ |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        for method in METHODS:
            regions = (values[method]["whole"], values[method]["person"])
            cells = [f"{region[metric]:.{_DIGITS[metric]}f}" for region in regions for metric in NAMES]
            lines.append(f"| {_TITLES[method]} | {' | '.join(cells)} |")
        gain = 1 - values["ours"]["person"]["vggcos"] / values["warp"]["person"]["vggcos"]
        side = "below" if gain >= 0 else "above"
        lines += ["", f"VGGcos of the person is {abs(gain):.0%} {side} that of the mesh's plain warp."]
        if "flow_error" in values:
            errors = values["flow_error"]
            lines.append(
                f"The flow on the body is off by {errors['ours']['body']:.2f} pixels, "
                f"{errors['ours']['shown']:.2f} where the reference shows the point; "
                f"the mesh's alone by {errors['warp']['body']:.2f} and {errors['warp']['shown']:.2f}. "
                f"That of the true body, likewise in average clothes, would be by "
                f"{errors['true']['body']:.2f} and {errors['true']['shown']:.2f}."
            )
        lines.append("")
    return lines


def _gmac(width: int, height: int) -> dict[str, float]:
    """Count what encoding a reference, and drawing from one and from two, cost: 1e9 multiply-adds."""
    one, two = (example_inputs(width, height, references) for references in (1, 2))
    runs = {
        "reference_encoder": lambda: ReferenceEncoder()(
            one["references"][:, 0], one["masks"][:, 0], one["plate"]
        ),
        "generator": lambda: Generator()(**one),
        "generator_from_two": lambda: Generator()(**two),
    }
    counts = {}
    for name, call in runs.items():
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            call()
        counts[name] = counter.get_total_flops() / 2e9
    return counts


def synthetic_scenes(
    data: Path, backgrounds: Path | None, people: int, seconds: float, frames: int, references: int
) -> Iterator[Scene]:
    """Draw clips of so many held-out people, in folders as :class:`People` takes them.

    A clip lasts so many seconds, has so many ``references`` spread over it, and so many of its ``frames`` are
    measured.
    """
    source = People(data, "held_out", backgrounds=backgrounds)
    count = round(seconds * _FPS)
    wanted = _spread(count, frames)
    shown = [count * number // references for number in range(references)]
    for index in range(people):
        head, filmed = source.clip(index, count, _FPS)
        drawn, keypoints, pictures, bodies = {}, [], [], {}
        for number, frame in enumerate(filmed):
            keypoints.append(frame["keypoints"])
            if number in wanted or number == shown[0]:
                bodies[number] = frame["vertices"]
            if number in wanted:
                drawn[number] = frame
            if number in shown:
                pictures.append(Reference(number, frame["frame"], frame["mask"]))
        clip = drawn_clip(source.body.name, head, keypoints, pictures)
        yield Scene(
            clip,
            {number: frame["frame"] for number, frame in drawn.items()},
            {number: frame["mask"] for number, frame in drawn.items()},
            {number: (frame["flow"], frame["visible"]) for number, frame in drawn.items()},
            bodies,
        )


def filmed_scene(video: Path, frames: int, references: int = 1) -> Scene:
    """Capture a filmed clip, the part that shows the person, and keep the truth of some of its frames."""
    captured = capture(video, CaptureOptions(references=references))
    wanted = _spread(captured.clip.frames, frames)
    numbered = enumerate(VideoReader(video), start=-captured.first)
    truth = {number: picture for number, picture in numbered if number in wanted}
    return Scene(captured.clip, truth, {}, {}, {})


def _spread(count: int, frames: int) -> list[int]:
    """Choose frames spread over ``count``, the first left out (in synthetic clips it is the reference)."""
    return np.unique(np.linspace(0, count - 1, frames + 1)[1:].round().astype(int)).tolist()


def measure_set(
    vgg: Vgg,
    scenes: Iterator[Scene],
    sheets: Path | None,
    name: str,
    networks: Networks | None = None,
    **coding: float,
) -> dict:
    """Send every scene through a file and measure each method's frames.

    ``networks`` if not the shipped; ``coding`` as :func:`~..inference.format.container.write_clip` takes it.
    """
    networks = networks or shipped_networks()
    sums: dict[str, dict[str, list[dict[str, float]]]] = {
        method: {"whole": [], "person": []} for method in METHODS
    }
    flow_errors: list[dict[str, dict[str, float]]] = []
    clips, sizes, seconds = 0, [], []
    for scene in scenes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "clip.s2d"
            sizes.append(write_clip(scene.clip, path, **coding)["total"])
            scene.clip = read_clip(path)
        rows = []
        for drawn in _draw(scene, networks, seconds):
            rows.append(np.hstack([*drawn.pictures.values(), drawn.truth]))
            flow_errors += [drawn.flow_errors] if drawn.flow_errors else []
            for method, picture in drawn.pictures.items():
                sums[method]["whole"].append(measure(vgg, picture, drawn.truth))
                sums[method]["person"].append(measure(vgg, *person_region(picture, drawn.truth, drawn.mask)))
        clips += 1
        if sheets:
            coded = cv2.imencode(".jpg", np.vstack(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
            write_whole(sheets / f"{name.replace(' ', '_')}_{clips:02d}.jpg", coded.tobytes())
    means = {
        method: {
            region: {metric: float(np.mean([value[metric] for value in values])) for metric in NAMES}
            for region, values in regions.items()
        }
        for method, regions in sums.items()
    }
    if flow_errors:
        means["flow_error"] = {
            method: {part: float(np.mean([errors[method][part] for errors in flow_errors])) for part in parts}
            for method, parts in flow_errors[0].items()
        }
    return {
        "clips": clips,
        "frames": len(sums["ours"]["whole"]),
        "bytes_per_clip": round(float(np.mean(sizes))),
        "milliseconds": float(np.median(seconds) * 1000),
    } | means


def _draw(scene: Scene, networks: Networks, seconds: list[float]) -> Iterator[_Drawn]:
    """Draw every measured frame by each method.

    Adds to ``seconds`` what the networks' picture took, with the mesh's motion and without the vertices.
    """
    clip, body = scene.clip, load_body(scene.clip.body)
    predictor = VertexDecoder(ShapedBody(body, clip.shape), clip.fps, networks.load("vertex_predictor"))

    def posed(frame: int) -> np.ndarray:
        return predictor.predict(clip.keypoints, frame, frame + 1)[0]

    reference = clip.references[0]
    of_references = [posed(each.frame) for each in clip.references]
    synthesiser = FrameSynthesiser(clip, body, of_references, networks.load)
    in_reference = _seen(clip, body, of_references[0])
    for number, truth in scene.truth.items():
        vertices = posed(number)
        started = time.perf_counter()
        ours = synthesiser.frame(clip.keypoints[number], vertices, number)
        seconds.append(time.perf_counter() - started)
        surface = _seen(clip, body, vertices)
        moved = surface.motion_to(in_reference)
        drawn = {
            "ours": ours,
            "still": reference.picture,
            "warp": warp_over_plate(
                reference.picture, reference.mask, clip.background(number), moved, in_reference.coverage
            ),
        }
        mask = scene.masks.get(number)
        if mask is None:
            mask = np.uint8(surface.coverage * 255)
        errors = {}
        known = number in scene.flows
        to_first = networks.flow(clip.camera.project(clip.keypoints[reference.frame])) if known else None
        if to_first is not None:
            now, then = (_seen(clip, body, scene.bodies[frame]) for frame in (number, reference.frame))
            flows = {
                "ours": to_first,
                "warp": moved[:2],
                "true": now.motion_to(then)[:2],
            }
            errors = {
                method: _flow_errors(flow, mask, *scene.flows[number]) for method, flow in flows.items()
            }
        yield _Drawn(drawn, truth, mask, errors)


class Networks:
    """The networks that draw a clip, and on request the flow that the last picture was drawn with.

    ``load`` is how decoding loads its networks; ``generator`` has the weights of its generator.
    """

    def __init__(self, load: NetworkLoader, generator: Generator) -> None:
        self._load, self._generator, self._run = load, generator, load("generator")
        self._inputs: dict[str, np.ndarray] = {}

    def load(self, name: str) -> Network:
        """Load a network for the synthesiser."""
        return self if name == "generator" else self._load(name)

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Run once."""
        self._inputs = inputs
        return self._run(**inputs)

    def flow(self, keypoints: np.ndarray) -> np.ndarray | None:
        """Return the flow ``(2, H, W)`` to a reference, NaN outside the part that was drawn.

        ``keypoints`` ``(K, 2)``, canvas pixels, tell which reference; None if it was not drawn from.
        """
        inputs = self._inputs
        apart = np.abs(inputs["reference_keypoints"][0] - keypoints).max((1, 2))
        index = int(apart.argmin())
        if apart[index] > _SAME:
            return None
        with torch.no_grad():
            layers = self._generator.layers(
                **{name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in inputs.items()}
            )
        part = layers.flow[0, index].numpy()
        left, top = inputs["origin"][0].astype(int)
        whole = np.full((2, *inputs["reference_coverage"].shape[-2:]), np.nan, np.float32)
        whole[:, top : top + part.shape[1], left : left + part.shape[2]] = part
        return whole


def shipped_networks() -> Networks:
    """Load the shipped networks."""
    generator = Generator().eval()
    generator.load_state_dict(load_file(weights_path("generator.safetensors")))
    return Networks(lambda name: load_network(name, "cpu"), generator)


def _flow_errors(
    flow: np.ndarray, mask: np.ndarray, truth: np.ndarray, visible: np.ndarray
) -> dict[str, float]:
    """Return the mean end-point error, pixels, of ``flow`` ``(2, H, W)`` on the person.

    ``truth`` ``(H, W, 2)`` counts where the ``mask`` is firm; ``shown`` is where it is ``visible`` too.
    """
    error = np.linalg.norm(flow.transpose(1, 2, 0) - truth, axis=-1)
    body = (mask > 200) & np.isfinite(error)
    return {"body": float(error[body].mean()), "shown": float(error[body & visible].mean())}


def _seen(clip: Clip, body: BodyModel, vertices: np.ndarray) -> Surface:
    return see_body(body, vertices, clip.camera.project, clip.width, clip.height)


if __name__ == "__main__":
    own = argparse.ArgumentParser(description=__doc__)
    add_arguments(own)
    torch.set_num_threads(1)
    run(own.parse_args())
