"""Every solver on every problem: what a fit takes, what it sends, and how near the optimum it ends."""

from __future__ import annotations

import contextlib
import statistics
import time
import warnings
from typing import Any

from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression as SklearnLogisticRegression

from dask_newton import LogisticRegression

from . import common, problems

NAMES = problems.NAMES
HOUR = 3600


class _Fits:
    """What is the same for fits in this process and on a cluster, the saved problems among them."""

    param_names = ("problem", "solver")
    timeout = HOUR
    rounds = 1
    number = 1
    warmup_time = 0

    def setup_cache(self) -> dict[str, dict[str, Any]]:
        return common.prepare(NAMES)

    setup_cache.timeout = HOUR

    def time_fit(self, prepared: dict[str, dict[str, Any]], name: str, solver: str) -> None:
        common.fit(self.problem, solver)


class Fit(_Fits):
    """A fit in eight blocks, in this process."""

    params = (NAMES, common.COMPARED)
    repeat = (1, 5, 20.0)

    def setup(self, prepared: dict[str, dict[str, Any]], name: str, solver: str) -> None:
        self.problem = common.load(name)
        if reason := common.refusal(self.problem, solver):
            raise NotImplementedError(reason)

    def peakmem_fit(self, prepared: dict[str, dict[str, Any]], name: str, solver: str) -> None:
        common.fit(self.problem, solver)

    def track_passes(self, prepared: dict[str, dict[str, Any]], name: str, solver: str) -> float:
        return common.outcome(self.problem, solver)["passes"]

    track_passes.unit = "passes"

    def track_rounds(self, prepared: dict[str, dict[str, Any]], name: str, solver: str) -> float:
        return common.outcome(self.problem, solver)["rounds"]

    track_rounds.unit = "rounds"

    def track_megabytes(self, prepared: dict[str, dict[str, Any]], name: str, solver: str) -> float:
        return common.outcome(self.problem, solver)["megabytes"]

    track_megabytes.unit = "MB"

    def track_relative_gap(self, prepared: dict[str, dict[str, Any]], name: str, solver: str) -> float:
        optimum = prepared[name]["optimum"]
        gap = (common.outcome(self.problem, solver)["objective"] - optimum) / optimum
        return max(gap, 1e-16)  # below rounding a gap has no meaning, and a web page draws its logarithm

    track_relative_gap.unit = "relative gap"


class FitOnCluster(_Fits):
    """The same on two worker processes of this machine."""

    params = (("digits", "tall"), common.COMPARED)
    repeat = (1, 3, 20.0)

    def setup(self, prepared: dict[str, dict[str, Any]], name: str, solver: str) -> None:
        from .clusters import local_cluster  # imports distributed, whose memory those above must not count

        self.problem, self.opened = common.load(name), contextlib.ExitStack()
        if reason := common.refusal(self.problem, solver):
            raise NotImplementedError(reason)
        self.opened.enter_context(local_cluster(2))
        common.fit(self.problem, solver, tol=1.0)  # workers import the library once

    def teardown(self, prepared: dict[str, dict[str, Any]], name: str, solver: str) -> None:
        self.opened.close()


class SpeedupOverSklearn:
    """Seconds of scikit-learn to a relative gap of 1e-6, divided by ours, measured in the same run.

    Both get the same ladder of tolerances. What counts is the time of the whole fit at the loosest that reaches the
    gap. Our rows are a NumPy array or a Dask array of two blocks, theirs always a NumPy array.
    """

    params = (problems.SMOOTH, ("newton-cholesky", "newton-cg"), ("numpy", "dask"))
    param_names = ("problem", "sklearn_solver", "rows")
    timeout = 2 * HOUR
    GAP = 1e-6
    TOLERANCES = tuple(10.0**-k for k in range(2, 11))

    def setup_cache(self) -> dict[str, dict[str, Any]]:
        return common.prepare(problems.SMOOTH)

    setup_cache.timeout = HOUR

    def setup(self, prepared: dict[str, dict[str, Any]], name: str, sklearn_solver: str, rows: str) -> None:
        self.problem = common.load(name)
        if sklearn_solver == "newton-cholesky" and self.problem.n_coefficients > 2000:
            raise NotImplementedError("scikit-learn would factor a Hessian of several thousand rows")

    def track_speedup(self, prepared: dict[str, dict[str, Any]], name: str, sklearn_solver: str, rows: str) -> float:
        problem, optimum = self.problem, prepared[name]["optimum"]

        def ours(tol: float) -> Any:
            return LogisticRegression(C=problem.C, fit_intercept=False, tol=tol, max_iter=300)

        def theirs(tol: float) -> Any:
            return SklearnLogisticRegression(
                C=problem.C, fit_intercept=False, solver=sklearn_solver, tol=tol, max_iter=1000
            )

        seconds = self._seconds(problem, optimum, theirs, problem.X, problem.y)
        X, y = common.chunked(problem, 2) if rows == "dask" else (problem.X, problem.y)
        return seconds / self._seconds(problem, optimum, ours, X, y)

    track_speedup.unit = "times"

    def _seconds(self, problem: problems.Problem, optimum: float, make: Any, X: Any, y: Any) -> float:
        for tol in self.TOLERANCES:
            clf, seconds = self._timed(make(tol), X, y)
            if (problem.objective(clf.coef_) - optimum) / optimum <= self.GAP:
                break
        else:
            raise RuntimeError(f"{make(0.1)} does not come within {self.GAP} of the optimum of {problem.name}.")
        again = [self._timed(make(tol), X, y)[1] for _ in range(2 if seconds > 5 else 4)]
        return statistics.median([seconds, *again])

    @staticmethod
    def _timed(clf: Any, X: Any, y: Any) -> tuple[Any, float]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the gap is judged, not the status
            began = time.perf_counter()
            clf.fit(X, y)
            return clf, time.perf_counter() - began
