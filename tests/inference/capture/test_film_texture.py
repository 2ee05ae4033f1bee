# SPDX-License-Identifier: GPL-3.0-or-later
"""The texture that is sent shows what only other frames than the reference show, as sharp as the film."""

from dataclasses import dataclass, replace
from fractions import Fraction

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sparse2dense.inference.capture.film_texture import gather_texture
from sparse2dense.inference.capture.silhouettes import Silhouettes
from sparse2dense.inference.decode import decode
from sparse2dense.inference.decoding.vertices import VertexDecoder
from sparse2dense.inference.format.clip import Clip, Reference
from sparse2dense.inference.format.container import S2DFile, as_decoded, read_clip, write_clip
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.camera import Camera
from sparse2dense.models.mesh_motion import Surface
from sparse2dense.models.shaped_body import ShapedBody

BODY = load_body()
SHAPED = ShapedBody(BODY, np.zeros(BODY.shape_size))
SIDE, CAMERA = 128, Camera(150, 150, 64, 64)  # of the canvas
FINER = 8  # times that the film is larger than it
AHEAD = -BODY.normals(SHAPED.vertices)[:, 2]
TRUNK = np.abs(SHAPED.vertices) @ (1, 0.3, 0) < 0.15
FRAMES = 13
GREEN, RED, BLUE = (0, 255, 0), np.array((200, 30, 40)), np.array((30, 40, 200))


@dataclass
class Picture:
    """One of a film; says in ``made`` at which sizes it was asked for."""

    small: np.ndarray
    large: np.ndarray
    made: list

    @property
    def canvas(self):
        self.made.append("canvas")
        return self.small

    @property
    def source(self):
        self.made.append("source")
        return self.large


@pytest.fixture(scope="module")
def colours():
    """Red in front and blue behind, each vertex a little darker or lighter."""
    rng = np.random.default_rng(2)
    return np.where(AHEAD[:, None] > 0, RED, BLUE) + rng.choice([-28, 28], (len(AHEAD), 1))


@pytest.fixture(scope="module")
def turning(colours):
    """A clip of a body that turns around once before green, its film and its masks, as it is filmed."""
    clip = Clip(Fraction(25), CAMERA, SIDE, SIDE, np.zeros((FRAMES, 23, 3), np.float32), "anny", SHAPED.shape)
    silhouettes, film, keypoints = Silhouettes(SIDE, SIDE), [], []
    for frame in range(FRAMES):
        turn = Rotation.from_euler("y", 360 * frame / FRAMES, degrees=True).as_matrix()
        vertices = (SHAPED.vertices @ turn.T - SHAPED.vertices.mean(axis=0) + [0, 0, 2.6]).astype(np.float32)
        dressed, size = BODY.dressed(vertices), SIDE * FINER
        shown = Surface(BODY.faces, FINER * CAMERA.project(dressed), dressed[:, 2], size, size)
        picture, mask = np.full((size, size, 3), GREEN, np.uint8), np.zeros((size, size), np.uint8)
        corners = BODY.faces[shown.triangles]
        picture.reshape(-1, 3)[shown.cells] = np.einsum("nc,ncd->nd", shown.weights, colours[corners])
        mask.ravel()[shown.cells] = 255
        small, person = (
            cv2.resize(each, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for each in (picture, mask)
        )
        silhouettes.put(frame, person)
        film.append(Picture(small, picture, []))
        keypoints.append(BODY.keypoints(vertices))
        if frame == 0:
            clip.references = [Reference(0, small, person)]
    return replace(clip, keypoints=np.stack(keypoints).astype(np.float32)), film, silhouettes


@pytest.fixture(scope="module")
def sent(turning, tmp_path_factory):
    """The file of that clip with its texture, and its bytes by part."""
    clip, film, silhouettes = turning
    stages = []
    predictor = VertexDecoder(SHAPED, 25, None)
    texture = gather_texture(
        as_decoded(clip), iter(film), silhouettes, predictor, 256, lambda *stage: stages.append(stage)
    )
    assert {stage for stage, _, _ in stages} == {"texture"}
    assert stages[-1][1] == stages[-1][2] >= max(done for _, done, _ in stages)
    path = tmp_path_factory.mktemp("sent") / "clip.s2d"
    return path, write_clip(replace(clip, texture=texture), path)


def at_vertices(texture):
    """The texture's colours ``(V, 3)`` at the vertices."""
    column, row = np.clip((BODY.uv * [1, -1] + [0, 1]) * len(texture), 0, len(texture) - 1).astype(int).T
    found = np.zeros((len(AHEAD), 3))
    found[BODY.faces] = texture[row, column][BODY.faces_uv]
    return found


def decoded_texture(path, folder):
    decode(path, folder, only="mesh")
    return cv2.imread(str(folder / "texture.png"))[..., ::-1]


def test_what_the_reference_hides_is_seen(sent, turning, tmp_path):
    """The back, which decoding makes up of the front where no texture was sent."""
    with_it = decoded_texture(sent[0], tmp_path / "with")
    assert with_it.shape == (256, 256, 3)
    write_clip(turning[0], tmp_path / "clip.s2d")
    without = decoded_texture(tmp_path / "clip.s2d", tmp_path / "without")
    back, front = TRUNK & (AHEAD < -0.7), TRUNK & (AHEAD > 0.7)
    assert np.abs(at_vertices(with_it)[back].mean(axis=0) - BLUE).max() < 20
    assert np.abs(at_vertices(without)[back].mean(axis=0) - RED).max() < 40
    for texture in (with_it, without):
        assert np.abs(at_vertices(texture)[front].mean(axis=0) - RED).max() < 20


def test_it_is_as_sharp_as_the_film(sent, turning, colours, tmp_path):
    """What differs from vertex to vertex is finer than the canvas's pixels and coarser than the film's."""
    clip, film, silhouettes = turning
    coarse = [Picture(each.small, each.small, []) for each in film]
    predictor = VertexDecoder(SHAPED, 25, None)
    small = gather_texture(as_decoded(clip), iter(coarse), silhouettes, predictor, 256)
    front = TRUNK & (AHEAD > 0.7)

    def likeness(texture):
        return np.corrcoef(at_vertices(texture)[front, 0], colours[front, 0])[0, 1]

    assert likeness(read_clip(sent[0]).texture) > max(likeness(small) + 0.1, 0.85)


def test_few_pictures_are_made(sent, turning):
    """Each that is taken once at either size; of all others none."""
    made = [picture.made for picture in turning[1]]
    assert made[0]
    assert all(sorted(set(each)) in ([], ["canvas", "source"]) for each in made)
    assert 2 <= sum(map(bool, made)) <= 9


def test_a_file_without_it_is_as_it_was(sent, turning, tmp_path):
    """The part costs its own bytes and an entry of the table; nothing else changes."""
    plain = write_clip(turning[0], tmp_path / "clip.s2d")
    assert "texture" not in plain
    assert sent[1]["total"] - sent[1]["texture"] - plain["total"] <= 8
    file = S2DFile.open(tmp_path / "clip.s2d")
    assert file.texture() is None
    data = (tmp_path / "clip.s2d").read_bytes()
    parts, longer = data[file.parts[0].start :], sent[0].read_bytes()
    assert longer[len(longer) - sent[1]["texture"] - len(parts) :].startswith(parts)


def test_a_reference_that_shows_nobody(turning):
    """Its mask may be empty where the estimator found no outline; other frames tell the colours then."""
    clip, film, silhouettes = turning
    blind = Silhouettes(SIDE, SIDE)
    for frame in silhouettes.frames:
        blind.put(frame, 255 * silhouettes.mask(frame) * (frame > 0))
    again = iter([Picture(each.small, each.large, []) for each in film])
    texture = gather_texture(as_decoded(clip), again, blind, VertexDecoder(SHAPED, 25, None), 64)
    assert np.abs(at_vertices(texture)[TRUNK & (AHEAD < -0.7)].mean(axis=0) - BLUE).max() < 30
