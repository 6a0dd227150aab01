"""From runs to the page, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version

import dask_newton
from parity import incumbent
from parity.containers import CONTAINERS
from parity.problems import Problem
from parity.runs import (
    BOUND,
    FLOAT32_TOL,
    LOOSE_BOUND,
    LOOSE_CONTAINERS,
    LOOSE_SOLVER,
    LOOSE_TOL,
    SOLVER_COLUMNS,
    TOL,
    Run,
    bound_of,
)

__all__ = ["page"]

_PACKAGES = ["scikit-learn", "statsmodels", "numpy", "scipy", "dask", "dask-ml", "dask-glm"]


def page(runs: Sequence[Run], theirs: dict[str, dict[tuple[str, bool], float | str]]) -> str:
    """Return the text of ``parity.md``.

    Parameters
    ----------
    runs : sequence of Run
    theirs : dict
        Name of a problem -> what :func:`parity.incumbent.errors` returned.
    """
    double = [run for run in runs if not CONTAINERS[run.container].float32]
    problems = list({run.problem.name: run.problem for run in double}.values())
    parts = [
        _introduction(double),
        _problems_table(double, problems),
        _containers_table(runs),
        _float32(runs),
        _references_table(problems),
        _dask_ml(problems, double, theirs),
    ]
    return "\n\n".join(parts) + "\n"


def number(value: float | str | None) -> str:
    """Return one digit and an exponent; names as they are."""
    if value is None:
        return "–"
    return value if isinstance(value, str) else f"{value:.0e}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], numbers_from: int) -> str:
    rule = [":--" if i < numbers_from else "--:" for i in range(len(header))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows))


def _worst(runs: Iterable[Run]) -> str:
    runs = list(runs)
    if not runs:
        return "–"
    worst = max(run.error for run in runs)
    mark = "" if all(run.converged for run in runs) else "†"
    above = any(run.error > bound_of(run.solver) for run in runs if not CONTAINERS[run.container].float32)
    return (f"**{number(worst)}**" if above else number(worst)) + mark


def _versions() -> str:
    found = [f"dask_newton {dask_newton.__version__}"]
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} not installed")
    return ", ".join(found)


def _introduction(runs: Sequence[Run]) -> str:
    polished = [run for run in runs if run.solver != LOOSE_SOLVER]
    loose = [run for run in runs if run.solver == LOOSE_SOLVER]
    above = sum(run.error > bound_of(run.solver) for run in runs)
    stopped = sum(not run.converged for run in runs)

    def largest(some: Sequence[Run]) -> str:
        return number(max((run.error for run in some), default=None))

    return f"""# Parity

Every estimator with every penalty, by every solver that takes it, from every container, compared with scikit-learn or
statsmodels. This page is written by `python docs/make_parity.py`, with {_versions()}.

Each number is the largest difference of a coefficient or an intercept from the reference, not relative to anything. The
data are small: breast cancer, digits and diabetes as they come with scikit-learn, and
insurance claims drawn with a fixed seed. Coefficients are of order 1, if the last but one table says no more.

{len(runs)} fits in double precision are on this page. The largest difference is {largest(polished)}, and the bound is
{number(BOUND)}. Without its last step, by Newton's method, `newton-admm` is held to {number(LOOSE_BOUND)} for penalties
with l1, and the largest difference is {largest(loose)}. Fits above their bound: {above} (they would be set in bold).

Fits stop at a residual of `tol={number(TOL)}`, far below the default: what is compared is which optimum a fit goes to.
How far from it a fit may stop is the product of `tol` and the inverse Hessian, so that rows without a penalty and
those with large coefficients show more. Fits that ended at `max_iter=1000` with a larger residual, and said so:
{stopped} (marked †)."""


def _problems_table(runs: Sequence[Run], problems: Sequence[Problem]) -> str:
    rows = [
        [
            p.estimator,
            p.targets,
            p.penalty,
            *(_worst(r for r in runs if r.problem.name == p.name and r.solver == s) for s in SOLVER_COLUMNS),
        ]
        for p in problems
    ]
    header = ["estimator", "targets", "penalty", *(f"`{s}`" if s != LOOSE_SOLVER else s for s in SOLVER_COLUMNS)]
    return f"""## Estimators, penalties and solvers

The largest difference over the {len(_containers(runs))} containers of the next table, in double precision. A dash is a
solver that does not take the penalty: it refuses, and names one that does. The last column stops at
`tol={number(LOOSE_TOL)}`; it was run from {" and ".join(LOOSE_CONTAINERS)} only.

{_table(header, rows, 3)}"""


def _containers(runs: Iterable[Run]) -> list[str]:
    return list(dict.fromkeys(run.container for run in runs))


def _containers_table(runs: Sequence[Run]) -> str:
    estimators = list(dict.fromkeys(run.problem.estimator for run in runs))
    runs = [run for run in runs if run.solver != LOOSE_SOLVER]
    rows = []
    for name in _containers(runs):
        if CONTAINERS[name].float32:
            continue
        here = [run for run in runs if run.container == name]
        rows.append(
            [
                name,
                CONTAINERS[name].text,
                str(len(here)),
                *(_worst(run for run in here if run.problem.estimator == e) for e in estimators),
            ]
        )
    return f"""## Containers

The largest difference over all penalties and solvers. Weights, offsets and exposures come in the same container as the
targets; a Zarr group has no exposure, which is given as an array.

{_table(["container", "what it is", "fits", *estimators], rows, 2)}"""


def _float32(runs: Sequence[Run]) -> str:
    runs = [run for run in runs if CONTAINERS[run.container].float32 and run.solver != LOOSE_SOLVER]
    if not runs:
        return ""
    rows = []
    for p in {run.problem.name: run.problem for run in runs}.values():
        here = [run for run in runs if run.problem.name == p.name]
        errors = sorted(run.error for run in here)
        size = float(abs(p.reference.W).max())
        rows.append([p.estimator, p.targets, p.penalty, number(errors[0]), number(errors[-1]), f"{size:.2g}"])
    header = ["estimator", "targets", "penalty", "best solver", "worst solver", "largest coefficient"]
    return f"""## Single precision

With X as `float32`, products are in single precision, so that a gradient has six or seven digits, and coefficients lose
as many of them as the Hessian's condition number has. The bound above does not apply. Fits stop at
`tol={number(FLOAT32_TOL)}`, and the reference is that of the rounded data, in double precision.

{_table(header, rows, 3)}"""


_SOURCES = {
    "newton_cholesky": "scikit-learn, `newton-cholesky`, tol 1e-14",
    "normal_equations": "scikit-learn, direct",
    "coordinate_descent": "scikit-learn, coordinate descent, tol 1e-15",
    "saga": "scikit-learn, `saga`, tol 1e-6, polished",
}


def _source(problem: Problem) -> str:
    if problem.solve.__name__ == "statsmodels_glm":
        return "statsmodels, " + ("`GLM.fit_regularized`, polished" if problem.polish else "`GLM.fit`")
    return _SOURCES[problem.solve.__name__] + (", `MultiTaskLasso`" if problem.by_row else "")


def _references_table(problems: Sequence[Problem]) -> str:
    rows = [
        [
            p.estimator,
            p.targets,
            p.penalty,
            p.data,
            " x ".join(map(str, p.columns["X"].shape)),
            _source(p),
            number(p.reference.residual),
            number(p.reference.moved) if p.polish else "–",
            f"{abs(p.reference.W).max():.2g}",
        ]
        for p in problems
    ]
    header = [
        "estimator",
        "targets",
        "penalty",
        "data",
        "size",
        "reference",
        "residual",
        "moved",
        "largest coefficient",
    ]
    return f"""## References

A reference must itself be at the optimum. Its residual is the largest entry of `W - prox(W - gradient)`, computed by
`docs/parity/objective.py`, which is plain NumPy and shares no code with the library. Where the reference solver does
not reach it, for l1 with losses other than the squared one, its solution is polished: Newton's method on the
coefficients that are not zero, and a check of the optimality conditions of the others. "moved" says by how much.

{_table(header, rows, 6)}"""


def _dask_ml(
    problems: Sequence[Problem], runs: Sequence[Run], theirs: dict[str, dict[tuple[str, bool], float | str]]
) -> str:
    text = """## dask-ml

The same column for dask-ml, where it has the model: one output, no weights, no offset. Its `C` is set so that
the objective it documents is that of the row. Its solvers run for up to 100 iterations, its default, with tolerances
of 1e-10 or less, on two chunks. Each cell has two numbers, with `normalize=True`, its default, and with
`normalize=False`; or the name of an exception."""
    if not incumbent.INSTALLED:
        return f"{text}\n\ndask-ml was not installed where this page was made."
    rows = []
    for p in problems:
        if p.name not in theirs:
            continue
        errors = theirs[p.name]
        ours = _worst(run for run in runs if run.problem.name == p.name and run.solver != LOOSE_SOLVER)
        cells = (f"{number(errors[s, True])}, {number(errors[s, False])}" for s in incumbent.SOLVERS)
        rows.append([p.estimator, p.targets, p.penalty, ours, *cells])
    header = ["estimator", "targets", "penalty", "dask_newton, worst", *(f"`{s}`" for s in incumbent.SOLVERS)]
    return f"""{text}

{_table(header, rows, 3)}

Causes that can be read in its source: the intercept is penalised like a coefficient; with `normalize=True` the penalty
is that of standardised columns; `newton` and `gradient_descent` take no penalty; a fit that stops at its last iteration
does not say so."""
