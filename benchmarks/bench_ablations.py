# SPDX-License-Identifier: GPL-3.0-or-later
"""What each part of the joint training is worth: ``s2d bench ablations``.

Every variant of a configuration trains for as many steps, on the same examples, from the same start: the
shipped vertex predictor and untrained networks that draw. Then each is measured as :mod:`.bench_pictures`
measures, on held-out synthetic people and on the packaged filmed clip, and its vertex predictor on held-out
motion. A run that is stopped goes on where it was; the table has the variants that are done.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..inference.demo import PACKAGED_CLIP
from ..inference.runtime.backends import Network, resolve_device
from ..models.body import BodyModel
from ..models.body_catalogue import load_body
from ..models.generator import Generator, Layers
from ..models.outputs import JSON, Kind, beginning
from ..models.training import train_joint
from ..models.training.checkpoints import read_checkpoint
from ..models.training.config import JointConfig, read_config
from ..models.training.evaluate_vertices import METRICS, held_out_clips, predict_vertices, vertex_errors
from ..models.training.losses import Vgg
from ..models.training.model_card import put_into_card
from ..models.training.motion import data_dir
from ..models.training.networks import JointNetworks, keypoint_motion
from ..models.training.train_joint import SliceOptions
from ..models.whole_files import write_whole
from . import bench_pictures
from .rate_metrics import load_vgg

VARIANTS: dict[str, dict[str, Any]] = {
    "all of it, 2 references": {},
    "keypoints alone guide the motion": {"mesh": False},
    "separate: no gradient from picture to mesh": {"joint": False},
    "without flow supervision": {"losses": {"flow": 0.0}},
    "with the adversary": {"losses": {"adversarial": 0.05}},
    "1 reference": {"references": 1},
    "4 references": {"references": 4},
}
"""By title: what differs from the configuration."""

_EXAMPLES, _MEASURED = "examples", "measured.json"
_NOISE = 0.01  # metres, of the keypoints that the vertex predictor is measured on
_EXCERPT = 10  # frames of each held-out motion
_SECONDS = 2  # of a synthetic clip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``s2d bench ablations``."""
    parser.add_argument("--config", default="ablations", help="a TOML file, or a shipped one's name")
    parser.add_argument("--data", type=Path, default=os.environ.get("S2D_DATA"), help="folder of the assets")
    parser.add_argument("--backgrounds", type=Path, help="folder of photographs to stand people before")
    parser.add_argument("--out", type=Path, required=True, help="folder of all variants and of the table")
    parser.add_argument("--minutes", type=float, default=60, help="stop after this long; run again to go on")
    parser.add_argument("--people", type=int, default=6, help="held-out synthetic clips")
    parser.add_argument("--frames", type=int, default=24, help="frames measured of every clip")
    parser.add_argument("--renderers", type=int, default=1, help="processes that draw the examples")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--card", type=Path, metavar="FILE", help="put the table into this model card")


def outputs(args: argparse.Namespace) -> dict[Path, Kind]:
    """Return the files that :func:`run` writes, each with its kind."""
    return {args.out / "ablations.json": JSON, args.out / "ablations.md": beginning("table", b"| variant")}


def run(args: argparse.Namespace) -> None:
    """Train and measure what is not done yet, and write ``ablations.json`` and ``ablations.md``."""
    vgg = load_vgg()
    base = dataclasses.replace(read_config(args.config), references=4)
    end = time.monotonic() + 60 * args.minutes
    options = SliceOptions(
        data=data_dir(args.data),
        out=args.out,
        cache=args.out / _EXAMPLES,
        backgrounds=args.backgrounds,
        renderers=args.renderers,
        device=args.device,
        threads=args.threads,
    )
    _draw_examples(base, options, end)
    scenes = _Scenes(options.data, options.backgrounds, args.people, args.frames)
    results = {}
    for title, changes in VARIANTS.items():
        config, folder = _varied(base, changes), args.out / _file_name(title)
        measured = folder / _MEASURED
        left = (end - time.monotonic()) / 60
        if not measured.exists() and left > 0:
            _train(config, options, folder, left)
            state = read_checkpoint(folder / train_joint.CHECKPOINT)
            if state["steps"] >= config.steps:
                figures = _measure(vgg, config, state["average"], scenes)
                write_whole(measured, json.dumps({"steps": state["steps"]} | figures, indent=2))
        if measured.exists():
            results[title] = json.loads(measured.read_text(encoding="utf-8"))
    write_whole(args.out / "ablations.json", json.dumps(results, indent=2))
    write_whole(args.out / "ablations.md", "\n".join(tables(results)))
    print("\n".join(tables(results)))
    if args.card:
        put_into_card(args.card, "ablations", tables(results))


def tables(results: dict[str, dict[str, Any]]) -> list[str]:
    """Return the lines of a Markdown table, one row a variant."""
    sets = list(next(iter(results.values()))["sets"]) if results else []
    heads = [f"{name}: VGGcos ↓ | PSNR dB ↑" for name in sets]
    lines = [
        f"| variant | steps | {' | '.join(heads)} | flow px ↓ | vertices mm ↓ |",
        "| " + " | ".join(["---"] * (4 + 2 * len(sets))) + " |",
    ]
    for title, found in results.items():
        regions = [found["sets"][name]["ours"]["person"] for name in sets]
        cells = [f"{region['vggcos']:.4f} | {region['psnr']:.2f}" for region in regions]
        flow = next(values["flow_error"] for values in found["sets"].values() if "flow_error" in values)
        lines.append(
            f"| {title} | {found['steps']} | {' | '.join(cells)} | {flow['ours']['body']:.2f} | "
            f"{found['vertices_mm']:.2f} |"
        )
    return lines


def _varied(base: JointConfig, changes: dict[str, Any]) -> JointConfig:
    changes = {"references": 2} | changes
    losses = dataclasses.replace(base.losses, **changes.pop("losses", {}))
    return dataclasses.replace(base, **changes, losses=losses)


def _draw_examples(config: JointConfig, options: SliceOptions, end: float) -> None:
    """Draw what all variants train on, with as many references as any of them takes."""
    for renderer in train_joint.draw_examples(options, config, resolve_device(options.device)):
        renderer.join(max(0.0, end - time.monotonic()))
        renderer.terminate()


def _train(config: JointConfig, options: SliceOptions, folder: Path, minutes: float) -> None:
    """Train a variant in a folder of its own, on the examples that are drawn already."""
    resume = (folder / train_joint.CHECKPOINT).exists()
    train_joint.train(
        config, dataclasses.replace(options, out=folder, renderers=0, minutes=minutes, resume=resume)
    )


class _Scenes:
    """The held-out clips with some number of references, made once for all variants."""

    def __init__(self, data: Path, backgrounds: Path | None, people: int, frames: int) -> None:
        self.data, self._backgrounds, self._people, self._frames = data, backgrounds, people, frames
        self._made: dict[int, dict[str, list[bench_pictures.Scene]]] = {}

    def __call__(self, references: int) -> dict[str, Iterator[bench_pictures.Scene]]:
        """Return the scenes of each set."""
        if references not in self._made:
            synthetic = bench_pictures.synthetic_scenes(
                self.data, self._backgrounds, self._people, _SECONDS, self._frames, references
            )
            filmed = bench_pictures.filmed_scene(PACKAGED_CLIP, self._frames, references)
            self._made[references] = {
                "held-out synthetic people": list(synthetic),
                PACKAGED_CLIP.name: [filmed],
            }
        # Measuring puts the decoded clip into a scene: hand out copies.
        return {name: map(dataclasses.replace, each) for name, each in self._made[references].items()}


def _measure(vgg: Vgg, config: JointConfig, weights: dict[str, Tensor], scenes: _Scenes) -> dict[str, Any]:
    body = load_body()
    networks = JointNetworks(body, config).eval()
    networks.load_state_dict(weights)
    trained = _Trained(networks, config)
    with torch.no_grad():
        sets = {
            name: bench_pictures.measure_set(vgg, each, None, name, trained)
            for name, each in scenes(config.references).items()
        }
        return {"sets": sets, "vertices_mm": _vertex_error(body, trained, scenes.data)}


def _vertex_error(body: BodyModel, trained: _Trained, data: Path) -> float:
    """Return the predictor's mean vertex error, mm, on held-out people and motion with noisy keypoints."""
    rng, errors = np.random.default_rng(7), []
    for clip in held_out_clips(body, data, _EXCERPT):
        noisy = (clip.keypoints + rng.normal(0, _NOISE, clip.keypoints.shape)).astype(np.float32)
        found = predict_vertices(body, noisy, clip.shape, trained.load("vertex_predictor"))
        errors.append(vertex_errors(body, found, clip.vertices)[METRICS.index("raw_mm")])
    return float(np.mean(errors))


class _KeypointGuided(Generator):
    """A generator that was trained without a mesh: the keypoints' own motion stands in for its."""

    def layers(self, **inputs: Tensor) -> Layers:
        """Draw as :meth:`Generator.layers` does."""
        keypoints = inputs["keypoints"], inputs["reference_keypoints"]
        motion = keypoint_motion(*keypoints, inputs["plate"], inputs["origin"])
        nothing = torch.zeros_like(inputs["reference_coverage"])
        return super().layers(**inputs | {"motion": motion, "reference_coverage": nothing})


class _Trained(bench_pictures.Networks):
    """A variant's networks, as decoding calls them."""

    def __init__(self, networks: JointNetworks, config: JointConfig) -> None:
        generator = (Generator if config.mesh else _KeypointGuided)()
        generator.load_state_dict(networks.generator.state_dict())
        self._modules = {
            "vertex_predictor": (networks.vertex_predictor, ("rotations", "positions")),
            "reference_encoder": (networks.encoder, ("half", "quarter")),
            "generator": (generator.eval(), ("picture",)),
        }
        super().__init__(self._network, generator)

    def _network(self, name: str) -> Network:
        module, outputs = self._modules[name]

        def call(**inputs: np.ndarray) -> dict[str, np.ndarray]:
            found = module(**{key: torch.from_numpy(np.ascontiguousarray(x)) for key, x in inputs.items()})
            found = found if isinstance(found, tuple) else (found,)
            return {key: value.numpy() for key, value in zip(outputs, found, strict=True)}

        return call


def _file_name(title: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in title)
