"""What every local solver promises: the solution of its system, on any device, whenever the host looks."""

import dataclasses

import array_api_strict as strict
import duck
import numpy as np
import pytest
from catalogue import LOCAL_SOLVERS, LOCAL_SYSTEMS
from hypothesis import given, settings
from hypothesis import strategies as st
from systems import Counted, singular, system

from dask_newton.arrays import to_host
from dask_newton.inner import MINRES, LocalSolver, SquaredCG

duck.register()
SOLVERS = {name: solver for name, solver in LOCAL_SOLVERS.items() if isinstance(solver, LocalSolver)}
each = pytest.mark.parametrize("name", SOLVERS)


def changed(solver, **options):
    """Return a local solver with other options."""
    if isinstance(solver, SquaredCG):
        return dataclasses.replace(solver, cg=changed(solver.cg, **options))
    return dataclasses.replace(solver, **options)


@each
@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), d=st.integers(1, 20), scale=st.sampled_from([1e-100, 1e-8, 1.0, 1e8, 1e100]))
def test_positive_definite_systems_are_solved(name, seed, d, scale):
    A, b = system(d, seed=seed)
    M, right = LOCAL_SYSTEMS[name](A, b)
    found = SOLVERS[name].solve(lambda v: A @ v, scale * b)
    assert found.status == "ok"
    np.testing.assert_allclose(found.x, np.linalg.solve(M, scale * right), atol=1e-9 * scale)
    # relative_residual comes from a recursion; it and the true one part at condition x rounding.
    true = np.linalg.norm(scale * right - M @ found.x) / np.linalg.norm(scale * right)
    assert found.relative_residual == pytest.approx(true, abs=1e-11)


@each
def test_products_are_counted(name):
    A, b = system()
    counted = Counted(A)
    assert SOLVERS[name].solve(counted, b).n_products == counted.count


@each
def test_zero_right_side(name):
    A = Counted(np.eye(3))
    found = SOLVERS[name].solve(A, np.zeros(3))
    assert (found.status, found.n_iter, found.n_products, A.count) == ("zero", 0, 0, 0)
    assert found.relative_residual == 0
    np.testing.assert_array_equal(found.x, 0)


@each
@pytest.mark.parametrize("at", [1, 2, 5])
def test_nan_is_told_and_leaves_numbers(name, at):
    A, b = system()
    found = SOLVERS[name].solve(Counted(A, nan_at=at), b)
    assert found.status == "nan"
    assert np.all(np.isfinite(found.x))


@each
def test_any_device(name):
    A, b = system()
    b, device = b.reshape(4, 3), strict.Device("device1")
    A1, b1 = strict.asarray(A, device=device), strict.asarray(b, device=device)
    here = SOLVERS[name].solve(lambda v: (A @ v.reshape(12)).reshape(4, 3), b)
    there = SOLVERS[name].solve(lambda v: strict.reshape(A1 @ strict.reshape(v, (12,)), (4, 3)), b1)
    assert there.x.device == device
    np.testing.assert_allclose(to_host(there.x), here.x, rtol=1e-10)
    assert (there.status, there.n_iter) == (here.status, here.n_iter)


@each
def test_single_precision_stays_single(name):
    A, b = (a.astype("float32") for a in system())
    found = changed(SOLVERS[name], rtol=1e-4).solve(lambda v: A @ v, b)
    assert found.x.dtype == np.float32
    assert found.status == "ok"


# Methods that end in every way there is, with their matrices
ENDS = {
    "ok": (system, None, None),
    "max_iter": (system, 5, None),
    "nan": (system, None, 7),
    "singular": (lambda: singular()[:2], None, None),
    "zero": (lambda: (np.eye(3), np.zeros(3)), None, None),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("solver", [*SOLVERS.values(), MINRES(0.0, detect_npc=False)], ids=[*SOLVERS, "minres-all"])
def test_results_do_not_depend_on_when_the_host_looks(solver, end):
    make, max_iter, nan_at = ENDS[end]
    A, b = make()
    solver = changed(solver, max_iter=max_iter or 1000)
    often = solver.solve(Counted(A, nan_at), b)
    for check_every in (2, 3, 8, 1000):
        product = Counted(A, nan_at)
        seldom = changed(solver, check_every=check_every).solve(product, b)
        np.testing.assert_array_equal(seldom.x, often.x)
        assert dataclasses.replace(seldom, x=None) == dataclasses.replace(often, x=None)
        # What the loop does after it was frozen is not counted, but bounded.
        assert product.count <= often.n_products + 2 * check_every


@each
@pytest.mark.parametrize(("check_every", "looks"), [(None, 5), (1, 40), (40, 1)])
def test_the_host_looks_when_it_should(name, check_every, looks):
    """And once more for the result."""
    solver = changed(SOLVERS[name], rtol=0.0, max_iter=40, check_every=check_every)
    A, b = system(60, condition=1e6)
    A, b = duck.asduck(A), duck.asduck(b)
    before = duck.copies["to host"]
    found = solver.solve(lambda v: A @ v, b)
    assert found.n_iter == 40
    assert duck.copies["to host"] - before == looks + 1
