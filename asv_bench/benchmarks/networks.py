"""Networks: what a fit takes and sends, and how far it comes in a given number of iterations."""

from __future__ import annotations

import warnings

import dask.array as da
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from dask_newton import MLPClassifier

SOLVERS = ("kfac", "lbfgs", "newton-cg", "gn-cg", "adam")
N_ITER = 10


class Fit:
    """Digits in eight blocks, in this process."""

    params = SOLVERS
    param_names = ("solver",)
    timeout = 600
    rounds = 1
    repeat = (1, 5, 20.0)
    number = 1
    warmup_time = 0

    def setup(self, solver: str) -> None:
        X, y = load_digits(return_X_y=True)
        self.X, self.y = da.from_array(X / 16, chunks=(225, -1)), da.from_array(y, chunks=225)

    def fit(self, solver: str) -> MLPClassifier:
        model = MLPClassifier((100, 40), solver=solver, max_iter=N_ITER, tol=0, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return model.fit(self.X, self.y)

    def time_fit(self, solver: str) -> None:
        self.fit(solver)

    def peakmem_fit(self, solver: str) -> None:
        self.fit(solver)

    def track_rounds(self, solver: str) -> float:
        return self.fit(solver).n_rounds_

    track_rounds.unit = "rounds"

    def track_objective(self, solver: str) -> float:
        return self.fit(solver).loss_

    track_objective.unit = "mean loss"
