# SPDX-License-Identifier: GPL-3.0-or-later
"""Arrays in ``.npz`` files are NumPy's own, and nothing that a stranger made of one is believed."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sparse2dense.models.array_files import read_array, read_arrays, write_arrays

POINTS = np.random.default_rng(1).normal(size=(5, 7, 3)).astype(np.float32)
NAMES = np.array(["a", "ü"])


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "données.npz"
    stream = POINTS.shape, (POINTS[i : i + 2] for i in range(0, 5, 2))
    write_arrays(path, {"names": NAMES, "flags": np.array([True, False])}, {"points": stream})
    return path


def test_streamed_file_equals_what_numpy_would_have_written(written):
    with np.load(written, allow_pickle=False) as read:
        assert sorted(read.files) == ["flags", "names", "points"]
        assert list(read["names"]) == ["a", "ü"]
        np.testing.assert_array_equal(read["points"], POINTS)


def test_those_that_are_asked_for_and_there_are_read(written):
    found = read_arrays(written, ("points", "names", "missing"))
    assert list(found) == ["points", "names"]
    np.testing.assert_array_equal(found["points"], POINTS)
    assert found["names"].tolist() == ["a", "ü"]
    assert read_arrays(written, ("flags",))["flags"].tolist() == [True, False]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_files_of_numpy_itself_are_read(tmp_path, save):
    save(tmp_path / "x.npz", empty=np.zeros((0, 3)), number=np.float64(2), turned=POINTS.T)
    found = read_arrays(tmp_path / "x.npz", ("empty", "number", "turned"))
    assert found["empty"].shape == (0, 3) and found["number"] == 2
    np.testing.assert_array_equal(found["turned"], POINTS.T)


def test_one_array_alone_is_read_and_nothing_else(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, POINTS.T)
    np.testing.assert_array_equal(read_array(path), POINTS.T)
    whole = path.read_bytes()
    for content in (b"", whole[:50], whole[:-1], b"text"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"no whole \.npy file"):
            read_array(path)
    np.save(path, np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(ValueError, match="not numbers or text"):
        read_array(path)


def test_file_that_is_not_there_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "none.npz", ("points",))


def test_file_cut_off_anywhere_is_refused(written):
    whole = written.read_bytes()
    for size in range(0, len(whole), 11):
        written.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"no whole \.npz file"):
            read_arrays(written, ("names", "points"))


def test_wrong_byte_anywhere_is_refused_or_does_no_harm(written):
    whole = written.read_bytes()
    for at in range(0, len(whole), 5):
        written.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            found = read_arrays(written, ("names", "points"))
        except ValueError:
            continue
        for name, array in found.items():
            np.testing.assert_array_equal(array, {"names": NAMES, "points": POINTS}[name])


def test_pickles_are_never_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    np.savez(tmp_path / "trap.npz", points=np.array([Trap()], dtype=object))
    with pytest.raises(ValueError, match="not numbers or text"):
        read_arrays(tmp_path / "trap.npz", ("points",))
    assert not (tmp_path / "sprung").exists()


def claim(path, descr, shape, data=b"", version=(1, 0)):
    file = io.BytesIO()
    write = {(1, 0): np.lib.format.write_array_header_1_0, (2, 0): np.lib.format.write_array_header_2_0}
    write[version](file, {"descr": descr, "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("points.npy", file.getvalue() + data)
    return path


@pytest.mark.parametrize(
    ("descr", "shape"),
    [("<f4", (10**12, 3)), ("<f4", (10**30,)), ("<f4", (5, -7)), ("<U0", (10**12,)), ("<U4000000", (9,))],
)
def test_shape_that_the_file_has_no_bytes_for_is_refused(tmp_path, descr, shape):
    with pytest.raises(ValueError, match="impossible shape"):
        read_arrays(claim(tmp_path / "liar.npz", descr, shape, bytes(400)), ("points",))


def test_size_that_no_compression_reaches_is_refused(tmp_path):
    path = claim(tmp_path / "liar.npz", "<f4", (10**9 - 50,))
    data = bytearray(path.read_bytes())
    size = (4 * 10**9).to_bytes(4, "little")
    for marker, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):  # the size in either header
        at = data.index(marker) + offset
        data[at : at + 4] = size
    path.write_bytes(data)
    with pytest.raises(ValueError, match="impossible shape"):
        read_arrays(path, ("points",))


def test_what_compresses_best_is_read(tmp_path):
    np.savez_compressed(tmp_path / "zeros.npz", points=np.zeros(10**6))
    assert not read_arrays(tmp_path / "zeros.npz", ("points",))["points"].any()


def test_headers_of_numpys_second_version_are_read_and_others_refused(tmp_path):
    path = claim(tmp_path / "two.npz", "<f4", (2,), np.float32([1, 2]).tobytes(), version=(2, 0))
    assert read_arrays(path, ("points",))["points"].tolist() == [1, 2]
    with zipfile.ZipFile(tmp_path / "nine.npz", "w") as archive:
        archive.writestr("points.npy", b"\x93NUMPY\x09\x00" + bytes(100))
    with pytest.raises(ValueError, match="unknown format"):
        read_arrays(tmp_path / "nine.npz", ("points",))
