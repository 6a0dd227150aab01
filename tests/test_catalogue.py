"""The catalogue names every member of every package."""

import inspect

import catalogue

import dask_newton.blocks
import dask_newton.inner
import dask_newton.losses
import dask_newton.penalties
import dask_newton.solvers
from dask_newton.blocks import Blocks
from dask_newton.blocks.cluster import ClusterBlocks
from dask_newton.inner import LocalResult, NewtonResult, SVRGResult
from dask_newton.losses import Loss
from dask_newton.penalties import Penalty
from dask_newton.solvers import Solver


def members(package, base=object, without=()):
    classes = {value for name in package.__all__ if inspect.isclass(value := getattr(package, name))}
    return {c for c in classes if issubclass(c, base) and not inspect.isabstract(c) and c not in without}


def test_every_loss_is_listed():
    assert {type(case.loss) for case in catalogue.LOSSES.values()} == members(dask_newton.losses, Loss)


def test_every_penalty_is_listed():
    assert {type(make((3, 2))) for make in catalogue.PENALTIES.values()} == members(dask_newton.penalties, Penalty)


def test_every_local_solver_is_listed():
    results = (LocalResult, NewtonResult, SVRGResult)
    assert {type(solver) for solver in catalogue.LOCAL_SOLVERS.values()} == members(dask_newton.inner, without=results)


def test_every_solver_is_listed_under_its_name():
    registered = {name: type(case.solver) for name, case in catalogue.SOLVERS.items() if case.registered}
    assert registered == dask_newton.solvers.SOLVERS
    networks = {name: type(solver) for name, solver in catalogue.NETWORK_SOLVERS.items()}
    assert networks == dask_newton.solvers.NETWORK_SOLVERS
    assert {*registered.values(), *networks.values()} == members(dask_newton.solvers, Solver)
    assert all(case.solver.name == name for name, case in catalogue.SOLVERS.items())
    assert all(solver.name == name for name, solver in catalogue.NETWORK_SOLVERS.items())


def test_every_engine_is_listed():
    listed = {cls.__name__ for cls in members(dask_newton.blocks, Blocks) | {ClusterBlocks}}
    assert set(catalogue.BLOCKS) == listed


def test_every_supported_penalty_is_listed():
    for case in catalogue.SOLVERS.values():
        assert set(case.penalties) <= set(catalogue.PENALTIES)
