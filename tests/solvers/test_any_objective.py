"""Solvers that ask nothing but what the contract of an objective promises, on one that is no model at all."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from catalogue import FOR_ANY_OBJECTIVE, NETWORK_SOLVERS, SOLVERS

from dask_newton import minimize
from dask_newton.blocks import PerBlock, SerialBlocks
from dask_newton.objectives.base import Objective
from dask_newton.objectives.points import Point, Ray
from dask_newton.penalties import NoPenalty
from dask_newton.solvers import LBFGS, NewtonCG, NewtonMR, Status, UnsupportedError

NOTHING = PerBlock(())


@dataclass(frozen=True, eq=False)
class Rosenbrock(Objective):
    """``(1 - x)^2 + 100 (y - x^2)^2``: not convex, with its minimum at (1, 1)."""

    blocks = SerialBlocks(1)
    penalty = NoPenalty()
    shape = (2, 1)
    precision = 2.2e-16
    scale = np.ones((2, 1))
    null = np.array([[-1.2], [1.0]])
    total_weight = 1.0

    def penalised(self, W):
        return W

    def value(self, W):
        x, y = W[:, 0]
        return (1 - x) ** 2 + 100 * (y - x * x) ** 2

    def at(self, W):
        x, y = W[:, 0]
        gradient = np.array([[-2 * (1 - x) - 400 * x * (y - x * x)], [200 * (y - x * x)]])
        return Point(W, self.value(W), gradient, NOTHING, NOTHING)

    def along(self, point, D, steps, *, linearize=True):
        first = self.at(point.W + steps[0] * D) if linearize else None
        return replace(self.more(point, Ray(D, (), np.array([]), NOTHING, None), steps), first=first)

    def more(self, point, ray, steps):
        values = np.array([self.value(point.W + a * ray.D) for a in steps])
        return replace(ray, steps=tuple(steps), values=values)

    def step(self, point, ray, size):
        return self.at(point.W + size * ray.D)

    def hess_mul(self, point, V):
        x, y = point.W[:, 0]
        return np.array([[2 - 400 * (y - 3 * x * x), -400 * x], [-400 * x, 200.0]]) @ V

    def sample(self, fraction, seed):
        return self


@pytest.mark.parametrize("solver", [LBFGS(), NewtonCG(), NewtonMR(), NewtonCG(hessian_sample=0.5)], ids=str)
def test_rosenbrock(solver):
    result = minimize(Rosenbrock(), solver, tol=1e-10, max_iter=200)
    assert result.status is Status.CONVERGED
    np.testing.assert_allclose(result.W, 1.0, atol=1e-9)


def test_newton_cg_passes_through_negative_curvature():
    """At (0, 0.01) the Hessian is diag(-2, 200), and CG says so."""
    result = minimize(Rosenbrock(), NewtonCG(), np.array([[0.0], [0.01]]), tol=1e-10, max_iter=200)
    assert result.history[1]["note"] == "npc"
    np.testing.assert_allclose(result.W, 1.0, atol=1e-9)


@pytest.mark.parametrize("name", sorted(set(SOLVERS) - set(FOR_ANY_OBJECTIVE)))
def test_solvers_for_linear_models_say_so(name):
    refused = SOLVERS[name].solver.name if name != "auto" else "newton-cholesky"  # which it would begin with
    message = f"'{refused}' is for linear models and got a Rosenbrock; use solver='lbfgs'"
    with pytest.raises(UnsupportedError, match=message):
        minimize(Rosenbrock(), SOLVERS[name].solver)


@pytest.mark.parametrize("name", sorted(set(NETWORK_SOLVERS) - set(FOR_ANY_OBJECTIVE)))
def test_solvers_for_networks_say_so(name):
    message = rf"'{name}(\(batch_size=\d+\))?' is for networks and got a Rosenbrock; use solver='newton-admm'"
    with pytest.raises(UnsupportedError, match=message):
        minimize(Rosenbrock(), NETWORK_SOLVERS[name])


@pytest.mark.parametrize(
    "solver", [NewtonCG(preconditioner="gram"), NewtonCG(preconditioner="jacobi"), NewtonMR(merit="gradnorm")], ids=str
)
def test_options_for_linear_models_say_so(solver):
    with pytest.raises(UnsupportedError, match=rf'"{solver.name}\(.*\)" is for linear models and got a Rosenbrock'):
        minimize(Rosenbrock(), solver)
