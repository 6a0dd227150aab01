"""What estimators of networks share: layers, their start, and when training ends."""

from __future__ import annotations

import dataclasses
import functools
import logging
from abc import abstractmethod
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from dask_newton.arrays import to_host
from dask_newton.auto.network import usual_network_solver
from dask_newton.blocks import Blocks, PerBlock, named
from dask_newton.checkpoint import OpenCheckpoint
from dask_newton.containers.hold_out import HoldOut
from dask_newton.containers.inputs import Rows
from dask_newton.containers.placement import BlockMaker, place_rows
from dask_newton.estimators.base import Estimator
from dask_newton.estimators.monitors import Plateau, Validation
from dask_newton.estimators.options import elastic_net, has_option, make_solver, seeded
from dask_newton.estimators.prediction import Margins, NetworkMargins
from dask_newton.objectives.examine import examine
from dask_newton.objectives.network.activations import ACTIVATIONS
from dask_newton.objectives.network.block import NetworkBlock
from dask_newton.objectives.network.layers import INITIALISATIONS, Layers
from dask_newton.objectives.network.objective import NetworkObjective
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.penalties import Penalty
from dask_newton.solvers import Solver, Status
from dask_newton.solvers.named import with_options

__all__ = ["BATCH_SIZE", "NetworkEstimator"]

BATCH_SIZE = 200  # scikit-learn's

logger = logging.getLogger(__name__)

# What the docstrings of both estimators have in common.
_SHARED = {
    "parameters": """
    hidden_layer_sizes : int or sequence of int, default=(100,)
        Units of every hidden layer; with none the model is linear.
    activation : {'relu', 'leaky_relu', 'tanh', 'logistic', 'identity'}, default='relu'
        f of the hidden layers.
    solver : str or Solver, default='auto'
        A name of :doc:`/networks`, such as ``'gn-cg'``, ``'lbfgs'`` or ``'adam'``, or an object of
        :mod:`dask_newton.solvers`. ``'auto'`` is ``'kfac'``, which took the fewest rounds where we measured;
        ``'lbfgs'`` where layers are too wide for it, see :ref:`network-auto`; and ``'pdadmm'`` for penalties that
        are not differentiable. The log says so.
    alpha : float, default=0.0001
        Strength of the penalty, which is divided by S. That is scikit-learn's objective for ``solver='lbfgs'``; its
        'sgd' and 'adam' divide by the weight of a mini-batch instead, so that their penalty is stronger.
    solver_options : dict, optional
        Hyper-parameters of a named solver, see its class: ``{"learning_rate": 0.01}`` for 'adam'.
    batch_size : int, 'auto' or None, default='auto'
        Rows of a mini-batch, of all blocks together, for solvers that have them ('sgd', 'adam' and the like), whose
        iterations then are epochs. ``'auto'`` is 200, None is all rows. A solver that is an object has its own.
    regularizer : Penalty, optional
        A penalty of :mod:`dask_newton.penalties` in place of the one above, added to the mean loss as it is.
    initialisation : {'glorot', 'he', 'gauss'}, default='glorot'
        Random weights to start from, see :func:`dask_newton.make_network`.
    max_iter : int, default=200
    tol : float, default=0.0001
        Training ends when the objective has not become smaller by more than ``tol`` for ``n_iter_no_change``
        iterations, or when no entry of its gradient is larger than ``tol``. For numbers both are in units of the
        targets: the first of their variance, the second of their standard deviation.
    n_iter_no_change : int, default=10
    early_stopping : bool, default=False
        End instead when the score on rows that are held out has not become larger by more than ``tol`` for
        ``n_iter_no_change`` iterations, and keep the parameters with the best score.
    validation_fraction : float, default=0.1
        Share of the rows of every block to hold out for that, drawn alike from all classes or sizes of targets, unless
        ``X_val, y_val`` are given to fit.
    max_rounds, max_bytes, max_seconds : float, default=None
        Further budgets: communication rounds, bytes sent up and down, and seconds. They are looked at between
        iterations. A fit that ends on one warns, and ``result_.status`` says which.
    warm_start : bool, default=False
        Start from the parameters of the previous fit, if the layers are the same.
    persist : bool or 'auto', default='auto'
        Whether chunks stay in memory between passes (True), or every pass reads them again, a few at a time (False).
        ``'auto'`` keeps them if they take at most half of the memory of the workers, or of this machine
        (``dask-newton.persist.share``). What is in memory already stays there.
    random_state : int, RandomState instance or None, default=None
        Seed of the start, of the rows that are held out, and of solvers that draw samples. None is another start for
        every fit.
    verbose : int, default=0
        1 shows the log of every iteration on standard error.
""",
    "attributes": """
    coefs_ : list of ndarray
        Weights of every layer, of shape (n_in, n_out), in the precision of X.
    intercepts_ : list of ndarray
        Biases of every layer.
    n_layers_ : int
        Number of layers, with input and output.
    n_outputs_ : int
    out_activation_ : str
    loss_ : float
        The objective in the end.
    loss_curve_ : list of float
        The objective after every iteration.
    best_loss_ : float or None
        Its smallest value; None with ``early_stopping``.
    validation_scores_ : list of float or None
        The score on the rows held out after every iteration; None without such rows.
    best_validation_score_ : float or None
        The largest of them.
    n_iter_ : int
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if X has feature names.
    converged_ : bool
        Whether training ended by ``tol`` and not by a budget. It ends where little more can be gained, which is no
        proof that there is no better minimum elsewhere.
    history_ : History
        A record of every iteration; ``history_.plot(x="rounds")``.
    n_passes_, n_rounds_ : int
        Passes over the data, and communication rounds, that the solver used.
    solver_ : Solver
        The solver used, with all hyper-parameters.
    result_ : Result
        The gradient norm and the final status; 'no_change' where ``n_iter_no_change`` ended the fit.
""",
}


class NetworkEstimator(Estimator):
    """A multi-layer perceptron fitted over row blocks."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **Estimator._parameter_constraints,
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left"), None],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "initialisation": [StrOptions(set(INITIALISATIONS))],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    }
    fit_intercept = True
    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]

    def __init__(
        self,
        *,
        hidden_layer_sizes: Any,
        activation: str,
        alpha: float,
        batch_size: int | str | None,
        initialisation: str,
        validation_fraction: float,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.alpha = alpha
        self.batch_size = batch_size
        self.initialisation = initialisation
        self.validation_fraction = validation_fraction

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, text in _SHARED.items():
            cls.__doc__ = (cls.__doc__ or "").replace(f"    <shared {name}>", text.strip("\n"))

    @property
    def _n_outputs(self) -> int:
        return len(self.intercepts_[-1])

    def _margins(self) -> Margins:
        return NetworkMargins(self._fitted_layers(), self._theta())

    def _fitted_layers(self) -> Layers:
        sizes = (len(self.coefs_[0]), *map(len, self.intercepts_))
        return Layers(sizes, ACTIVATIONS[self.activation]())

    def _theta(self) -> np.ndarray:
        """Return the parameters in one column."""
        return np.concatenate([a.ravel() for a in (*self.coefs_, *self.intercepts_)])[:, None]

    def _hidden(self) -> tuple[int, ...]:
        """Return the sizes of the hidden layers, after a look at them."""
        sizes = np.atleast_1d(np.asarray(self.hidden_layer_sizes))
        if sizes.ndim != 1 or (len(sizes) and (sizes.dtype.kind not in "iu" or np.any(sizes < 1))):
            raise ValueError(
                f"hidden_layer_sizes must be > 0, a number of units for each hidden layer, got "
                f"{self.hidden_layer_sizes!r}."
            )
        return tuple(sizes.tolist())

    def _chosen_solver(self) -> Solver[Any] | None:
        solver, options = make_solver(self.solver, self.solver_options, network=True), self.solver_options or {}
        if solver is not None and isinstance(self.solver, str) and has_option(solver, "batch_size"):
            size = BATCH_SIZE if self.batch_size == "auto" else self.batch_size
            return with_options(solver, {"batch_size": size, **options})
        if isinstance(self.batch_size, Integral):
            raise ValueError(
                f"batch_size={self.batch_size} is for solvers with mini-batches that are named, such as 'adam', and "
                f"solver={self.solver!r}. Leave it at 'auto'."
            )
        return solver

    def _penalty(self, total_weight: float) -> Penalty:
        return elastic_net(self.alpha / total_weight, 0)

    def _fit_rows(
        self,
        rows: Rows,
        make: BlockMaker,
        validation: Rows | None,
        *,
        same_outputs: bool,
        given: tuple[Any, Any, Any],
        score: Callable[[RowBlock, Any], Any],
        merit: Callable[[np.ndarray], float],
        checkpoint: OpenCheckpoint | None,
    ) -> Self:
        """Minimise over rows and set the attributes.

        Parameters
        ----------
        rows, make, validation
            What was given to fit.
        same_outputs : bool
            Whether the outputs of the previous fit mean the same.
        given, checkpoint
            For callbacks, and where the fit is saved.
        score, merit : callable
            ``score(block, margins)`` is what is summed over blocks, and ``merit`` makes the score of the sum.
        """
        layers = Layers((rows.X.shape[1], *self._hidden(), make.loss.n_outputs), ACTIVATIONS[self.activation]())
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        inside = HoldOut(self.validation_fraction, seed) if self.early_stopping and validation is None else None
        penalty = self._penalty if self.regularizer is None else self.regularizer
        problem = NetworkObjective.from_blocks(
            *place_rows(rows, dataclasses.replace(make, hold_out=inside), self.persist),
            layers,
            penalty,
            seed=seed,
            initialisation=self.initialisation,
        )
        solver = self._chosen_solver()
        if solver is None:
            solver, why = usual_network_solver(problem)
            logger.info("solver='auto' chose %r: %s.", solver.name, why)
        if self.random_state is not None:
            solver = seeded(solver, seed)
        unit = float(problem.scale[0, 0]) ** (2 if make.loss.quadratic else 1)  # of the loss
        held_out, plateau = None, Plateau(self.tol * unit, self.n_iter_no_change)
        if checkpoint is not None and checkpoint.saved is not None:
            plateau.catch_up(checkpoint.saved.history)
        if inside is not None or validation is not None:
            outside = inside and dataclasses.replace(inside, validation=True)
            placed = place_rows(
                rows if validation is None else validation,
                dataclasses.replace(make, reweigh=None, hold_out=outside),
                self.persist,
            )
            held_out = Validation(
                functools.partial(_evaluate, *self._examined(*placed), layers, score, merit),
                self.n_iter_no_change if self.early_stopping else None,
                self.tol,
            )
        start = None
        if self.warm_start and hasattr(self, "coefs_") and same_outputs and self._fitted_layers() == layers:
            start = self._theta().astype(np.float64)
        self._layers, self._single = layers, problem.precision > 1e-10
        monitors = () if self.early_stopping else (plateau,)
        bridge = self._minimize(problem, solver, start, held_out, monitors, given, checkpoint)
        if self.result_.status is Status.STOPPED and (plateau.ended or (held_out is not None and held_out.ended)):
            self.result_ = dataclasses.replace(self.result_, status=Status.NO_CHANGE)
            self.converged_ = True
        self._set_shape()
        self._set_curves()
        bridge.close()
        return self

    def _set_curves(self) -> None:
        """Set what scikit-learn keeps of every iteration."""
        self.loss_ = self.result_.value
        values = [record["objective"] for record in self.history_.records[1:]]
        self.loss_curve_ = [value for value in values if not np.isnan(value)]
        self.best_loss_ = None if self.early_stopping else min([*self.loss_curve_, self.loss_])
        scores = [r["validation_score"] for r in self.history_ if "validation_score" in r]
        self.validation_scores_ = scores[1:] or None
        self.best_validation_score_ = max(scores, default=None)

    def _examined(self, blocks: Blocks, data: PerBlock[Any]) -> tuple[Blocks, PerBlock[Any], float]:
        """Look at the rows that are held out; return them and their weight."""
        n_rows = blocks.map_reduce(_n_rows, data)
        if n_rows < 2:
            raise ValueError(
                f"The validation set is too small: {n_rows} rows are held out. Increase validation_fraction, or give "
                "X_val and y_val."
            )
        found = examine(blocks, data)
        return found.blocks, found.data, float(found.weights.sum())

    def _attributes(self, W: np.ndarray) -> dict[str, Any]:
        layers = self._layers.of(W.astype(np.float32 if self._single else np.float64))
        return {"coefs_": [V.copy() for V, _ in layers], "intercepts_": [b.copy() for _, b in layers]}

    def _set_shape(self) -> None:
        """Set what scikit-learn says of the layers."""
        self.n_layers_, self.n_outputs_ = len(self.coefs_) + 1, self._n_outputs
        self.out_activation_ = self._output_activation

    @property
    @abstractmethod
    def _output_activation(self) -> str:
        """Scikit-learn's name of what makes predictions of margins."""


def _evaluate(
    blocks: Blocks,
    data: PerBlock[RowBlock],
    weight: float,
    layers: Layers,
    score: Callable[..., Any],
    merit: Callable[..., float],
    W: np.ndarray,
) -> dict[str, float]:
    """Return the mean loss and the score of the rows held out: one pass."""
    loss, sums = blocks.map_reduce(_look, data, layers=layers, W=W, score=score)
    return {"validation_loss": float(loss) / weight, "validation_score": merit(sums)}


@named("count-rows")
def _n_rows(rows: RowBlock) -> int:
    return rows.n_rows


@named("validation-score")
def _look(rows: RowBlock, *, layers: Layers, W: np.ndarray, score: Callable[..., Any]) -> Any:
    with np.errstate(over="ignore", invalid="ignore"):
        z = NetworkBlock(rows, layers).margins(W)
        loss = rows.sum(rows.loss.value(rows.y, z), slice(None))
    return to_host(loss), np.asarray(score(rows, z))
