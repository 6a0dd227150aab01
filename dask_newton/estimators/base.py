"""What all linear estimators share: validate, place, minimise, set attributes; and prediction on any container."""

from __future__ import annotations

import dataclasses
import difflib
import logging
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dask
import dask.array as da
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from dask_newton.arrays import align, from_host
from dask_newton.blocks import Blocks, DaskBlocks, PerBlock, SerialBlocks
from dask_newton.estimators.auto import choose_solver
from dask_newton.estimators.inputs import Rows, is_lazy, open_rows, row_chunks
from dask_newton.losses import Loss
from dask_newton.minimize import Result, minimize
from dask_newton.objectives.linear import LinearObjective
from dask_newton.objectives.linear_block import LinearBlock
from dask_newton.penalties import Penalty
from dask_newton.solvers import SOLVERS, Solver

__all__ = ["LinearEstimator", "make_solver"]

logger = logging.getLogger(__name__)


def make_solver(name: str | Solver, options: dict[str, Any] | None) -> Solver | None:
    """Return the solver of a name with its options set; None for 'auto'.

    Raises
    ------
    ValueError
        If the name or an option is not known; the message has the nearest one that is.
    """
    if isinstance(name, Solver):
        return _with_options(name, options or {})
    if name == "auto":
        if options:
            raise ValueError("solver_options need a named solver; solver='auto' chooses its own.")
        return None
    if name not in SOLVERS:
        raise ValueError(f"solver={name!r} is not known; {_nearest(str(name), ['auto', *sorted(SOLVERS)])}")
    return _with_options(SOLVERS[name](), options or {})


def _with_options(solver: Any, options: dict[str, Any]) -> Solver:
    known = [field.name for field in dataclasses.fields(solver)]
    for option in options:
        if option not in known:
            raise ValueError(f"solver {solver.name!r} has no option {option!r}; {_nearest(option, known)}")
    return dataclasses.replace(solver, **options)


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, 1, 0.4)
    return (f"did you mean {close[0]!r}? " if close else "") + f"Known are {', '.join(known)}."


class LinearEstimator(BaseEstimator):
    """A regularised linear model fitted over row blocks."""

    # Set by the subclasses' __init__, as scikit-learn wants it.
    fit_intercept: bool
    solver: str | Solver
    solver_options: dict[str, Any] | None
    tol: float
    max_iter: int
    warm_start: bool
    random_state: Any
    verbose: int
    feature_names_in_: np.ndarray

    def _open(self, X: Any, y: Any, sample_weight: Any, **check: Any) -> Rows:
        """Validate what was given to fit; the rows are Dask arrays, or NumPy arrays in memory."""
        if is_lazy(X):
            rows = open_rows(X, y, sample_weight)
            if rows.y is None:
                name = type(self).__name__
                raise ValueError(f"This {name} estimator requires y to be passed, but the target y is None.")
            self.n_features_in_ = rows.X.shape[1]
            if hasattr(self, "feature_names_in_"):
                del self.feature_names_in_
            if rows.feature_names is not None:
                names = np.asarray(rows.feature_names)
                if names.dtype.kind in "UO":
                    self.feature_names_in_ = names.astype(object)
            return rows
        if isinstance(y, da.Array):
            y = y.compute()
        # The first pass looks for NaN with all cores, and on the way to something else.
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], order="C", ensure_all_finite=False, **check)
        return Rows(X, y, sample_weight)

    def _place(
        self, rows: Rows, loss: Loss, encode: Callable[[Any], Any], reweigh: Callable[[Any, Any], Any] | None
    ) -> tuple[Blocks, PerBlock[LinearBlock]]:
        """Put the rows into blocks, next to each other: in this process, or where Dask computes."""
        make = _BlockMaker(loss, self.fit_intercept, encode, reweigh)
        if not isinstance(rows.X, da.Array):
            blocks = SerialBlocks(1)
            return blocks, blocks.place([make(rows.X, rows.y, rows.sample_weight)])
        n = rows.X.numblocks[0]
        columns = zip(
            row_chunks(rows.X, n), row_chunks(rows.y, n), row_chunks(rows.sample_weight, n), strict=True
        )
        name = f"newton-block-{uuid.uuid4().hex}"
        make = dask.delayed(make, pure=False)
        return DaskBlocks.from_delayed(
            [make(*chunks, dask_key_name=(name, i)) for i, chunks in enumerate(columns)]
        )

    def _minimize(
        self,
        blocks: Blocks,
        data: PerBlock[LinearBlock],
        penalty: Callable[[float], Penalty],
        start: Callable[[tuple[int, int]], np.ndarray | None],
    ) -> Result:
        """Minimise and set the attributes that say how it went."""
        solver = make_solver(self.solver, self.solver_options)  # before any work: a wrong name must not cost a pass
        problem = LinearObjective.from_blocks(blocks, data, penalty)
        if solver is None:
            solver, reason = choose_solver(problem)
            logger.info("solver='auto' chose %r: %s.", solver.name, reason)
        draws = "seed" in {field.name for field in dataclasses.fields(solver)}  # type: ignore[arg-type]
        if draws and self.random_state is not None:
            solver = _with_options(solver, {"seed": int(check_random_state(self.random_state).randint(2**31 - 1))})
        with _logging(self.verbose):
            result = minimize(
                problem, solver, start(problem.shape), max_iter=self.max_iter, tol=self.tol,
                callbacks=[_log] if self.verbose else (),
            )
        self.n_iter_ = np.array([result.n_iter], dtype=np.int32)
        self.converged_ = result.converged
        self.history_ = result.history
        self.n_passes_ = result.history[-1]["passes"]
        self.n_rounds_ = result.history[-1]["rounds"]
        self.solver_ = solver
        self.result_ = dataclasses.replace(result, state=None)  # states may hold blocks of the cluster
        return result

    def _rows_of(self, X: Any) -> Any:
        """Validate what was given to predict: a Dask array for lazy input, else a NumPy array."""
        check_is_fitted(self)
        if not is_lazy(X):
            return validate_data(self, X, dtype=[np.float64, np.float32], order="C", reset=False)
        X = open_rows(X).X
        if X.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {X.shape[1]} features, but {type(self).__name__} is expecting {self.n_features_in_} features "
                "as input."
            )
        return X

    def _map_rows(self, fn: Any, X: Any, width: int | None, dtype: Any) -> Any:
        """Apply ``fn`` to X, or lazily to each of its row chunks; ``width`` is None for a 1-D result."""
        X = self._rows_of(X)
        if not isinstance(X, da.Array):
            return fn(X)
        if width is None:
            return da.map_blocks(fn, X, drop_axis=1, dtype=dtype, meta=np.empty((0,), dtype))
        return da.map_blocks(fn, X, chunks=(X.chunks[0], (width,)), dtype=dtype, meta=np.empty((0, 0), dtype))


@dataclasses.dataclass(frozen=True)
class _BlockMaker:
    """Makes a block from chunks, where the chunks are."""

    loss: Loss
    fit_intercept: bool
    encode: Callable[[Any], Any]
    reweigh: Callable[[Any, Any], Any] | None

    def __call__(self, X: Any, y: Any, weight: Any) -> LinearBlock:
        if weight is not None:
            weight = np.asarray(weight, dtype=X.dtype)
        if self.reweigh is not None and len(y) == X.shape[0]:
            weight = self.reweigh(y, weight)
        weight = None if weight is None else from_host(np.asarray(weight), X, X.dtype)
        X = align(np.ascontiguousarray(X) if isinstance(X, np.ndarray) else X)
        return LinearBlock(X, from_host(self.encode(y), X), weight, None, self.loss, self.fit_intercept)


@contextmanager
def _logging(verbose: int) -> Iterator[None]:
    """Show the library's log on standard error while a verbose fit runs."""
    root = logging.getLogger("dask_newton")
    if not verbose:
        yield
        return
    handler, level = logging.StreamHandler(sys.stderr), root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def _log(record: dict[str, Any]) -> None:
    logger.info(
        "iteration %3d   objective %.10g   gradient %.2e   passes %d   %.2f s",
        record["iteration"], record["objective"], record["gradient_norm"], record["passes"], record["seconds"],
    )
