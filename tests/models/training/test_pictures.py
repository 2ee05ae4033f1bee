# SPDX-License-Identifier: GPL-3.0-or-later
"""Training the picture networks: examples agree with themselves, slices resume, bad steps are left out."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("h5py")

import cv2
import h5py
import torch
from sparse2dense.inference.clip import Camera
from sparse2dense.inference.errors import InputError, S2DError
from sparse2dense.models.body import load_body
from sparse2dense.models.training import pictures
from sparse2dense.models.training.losses import Vgg
from sparse2dense.models.training.picture_cache import WINDOW, batches, make_example

STEP = 12  # pixels that the person of the samples goes to the right


def sample():
    """A noisy body-shaped cut-out that moves sideways before a flat background, as People gives it."""
    body = load_body()
    camera = Camera(300, 300, 128, 128)
    vertices = body.rest(np.zeros(body.shape_size))[0]
    vertices = (vertices - vertices.mean(0) + [0, 0, 2.9]).astype(np.float32)
    moved = vertices + np.float32([STEP * 2.9 / 300, 0, 0])
    cloth = cv2.resize(np.random.default_rng(0).integers(0, 255, (40, 40, 3)).astype(np.uint8), (256, 256))
    plate = np.full((256, 256, 3), 90, np.uint8)
    mask = np.zeros((256, 256), np.uint8)
    for triangle in np.round(camera.project(vertices)[body.faces]).astype(np.int32):
        cv2.fillConvexPoly(mask, triangle, 255)
    shifted = np.roll(mask, STEP, 1)
    flow = np.zeros((1, 256, 256, 2), np.float32)
    flow[..., 0] = -STEP
    return {
        "reference": np.where(mask[..., None] > 0, cloth, plate),
        "reference_mask": mask,
        "plate": plate,
        "reference_vertices": vertices,
        "reference_keypoints": body.keypoints(vertices),
        "camera": camera,
        "frames": np.where(shifted[..., None] > 0, np.roll(cloth, STEP, 1), plate)[None],
        "masks": shifted[None],
        "vertices": moved[None],
        "keypoints": body.keypoints(moved)[None],
        "flow": flow,
        "visible": shifted[None] > 0,
    }


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    for index in range(4):
        example = make_example(sample(), load_body(), np.random.default_rng(index))
        np.savez(folder / f"{index:06d}.npz", **example)
    return folder


@pytest.fixture(scope="module")
def hed(tmp_path_factory):
    """Random weights laid out as HED's file is."""
    path = tmp_path_factory.mktemp("hed") / "weights.h5"
    rng, channels = np.random.default_rng(0), 3
    with h5py.File(path, "w") as file:
        for stage, (count, width) in enumerate(((2, 64), (2, 128), (3, 256)), 1):
            for index in range(count):
                group = f"block{stage}/layers/conv2d{f'_{index}' if index else ''}/vars"
                scale = (9 * channels) ** -0.5
                file[f"{group}/0"] = rng.normal(0, scale, (3, 3, channels, width)).astype(np.float32)
                file[f"{group}/1"] = np.zeros(width, np.float32)
                channels = width
    return path


def training_in(folder: Path, hed: Path) -> pictures.Training:
    torch.set_num_threads(1)
    return pictures.Training(folder, torch.device("cpu"), 1e-3, Vgg(hed, stages=3))


def as_tensors(batch):
    return {name: torch.from_numpy(value) for name, value in batch.items()}


def test_an_examples_flow_leads_to_the_same_point_of_the_reference(cache):
    """Also when the batch mirrors it, and the mesh's motion says nearly the same."""
    source = batches(cache, 2, np.random.default_rng(0))
    seen = set()
    for _ in range(6):
        batch = next(source)
        rows, columns = np.mgrid[: WINDOW[0], : WINDOW[1]].astype(np.float32)
        for i in range(2):
            flow = cv2.resize(
                batch["flow"][i].transpose(1, 2, 0), WINDOW[::-1], interpolation=cv2.INTER_NEAREST
            )
            known = cv2.resize(batch["known"][i, 0], WINDOW[::-1], interpolation=cv2.INTER_NEAREST) > 0
            moved = cv2.remap(
                batch["reference"][i].transpose(1, 2, 0),
                columns + flow[..., 0],
                rows + flow[..., 1],
                cv2.INTER_LINEAR,
            )
            found, stays = (
                np.abs(picture - batch["frames"][i].transpose(1, 2, 0))[known].mean()
                for picture in (moved, batch["reference"][i].transpose(1, 2, 0))
            )
            assert found < 0.5 * stays
            where = batch["known"][i, 0] > 0
            assert np.abs(batch["motion"][i, 0] - batch["flow"][i, 0])[where].mean() < 6
            shift = (batch["keypoints"][i] - batch["reference_keypoints"][i])[:, 0].mean()
            assert abs(shift + batch["flow"][i, 0][where].mean()) < 6
            seen.add(bool(shift > 0))
    assert seen == {True, False}


def test_people_whom_the_reference_cuts_off_are_left_out():
    cut = sample()
    cut["reference_vertices"] = cut["reference_vertices"] + np.float32([0, -1, 0])
    cut["reference_keypoints"] = cut["reference_keypoints"] + np.float32([0, -1, 0])
    assert make_example(cut, load_body(), np.random.default_rng(0)) is None


def test_steps_lower_the_loss_and_a_checkpoint_goes_on_where_it_was(cache, hed, tmp_path):
    training = training_in(tmp_path, hed)
    batch = as_tensors(next(batches(cache, 1, np.random.default_rng(3))))
    losses = [training.step(batch, 0.1)["total"] for _ in range(8)]
    assert losses[-1] < 0.97 * losses[0]
    training.save()
    again = training_in(tmp_path, hed)
    again.load()
    assert again.steps == 8
    for name, value in training.average.state_dict().items():
        torch.testing.assert_close(again.average.state_dict()[name], value)
    moments = [state["exp_avg_sq"].sum() for state in again.optimiser.state.values()]
    assert moments and all(moment > 0 for moment in moments[-2:])


def test_a_step_that_is_not_finite_changes_nothing_and_many_end_the_training(
    cache, hed, tmp_path, monkeypatch
):
    monkeypatch.setattr(pictures, "_MAX_BAD_STEPS", 2)
    training = training_in(tmp_path, hed)
    batch = as_tensors(next(batches(cache, 1, np.random.default_rng(3))))
    before = {name: value.clone() for name, value in training.networks.state_dict().items()}
    bad = batch | {"frames": batch["frames"] * float("nan")}
    assert training.step(bad, 0) == {}
    for name, value in training.networks.state_dict().items():
        torch.testing.assert_close(value, before[name])
    with pytest.raises(S2DError, match="diverged"):
        for _ in range(3):
            training.step(bad, 0)


def test_a_slice_trains_from_the_cache_logs_and_is_not_started_twice(cache, hed, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "fetch", lambda name: None)
    monkeypatch.setattr(pictures, "HED_WEIGHTS", hed)
    monkeypatch.setattr(pictures, "_SAVE_EVERY", 1.0)
    parser = argparse.ArgumentParser()
    pictures.add_arguments(parser)
    given = [
        "--data",
        str(tmp_path),
        "--out",
        str(tmp_path / "run"),
        "--cache",
        str(cache),
        "--examples",
        "4",
    ]
    given += ["--people", "1", "--minutes", "0.08", "--threads", "1"]
    pictures.run(parser.parse_args(given))
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["step"] > 0 and log[-1]["total"] > 0
    assert list((tmp_path / "run").glob("sheet_*.jpg"))
    with pytest.raises(InputError, match="--resume"):
        pictures.run(parser.parse_args(given))
