"""Models and checkpoints can store whatever the library offers."""

import dataclasses
import inspect

import pytest

from dask_newton import inner, losses, penalties, solvers
from dask_newton.storage.registry import class_of, name_of

BASES = {
    "inner-solver": (inner, inner.LocalSolver),
    "loss": (losses, losses.Loss),
    "penalty": (penalties, penalties.Penalty),
    "solver": (solvers, solvers.Solver),
}


@pytest.mark.parametrize("kind", BASES)
def test_every_public_class_has_a_name(kind):
    package, base = BASES[kind]
    offered = [getattr(package, name) for name in package.__all__]
    concrete = [
        cls
        for cls in offered
        if inspect.isclass(cls)
        and issubclass(cls, base)
        and not inspect.isabstract(cls)
        and dataclasses.is_dataclass(cls)
    ]
    assert len(concrete) > 3
    for cls in concrete:
        name = name_of(cls)
        assert name is not None, f"put @stored('{kind}/...') above @dataclass of {cls.__name__}"
        assert name.startswith(f"{kind}/") and class_of(name) is cls
