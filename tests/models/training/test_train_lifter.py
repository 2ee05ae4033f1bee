# SPDX-License-Identifier: GPL-3.0-or-later
"""The pose lifter learns, goes on as if it had never stopped, is exported as it was trained, and measured."""

import json
import shutil

import numpy as np
import onnxruntime
import pytest
from sparse2dense.inference.capture.pose_lifter import FEATURES, view_of
from sparse2dense.inference.cli import main
from sparse2dense.models.errors import InputError
from sparse2dense.models.keypoints import BONES, MIRRORED
from sparse2dense.models.training import lifter_windows, train_lifter
from sparse2dense.models.training.estimator_faults import EstimatorFaults, followed
from sparse2dense.models.training.filmed_windows import FilmedWindows
from sparse2dense.models.training.lifter_clips import load_clip
from sparse2dense.models.training.lifter_windows import LifterWindows, truth_of

torch = pytest.importorskip("torch")
pytest.importorskip("anny")


@pytest.fixture(scope="module", autouse=True)
def tiny():
    """Few motions at hand and few windows a step: seconds instead of an hour."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"PART": 8, "PARTS": 2, "STEPS_A_PART": 3}.items():
            patch.setattr(lifter_windows, name, value)
        for name, value in {"VIRTUAL": 3, "FILMED_TOO": 2, "WARM_UP": 3, "_FIRST_LOOK": 2}.items():
            patch.setattr(train_lifter, name, value)
        yield


@pytest.fixture
def ticking(monkeypatch):
    """A clock that is a second later whenever somebody looks at it: every step takes one."""
    now = iter(range(1_000_000))
    monkeypatch.setattr(train_lifter.time, "monotonic", lambda: float(next(now)))


@pytest.fixture(scope="module")
def trainer(made_clips, posed_motions):
    clips = [followed(clip) for clip in made_clips]
    faults = EstimatorFaults(clips)

    def make(steps):
        windows = LifterWindows(posed_motions, faults, 0)
        return train_lifter.Trainer(windows, FilmedWindows(clips, 0), minutes=steps / 60)

    return make


def weights_of(trainer):
    return {name: value.clone() for name, value in trainer.averaged().state_dict().items()}


def test_a_slice_resumes_exactly(trainer, ticking, tmp_path):
    whole = trainer(8)
    whole.train(1000, tmp_path / "whole.pt")
    assert (whole.step, whole.done) == (8, 1)
    part = trainer(8)
    part.train(3, tmp_path / "part.pt")
    assert 0 < part.step < 8
    resumed = trainer(8)
    resumed.resume(tmp_path / "part.pt")
    assert resumed.step == part.step
    resumed.train(1000, tmp_path / "part.pt")
    assert resumed.step == 8
    for name, value in weights_of(whole).items():
        torch.testing.assert_close(weights_of(resumed)[name], value, rtol=0, atol=0)
    before = weights_of(resumed)
    resumed.train(1000, tmp_path / "part.pt")
    assert resumed.step == 8, "who is at the end does not go on"
    torch.testing.assert_close(weights_of(resumed), before)


def test_training_learns(trainer, ticking, tmp_path):
    learner = trainer(25)
    batch = learner.batch(1000)

    def loss():
        with torch.no_grad():
            return train_lifter.loss_of(learner.network.eval(), *batch)[0].item()

    learner.train(1, tmp_path / "lifter.pt")
    before = loss()
    learner.train(1000, tmp_path / "lifter.pt")
    assert loss() < 0.8 * before


def test_the_rate_falls_with_time(trainer, ticking, tmp_path):
    learner, rates = trainer(10), []
    learn = learner.learn
    learner.learn = lambda: (learn(), rates.append(learner.optimiser.param_groups[0]["lr"]))[0]
    learner.train(1000, tmp_path / "lifter.pt")
    assert rates[0] == pytest.approx(1e-3 / 3)
    assert max(rates) == rates[2]
    assert rates[-1] == pytest.approx(1e-3 * (0.01 + 0.99 * 0.5 * (1 + np.cos(0.9 * np.pi))))


def test_a_checkpoint_of_another_training_is_refused(trainer, tmp_path):
    path = tmp_path / "lifter.pt"
    trainer(5).save(path)
    torch.save(torch.load(path, weights_only=True) | {"network": {}}, path)
    with pytest.raises(InputError, match="another configuration") as refused:
        trainer(5).resume(path)
    assert refused.value.code == "checkpoint"


@pytest.mark.parametrize(("which", "wanted"), [(0, 0.03), (1, 0.05)])
def test_the_likeliest_spreads_are_those_of_the_errors(which, wanted):
    """Half of the mean error in the picture, 60 mm here, and that of bones in depth, 50 mm."""
    truth, weight = torch.zeros(1, 4, 23, 3), torch.ones(1, 4, 23)
    first, second = BONES[0]
    points = truth.clone()
    points[..., 0] = 0.06
    points[..., first, 2] = 0.05
    weight[..., [i for i in range(23) if i not in (first, second)]] = 0

    def loss(factor):
        spreads = [torch.full((1, 4, 23), 0.03), torch.full((1, 4, len(BONES)), 0.05)]
        spreads[which] = torch.full_like(spreads[which], factor * wanted)
        return train_lifter.loss_of(lambda _: (points, *spreads), None, truth, weight)[0]

    assert loss(1) < min(loss(0.8), loss(1.25))


def test_keypoints_that_do_not_count_change_nothing():
    truth, weight = torch.zeros(1, 2, 23, 3), torch.ones(1, 2, 23)
    weight[..., 15] = 0
    points = truth.clone()
    points[..., 15, :] = 0.5
    spreads = torch.full((1, 2, 23), 0.04), torch.full((1, 2, len(BONES)), 0.04)
    right, wrong = (
        train_lifter.loss_of(lambda _, said=said: (said, *spreads), None, truth, weight)[0]
        for said in (truth, points)
    )
    assert right == wrong


def test_the_exported_network_is_the_trained_one(trainer, ticking, tmp_path):
    learner = trainer(3)
    learner.train(1000, tmp_path / "lifter.pt")
    train_lifter.export(learner.averaged(), tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "pose_lifter.onnx")
    features = learner.batch(0)[0]
    for moments in (1, 7, 64):
        with torch.no_grad():
            wanted = learner.averaged()(features[:2, :moments])
        found = session.run(["points", "spread", "bone_spread"], {"features": features[:2, :moments].numpy()})
        for ours, theirs in zip(wanted, found, strict=True):
            np.testing.assert_allclose(theirs, ours.numpy(), atol=1e-4)


class Perfect:
    """A network that knows a clip's truth."""

    def __init__(self, clip):
        seen = followed(clip)
        view = view_of(seen.rays[None], seen.world[None], seen.visibility[None], seen.seen[None])
        self.truth = truth_of(view, clip.keypoints[None])[0]

    def __call__(self, features):
        assert features.shape == (2, len(self.truth), FEATURES)
        points = np.stack([self.truth, self.truth[:, MIRRORED] * np.array([-1, 1, 1], np.float32)])
        shape = points.shape[:2]
        return {
            "points": points,
            "spread": np.full((*shape, points.shape[2]), 0.01),
            "bone_spread": np.full((*shape, len(BONES)), 0.02),
        }


def test_a_network_that_knows_the_truth_is_measured_without_error(made_clips):
    clip = made_clips[4]
    network = Perfect(clip)
    found = train_lifter.measure(clip, network)
    assert set(found["lifted"]) == {*train_lifter.METRICS, *train_lifter.EXPECTED}
    for metric in train_lifter.METRICS:
        assert abs(found["lifted"][metric]) < 1.5
        assert metric == "knee_degrees" or found["estimator"][metric] > 5
    # The estimator takes this man for nine tenths of his size, so that its centimetres are larger.
    assert found["lifted"]["expected_image_mm"] == pytest.approx(2 * 10 / 0.9, rel=0.1)
    assert found["lifted"]["expected_bone_mm"] == pytest.approx(20 / 0.9, rel=0.1)


def test_who_crouches_is_measured_as_crouching(made_clips):
    clip, network = made_clips[4], Perfect(made_clips[4])
    network.truth = network.truth.copy()
    toward = network.truth[:, 17:23, 2].mean() - 0.3
    network.truth[:, [15, 16], 2] = toward  # the knees point at the camera
    assert abs(train_lifter.measure(clip, network)["lifted"]["knee_degrees"]) > 5


def test_a_damaged_clip_is_named(tmp_path):
    damaged = tmp_path / "00000.npz"
    damaged.write_bytes(b"PK no zip")
    with pytest.raises(InputError, match="00000"):
        load_clip(damaged)


@pytest.mark.slow
def test_the_command_goes_on_where_it_was_stopped(clip_files, data_folder, tmp_path, capsys):
    """Films what is missing, trains, exports, measures; each only once."""
    out, weights = tmp_path / "run", tmp_path / "weights"
    for split, count in (("train", 5), ("held_out", 2)):
        (out / split).mkdir(parents=True)
        for file in clip_files[:count]:
            shutil.copy(file, out / split)
    command = f"train lifter --data {data_folder} --out {out} --clips 6 --held-out 2 --renderers 1"
    command += f" --threads 1 --schedule 0.02 --export {weights}"
    assert main([*command.split(), "--minutes", "0"]) == 0
    assert "5 of 6 clips" in capsys.readouterr().out
    assert not weights.exists()
    assert main(command.split()) == 0
    filmed = {path: path.stat().st_mtime_ns for path in out.rglob("*.npz")}
    assert len(filmed) == 8
    assert load_clip(out / "train" / "00005.npz").keypoints.shape == (64, 23, 3)
    figures = json.loads((weights / "pose_lifter.json").read_text())
    assert set(train_lifter.METRICS) <= set(figures["lifted"])
    assert figures["training"]["steps"] > 0
    assert "lifted keypoints" in capsys.readouterr().out
    trained = (out / "lifter.pt").read_bytes()
    assert main(command.split()) == 0
    assert trained == (out / "lifter.pt").read_bytes(), "who is at the end was trained again"
    assert filmed == {path: path.stat().st_mtime_ns for path in filmed}, "clips were filmed anew"
