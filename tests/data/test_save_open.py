"""What is saved is what is opened, whatever container the rows come in."""

import itertools
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from pairwise import cases

from dask_newton.data import DatasetError, RowBatches, dataset_info, open_dataset, save_dataset, save_splits
from dask_newton.data.layout import default_chunk_rows


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return rng.standard_normal((103, 5)), rng.integers(0, 3, 103)


def assert_equals(dataset, X, y):
    np.testing.assert_array_equal(dataset.X.compute(scheduler="sync"), X)
    np.testing.assert_array_equal(dataset.y.compute(scheduler="sync"), y)
    assert dataset.X.dtype == X.dtype
    assert dataset.X.chunks[0] == dataset.y.chunks[0]
    assert dataset.X.numblocks[1] == 1


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "u1", "i8", "?", ">f4"])
def test_round_trip_numpy(tmp_path, dtype):
    X = (np.arange(60).reshape(20, 3) % 7).astype(dtype)
    y = np.linspace(-1, 1, 20)
    path = save_dataset(tmp_path / "d.zarr", X, y, chunk_rows=6)
    dataset = open_dataset(path)
    assert_equals(dataset, X.astype(X.dtype.newbyteorder("=")), y)
    assert dataset.X.chunks[0] == (6, 6, 6, 2)
    assert dataset.classes is None  # numbers are a target of regression unless classes are asked for


def test_all_columns_and_coordinates(tmp_path, rows):
    X, y = rows
    weight, offset = np.arange(103.0), -np.arange(103.0)
    path = save_dataset(
        tmp_path / "d.zarr",
        X,
        y,
        sample_weight=weight,
        offset=offset,
        feature_names=["a", "b", "c", "d", "é"],
        classes="auto",
        attrs={"name": "demo", "licence": "CC0", "sizes": np.arange(2)},
        chunk_rows=50,
    )
    dataset = open_dataset(path)
    assert_equals(dataset, X, y)
    np.testing.assert_array_equal(dataset.sample_weight.compute(), weight)
    np.testing.assert_array_equal(dataset.offset.compute(), offset)
    assert dataset.sample_weight.chunks == dataset.offset.chunks == dataset.y.chunks
    assert dataset.feature_names.tolist() == ["a", "b", "c", "d", "é"]
    assert dataset.classes.tolist() == [0, 1, 2]
    assert dataset.attrs["name"] == "demo"
    assert dataset.attrs["sizes"] == [0, 1]
    assert dataset.attrs["n_classes"] == 3
    assert dataset.attrs["created_by"].startswith("dask_newton")


@pytest.mark.parametrize("kind", ["fixed", "variable", "object"])
def test_string_labels_come_back_without_pickle(tmp_path, kind):
    y = np.array(["no", "yes", "peut-être", "no", "", "猫"])
    y = {"fixed": y, "variable": y.astype(np.dtypes.StringDType()), "object": y.astype(object)}[kind]
    dataset = open_dataset(save_dataset(tmp_path / "d.zarr", np.ones((6, 2)), y, chunk_rows=4))
    assert dataset.y.dtype == np.dtype("<U9")
    assert dataset.y.compute().dtype == np.dtype("<U9")
    assert dataset.y.compute().tolist() == ["no", "yes", "peut-être", "no", "", "猫"]
    assert dataset.classes.tolist() == ["", "no", "peut-être", "yes", "猫"]


def test_boolean_labels_are_classes(tmp_path):
    dataset = open_dataset(save_dataset(tmp_path / "d.zarr", np.ones((3, 1)), np.array([True, False, True])))
    assert dataset.y.dtype == bool
    assert dataset.classes.tolist() == [False, True]


def test_several_targets(tmp_path):
    Y = np.arange(12.0).reshape(6, 2)
    dataset = open_dataset(save_dataset(tmp_path / "d.zarr", np.ones((6, 3)), Y, chunk_rows=4))
    np.testing.assert_array_equal(dataset.y.compute(), Y)
    assert dataset.y.chunks == ((4, 2), (2,))


@cases(
    "x_chunks, chunk_rows",
    itertools.product([(7, 5), (103, 2), ((1, 2, 100), (5,)), ((0, 50, 0, 53, 0), (2, 3))], [1, 10, 64, 1000]),
    together=1,
)
def test_misaligned_dask_chunks_lose_nothing(tmp_path, rows, x_chunks, chunk_rows):
    """Chunks that straddle those on disk made ``dask.array.to_zarr`` lose 5-17 % of the cells silently."""
    X, y = rows
    path = save_dataset(
        tmp_path / "d.zarr",
        da.from_array(X, chunks=x_chunks),
        da.from_array(y, chunks=13),
        chunk_rows=chunk_rows,
    )
    assert_equals(open_dataset(path), X, y)
    assert zarr.open_group(path, mode="r")["X"].chunks[0] == min(chunk_rows, 103)


def test_misaligned_chunks_under_the_threaded_scheduler(tmp_path):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((20_000, 4))
    lazy = da.from_array(X, chunks=(331, 3)) * 2
    with dask.config.set(scheduler="threads", num_workers=8):
        path = save_dataset(tmp_path / "d.zarr", lazy, lazy[:, 0], chunk_rows=997)
    assert_equals(open_dataset(path), X * 2, X[:, 0] * 2)


@pytest.mark.parametrize("y_kind", ["dask", "numpy"])
def test_unknown_chunks(tmp_path, rows, y_kind):
    X, y = rows
    lazy_X, lazy_y = da.from_array(X, chunks=(20, 3)), da.from_array(y, chunks=20)
    keep = lazy_X[:, 0] > 0.2
    lazy_X, lazy_y = lazy_X[keep], lazy_y[keep]
    assert np.isnan(lazy_X.shape[0])
    kept = X[:, 0] > 0.2
    totals = []
    path = save_dataset(
        tmp_path / "d.zarr",
        lazy_X,
        lazy_y if y_kind == "dask" else y[kept],
        chunk_rows=8,
        progress=lambda done, total: totals.append((done, total)),
    )
    assert_equals(open_dataset(path), X[kept], y[kept])
    assert totals[-1] == (kept.sum(), None)


def test_a_chunk_of_unknown_length_may_be_empty(tmp_path):
    X = np.vstack([np.ones((10, 2)), np.full((10, 2), -1.0), np.ones((5, 2)) * 2])
    lazy = da.from_array(X, chunks=(5, 2))
    path = save_dataset(tmp_path / "d.zarr", lazy[lazy[:, 0] > 0], chunk_rows=4)
    dataset = open_dataset(path)
    np.testing.assert_array_equal(dataset.X.compute(), X[X[:, 0] > 0])
    assert dataset.y is None


def test_iterable_of_batches_of_any_length(tmp_path, rows):
    X, y = rows
    cuts = [0, 1, 1, 40, 103]
    batches = ((X[a:b], y[a:b]) for a, b in zip(cuts[:-1], cuts[1:], strict=True))
    assert_equals(open_dataset(save_dataset(tmp_path / "d.zarr", batches, chunk_rows=9)), X, y)


def test_a_batch_buffer_may_be_reused_by_its_producer(tmp_path):
    def batches():
        buffer = np.empty((3, 2))
        for value in range(5):
            buffer[:] = value
            yield buffer

    dataset = open_dataset(save_dataset(tmp_path / "d.zarr", batches(), chunk_rows=4))
    np.testing.assert_array_equal(dataset.X[:, 0].compute(), np.repeat(np.arange(5.0), 3))


def test_mapping_batches_carry_weights(tmp_path, rows):
    X, y = rows
    batches = [{"X": X[:50], "y": y[:50], "sample_weight": X[:50, 0]},
               {"sample_weight": X[50:, 0], "y": y[50:], "X": X[50:]}]  # fmt: skip
    dataset = open_dataset(save_dataset(tmp_path / "d.zarr", batches, chunk_rows=30))
    assert_equals(dataset, X, y)
    np.testing.assert_array_equal(dataset.sample_weight.compute(), X[:, 0])


def test_tables_and_labelled_arrays(tmp_path, rows):
    X, y = rows
    frame = pd.DataFrame(X, columns=list("abcde"))
    assert_equals(open_dataset(save_dataset(tmp_path / "1.zarr", frame, pd.Series(y), chunk_rows=9)), X, y)
    labelled = xr.DataArray(da.from_array(X, chunks=(20, 2)), dims=("sample", "feature"))
    assert_equals(open_dataset(save_dataset(tmp_path / "2.zarr", labelled, list(y), chunk_rows=9)), X, y)


def test_progress_counts_rows(tmp_path, rows):
    calls = []
    save_dataset(tmp_path / "d.zarr", *rows, chunk_rows=50, progress=lambda *args: calls.append(args))
    assert calls == [(50, 103), (100, 103), (103, 103)]


def test_default_chunks_take_32_mib():
    rows = default_chunk_rows(784 * 4)
    assert 31 * 2**20 < rows * 784 * 4 <= 32 * 2**20
    assert default_chunk_rows(8 * 10**9) == 1


def test_splits(tmp_path, rows):
    X, y = rows
    calls = []
    path = save_splits(
        tmp_path / "d.zarr",
        {"train": (X[:80], y[:80]), "test": {"X": X[80:], "y": y[80:]}, "extra": [(X[:3], y[:3])]},
        attrs={"name": "demo"},
        classes=[0, 1, 2],
        chunk_rows=40,
        progress=lambda *args: calls.append(args),
    )
    assert_equals(open_dataset(path / "train"), X[:80], y[:80])
    assert_equals(open_dataset(str(path) + "/test"), X[80:], y[80:])
    assert_equals(open_dataset(zarr.open_group(path)["extra"]), X[:3], y[:3])
    assert open_dataset(path / "test").classes.tolist() == [0, 1, 2]
    assert calls == [(40, None), (80, None), (103, None), (106, None)]
    info = dataset_info(path)
    assert info["attrs"]["name"] == "demo"
    assert list(info["splits"]) == ["extra", "test", "train"]
    assert info["splits"]["train"]["class_counts"] == {
        str(k): n for k, n in enumerate(np.bincount(y[:80], minlength=3).tolist())
    }


def test_a_split_can_be_added_later(tmp_path, rows):
    X, y = rows
    path = save_splits(tmp_path / "d.zarr", {"train": (X, y)})
    save_dataset(path / "valid", X[:5], y[:5])
    assert sorted(xr.open_datatree(path, engine="zarr").children) == ["train", "valid"]
    assert_equals(open_dataset(path / "valid"), X[:5], y[:5])


@pytest.mark.parametrize("name", ["", ".train", "a/b", 3])
def test_split_names_are_checked(tmp_path, rows, name):
    with pytest.raises(ValueError, match="cannot be the name of a split"):
        save_splits(tmp_path / "d.zarr", {name: rows})
    assert list(tmp_path.iterdir()) == []


def test_xarray_opens_it_without_a_warning(tmp_path, rows):
    X, y = rows
    labels = np.array(["ant", "bee", "cat"])[y]
    path = save_splits(tmp_path / "d.zarr", {"train": (X, labels)}, feature_names=list("abcde"), attrs={"name": "n"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = xr.open_zarr(path / "train")
        tree = xr.open_datatree(path, engine="zarr")
    assert dataset.X.dims == ("sample", "feature")
    assert dataset.y.dims == ("sample",)
    np.testing.assert_array_equal(dataset.X.sel(feature="c"), X[:, 2])
    assert dataset.y.values.tolist() == labels.tolist()
    assert dataset["class"].values.tolist() == ["ant", "bee", "cat"]
    assert dataset.attrs["name"] == "n"
    assert dataset.attrs["n_classes"] == 3
    assert "train" in tree.children


def test_stored_without_compression_for_the_gpu(tmp_path):
    path = save_dataset(tmp_path / "d.zarr", np.zeros((100, 10)), compress=False)
    assert dataset_info(path)["arrays"]["X"]["stored_bytes"] == 100 * 10 * 8 + 4  # and its checksum
    np.testing.assert_array_equal(open_dataset(path).X.compute(), np.zeros((100, 10)))


def test_blocks_are_whole_chunks(tmp_path, rows):
    path = save_dataset(tmp_path / "d.zarr", *rows, chunk_rows=10)
    assert open_dataset(path).X.chunks[0] == (10,) * 10 + (3,)
    assert open_dataset(path, chunk_rows=37).X.chunks[0] == (30, 30, 30, 13)
    assert open_dataset(path, chunk_rows=3).X.chunks[0] == (10,) * 10 + (3,)
    assert_equals(open_dataset(path, chunk_rows=37), *rows)
    with pytest.raises(ValueError, match="chunk_rows is 0"):
        open_dataset(path, chunk_rows=0)


def test_tasks_hold_the_path_and_never_the_data(tmp_path, monkeypatch):
    X = np.random.default_rng(0).standard_normal((1000, 50))
    save_dataset(tmp_path / "d.zarr", X, X[:, 0], chunk_rows=100)
    monkeypatch.chdir(tmp_path)
    lazy = open_dataset("d.zarr").X
    (recipe,) = dask.optimize(lazy)
    assert len(pickle.dumps(dict(recipe.__dask_graph__()))) < 10_000  # the data take 400,000 bytes
    monkeypatch.chdir("/")  # workers run elsewhere
    np.testing.assert_array_equal(lazy[95:105, 3].compute(), X[95:105, 3])
    np.testing.assert_array_equal(lazy[[5, 900, 2]].compute(), X[[5, 900, 2]])


def test_a_data_set_written_again_gets_new_keys(tmp_path):
    path = save_dataset(tmp_path / "d.zarr", np.zeros((4, 2)))
    old = open_dataset(path).X
    assert open_dataset(path).X.name == old.name
    save_dataset(path, np.ones((4, 2)), overwrite=True)
    assert open_dataset(path).X.name != old.name
    assert open_dataset(path).X.sum().compute() == 8


def test_a_group_in_memory_opens(rows):
    store = zarr.storage.MemoryStore()
    group = zarr.create_group(store)
    X, y = rows
    group.create_array("X", data=X, chunks=(10, 5))
    group.create_array("y", data=y, chunks=(103,))
    assert_equals(open_dataset(group, chunk_rows=20), X, y)


def test_saving_what_was_opened(tmp_path, rows):
    X, y = rows
    first = open_dataset(save_dataset(tmp_path / "a.zarr", X, y, classes="auto", attrs={"name": "n"}, chunk_rows=10))
    path = save_dataset(
        tmp_path / "a.zarr",
        first.X,
        first.y,
        classes=first.classes,
        attrs=first.attrs,
        chunk_rows=7,
        overwrite=True,
    )
    second = open_dataset(path)
    assert_equals(second, X, y)
    assert second.attrs == first.attrs


@pytest.mark.parametrize(
    ("X", "y", "options", "message"),
    [
        (np.ones(3), None, {}, "X has 1 dimensions"),
        (np.ones((3, 0)), None, {}, "X has no columns"),
        (np.ones((0, 3)), None, {}, "no rows"),
        ([], None, {}, "no rows"),
        (np.ones((3, 2)), np.ones(4), {}, "X has 3, y has 4"),
        (da.ones((3, 2), chunks=2), da.ones(4), {}, "X has 3, y has 4"),
        (np.ones((3, 2)) * 1j, None, {}, "X has dtype complex128"),
        (np.ones((3, 2), dtype=object), None, {}, "X holds Python objects"),
        (np.ones((3, 2)), np.array([1, "a", None], dtype=object), {}, "y holds Python objects"),
        (np.ones((2, 2)), np.array(["a\0b", "c"]), {}, "NUL"),
        ([[1.0, 2.0], [3.0, 4.0]], None, {}, "Batch 0 of X has shape"),
        ([(np.ones((2, 2)), np.ones(3))], None, {}, "X has 2, y has 3"),
        ([np.ones((2, 2)), np.ones((2, 3))], None, {}, "Batch 1 of X has rows of shape"),
        ([np.ones((2, 2)), np.ones((2, 2), "f4")], None, {}, "Batch 1 of X has dtype float32"),
        ([np.ones((2, 2)), (np.ones((2, 2)), np.ones(2))], None, {}, "Batch 1 has the columns"),
        ([(np.ones((2, 2)), np.ones(2), np.ones(2))], None, {}, "a tuple of 3"),
        ([{"X": np.ones((2, 2)), "Y": np.ones(2)}], None, {}, "A batch has the columns"),
        (RowBatches(5, [np.ones((2, 2))]), None, {}, "2 rows, but 5 were announced"),
        (np.ones((3, 2)), None, {"feature_names": ["a"]}, "2 features, but 1 feature names"),
        (np.ones((3, 2)), np.arange(3), {"classes": [0, 1]}, "label 2, which is not among the classes"),
        (np.ones((3, 2)), np.arange(3), {"classes": "some"}, "classes is 'some'"),
        (np.ones((3, 2)), None, {"classes": [0, 1]}, "there is no y"),
        (np.ones((3, 2)), None, {"chunk_rows": 0}, "chunk_rows is 0"),
    ],
)
def test_bad_input_is_refused_and_leaves_nothing(tmp_path, X, y, options, message):
    with pytest.raises(ValueError, match=message):
        save_dataset(tmp_path / "d.zarr", X, y, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("X", "y"), [({"X": 1}, None), ("d.npy", None), ([np.ones((2, 2))], np.ones(2))])
def test_wrong_kinds_of_input(tmp_path, X, y):
    with pytest.raises(TypeError, match="iterable of (row )?batches"):
        save_dataset(tmp_path / "d.zarr", X, y)


def test_a_lazy_table_is_not_pulled_into_memory(tmp_path):
    class LazyFrame:
        """Like a Dask DataFrame: its length is a task, and turning it into an array computes all of it."""

        shape = (dask.delayed(2), 2)

        def __array__(self, dtype=None, copy=None):
            raise AssertionError("computed as a whole")

    with pytest.raises(TypeError, match=r"X is a lazy .*LazyFrame; give its to_dask_array\(\)"):
        save_dataset(tmp_path / "d.zarr", LazyFrame())
    assert list(tmp_path.iterdir()) == []


def test_unknown_chunks_that_cannot_be_matched(tmp_path):
    X = da.ones((10, 2), chunks=(5, 2))
    X = X[X[:, 0] > 0]
    with pytest.raises(DatasetError, match="2 row chunks and y has 3.*compute_chunk_sizes"):
        save_dataset(tmp_path / "d.zarr", X, da.ones(10, chunks=4))
    with pytest.raises(DatasetError, match="In chunk 0 of the rows.*X has 5, y has 6"):
        save_dataset(tmp_path / "d.zarr", X, da.ones(10, chunks=((6, 4),)))
    with pytest.raises(DatasetError, match="X has 10 rows but y has 11"):
        save_dataset(tmp_path / "d.zarr", X, np.ones(11))
    with pytest.raises(DatasetError, match="unknown length but X has not"):
        save_dataset(tmp_path / "d.zarr", np.ones((10, 2)), X[:, 0])
    assert list(tmp_path.iterdir()) == []


def test_classes_of_all_chunks_are_collected(tmp_path):
    y = np.repeat(np.array(["b", "a", "c"]), 4)
    dataset = open_dataset(save_dataset(tmp_path / "d.zarr", np.ones((12, 1)), y, chunk_rows=4))
    assert dataset.classes.tolist() == ["a", "b", "c"]


def test_blocks_are_read_again_by_another_process(tmp_path):
    """A recipe that was pickled and sent elsewhere gives the same rows: nothing is tied to this process."""
    X = np.arange(40.0).reshape(20, 2)
    lazy = open_dataset(save_dataset(tmp_path / "d.zarr", X, X[:, 1], chunk_rows=6))
    script = (
        "import pickle, sys; X, y = pickle.load(sys.stdin.buffer); "
        "print(X.sum().compute(scheduler='sync'), y.sum().compute(scheduler='sync'))"
    )
    root = Path(__file__).parents[2]
    sent = pickle.dumps((lazy.X, lazy.y))
    result = subprocess.run([sys.executable, "-c", script], input=sent, cwd=root, capture_output=True, check=True)
    assert [float(number) for number in result.stdout.split()] == [X.sum(), X[:, 1].sum()]


@pytest.mark.slow
def test_a_worker_that_does_not_see_the_path_says_so(tmp_path):
    path = save_dataset(tmp_path / "d.zarr", np.ones((4, 2)))
    lazy = open_dataset(path).X
    path.rename(tmp_path / "elsewhere.zarr")
    with pytest.raises(FileNotFoundError, match="worker finds no data set at .*d.zarr.*file system"):
        lazy.compute(scheduler="sync")
