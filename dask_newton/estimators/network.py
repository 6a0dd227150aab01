"""Multi-layer perceptrons, with one output or several: the fit from beginning to end."""

from __future__ import annotations

import dataclasses
import logging
from abc import abstractmethod
from collections.abc import Callable
from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.utils import check_random_state

from dask_newton.arrays import to_host
from dask_newton.auto.network import usual_network_solver
from dask_newton.blocks import Blocks, PerBlock, named
from dask_newton.containers.hold_out import HoldOut
from dask_newton.containers.placement import place_rows
from dask_newton.estimators.base import Estimator
from dask_newton.estimators.monitors import Plateau, ScikitLearnCallbacks, Validation, log_iteration, shown_log
from dask_newton.estimators.options import elastic_net, has_option, make_solver, seeded
from dask_newton.estimators.parameters import NetworkParameters
from dask_newton.estimators.prediction import Margins, NetworkMargins
from dask_newton.minimize import minimize
from dask_newton.objectives.examine import examine
from dask_newton.objectives.network.activations import ACTIVATIONS
from dask_newton.objectives.network.block import NetworkBlock
from dask_newton.objectives.network.layers import Layers
from dask_newton.objectives.network.objective import NetworkObjective
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.penalties import Penalty
from dask_newton.solvers import Solver, Status
from dask_newton.solvers.named import with_options

__all__ = ["BATCH_SIZE", "NetworkEstimator"]

BATCH_SIZE = 200  # scikit-learn's

logger = logging.getLogger(__name__)


class NetworkEstimator(NetworkParameters, Estimator):
    """A multi-layer perceptron fitted over blocks of rows."""

    hidden_layer_sizes: Any
    activation: str
    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]

    @abstractmethod
    def _score_sums(self) -> Callable[[RowBlock, Any], Any]:
        """Return the function of (rows, margins) whose sum over blocks gives the score."""

    @abstractmethod
    def _score_of(self, sums: np.ndarray) -> float:
        """Return the score for that sum."""

    @property
    @abstractmethod
    def _output_activation(self) -> str:
        """Scikit-learn's name of the function that turns margins into predictions."""

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        *,
        offset: Any,
        X_val: Any,
        y_val: Any,
        checkpoint: Any,
        **encoding: Any,
    ) -> Self:
        """Open the rows, encode the targets, place the blocks, minimise the objective, set the attributes."""
        # A wrong name or a damaged checkpoint is reported before the data are read.
        solver = self._named_solver()
        opened = self._open_checkpoint(checkpoint)
        saved = None if opened is None else opened.saved
        before = self._before()

        rows = self._open(X, y, sample_weight, offset)
        make = self._encode(rows, **encoding)
        validation = self._open_validation(X_val, y_val)
        layers = Layers((rows.X.shape[1], *self._hidden(), make.loss.n_outputs), ACTIVATIONS[self.activation]())
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        hold_out = HoldOut(self.validation_fraction, seed) if self.early_stopping and validation is None else None
        blocks, data = place_rows(rows, dataclasses.replace(make, hold_out=hold_out), self.persist)
        problem = NetworkObjective.from_blocks(
            blocks,
            data,
            layers,
            self._penalty if self.regularizer is None else self.regularizer,
            seed=seed,
            initialisation=self.initialisation,
        )
        start = self._warm_start(layers, *before)

        if solver is None:
            solver, why = usual_network_solver(problem)
            logger.info("solver='auto' chose %r: %s.", solver.name, why)
        if self.random_state is not None:
            solver = seeded(solver, seed)
        unit = float(problem.scale[0, 0]) ** (2 if make.loss.quadratic else 1)  # of the loss
        plateau = Plateau(self.tol * unit, self.n_iter_no_change)
        if saved is not None:
            plateau.catch_up(saved.history)

        held_out = None
        if hold_out is not None:
            validation, hold_out = rows, dataclasses.replace(hold_out, validation=True)
        if validation is not None:
            maker = dataclasses.replace(make, reweigh=None, hold_out=hold_out)
            held_out = self._held_out(*place_rows(validation, maker, self.persist), layers)
        self._layers, self._single = layers, problem.precision > 1e-10
        with ScikitLearnCallbacks(self, X, y, sample_weight) as user, shown_log(self.verbose):
            result = minimize(
                problem,
                solver,
                start,
                max_iter=self.max_iter,
                tol=self.tol,
                max_rounds=self.max_rounds,
                max_bytes=self.max_bytes,
                max_seconds=self.max_seconds,
                callbacks=[
                    *([held_out] if held_out else []),
                    *([] if self.early_stopping else [plateau]),
                    *([log_iteration] if self.verbose else []),
                    user,
                ],
                checkpoint=opened,
            )
            if held_out is not None and self.early_stopping:
                result = dataclasses.replace(result, W=held_out.best_W)
            no_change = plateau.ended or (held_out is not None and held_out.ended)
            if result.status is Status.STOPPED and no_change:
                result = dataclasses.replace(result, status=Status.NO_CHANGE)
            self._set_result(result, solver)
            self.converged_ = self.converged_ or result.status is Status.NO_CHANGE
            self._set_shape()
            self._set_curves()
        return self

    def _named_solver(self) -> Solver[Any] | None:
        """Return the solver with its options; None for 'auto'."""
        solver, options = make_solver(self.solver, self.solver_options, network=True), self.solver_options or {}
        if solver is not None and isinstance(self.solver, str) and has_option(solver, "batch_size"):
            size = BATCH_SIZE if self.batch_size == "auto" else self.batch_size
            return with_options(solver, {"batch_size": size, **options})
        if isinstance(self.batch_size, Integral):
            raise ValueError(
                f"batch_size={self.batch_size} needs a named solver with mini-batches, such as 'adam', and "
                f"solver={self.solver!r}. Leave batch_size at 'auto'."
            )
        return solver

    def _penalty(self, total_weight: float) -> Penalty:
        return elastic_net(self.alpha / total_weight, 0)

    def _hidden(self) -> tuple[int, ...]:
        """Return the sizes of the hidden layers."""
        sizes = np.atleast_1d(np.asarray(self.hidden_layer_sizes))
        if sizes.ndim != 1 or (len(sizes) and (sizes.dtype.kind not in "iu" or np.any(sizes < 1))):
            raise ValueError(
                f"hidden_layer_sizes must be > 0, a number of units for each hidden layer, got "
                f"{self.hidden_layer_sizes!r}."
            )
        return tuple(sizes.tolist())

    def _before(self) -> tuple[Any, Any, Any]:
        """Return layers, parameters and classes of the previous fit, for a warm start; Nones without one."""
        if not (self.warm_start and hasattr(self, "coefs_")):
            return None, None, None
        return self._fitted_layers(), self._theta(), getattr(self, "classes_", None)

    def _warm_start(self, layers: Layers, previous: Layers | None, theta: Any, classes: Any) -> np.ndarray | None:
        """Return the parameters of the previous fit, if they are for the same layers and classes."""
        classes_now: Any = getattr(self, "classes_", None)
        if previous != layers or not np.array_equal(classes_now, classes):
            return None
        return theta.astype(np.float64)

    def _held_out(self, blocks: Blocks, data: PerBlock[Any], layers: Layers) -> Validation:
        """Return what evaluates the network on held-out rows."""
        n_rows = blocks.map_reduce(_n_rows, data)
        if n_rows < 2:
            raise ValueError(
                f"The validation set is too small: it has {n_rows} rows. Increase validation_fraction, or give X_val "
                "and y_val."
            )
        found = examine(blocks, data)
        weight, sums = float(found.weights.sum()), self._score_sums()

        def evaluate(W: np.ndarray) -> dict[str, float]:
            loss, total = found.blocks.map_reduce(_loss_and_score, found.data, layers=layers, W=W, score=sums)
            return {"validation_loss": float(loss) / weight, "validation_score": self._score_of(total)}

        return Validation(evaluate, self.n_iter_no_change if self.early_stopping else None, self.tol)

    def _attributes(self, W: np.ndarray) -> dict[str, Any]:
        layers = self._layers.of(W.astype(np.float32 if self._single else np.float64))
        return {"coefs_": [V.copy() for V, _ in layers], "intercepts_": [b.copy() for _, b in layers]}

    def _set_shape(self) -> None:
        """Set scikit-learn's description of the layers."""
        self.n_layers_, self.n_outputs_ = len(self.coefs_) + 1, self._n_outputs
        self.out_activation_ = self._output_activation

    def _set_curves(self) -> None:
        """Set what scikit-learn keeps of every iteration."""
        self.loss_ = self.result_.value
        values = [record["objective"] for record in self.history_.records[1:]]
        self.loss_curve_ = [value for value in values if not np.isnan(value)]
        self.best_loss_ = None if self.early_stopping else min([*self.loss_curve_, self.loss_])
        scores = [r["validation_score"] for r in self.history_ if "validation_score" in r]
        self.validation_scores_ = scores[1:] or None
        self.best_validation_score_ = max(scores, default=None)

    def _margins(self) -> Margins:
        return NetworkMargins(self._fitted_layers(), self._theta())

    def _fitted_layers(self) -> Layers:
        sizes = (len(self.coefs_[0]), *map(len, self.intercepts_))
        return Layers(sizes, ACTIVATIONS[self.activation]())

    def _theta(self) -> np.ndarray:
        """Return the parameters in one column."""
        return np.concatenate([a.ravel() for a in (*self.coefs_, *self.intercepts_)])[:, None]

    @property
    def _n_outputs(self) -> int:
        return len(self.intercepts_[-1])


@named("count-rows")
def _n_rows(rows: RowBlock) -> int:
    return rows.n_rows


@named("validation-score")
def _loss_and_score(rows: RowBlock, *, layers: Layers, W: np.ndarray, score: Callable[..., Any]) -> Any:
    """Return the sums of a block for its loss and its score."""
    with np.errstate(over="ignore", invalid="ignore"):
        z = NetworkBlock(rows, layers).margins(W)
        loss = rows.sum(rows.loss.value(rows.y, z), slice(None))
    return to_host(loss), np.asarray(score(rows, z))
