"""States of solvers <-> JSON and flat arrays."""

import dataclasses
import json

import numpy as np
import pytest

from dask_newton.blocks import SerialBlocks
from dask_newton.checkpoint.codec import StateDecoder, StateEncoder
from dask_newton.solvers import GIANT, NETWORK_SOLVERS, SOLVERS, Status
from dask_newton.solvers.parts.line_search import LineSearch
from dask_newton.storage.codec import NotStoredError


def there_and_back(value):
    encoder = StateEncoder(SerialBlocks(1))
    written = json.dumps(encoder.encode(value), allow_nan=False)
    return StateDecoder(None, encoder.flat()).decode(json.loads(written))


@pytest.mark.parametrize("value", [Status.SETTLED, (Status.NAN, [1.5]), GIANT(line_search=LineSearch(3))], ids=repr)
def test_values_without_arrays_come_back_as_they_were(value):
    found = there_and_back(value)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("solver", dict.fromkeys(cls for table in (SOLVERS, NETWORK_SOLVERS) for cls in table.values()))
def test_every_solver_comes_back_with_its_options(solver):
    first, *_ = dataclasses.fields(solver)
    assert there_and_back(solver()) == solver(), f"{solver.__name__} or one of its options, such as {first.name}"


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "bool", "uint8"])
@pytest.mark.parametrize("shape", [(), (0, 3), (4,), (2, 3, 4)])
def test_arrays_keep_their_bits_types_and_shapes(dtype, shape):
    array = np.random.default_rng(0).normal(size=shape).astype(dtype)
    first, second = there_and_back((array, {"again": array.T}))
    assert first.dtype == array.dtype
    np.testing.assert_array_equal(first, array)
    np.testing.assert_array_equal(second["again"], array.T)
    assert first.flags.owndata, "an array must not keep all others in memory"


@pytest.mark.parametrize("value", [np.array([object()]), np.array(["a"]), np.datetime64("now"), {1, 2}], ids=type)
def test_anything_else_is_not_stored(value):
    with pytest.raises(NotStoredError):
        there_and_back((1, value))


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="unknown kind 'pickle'"):
        StateDecoder(None, {}).decode({"pickle": "gASVBQ=="})
