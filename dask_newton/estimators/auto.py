"""``solver="auto"``: which solver, and why.

The rules follow from what was measured (asv_bench/benchmarks/solvers.py has the problems). While an explicit Hessian
is cheap to add up, nothing needs fewer passes. Beyond that L-BFGS on a sampled Hessian needs one pass per iteration
and about as few iterations; the sample of sparse data is small, however many features there are. Newton-CG needs a pass
per inner iteration, but neither a matrix with a row per feature nor a sample.
"""

from __future__ import annotations

from dask_newton.objectives.linear import LinearObjective
from dask_newton.penalties import NormPenalty
from dask_newton.solvers import NewtonADMM, NewtonCG, NewtonCholesky, ProxNewton, SampledNewton, Solver

__all__ = ["choose_solver"]

_CHEAP_HESSIAN = 1e9  # floating point operations: some hundredths of a second
_SPARSE = 0.1  # share of the entries of X that are stored
_LONG_COLUMNS = 100  # entries of a column beyond which a pass costs more than the vectors of conjugate gradients
_GRAM_WIDTH = 200  # features per output up to which adding up one Gram matrix costs less than some fifteen passes


def choose_solver(problem: LinearObjective) -> tuple[Solver, str]:
    """Return a solver for the objective and one sentence with the reason."""
    q, K = problem.shape
    exact, sampled = NewtonCholesky(), SampledNewton()
    norms = isinstance(problem.nonsmooth, NormPenalty)
    cheap = problem.n_rows * K * (K + 1) * q * q <= _CHEAP_HESSIAN
    # The Hessian of a quadratic loss is the same for all outputs and added up once, for one step to the optimum.
    cheap = problem.size <= exact.max_dim and (cheap or (problem.loss.quadratic and q <= _GRAM_WIDTH * K))
    if cheap and (norms or problem.nonsmooth is None):
        return exact, f"the Hessian has {problem.size} rows and is cheap to add up over {problem.n_rows} samples"
    if norms and q <= sampled.max_features:
        return ProxNewton(), (
            f"the penalty {problem.penalty} is not smooth, and the Hessian of a sample, with {q} rows for each output, "
            "is cheap"
        )
    if problem.nonsmooth is not None:
        return NewtonADMM(), f"the penalty {problem.penalty} is not differentiable, which consensus ADMM handles"
    if q <= sampled.max_features:
        return sampled, (
            f"the Hessian ({problem.size} rows) of all {problem.n_rows} samples is dear, but one of a sample, with {q} "
            "rows for each output, is not"
        )
    if _LONG_COLUMNS * q <= problem.n_stored <= _SPARSE * problem.n_rows * q:
        return sampled, f"X is sparse, so that products with the Hessian of a sample are cheap with {q} features too"
    return NewtonCG(preconditioner="jacobi"), (
        f"with {q} features no Hessian can be factored, so it is used through products only"
    )
