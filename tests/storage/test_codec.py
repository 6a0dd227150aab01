"""Values <-> JSON, by registered names and nothing else."""

import json
from dataclasses import dataclass, make_dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dask_newton.storage import registry
from dask_newton.storage.codec import Decoder, Encoder, NotStoredError
from dask_newton.storage.registry import UnknownNameError, class_of, name_of, stored


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    """Forget the names that a test registers."""
    monkeypatch.setattr(registry, "_CLASSES", dict(registry._CLASSES))
    monkeypatch.setattr(registry, "_NAMES", dict(registry._NAMES))


class Colour(StrEnum):
    """Text for JSON, which would come back as something else."""

    RED = "red"


@dataclass(frozen=True)
class Unnamed:
    """A dataclass without a registered name."""

    number: float = 1.0


def ball_of(module):
    """Register and return a class as if a file ``module`` that defines it had been imported."""
    made = make_dataclass("Ball", [("radius", float), ("centre", Any, None)], frozen=True)
    made.__module__ = module
    return stored("solver-part/ball")(made)


@pytest.fixture
def ball():
    return ball_of("old_place")


def there_and_back(value):
    return Decoder().decode(json.loads(json.dumps(Encoder().encode(value), allow_nan=False)))


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
        (1, (2.0, None)),
        [1, [2]],
        {1: "a", "b": (2,), (3, None): []},
        np.float32(0.1),
        np.int64(7),
        np.bool_(True),
        (),
        {},
    ],
    ids=repr,
)
def test_values_come_back_as_they_were(value):
    found = there_and_back(value)
    assert found == value
    assert type(found) is type(value)


def test_nan_comes_back():
    assert np.isnan(there_and_back(float("nan")))


@pytest.mark.parametrize("dtype", ["f8", "f4", ">f8", "i8", "u1", "?", "U3"])
@pytest.mark.parametrize("shape", [(), (0, 3), (4,), (2, 3, 4)])
def test_arrays_keep_their_bits_types_and_shapes(dtype, shape):
    array = np.random.default_rng(0).normal(size=shape).astype(dtype)
    if array.dtype.kind == "f" and array.size:
        array.flat[0] = np.nan
    found = there_and_back({"array": array.T})["array"]
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array.T)


def test_registered_dataclasses_come_back(ball):
    value = ball(2.0, (np.float32(1.5), [ball(3.0)]))
    assert there_and_back(value) == value
    assert name_of(ball) == "solver-part/ball"


@pytest.mark.parametrize(
    "value",
    [
        object(),
        Path(),
        print,
        np.array([object()]),
        np.array([1j]),
        Unnamed(),
        {1, 2},
        Colour.RED,
        np.random.RandomState(0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_anything_else_is_not_stored(value):
    with pytest.raises(NotStoredError, match=type(value).__name__ if not isinstance(value, np.ndarray) else "dtype"):
        there_and_back((1, value))


# Names


def test_a_class_that_moved_is_found(ball):
    written = Encoder().encode(ball(2.0))
    assert "old_place" not in json.dumps(written)
    registry._CLASSES.pop("solver-part/ball")  # another process, in which the class lives elsewhere
    moved = ball_of("new_place")
    found = Decoder().decode(written)
    assert type(found) is moved and found.radius == 2.0


def test_a_name_has_one_class(ball):
    with pytest.raises(ValueError, match=r"Unnamed cannot be registered .*: old_place\.Ball has that name"):
        stored("solver-part/ball")(Unnamed)
    assert class_of("solver-part/ball") is ball


def test_a_module_that_is_run_again_replaces_its_classes(ball):
    again = ball_of("old_place")
    assert again is not ball
    assert class_of("solver-part/ball") is again


def test_a_subclass_needs_a_name_of_its_own(ball):
    class Larger(ball):
        pass

    with pytest.raises(NotStoredError, match="Larger is neither"):
        Encoder().encode(Larger(1.0))


@pytest.mark.parametrize("name", ["ball", "/ball", "part/", ""])
def test_names_have_two_parts(name):
    with pytest.raises(ValueError, match="give a kind and a name"):
        stored(name)(Unnamed)


def test_only_dataclasses_have_names():
    class Derived(Unnamed):
        pass

    for cls in (int, Derived):
        with pytest.raises(TypeError, match="put @stored"):
            stored("solver-part/other")(cls)


# What a file can say


@pytest.mark.parametrize("name", ["os/system", "solver/giants", "dask_newton.solvers.linear.giant.GIANT", 3])
def test_a_file_can_name_registered_classes_alone(name):
    with pytest.raises(UnknownNameError, match="this version of dask_newton has no"):
        Decoder().decode({"record": name, "fields": {}})


def test_unknown_fields_are_refused(ball):
    written = Encoder().encode(replace(ball(1.0)))
    written["fields"]["colour"] = "red"
    with pytest.raises(ValueError, match="'solver-part/ball' has no field 'colour' in this version"):
        Decoder().decode(written)


@pytest.mark.parametrize("dtype", ["|O", "c16", "V8", "M8[s]"])
def test_arrays_of_other_types_are_refused(dtype):
    with pytest.raises(ValueError, match="array of dtype"):
        Decoder().decode({"array": [dtype, [1], [0]]})


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="unknown kind 'pickle'"):
        Decoder().decode({"pickle": "gASVBQ=="})
