"""IDX files: every dtype, plain and gzip'd, and each way in which one can be wrong."""

import gzip
import itertools
import struct
import tracemalloc

import numpy as np
import pytest

from dask_newton.data import (
    DatasetError,
    convert_idx,
    idx_batches,
    iter_idx,
    open_dataset,
    read_idx_header,
    verify_dataset,
)

CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}


def idx_bytes(values):
    code = CODES[values.dtype.str[1:]]
    header = struct.pack(">BBBB", 0, 0, code, values.ndim) + struct.pack(f">{values.ndim}I", *values.shape)
    return header + values.astype(values.dtype.newbyteorder(">")).tobytes()


def write_idx(path, values):
    content = idx_bytes(values)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.fixture(params=["", ".gz"])
def pair(tmp_path, request):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (25, 4, 3), dtype=np.uint8), rng.integers(0, 10, 25, dtype=np.uint8)
    return (
        write_idx(tmp_path / f"images{request.param}", images),
        write_idx(tmp_path / f"labels{request.param}", labels),
        images.reshape(25, 12),
        labels,
    )


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("dtype", CODES)
def test_header_and_values_of_every_dtype(tmp_path, dtype, suffix):
    values = (np.arange(30).reshape(10, 3) - (0 if dtype == "u1" else 15)).astype(dtype)
    path = write_idx(tmp_path / f"file{suffix}", values)
    header = read_idx_header(path)
    assert (header.dtype, header.shape, header.compressed) == (np.dtype(dtype), (10, 3), suffix == ".gz")
    batches = list(iter_idx(path, 4))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert batches[0].dtype == np.dtype(dtype)
    np.testing.assert_array_equal(np.concatenate(batches), values)


def test_convert(tmp_path, pair):
    images, labels, X, y = pair
    calls = []
    path = convert_idx(
        images,
        labels,
        tmp_path / "d.zarr",
        scale=1 / 255,
        label_dtype="i8",
        attrs={"name": "small"},
        chunk_rows=10,
        progress=lambda *args: calls.append(args),
    )
    dataset = open_dataset(path)
    assert dataset.X.dtype == np.float32
    np.testing.assert_array_equal(dataset.X.compute(), X.astype("f4") * np.float32(1 / 255))
    assert dataset.y.dtype == np.int64
    np.testing.assert_array_equal(dataset.y.compute(), y)
    assert dataset.classes.tolist() == sorted(set(y.tolist()))
    assert dataset.attrs["name"] == "small"
    assert calls == [(10, 25), (20, 25), (25, 25)]
    verify_dataset(path)


def test_convert_keeps_bytes_by_default(tmp_path, pair):
    images, labels, X, y = pair
    dataset = open_dataset(convert_idx(images, labels, tmp_path / "d.zarr"))
    assert dataset.X.dtype == dataset.y.dtype == np.uint8
    np.testing.assert_array_equal(dataset.X.compute(), X)


def test_convert_splits(tmp_path, pair):
    images, labels, X, y = pair
    path = convert_idx(
        {"train": images, "test": images}, {"train": labels, "test": labels}, tmp_path / "d.zarr", dtype="f8"
    )
    for split in ("train", "test"):
        np.testing.assert_array_equal(open_dataset(path / split).X.compute(), X.astype("f8"))
    with pytest.raises(ValueError, match=r"splits \['train'\], but labels has \['test'\]"):
        convert_idx({"train": images}, {"test": labels}, tmp_path / "e.zarr")
    with pytest.raises(TypeError, match="mapping of splits for both"):
        convert_idx({"train": images}, labels, tmp_path / "e.zarr")


def test_scaled_pixels_need_a_float_type(pair):
    with pytest.raises(ValueError, match="dtype uint8 cannot hold"):
        idx_batches(pair[0], pair[1], scale=1 / 255, dtype="u1")


def test_truncated_gzip(tmp_path):
    values = np.random.default_rng(1).integers(0, 256, (500, 99), dtype=np.uint8)
    noise = write_idx(tmp_path / "noise.gz", values)
    ones = write_idx(tmp_path / "ones.gz", np.ones(500, dtype=np.uint8))
    noise.write_bytes(noise.read_bytes()[:-1000])
    with pytest.raises(DatasetError, match="noise.gz is a damaged or truncated gzip"):
        convert_idx(noise, ones, tmp_path / "d.zarr")
    assert not (tmp_path / "d.zarr").exists()


def test_damaged_gzip(tmp_path):
    path = write_idx(tmp_path / "a.gz", np.arange(1000, dtype="i4"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="a.gz"):
        list(iter_idx(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with nothing"),
        (b"\x89PNG\r\n", "not an IDX file: it begins with 89 50 4e 47, expected 00 00"),
        (b"\0\0\x07\x01\0\0\0\x01\0", "not an IDX file: it begins with 00 00 07 01"),
        (b"\0\0\x08\x00", "not an IDX file"),
        (b"\0\0\x08\x02\0\0\0\x01", "ends inside its header"),
        (b"\0\0\x08\x01\0\0\0\x00", "holds no values"),
    ],
)
@pytest.mark.parametrize("compress", [False, True])
def test_wrong_headers(tmp_path, content, message, compress):
    (tmp_path / "f").write_bytes(gzip.compress(content) if compress else content)
    with pytest.raises(DatasetError, match=message):
        read_idx_header(tmp_path / "f")


@pytest.mark.parametrize(("change", "found"), [(-5, 28), (7, 40)])
def test_wrong_size_of_a_plain_file(tmp_path, change, found):
    content = idx_bytes(np.arange(25, dtype="u1"))  # 8 + 25 bytes
    (tmp_path / "f").write_bytes(content[:change] if change < 0 else content + b"x" * change)
    with pytest.raises(DatasetError, match=f"takes {found} bytes, but its header announces 33"):
        read_idx_header(tmp_path / "f")


@pytest.mark.parametrize(("change", "message"), [(-5, "ends after 20 rows.*says 25"), (7, "continues after the 25")])
def test_wrong_size_inside_a_gzip_file(tmp_path, change, message):
    content = idx_bytes(np.arange(25, dtype="u1"))
    content = content[:change] if change < 0 else content + b"x" * change
    (tmp_path / "f").write_bytes(gzip.compress(content))
    with pytest.raises(DatasetError, match=message):
        list(iter_idx(tmp_path / "f", 10))


def test_images_and_labels_that_are_no_pair(tmp_path, pair):
    images, labels, X, y = pair
    more = write_idx(tmp_path / "more", np.arange(26, dtype="u1"))
    with pytest.raises(DatasetError, match="images.* holds 25 images, but .*more holds 26 labels"):
        convert_idx(images, more, tmp_path / "d.zarr")
    with pytest.raises(DatasetError, match="labels.* holds 1-dimensional data; images have"):
        convert_idx(labels, images, tmp_path / "d.zarr")
    with pytest.raises(DatasetError, match="images.* holds data of shape .*; labels have one dimension"):
        convert_idx(images, images, tmp_path / "d.zarr")
    with pytest.raises(FileNotFoundError):
        convert_idx(tmp_path / "none", labels, tmp_path / "d.zarr")
    assert not (tmp_path / "d.zarr").exists()


def test_a_file_is_read_in_bounded_memory(tmp_path):
    path = write_idx(tmp_path / "big.gz", np.zeros((40_000, 500), dtype=np.uint8))  # 20 MB, 20 kB compressed
    tracemalloc.start()
    try:
        assert sum(len(batch) for batch in itertools.islice(iter_idx(path, 1000), None)) == 40_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000  # eight batches
