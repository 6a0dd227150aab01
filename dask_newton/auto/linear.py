"""``solver="auto"`` for linear models: which solver, why, and which one takes over if it stalls.

A rule for the shape of the problem names the usual solver; it follows from measurements on the problems of
asv_bench/benchmarks/solvers.py. As long as an explicit Hessian is cheap to sum, no solver needs fewer passes. Beyond
that, L-BFGS on a sampled Hessian needs one pass per iteration and about as few iterations; the sample of sparse data is
small, however many features there are. Newton-CG needs one pass per inner iteration, but neither a matrix with one row
per feature nor a sample.

The rule does not know the machine. The time of every solver that can minimise the objective is therefore estimated from
its expected work (:meth:`Solver.work`) and from the measured rates, rounded to powers of two. Both are rough, so
another solver is chosen only if it should take less than half the time of the usual one and save at least two seconds.
"""

from __future__ import annotations

import time
from typing import Any

from dask_newton.auto.explanation import Estimate, Explanation
from dask_newton.auto.machine import Machine, measure
from dask_newton.objectives.linear.objective import LinearObjective
from dask_newton.penalties import NormPenalty
from dask_newton.solvers import (
    SOLVERS,
    NewtonADMM,
    NewtonCG,
    NewtonCholesky,
    NewtonMR,
    ProxNewton,
    SampledNewton,
    Solver,
    UnsupportedError,
)
from dask_newton.solvers.relay import Relay, Stage

__all__ = ["choose_solver", "compare_costs", "explain", "usual_solver"]

_CHEAP_HESSIAN = 1e9  # floating point operations: a few hundredths of a second
_SPARSE = 0.1  # fraction of the entries of X that is stored
_LONG_COLUMNS = 100  # entries per column beyond which a pass costs more than the vectors of conjugate gradients
_GRAM_WIDTH = 200  # features per output up to which one Gram matrix costs less than about fifteen passes

_CLEARLY_LESS = 0.5
_WORTH_IT = 2.0  # seconds

# Solvers that may take over: their iterates do not depend on how the rows are split into blocks.
_FALLBACKS = ("newton-cholesky", "newton-mr", "newton-cg", "sampled-newton", "prox-newton", "newton-admm", "lbfgs")
_STAGES = 3


def usual_solver(problem: LinearObjective) -> tuple[Solver, str]:
    """Return the usual solver for the shape of an objective, and the reason."""
    q, K = problem.shape
    exact, sampled = NewtonCholesky(), SampledNewton()
    norms = isinstance(problem.nonsmooth, NormPenalty)
    if not problem.loss.convex and problem.nonsmooth is None:
        return NewtonMR(), "the loss is not convex, and this solver exploits negative curvature"
    cheap = problem.n_rows * K * (K + 1) * q * q <= _CHEAP_HESSIAN
    # The Hessian of a quadratic loss is the same for all outputs and is summed once, for one step to the optimum.
    cheap = problem.size <= exact.max_dim and (cheap or (problem.loss.quadratic and q <= _GRAM_WIDTH * K))
    if cheap and (norms or problem.nonsmooth is None):
        return exact, f"the Hessian has {problem.size} rows and is cheap to sum over {problem.n_rows} samples"
    if norms and q <= sampled.max_features:
        return ProxNewton(), (
            f"the penalty {problem.penalty} is not smooth, and the Hessian of a sample, with {q} rows per output, is "
            "cheap"
        )
    if problem.nonsmooth is not None:
        return NewtonADMM(), f"the penalty {problem.penalty} is not differentiable, which consensus ADMM handles"
    if q <= sampled.max_features:
        return sampled, (
            f"the Hessian ({problem.size} rows) of all {problem.n_rows} samples is expensive, but that of a sample, "
            f"with {q} rows per output, is cheap"
        )
    if _LONG_COLUMNS * q <= problem.n_stored <= _SPARSE * problem.n_rows * q:
        return sampled, f"X is sparse, so products with the Hessian of a sample are cheap even with {q} features"
    return NewtonCG(preconditioner="jacobi"), (
        f"with {q} features the Hessian is too large to factor, so only products with it are used"
    )


def explain(problem: LinearObjective, first_pass: float) -> Explanation:
    """Measure the machine, and explain which solver is chosen.

    Parameters
    ----------
    problem : LinearObjective
    first_pass : float
        Seconds of the pass that examined the blocks.
    """
    began = time.perf_counter()
    machine = measure(problem, first_pass)
    return compare_costs(problem, machine, time.perf_counter() - began)


def compare_costs(problem: LinearObjective, machine: Machine, measuring: float = 0.0) -> Explanation:
    """Estimate the cost of every solver at given rates, and choose."""
    usual, why = usual_solver(problem)
    rates = machine.rounded()
    solvers = {name: cls() for name, cls in SOLVERS.items()} | {"newton-cg": NewtonCG(preconditioner="jacobi")}
    estimates = [_estimate(problem, solver, rates) for solver in (solvers | {usual.name: usual}).values()]
    estimates.sort(key=lambda e: (e.seconds is None, e.seconds or 0.0, e.solver.name))
    of = {estimate.solver.name: estimate for estimate in estimates}
    known = [estimate for estimate in estimates if estimate.seconds is not None]
    first, least = of[usual.name], known[0] if known else of[usual.name]
    reason = why
    # Expected work is that of convex problems; for other losses it only orders the solvers that may take over.
    if problem.loss.convex and first.seconds is not None and least.seconds is not None:
        saved = first.seconds - least.seconds
        if saved > max((1 - _CLEARLY_LESS) * first.seconds, _WORTH_IT):
            reason = (
                f"at the measured rates it should take {least.seconds:.2g} seconds; {first.solver.name}, the usual "
                f"solver for this shape, should take {first.seconds:.2g}"
            )
            first = least
        elif least is not first:
            limit = f"{_WORTH_IT:g} seconds" if saved <= _WORTH_IT else "half of the time"
            reason += f"; {least.solver.name} is not expected to save more than {limit}"
    others = [e.solver.name for e in known if e is not first and e.solver.name in _FALLBACKS]
    return Explanation(
        problem.n_rows,
        problem.shape,
        problem.n_stored,
        problem.blocks.n_blocks,
        problem.blocks.streamed,
        f"{problem.loss} + {problem.penalty}",
        machine,
        measuring,
        tuple(estimates),
        first.solver.name,
        reason,
        tuple(others[: _STAGES - 1]),
    )


def _estimate(problem: LinearObjective, solver: Solver[Any], rates: Machine) -> Estimate:
    try:
        solver.check(problem)
    except UnsupportedError as error:
        return Estimate(solver, None, None, False, str(error))
    work = solver.work(problem)
    if work is None:
        return Estimate(solver, None, None, remark="its number of iterations cannot be predicted")
    return Estimate(solver, work, rates.seconds(work, problem))


def choose_solver(problem: LinearObjective, first_pass: float, tol: float) -> tuple[Relay, Explanation]:
    """Return the chosen solver, with those that take over if it stalls, and the explanation."""
    explanation = explain(problem, first_pass)
    of = {estimate.solver.name: estimate for estimate in explanation.estimates}
    stages: list[Stage] = []
    for name in (explanation.choice, *explanation.then):
        work = of[name].work
        assert work is not None or not stages
        stages.append(
            Stage(of[name].solver)
            if work is None
            else Stage(of[name].solver, work.passes, work.passes / work.iterations)
        )
    return Relay(tuple(stages), tol, name=explanation.choice), explanation
