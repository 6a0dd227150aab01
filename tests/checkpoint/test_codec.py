"""Trees of values <-> JSON and flat arrays."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from dask_newton.blocks import SerialBlocks
from dask_newton.checkpoint.codec import Decoder, Encoder, NotStoredError, modules_of
from dask_newton.inner.preconditioners import Factor
from dask_newton.solvers import GIANT, Status

MODULES = modules_of(None)


@dataclass(frozen=True)
class Mine:
    """A part of a solver of one's own."""

    number: float


def there_and_back(value, modules=MODULES):
    encoder = Encoder(None, modules)
    written = json.dumps(encoder.encode(value), allow_nan=False)
    return Decoder(None, modules, encoder.flat()).decode(json.loads(written))


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        -2.5,
        "spectral",
        float("inf"),
        float("-inf"),
        Status.SETTLED,
        (1, (2.0, None)),
        [1, [2]],
        {1: "a", "b": (2,)},
        np.float32(0.1),
        np.int64(7),
        (),
        {},
        GIANT(cg_max_iter=7),
    ],
    ids=repr,
)
def test_what_is_no_array_comes_back_as_it_was(value):
    found = there_and_back(value)
    assert found == value
    assert type(found) is type(value)


def test_nan_comes_back():
    assert np.isnan(there_and_back(float("nan")))


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "bool", "uint8"])
@pytest.mark.parametrize("shape", [(), (0, 3), (4,), (2, 3, 4)])
def test_arrays_keep_their_bits_types_and_shapes(dtype, shape):
    array = np.random.default_rng(0).normal(size=shape).astype(dtype)
    first, second = there_and_back((array, {"again": array.T}))
    assert first.dtype == array.dtype
    np.testing.assert_array_equal(first, array)
    np.testing.assert_array_equal(second["again"], array.T)
    assert first.flags.owndata, "an array must not keep all others in memory"


def test_parts_of_solvers_come_back():
    factor = Factor(np.eye(3), np.arange(3.0))
    found = there_and_back(factor)
    assert type(found) is Factor
    np.testing.assert_array_equal(found.scale, factor.scale)


@pytest.mark.parametrize(
    "value",
    [object(), Path(), lambda: 0, np.array([object()]), np.array(["a"]), SerialBlocks(1), Mine(1.0), {1, 2}],
    ids=lambda value: type(value).__name__,
)
def test_anything_else_is_not_stored(value):
    with pytest.raises(NotStoredError):
        there_and_back((1, value))


def test_parts_of_a_solver_of_ones_own_come_back_with_it():
    assert there_and_back(Mine(2.0), (*MODULES, __name__)) == Mine(2.0)


@pytest.mark.parametrize(
    "record",
    [
        ["os", "system"],
        ["dask_newton.blocks.anchors", "Folder"],
        ["dask_newton.solvers.linear.giant", "GIANTS"],
        ["dask_newton.solvers.named", "named_solver"],
        ["dask_newton.solversx", "A"],
        [__name__, "Mine"],
    ],
    ids="-".join,
)
def test_a_file_can_name_nothing_but_parts_of_solvers(record):
    with pytest.raises(ValueError, match="no part of a solver"):
        Decoder(None, MODULES, {}).decode({"record": record, "fields": {}})


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="unknown kind 'pickle'"):
        Decoder(SerialBlocks(1), MODULES, {}).decode({"pickle": "gASVBQ=="})
