# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures the shipped vertex predictor on held-out motion and people: ``s2d bench vertices``."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..inference.backends import load_network
from ..models.training.evaluate_vertices import evaluate, results_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``s2d bench vertices``."""
    parser.add_argument("--data", type=Path, help="folder of the motion archive (default: S2D_DATA)")
    parser.add_argument("--seed", type=int, default=7, help="of the keypoints' noise")
    parser.add_argument("--threads", type=int, default=2, help="of the processor")


def run(args: argparse.Namespace) -> None:
    """Print the errors of the network and its baselines at every noise level, and the network's speed."""
    results = evaluate(load_network("vertex_predictor", "cpu", args.threads), args.data, args.seed)
    print(f"{results['motions']} motions, {results['frames']} frames")
    print(results_table(results))
    print(f"{results['frames_per_second']} frames/s on {args.threads} threads")
