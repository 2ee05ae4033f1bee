"""Training the pose lifter: its examples, its loss, and the whole command on a handful of clips."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("ai_edge_litert")

from sparse2dense.inference.capture.blazepose import PoseDetector, PoseLandmarker  # noqa: E402
from sparse2dense.inference.capture.pose_lifter import mirror, split  # noqa: E402
from sparse2dense.inference.cli import main  # noqa: E402
from sparse2dense.models.errors import InputError  # noqa: E402
from sparse2dense.models.keypoints import BLAZEPOSE_INDEX  # noqa: E402
from sparse2dense.models.shipped import WEIGHTS  # noqa: E402
from sparse2dense.models.training import train_lifter  # noqa: E402
from sparse2dense.models.training.people import People  # noqa: E402


@pytest.fixture(scope="module")
def clips(data_folder, tmp_path_factory):
    """Three clips of held-out people that neither training nor the model card's figures saw."""
    folder = tmp_path_factory.mktemp("clips")
    people = People(data_folder, "held_out", (256, 256), seed=99)
    estimators = PoseDetector(1), PoseLandmarker(1)
    for index in range(4):
        np.savez(folder / f"{index}.npz", **train_lifter.film(people, index, estimators))
    return sorted(folder.glob("*.npz"))


@pytest.fixture(scope="module")
def examples(clips):
    return [example for example in map(train_lifter.load_example, clips) if example is not None]


def test_the_shipped_network_knows_the_body_better_than_the_estimator(clips):
    results = train_lifter.evaluate(clips, WEIGHTS)
    assert results["clips"]["measured"] >= 2
    estimator, lifted = results["estimator"], results["lifted"]
    assert lifted["image_mm"] < 0.95 * estimator["image_mm"]
    assert lifted["pose_mm"] < 0.9 * estimator["pose_mm"]
    assert lifted["acceleration_mm"] < 0.8 * estimator["acceleration_mm"]


def test_varied_examples_stay_consistent(examples, monkeypatch):
    """Whatever is mirrored, turned and scaled: the keypoints are still their landmarks, and as far off."""
    monkeypatch.setattr(train_lifter, "_JITTER", 0.0)
    example, rng = examples[0], np.random.default_rng(0)
    for _ in range(8):
        varied = train_lifter.vary(example, rng)
        image, world, *_ = split(varied.features)
        np.testing.assert_allclose(image[:, list(BLAZEPOSE_INDEX)], varied.image, atol=1e-5)
        np.testing.assert_allclose(world[:, list(BLAZEPOSE_INDEX)], varied.world, atol=1e-5)
        before = np.linalg.norm(example.true_world - example.world, axis=-1).mean()
        after = np.linalg.norm(varied.true_world - varied.world, axis=-1).mean()
        assert 0.7 < after / before < 1.4


def test_the_mirrored_picture_has_the_mirrored_features(examples):
    features = examples[0].features
    np.testing.assert_array_equal(mirror(mirror(features)), features)
    image, *_ = split(mirror(features))
    left_wrist, right_wrist = 15, 16
    np.testing.assert_array_equal(image[:, left_wrist], split(features)[0][:, right_wrist] * (-1, 1))


def test_training_learns(examples):
    network = train_lifter.train(examples, 40)
    untrained = train_lifter.PoseLifter(train_lifter.FEATURES)
    untrained.standardise(torch.from_numpy(np.concatenate([e.features for e in examples])))
    with torch.no_grad():
        assert train_lifter.loss_of(network, examples) < 0.9 * train_lifter.loss_of(
            untrained.eval(), examples
        )


def test_the_exported_network_is_the_trained_one(examples, tmp_path):
    network = train_lifter.train(examples, 3)
    train_lifter.export(network, tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "pose_lifter.onnx")
    for moments in (1, 7, 64):
        features = np.stack([example.features[:moments] for example in examples[:2]])
        with torch.no_grad():
            wanted = network(torch.from_numpy(features))
        found = session.run(["image", "world"], {"features": features})
        for ours, theirs in zip(wanted, found, strict=True):
            np.testing.assert_allclose(theirs, ours.numpy(), atol=1e-4)


@pytest.mark.slow
def test_the_command_goes_on_where_it_was_stopped(data_folder, tmp_path, capsys):
    options = (
        f"train lifter --data {data_folder} --out {tmp_path} --clips 3 --held-out 2 --renderers 1 --steps 2"
    )
    options += f" --export {tmp_path / 'weights'} --threads 1"
    assert main([*options.split(), "--minutes", "0"]) == 0
    assert "run it again" in capsys.readouterr().out
    assert not (tmp_path / "weights").exists()
    assert main(options.split()) == 0
    clips = {path: path.stat().st_mtime_ns for path in sorted((tmp_path / "train").glob("*.npz"))}
    assert len(clips) == 3
    figures = json.loads((tmp_path / "weights" / "pose_lifter.json").read_text())
    assert set(train_lifter.METRICS) <= set(figures["lifted"])
    assert main(options.split()) == 0
    assert clips == {path: path.stat().st_mtime_ns for path in clips}, "clips were filmed anew"


def test_a_damaged_clip_is_named(tmp_path):
    damaged = Path(tmp_path) / "00000.npz"
    damaged.write_bytes(b"PK no zip")
    with pytest.raises(InputError, match="00000"):
        train_lifter.load_example(damaged)
