# SPDX-License-Identifier: GPL-3.0-or-later
"""A clip about to be decoded: its file, its body, and the networks that make meshes and pictures of it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...models.body import BodyModel
from ...models.body_catalogue import load_body
from ...models.errors import InputError
from ...models.keypoints import MIRRORED_REGIONS
from ...models.measures import MEASURES, BodyMeasures
from ...models.shaped_body import ShapedBody
from ...models.shipped import weights_sha256
from ...models.smpl import model_file
from ..format.certainty import certainty_runs, doubts
from ..format.container import S2DFile
from ..runtime.backends import Network, load_network
from .decoded_folder import PICTURE_NETWORKS, Description, RestBody
from .edits import Edits, edited_body
from .point_cache import rest_for_blender
from .span_edits import exchanged_frames
from .vertices import VertexDecoder, untrained_warning, vertex_network


class Session:
    """An opened clip with what it is decoded with.

    ``body_file`` is the user's own model file, or its folder, where the clip's body is of the SMPL family.
    InputError where the body cannot be had, or cannot have the measures that the edits ask for, or where they
    name frames that the clip lacks.

    Attributes:
        file: the opened ``.s2d``.
        device, threads: what runs the networks, see :func:`.load_network`.
        body: the person's body.
        target: the body that the mesh is of: the person's, or the one that the edits give the motion to.
        edits: how the motion is cleaned up.
        warnings: what to tell the user.
    """

    def __init__(
        self,
        file: S2DFile,
        *,
        device: str = "auto",
        threads: int | None = None,
        body_file: str | Path | None = None,
        edits: Edits | None = None,
    ) -> None:
        self.file, self.device, self.threads = file, device, threads
        self.edits = edits or Edits()
        self.edits.check_frames(file.header.frames)
        self.body = ShapedBody(_body_of(file, body_file), file.header.shape)
        self.target = edited_body(self.body, self.edits)
        self._body_file = body_file
        self._network = vertex_network(file.header.body, body_file)
        self.warnings = file.unshown_warnings() + file.network_warnings()
        if self._network is None:
            self.warnings.append(untrained_warning(file.header.body, body_file))

    @cached_property
    def predictor(self) -> VertexDecoder:
        """The vertex predictor, loaded when vertices are first asked for."""
        if self.target is self.body:
            return self.own_predictor
        return VertexDecoder(self.target, float(self.file.header.fps), self._loaded_network)

    @cached_property
    def own_predictor(self) -> VertexDecoder:
        """The same for the person's own body, whatever the edits give the motion to."""
        return VertexDecoder(self.body, float(self.file.header.fps), self._loaded_network)

    @cached_property
    def _loaded_network(self) -> Network | None:
        name = self._network
        return None if name is None else load_network(name, self.device, self.threads)

    @cached_property
    def rest(self) -> RestBody:
        """The body that the mesh is of, at rest, and which file of the user's it comes from."""
        name, model = self.file.header.body, self.target.model
        own = "" if name == "anny" else _digits(str(model_file(name, self._body_file).absolute()))
        uv = model.uv[model.faces_uv].astype(np.float32)
        return RestBody(rest_for_blender(self.target), model.faces, uv, own)

    def describe(self, has_video: bool, with_video: bool) -> Description:
        """Say what the clip is and what it is decoded with; ``with_video`` if its pictures are drawn too."""
        header = self.file.header
        networks: dict[str, str | Path] = {name: name for name in PICTURE_NETWORKS if with_video}
        if self._network is not None:
            networks["vertex_predictor"] = self._network
        certainty = self.file.certainty()
        if certainty is not None:
            swapped = exchanged_frames(self.edits.spans, header.frames) ^ self.edits.mirror
            certainty = np.where(swapped[:, None], certainty[:, MIRRORED_REGIONS], certainty)
        return Description(
            clip=self.file.sha256,
            frames=header.frames,
            fps=header.fps,
            width=header.width,
            height=header.height,
            camera=header.camera,
            has_video=has_video,
            files={},
            warnings=self.warnings,
            body=header.body,
            measures=_offered_measures(self.body),
            edits=self.edits.as_json(),
            weights={name: _digits(f"{network}.onnx") for name, network in networks.items()},
            certainty={} if certainty is None else certainty_runs(certainty),
            doubts=[]
            if certainty is None
            else [
                (round(doubt.start * header.fps), round(doubt.stop * header.fps), doubt.part)
                for doubt in doubts(certainty, header.fps)
            ],
        )


def _digits(file_name: str) -> str:
    """Return the first digits of the SHA-256 of a file, of those shipped or with its whole path."""
    return weights_sha256(file_name)[:12]


def _body_of(file: S2DFile, body_file: str | Path | None) -> BodyModel:
    """Load the body model that the clip names and see that its shape fits."""
    header = file.header
    body = load_body(header.body, body_file)
    if len(header.shape) != body.shape_size:
        raise InputError(
            "body",
            f"{file.path} was made for another version of the body {header.body} "
            f"({len(header.shape)} shape coefficients, here {body.shape_size}).",
        )
    return body


def _offered_measures(body: ShapedBody) -> dict[str, dict[str, Any]]:
    """Say what measures a body has, and in what range others may be asked for."""
    return {
        name: {
            "value": found.value,
            "min": found.least,
            "max": found.most,
            "unit": MEASURES[name].unit,
            "label": MEASURES[name].label,
            "description": MEASURES[name].description,
        }
        for name, found in BodyMeasures(body.model).of(body.shape).items()
    }
