"""What is kept beside blocks can be taken apart, stored without pickle, and put together bit for bit."""

from __future__ import annotations

import gc
import logging
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path

import array_api_strict
import catalogue
import dask
import duck
import numpy as np
import pytest
import scipy.sparse

from dask_newton.blocks.anchors import Folder, pack, unpack
from dask_newton.blocks.memory import nbytes
from dask_newton.trees import aligned

duck.register()
Pair = namedtuple("Pair", "a b")


@dataclass(frozen=True, eq=False)
class State:
    x: np.ndarray
    rho: float
    snapshot: State | None = None
    extra: object = None

    def __post_init__(self):
        # A stand-in for an array would not have passed.
        assert self.x.shape


def unaligned(values):
    values = np.asarray(values)
    raw = np.zeros(values.nbytes + 1, dtype=np.uint8)
    result = raw[1:].view(values.dtype).reshape(values.shape)
    result[...] = values
    assert not result.flags.aligned
    return result


VALUES = {
    "array": np.arange(6.0).reshape(2, 3),
    "column by column": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "no rows": np.empty((0, 3), dtype=np.float32),
    "other dtypes": (np.array([True]), np.array(["a"]), np.array(3 + 1j), np.array([1], dtype=">i2")),
    "numbers": (1, 2.5, np.float32(3), True, None, "text"),
    "containers": {"list": [np.ones(2), ()], "named": Pair(np.zeros(1), {})},
    "dataclasses": State(np.ones(3), 0.1, State(np.zeros((2, 2)), 0.2), (np.arange(3),)),
    "objects": np.array([None, "a"], dtype=object),
    "sparse": scipy.sparse.csr_array(np.eye(3)),
}


def assert_same(got, value):
    assert type(got) is type(value)
    if isinstance(value, State):
        assert_same(vars(got), vars(value))
    elif isinstance(value, dict):
        assert list(got) == list(value)
        assert_same(list(got.values()), list(value.values()))
    elif isinstance(value, tuple | list):
        assert len(got) == len(value)
        for a, b in zip(got, value, strict=True):
            assert_same(a, b)
    elif scipy.sparse.issparse(value):
        assert (got != value).nnz == 0
    elif isinstance(value, np.ndarray):
        assert (got.dtype, got.shape, got.flags.f_contiguous) == (value.dtype, value.shape, value.flags.f_contiguous)
        np.testing.assert_array_equal(got, value)
    else:
        assert got == value


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("in_file", [False, True])
def test_round_trip(tmp_path, name, in_file):
    packed = pack(VALUES[name], str(tmp_path / "0.npz") if in_file else None)
    assert not packed.foreign
    assert_same(unpack(packed, None), VALUES[name])
    for path in tmp_path.iterdir():
        assert path.name == "0.npz"
        with np.load(path, allow_pickle=False) as arrays:
            assert all(not array.dtype.hasobject for array in arrays.values())


@dataclass(frozen=True, eq=False)
class Block:
    name: str
    X: object


@pytest.mark.parametrize("in_file", [False, True])
@pytest.mark.parametrize("kind", ["duck", "strict"])
def test_arrays_of_a_device_come_back_on_the_device_of_the_block(tmp_path, in_file, kind):
    device = array_api_strict.Device("device1")
    make = duck.asduck if kind == "duck" else lambda a: array_api_strict.asarray(a, device=device)
    value = State(make(np.arange(3.0)), 0.5, extra=(make(np.ones((2, 2), dtype=np.float32)), np.ones(2)))
    packed = pack(value, str(tmp_path / "0.npz") if in_file else None)
    assert packed.foreign
    got = unpack(packed, Block("data", (None, make(np.zeros(1)))))
    assert type(got.x) is type(value.x)
    assert got.x.dtype == value.x.dtype
    assert got.extra[0].dtype == value.extra[0].dtype
    assert isinstance(got.extra[1], np.ndarray)
    if kind == "strict":
        assert got.x.device == device
    assert bool((got.x == value.x).all() if kind == "duck" else array_api_strict.all(got.x == value.x))
    with pytest.raises(TypeError, match="beside a block of data that has no such array"):
        unpack(packed, Block("data", np.zeros(1)))


def test_a_folder_that_a_worker_does_not_see_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"elsewhere was made by the client.*anchor\.directory"):
        pack(np.ones(2), str(tmp_path / "elsewhere" / "0.npz"))


def test_a_folder_goes_with_its_last_user(tmp_path):
    folder = Folder(tmp_path / "new" / "anchors")
    pack(np.ones(2), f"{folder.path}/0.npz")
    assert len(list(Path(folder.path).iterdir())) == 1
    users, path = [folder, (folder,)], Path(folder.path)
    del folder, users[0]
    assert path.exists()
    users.clear()
    gc.collect()
    assert not path.exists()


def test_a_file_that_was_cut_short_is_refused(tmp_path):
    packed = pack(np.arange(1000.0), str(tmp_path / "0.npz"))
    (tmp_path / "0.npz").write_bytes((tmp_path / "0.npz").read_bytes()[:4000])
    with pytest.raises(Exception, match="zip"):
        unpack(packed, None)


def test_bytes_in_dataclasses_count():
    value = State(np.ones(100), 0.1, State(np.ones((50, 2)), 0.2), [np.ones(100, dtype=np.float32)])
    assert 2000 <= nbytes(value) < 2500
    assert nbytes(scipy.sparse.csr_array(np.eye(100))) >= 800


def test_unaligned_arrays_are_found_anywhere():
    value = State(unaligned(np.arange(3.0)), 0.1, extra={"a": (1, [unaligned(np.ones(2, dtype=np.float32))])})
    got = aligned(value)
    assert got.x.flags.aligned
    assert got.extra["a"][1][0].flags.aligned
    assert_same(got, value)
    assert aligned(got) is got, "nothing is copied where there is nothing to do"


def walk(X, state, *, v):
    x = 0.5 * state.x + X.T @ (X @ v)
    moved = State(x, state.rho + 1, State(state.x, state.rho), (X @ x,))
    return moved, x


def run(blocks, X, n_passes):
    state = blocks.place([State(np.zeros(3), 0.0)] * blocks.n_blocks)
    for k in range(n_passes):
        state, total = blocks.map_reduce(walk, X, state, keep=1, v=np.full(3, 0.1 * k))
    return state, total


DATA = [np.random.default_rng(i).standard_normal((200, 3)) / 20 for i in range(5)]


@pytest.mark.cluster
def test_large_state_is_anchored_in_files_that_go_when_they_are_not_needed(cluster_client, tmp_path):
    blocks, X = catalogue.dask_blocks(DATA)
    settings = {"dask-newton.anchor.max-bytes": "1 kB", "dask-newton.anchor.directory": str(tmp_path / "new")}
    with dask.config.set(settings):
        state, total = run(blocks, X, 45)
    here, X_here = catalogue.serial_blocks(DATA)
    state_here, total_here = run(here, X_here, 45)
    np.testing.assert_array_equal(total, total_here)
    assert_same(blocks.gather(state), here.gather(state_here))
    (folder,) = (tmp_path / "new").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == [f"{i}.npz" for i in range(5)]
    some, column = blocks.select([1, 3], state)
    del state
    gc.collect()
    assert folder.exists(), "a column made of the anchored one is left"
    assert_same(some.gather(column), [here.gather(state_here)[i] for i in (1, 3)])
    del column
    gc.collect()
    assert not folder.exists()


@pytest.mark.cluster
def test_large_state_without_a_folder_stays_and_is_warned_of_once(cluster_client, caplog):
    blocks, X = catalogue.dask_blocks(DATA)
    with dask.config.set({"dask-newton.anchor.max-bytes": 1000}), caplog.at_level(logging.WARNING, "dask_newton"):
        state, _ = run(blocks, X, 25)
    assert state.depth == 25
    (record,) = [record for record in caplog.records if record.name.startswith("dask_newton")]
    assert "anchor.directory" in record.getMessage()


@pytest.mark.cluster
def test_small_state_is_anchored_in_memory(cluster_client, tmp_path):
    blocks, X = catalogue.dask_blocks(DATA)
    with dask.config.set({"dask-newton.anchor.every": 3, "dask-newton.anchor.directory": str(tmp_path)}):
        state, _ = run(blocks, X, 3)
        assert state.depth == 3
        state, _ = run(blocks, X, 4)
    assert (state.depth, state.needs) == (0, ())
    assert not list(tmp_path.iterdir())


def test_settings_have_defaults_and_follow_dasks_configuration():
    assert dask.config.get("dask-newton") == {
        "anchor": {"every": 10, "max-bytes": "256 MB", "directory": None},
        "broadcast": {"inline-bytes": "1 MB"},
        "persist": {"share": 0.5},
        "memory": {"keep-freed": "128 MB"},
    }
