"""``convert``: files on disk become data sets with the same values."""

import numpy as np
import pytest
from click.testing import CliRunner
from raw_files import write_idx

from dask_newton.cli import main
from dask_newton.data import open_dataset, verify_dataset


def run(*args, status=0):
    result = CliRunner().invoke(main, ["convert", *map(str, args)])
    assert result.exit_code == status, result.output
    return result.output


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (25, 4, 3), dtype=np.uint8)


@pytest.fixture
def labels():
    return (np.arange(25) % 3).astype(np.uint8)


def test_idx_with_two_splits(tmp_path, images, labels):
    train = write_idx(tmp_path / "a.gz", images), write_idx(tmp_path / "b.gz", labels)
    test = write_idx(tmp_path / "c", images[:5]), write_idx(tmp_path / "d", labels[:5])
    out = tmp_path / "data.zarr"
    output = run(
        "idx", "--images", train[0], "--labels", train[1], "--test-images", test[0], "--test-labels", test[1],
        "--scale", 1 / 255, "--chunk-rows", 10, "--attr", "name=small", "--attr", "source=a=b", out,
    )  # fmt: skip
    assert output == f"Wrote {out}: test 5 x 12, train 25 x 12.\n"
    dataset = open_dataset(out / "train")
    assert dataset.X.chunks[0] == (10, 10, 5)
    np.testing.assert_allclose(dataset.X.compute(), images.reshape(25, 12) / np.float32(255), rtol=1e-6)
    np.testing.assert_array_equal(dataset.y.compute(), labels)
    assert dataset.classes.tolist() == [0, 1, 2]
    assert dataset.attrs["name"] == "small"
    assert dataset.attrs["source"] == "a=b"
    assert verify_dataset(out) > 0


def test_npy(tmp_path):
    rng = np.random.default_rng(0)
    X, y, weight = rng.standard_normal((50, 3)), np.array(["no", "yes"])[rng.integers(0, 2, 50)], rng.random(50)
    for name, values in (("X", X), ("y", y), ("w", weight)):
        np.save(tmp_path / f"{name}.npy", values)
    files = "--X", tmp_path / "X.npy", "--y", tmp_path / "y.npy", "--sample-weight", tmp_path / "w.npy"
    output = run("npy", *files, "--chunk-rows", 20, tmp_path / "data.zarr")
    assert output == f"Wrote {tmp_path / 'data.zarr'}: 50 x 3.\n"
    dataset = open_dataset(tmp_path / "data.zarr")
    np.testing.assert_array_equal(dataset.X.compute(), X)
    assert dataset.y.compute().tolist() == y.tolist()
    np.testing.assert_array_equal(dataset.sample_weight.compute(), weight)
    assert dataset.classes.tolist() == ["no", "yes"]
    assert "exists already" in run("npy", *files, tmp_path / "data.zarr", status=1)
    run("npy", *files, "--overwrite", "--chunk-rows", 25, tmp_path / "data.zarr")
    assert open_dataset(tmp_path / "data.zarr").X.numblocks == (2, 1)


def test_numbers_with_a_fraction_are_no_classes(tmp_path):
    np.save(tmp_path / "X.npy", np.eye(4))
    np.save(tmp_path / "y.npy", np.linspace(0, 1, 4))
    run("npy", "--X", tmp_path / "X.npy", "--y", tmp_path / "y.npy", tmp_path / "data.zarr")
    assert open_dataset(tmp_path / "data.zarr").classes is None


def test_wrong_files(tmp_path, images, labels):
    np.save(tmp_path / "X.npy", np.eye(4))
    np.save(tmp_path / "y.npy", np.arange(3))
    np.save(tmp_path / "objects.npy", np.array([{}, 1], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "X.npz", X=np.eye(4))
    pair = "--images", write_idx(tmp_path / "i.gz", images), "--labels", write_idx(tmp_path / "l.gz", labels[:9])
    cut = tmp_path / "cut.gz"
    cut.write_bytes(write_idx(tmp_path / "whole.gz", images).read_bytes()[:-40])
    whole_labels = "--labels", write_idx(tmp_path / "m.gz", labels)
    X, out = ("--X", tmp_path / "X.npy"), tmp_path / "out.zarr"
    before = sorted(tmp_path.iterdir())
    cases = [
        (("npy", *X, "--y", tmp_path / "y.npy"), 1, "X has 4, y has 3"),
        (("npy", *X, "--y", tmp_path / "objects.npy"), 1, "objects.npy cannot be read"),
        (("npy", "--X", tmp_path / "X.npz"), 1, "X.npz is not a .npy file"),
        (("npy", "--X", tmp_path / "nowhere.npy"), 2, "does not exist"),
        (("npy", *X, "--chunk-rows", 0), 2, "0 is not in the range x>=1"),
        (("npy", *X, "--attr", "licence"), 2, "not of the form KEY=VALUE"),
        (("idx", *pair), 1, "they are not a pair"),
        (("idx", "--images", cut, *whole_labels), 1, "damaged or truncated gzip file"),
        (("idx", "--images", tmp_path / "X.npy", *whole_labels), 1, "is not an IDX file"),
        (("idx", *pair, "--test-images", cut), 2, "go together"),
        (("idx", *pair, "--scale", -1), 2, "not in the range x>0"),
    ]
    for args, status, message in cases:
        output = run(*args, out, status=status)
        assert message in output, args
        assert output.count("Error:") == 1
    assert sorted(tmp_path.iterdir()) == before
    assert "does not exist; create it first" in run("npy", *X, tmp_path / "no" / "out.zarr", status=1)
