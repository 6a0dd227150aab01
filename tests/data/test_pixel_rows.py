"""Rows of pixels: order, labels, undoing the grey level shift."""

import numpy as np
import pytest

from dask_newton.data import DatasetError, convert_pixel_rows, open_dataset, pixel_row_batches, save_splits


@pytest.fixture
def original():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (30, 8), dtype=np.uint8)
    pixels[pixels == 1] = 0  # the one value that the shift loses
    pixels[0, 0] = 255
    return pixels, rng.integers(0, 10, 30)


def shifted(pixels):
    return np.maximum(pixels.astype(int) - 1, 0).astype(np.uint8)


def test_shift_is_undone_exactly(tmp_path, original):
    pixels, labels = original
    path = convert_pixel_rows(np.split(shifted(pixels), 3), labels, tmp_path / "d.zarr", undo_shift=True, chunk_rows=7)
    dataset = open_dataset(path)
    np.testing.assert_array_equal(dataset.X.compute(), pixels)
    np.testing.assert_array_equal(dataset.y.compute(), labels)
    assert dataset.X.dtype == np.uint8


def test_functions_are_called_one_at_a_time_and_scaled(tmp_path, original):
    pixels, labels = original
    called = []

    def load(number):
        called.append(number)
        return pixels[10 * number : 10 * number + 10]

    batches = pixel_row_batches(
        [lambda n=n: load(n) for n in range(3)], labels, scale=1 / 255, dtype="f8", label_dtype="i2"
    )
    assert called == []
    X, y = next(iter(batches))
    assert called == [0]
    np.testing.assert_array_equal(X, pixels[:10] * (1 / 255))
    assert (X.dtype, y.dtype) == (np.float64, np.int16)


def test_as_a_split(tmp_path, original):
    pixels, labels = original
    splits = {"train": pixel_row_batches([pixels], labels), "test": (pixels, labels)}
    path = save_splits(tmp_path / "d.zarr", splits)
    np.testing.assert_array_equal(open_dataset(path / "train").X.compute(), pixels)


@pytest.mark.parametrize(
    ("images", "n_labels", "message"),
    [
        ([np.ones((2, 3), "u1"), np.ones((2, 3), "u1")], 3, "3 labels, but array 1 ends with image 4"),
        ([np.ones((2, 3), "u1"), np.ones((2, 3), "u1")], 5, "5 labels, but only 4 images"),
        ([np.ones((2, 3, 3), "u1")], 2, r"Array 0 of the images has shape \(2, 3, 3\).*one channel"),
        ([np.full((2, 3), 255, "u1")], 2, "pixels of 255, which shifted pixels cannot have"),
        ([np.ones((2, 3))], 2, "needs pixels of dtype uint8; array 0 of the images has float64"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, images, n_labels, message):
    with pytest.raises(DatasetError, match=message):
        convert_pixel_rows(images, np.zeros(n_labels, int), tmp_path / "d.zarr", undo_shift=True)
    assert list(tmp_path.iterdir()) == []


def test_labels_must_be_a_vector():
    with pytest.raises(DatasetError, match="one label per image"):
        pixel_row_batches([], np.zeros((3, 2)))
