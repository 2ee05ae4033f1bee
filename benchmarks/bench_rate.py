# SPDX-License-Identifier: GPL-3.0-or-later
"""Rate against distortion, beside block codecs on the same clips: ``s2d bench rate``.

Everyone is given the same lossless video. Ours goes through capture, a ``.s2d`` file of which every byte
counts, and the networks; theirs is the raw elementary stream. Every measurement is kept, so a run that was
stopped (``--minutes``) goes on where it ended; what matters most is measured first (:mod:`.rate_points`).
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch

from ..models.errors import InputError
from ..models.outputs import JSON, Kind
from .rate_checks import run_checks
from .rate_clips import own_clips, standard_clips
from .rate_codecs import CODECS, MODES
from .rate_points import Bench, RateOptions
from .rate_summary import tables
from .results import OUT


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``s2d bench rate``."""
    parser.add_argument("--quick", action="store_true", help="check in a minute that the measuring is right")
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="for results (bench)")
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("S2D_DATA"), help="folder of assets and motion"
    )
    parser.add_argument("--backgrounds", type=Path, help="folder of photographs to stand people before")
    parser.add_argument("--clips", type=Path, metavar="DIR", help="measure the videos of this folder instead")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these clips, such as rendered_0")
    parser.add_argument("--held-out", type=int, default=8, metavar="N", help="rendered clips (8)")
    parser.add_argument("--seed", type=int, default=0, help="of the rendered clips")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 384], help="pixels a side (256 384)")
    parser.add_argument("--anchors", nargs="*", choices=CODECS, default=list(CODECS))
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--bursts", type=int, default=4, help="runs of three frames measured of a clip (4)")
    parser.add_argument(
        "--vgg16", type=Path, metavar="FILE", help="torchvision's vgg16-397923af.pth: adds LPIPS and DISTS"
    )
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="start nothing after this; 0 reports what is kept"
    )


def outputs(args: argparse.Namespace) -> dict[Path, Kind]:
    """Return the files that :func:`run` writes, each with its kind."""
    return {} if args.quick else {args.out / "rate.json": JSON}


def run(args: argparse.Namespace) -> None:
    """Measure, or take what is kept; write ``rate.json``, plots and sheets; print the summary."""
    if args.quick:
        run_checks(args.out)
        return
    torch.set_num_threads(1)
    options = RateOptions(
        out=args.out,
        data=args.data,
        backgrounds=args.backgrounds,
        sizes=tuple(args.sizes),
        anchors=tuple(args.anchors),
        modes=tuple(args.modes),
        bursts=args.bursts,
        vgg16=args.vgg16,
        minutes=args.minutes,
    )
    if args.clips:
        sources = own_clips(args.clips)
    else:
        sources = standard_clips(args.data, options.work, args.held_out, args.seed)
    if args.only:
        known = ", ".join(source.name for source in sources)
        sources = [source for source in sources if source.name in args.only]
        if len(sources) < len(set(args.only)):
            raise InputError("no_clip", f"--only names a clip that is not in the set ({known}).")
    bench = Bench(options, sources)
    bench.measure()
    bench.report(pictures=True)
    print("\n".join(tables(bench.figures)))
