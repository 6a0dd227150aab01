"""Sparse X in AnnData's layout: what is saved is what is opened, and what does not fit together is refused."""

import pickle
import tracemalloc
import zlib

import dask
import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
import zarr
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dask_newton import arrays
from dask_newton.cli import main
from dask_newton.data import DatasetError, RowBatches, csr, dataset_info, open_dataset, save_dataset, verify_dataset


def random_csr(rows, columns, density=0.3, dtype="f8", seed=0):
    rng = np.random.default_rng(seed)
    X = sp.random_array((rows, columns), density=density, format="csr", rng=rng)
    return X.astype(dtype)


def assert_same(found, X):
    """Equal bit for bit: the same entries in the same order, explicit zeros included."""
    found = found.compute(scheduler="sync") if isinstance(found, da.Array) else found
    assert isinstance(found, sp.csr_array)
    assert found.shape == X.shape and found.dtype == X.dtype
    for part in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(found, part), getattr(X, part))


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks so small that a block touches many of them, and one of them belongs to many blocks."""
    monkeypatch.setattr(csr, "_CHUNK_NONZEROS", 16)
    monkeypatch.setattr(csr, "_CHUNK_ROWS", 8)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("array", "f4"), ("csr_matrix", "f8"), ("csc", "i4"), ("batches", "u1"), ("announced", "?"), ("dask", "f8"),
     ("dask-unknown", "f4")],
)  # fmt: skip
def test_round_trip(tmp_path, kind, dtype):
    X, y = random_csr(57, 9, dtype=dtype), np.arange(57)
    parts = [slice(0, 1), slice(1, 1), slice(1, 30), slice(30, 57)]
    lazy = da.concatenate([da.from_array(X[part], chunks=-1, asarray=False) for part in parts])
    source = {
        "array": lambda: (X, y),
        "csr_matrix": lambda: (sp.csr_matrix(X), y),
        "csc": lambda: (X.tocsc(), y),
        "batches": lambda: ([(X[part], y[part]) for part in parts],),
        "announced": lambda: (RowBatches(57, ({"X": X[part], "y": y[part]} for part in parts)),),
        "dask": lambda: (lazy, da.from_array(y, chunks=20)),
        "dask-unknown": lambda: (da.Array(lazy.dask, lazy.name, ((np.nan,) * 3, (9,)), meta=lazy._meta), y),
    }[kind]()
    path = save_dataset(tmp_path / "d.zarr", *source, chunk_rows=10)
    dataset = open_dataset(path)
    assert_same(dataset.X, X)
    np.testing.assert_array_equal(dataset.y.compute(), y)
    assert dataset.X.chunks == ((10,) * 5 + (7,), (9,)) and dataset.y.chunks[0] == dataset.X.chunks[0]
    assert isinstance(dataset.X._meta, sp.csr_array)
    assert verify_dataset(path) == 6 + 2 * -(-X.nnz // 16) + 8  # y; data, indices; indptr


@pytest.mark.usefixtures("small_chunks")
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=30),
    chunk_rows=st.integers(1, 40),
    cuts=st.lists(st.integers(0, 30), max_size=4),
    seed=st.integers(0, 99),
)
def test_any_rows_in_any_batches(tmp_path_factory, lengths, chunk_rows, cuts, seed):
    rng = np.random.default_rng(seed)
    indices = np.concatenate([rng.permutation(9)[:length] for length in lengths]).astype(np.int32)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    X = sp.csr_array((rng.integers(-1, 2, len(indices)).astype(float), indices, indptr), shape=(len(lengths), 9))
    edges = [0, *sorted(min(cut, len(lengths)) for cut in cuts), len(lengths)]
    batches = [X[a:b] for a, b in zip(edges[:-1], edges[1:], strict=True)]
    path = save_dataset(tmp_path_factory.mktemp("d") / "d.zarr", batches, chunk_rows=chunk_rows)
    found = open_dataset(path).X
    assert_same(found, X)
    first, last = sorted(rng.integers(0, len(lengths) + 1, 2))
    assert_same(found[first:last], X[first:last])


@pytest.mark.usefixtures("small_chunks")
def test_parts_of_rows_and_columns(tmp_path):
    X = random_csr(40, 6)
    lazy = open_dataset(save_dataset(tmp_path / "d.zarr", X, chunk_rows=40)).X
    for key in [np.s_[5:17], np.s_[5:17, 2:4], np.s_[30:2:-3], np.s_[3:30:4, ::2], np.s_[7:7], np.s_[:, 1:3]]:
        found = lazy[key].compute(scheduler="sync")
        np.testing.assert_array_equal(found.toarray(), X.toarray()[key])


def test_indices_have_32_bits_where_they_fit(tmp_path):
    wide = sp.csr_array(([1.0, 2.0], np.array([0, 2**40]), [0, 1, 2]), shape=(2, 2**41))
    path = save_dataset(tmp_path / "wide.zarr", wide)
    assert zarr.open_group(path)["X/indices"].dtype == np.int64
    assert_same(open_dataset(path).X, wide)
    path = save_dataset(tmp_path / "d.zarr", random_csr(4, 3))
    assert zarr.open_group(path)["X/indices"].dtype == np.int32
    block = open_dataset(path).X.compute()
    assert block.indices.dtype == block.indptr.dtype == np.int32


def test_rows_without_entries(tmp_path):
    X = sp.csr_array((5, 3))
    assert_same(open_dataset(save_dataset(tmp_path / "d.zarr", X, chunk_rows=2)).X, X)


def test_default_blocks_follow_the_density(tmp_path, monkeypatch):
    monkeypatch.setattr("dask_newton.data.layout._CHUNK_BYTES", 24_000)
    X = random_csr(1000, 50, density=0.2)  # 10 entries of 12 bytes per row, and its pointer
    path = save_dataset(tmp_path / "d.zarr", X)
    assert 24_000 // 140 < open_dataset(path).X.chunks[0][0] < 24_000 // 110
    save_dataset(tmp_path / "again.zarr", (X[i : i + 100] for i in range(0, 1000, 100)))
    assert 24_000 // 140 < open_dataset(tmp_path / "again.zarr").X.chunks[0][0] < 24_000 // 110


def test_products_of_blocks_are_those_of_the_matrix(tmp_path):
    X = random_csr(90, 20)
    lazy = open_dataset(save_dataset(tmp_path / "d.zarr", X, chunk_rows=25)).X
    w = np.arange(20.0)
    blocks = dask.compute(*[block @ w for block in lazy.to_delayed().ravel()])
    np.testing.assert_array_equal(np.concatenate(blocks), X @ w)


# Files of other programs.


def write_anndata(path, X, zarr_format, index="i4", **overrides):
    """Write what anndata writes; there is no attribute of ours."""
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    group.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    group.create_group("obs").attrs["encoding-type"] = "dataframe"
    variables = group.create_group("var", attributes={"encoding-type": "dataframe", "_index": "gene"})
    names = np.array([f"ENSG{j}" for j in range(X.shape[1])])
    variables.create_array("gene", shape=names.shape, dtype=str)[:] = names
    stored = group.create_group("X")
    stored.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": list(X.shape)})
    values = {"data": X.data, "indices": X.indices.astype(index), "indptr": X.indptr.astype(index)} | overrides
    for name, array in values.items():
        stored.create_array(name, data=np.asarray(array), chunks=(11,))
    return path


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("index", ["i4", "i8", ">i4"])
def test_a_file_of_anndata_opens_as_it_is(tmp_path, zarr_format, index):
    X = random_csr(50, 7, dtype="f4")
    if zarr_format == 3 and index == ">i4":
        index = "u4"  # the order of the bytes is no part of a dtype of format 3
    path = write_anndata(tmp_path / "a.zarr", X, zarr_format, index)
    dataset = open_dataset(path)
    assert_same(dataset.X, X)
    assert dataset.X.numblocks == (1, 1) and dataset.y is None
    assert dataset.feature_names.tolist() == [f"ENSG{j}" for j in range(7)]
    assert_same(open_dataset(path, chunk_rows=20).X, X)
    assert open_dataset(path, chunk_rows=20).X.chunks[0] == (20, 20, 10)
    assert dataset_info(path)["arrays"]["X"]["nnz"] == X.nnz
    with pytest.raises(DatasetError, match="has no checksums"):
        verify_dataset(path)


def broken(X, part, at, value):
    values = getattr(X, part).copy()
    values[at] = value
    return {part: values}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X: {"data": X.data[:-1]}, "do not fit together: it has 50 rows and the lengths data"),
        (lambda X: {"indptr": X.indptr[:-1]}, "do not fit together"),
        (lambda X: broken(X, "indptr", 0, 1), "'indptr' in .* goes from 1 to"),
        (lambda X: broken(X, "indptr", 50, 3), "goes from 0 to 3; it must go from 0 to"),
        (lambda X: {"indices": X.indices.astype(float)}, "'indices' in .* has dtype float64"),
        (lambda X: {"data": X.data * 1j}, "'data' in .* has dtype complex128"),
        (lambda X: {"data": X.data[:, None]}, "has no array 'data' of one dimension"),
    ],
)
def test_what_does_not_fit_together_is_refused_on_opening(tmp_path, change, message):
    X = random_csr(50, 7)
    path = tmp_path / "a.zarr"
    overrides = change(X)
    write_anndata(path, X, 3)
    stored = zarr.open_group(path, mode="r+")["X"]
    for name, values in overrides.items():
        del stored[name]
        stored.create_array(name, data=values)
    with pytest.raises(DatasetError, match=message):
        open_dataset(path)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"encoding-type": "csc_matrix"}, r"stored by columns.*adata.X.tocsr\(\)"),
        ({"shape": [50]}, r"shape \[50\] in its attributes"),
        ({"shape": None}, "shape None"),
    ],
)
def test_other_encodings_are_refused(tmp_path, attributes, message):
    path = write_anndata(tmp_path / "a.zarr", random_csr(50, 7), 2)
    zarr.open_group(path, mode="r+")["X"].attrs.update(attributes)
    with pytest.raises(DatasetError, match=message):
        open_dataset(path)


@pytest.mark.parametrize(
    ("part", "at", "value", "message"),
    [
        ("indices", 30, 7, "an index in rows .* is not one of the 7 columns"),
        ("indices", 30, -1, "an index in rows .* is not one of the 7 columns"),
        ("indptr", 20, 0, "the pointers of rows .* decrease, or are out of range"),
        ("indptr", 20, 10_000, "the pointers of rows .* decrease, or are out of range"),
    ],
)
def test_wrong_pointers_and_indices_are_seen_by_every_read_and_by_verify(tmp_path, part, at, value, message):
    X = random_csr(50, 7)
    path = write_anndata(tmp_path / "a.zarr", X, 3, **broken(X, part, at, value))
    lazy = open_dataset(path).X
    with pytest.raises(DatasetError, match=message):
        lazy.compute(scheduler="sync")
    with pytest.raises(DatasetError, match=f"X is not a valid csr_matrix: {message}"):
        verify_dataset(path)


@pytest.fixture
def saved(tmp_path, small_chunks):
    return save_dataset(tmp_path / "d.zarr", random_csr(50, 7), np.arange(50) % 2, classes="auto", chunk_rows=20)


@pytest.mark.parametrize("name", ["data", "indices", "indptr"])
def test_a_lost_chunk_is_seen_on_opening(saved, name):
    (saved / "X" / name / "c" / "1").unlink()
    with pytest.raises(DatasetError, match=f"1 of the .* chunks of '{name}' in .*d.zarr/X are missing"):
        open_dataset(saved)


def test_other_values_are_seen_by_verify(saved):
    zarr.open_group(saved, mode="r+")["X/data"][20] = 3.0
    open_dataset(saved)
    with pytest.raises(DatasetError, match=r"Chunk 1 of 'data' in .*d.zarr/X \(rows 16 to 31\) differs"):
        verify_dataset(saved)


def test_info_and_its_verification(saved):
    X = dataset_info(saved)["arrays"]["X"]
    assert X["shape"] == [50, 7] and X["dtype"] == "float64 CSR" and X["chunks"] == [20, 7]
    assert X["bytes"] == X["nnz"] * 12 + 51 * 8 and X["stored_bytes"] > 0
    result = CliRunner().invoke(main, ["info", str(saved), "--verify"])
    assert result.exit_code == 0 and "chunks match their checksums" in result.output
    zarr.open_group(saved, mode="r+")["X/data"][20] = 3.0
    result = CliRunner().invoke(main, ["info", str(saved), "--verify"])
    assert result.exit_code == 1 and "differs from what was written" in result.output


def test_the_writer_notices_wrong_values_on_disk(tmp_path, monkeypatch):
    from dask_newton.storage import column

    append = column.Column.append

    def append_and_spoil(self, values):
        append(self, values)
        if self.array.basename == "indices":
            self.array[0] = 5

    monkeypatch.setattr(column.Column, "append", append_and_spoil)
    with pytest.raises(DatasetError, match="Chunk 0 of 'indices'.*differs from what was written"):
        save_dataset(tmp_path / "d.zarr", random_csr(10, 6, density=1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        ([sp.csr_array(np.eye(2)), np.eye(2)], None, "Batch 1 of X and batch 0 are not both sparse"),
        ([sp.csr_array(np.eye(2)), sp.csr_array(np.eye(3))], None, "Batch 1 of X has rows of shape"),
        ([sp.csr_array(np.eye(2)), sp.csr_array(np.eye(2, dtype="f4"))], None, "Batch 1 of X has dtype float32"),
        (sp.csr_array(np.eye(2) * 1j), None, "X has dtype complex128"),
        (np.eye(2), sp.csr_array(np.eye(2)), "y is sparse; only X may be"),
        (sp.csr_array(np.eye(2)), np.ones(3), "X has 2, y has 3"),
        (sp.csr_array((0, 3)), None, "no rows"),
    ],
)
def test_bad_input_is_refused_and_leaves_nothing(tmp_path, X, y, message):
    with pytest.raises(DatasetError, match=message):
        save_dataset(tmp_path / "d.zarr", X, y)
    assert list(tmp_path.iterdir()) == []


# Tasks.


def test_tasks_hold_the_path_and_never_the_data(tmp_path):
    X = random_csr(1000, 200)
    path = save_dataset(tmp_path / "d.zarr", X, chunk_rows=100)
    (recipe,) = dask.optimize(open_dataset(path).X)
    assert len(pickle.dumps(dict(recipe.__dask_graph__()))) < 10_000  # the data take 720,000 bytes
    name = open_dataset(path).X.name
    save_dataset(path, X * 2, overwrite=True)
    assert open_dataset(path).X.name != name


class OnDevice:
    """An array type of another library; made inside tasks only."""

    def __init__(self, values):
        self.values, self.shape, self.dtype, self.ndim = values, values.shape, values.dtype, 2


@pytest.mark.parametrize("make", [lambda X: X, lambda X: X.toarray()])
def test_blocks_are_converted_inside_the_task(tmp_path, monkeypatch, make):
    made = []
    monkeypatch.setattr(arrays, "_CONVERSIONS", dict(arrays._CONVERSIONS))
    arrays.register_conversion("device", lambda x: made.append(type(x)) or OnDevice(x))
    X = random_csr(20, 5)
    path = save_dataset(tmp_path / "d.zarr", make(X), np.arange(20), chunk_rows=10)
    dataset = open_dataset(path, array="device")
    assert made == [] and isinstance(dataset.X._meta, sp.csr_array | np.ndarray)
    block, y = dask.compute(dataset.X.blocks[1].to_delayed()[0, 0], dataset.y, scheduler="sync")
    assert isinstance(block, OnDevice) and isinstance(y, np.ndarray)
    assert made == [type(make(X))]
    np.testing.assert_array_equal(sp.csr_array(block.values).toarray(), X[10:].toarray())
    assert dataset.X.name != open_dataset(path).X.name


def test_an_unknown_array_type(tmp_path):
    with pytest.raises(ValueError, match="array is 'torch'; give one of 'numpy', 'cupy'"):
        open_dataset(tmp_path, array="torch")


@pytest.mark.gpu
@pytest.mark.parametrize("sparse", [True, False])
def test_cupy_blocks(tmp_path, sparse):
    X = random_csr(20, 5)
    path = save_dataset(tmp_path / "d.zarr", X if sparse else X.toarray(), chunk_rows=10)
    block = open_dataset(path, array="cupy").X.blocks[1].compute(scheduler="sync")
    host = block.get().toarray() if sparse else block.get()
    np.testing.assert_array_equal(host, X[10:].toarray())


# Memory.


def test_peak_memory_of_saving_and_verifying(tmp_path, monkeypatch):
    monkeypatch.setattr(csr, "_CHUNK_NONZEROS", 2**15)
    n_batches, per_row = 30, 50  # 30 batches of 1,000 rows: 18 MB

    def batches():
        for number in range(n_batches):
            indices = np.tile(np.arange(per_row, dtype=np.int32), 1000)
            yield sp.csr_array(
                (np.full(len(indices), number + 1.0), indices, np.arange(0, len(indices) + 1, per_row)),
                shape=(1000, 100),
            )

    verify_dataset(save_dataset(tmp_path / "warm.zarr", random_csr(3, 3)))  # imports and caches are not counted
    tracemalloc.start()
    try:
        path = save_dataset(tmp_path / "d.zarr", batches(), chunk_rows=2300)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 7 * 2300 * per_row * 12  # 1.4 MB each: a few copies of one chunk of rows
    found = open_dataset(path).X
    assert found.shape == (30_000, 100)
    last = found[-1000:].compute(scheduler="sync")
    assert zlib.crc32(last.data.tobytes()) == zlib.crc32(np.full(50_000, 30.0).tobytes())
