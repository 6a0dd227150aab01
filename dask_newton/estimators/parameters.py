"""Parameters that estimators share: their names, defaults, allowed values and documentation.

An estimator declares its parameters as annotated class variables with defaults, and :func:`parameters` makes the
constructor from them. Estimators are not dataclasses: Dask takes a dataclass apart into its fields. Two fits with the
same parameters would then have the same token, and ``X.map_blocks(model.predict)`` would mix them up.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, TypeVar, dataclass_transform

from sklearn.utils._param_validation import Interval, StrOptions

from dask_newton.objectives.network.activations import ACTIVATIONS
from dask_newton.objectives.network.layers import INITIALISATIONS
from dask_newton.penalties import Penalty
from dask_newton.solvers import SOLVERS, Solver

__all__ = ["LinearParameters", "NetworkParameters", "parameters", "with_shared_text"]

T = TypeVar("T", bound=type)

NON_NEGATIVE = Interval(Real, 0, None, closed="left")
SHARE = Interval(Real, 0, 1, closed="both")

_CONSTRAINTS: dict[str, Any] = {
    "regularizer": [Penalty, None],
    "solver": [str, Solver],
    "solver_options": [dict, None],
    "tol": [NON_NEGATIVE],
    "max_iter": [Interval(Integral, 0, None, closed="left")],
    "max_rounds": [Interval(Integral, 0, None, closed="left"), None],
    "max_bytes": [NON_NEGATIVE, None],
    "max_seconds": [NON_NEGATIVE, None],
    "warm_start": ["boolean"],
    "early_stopping": ["boolean"],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
    "persist": ["boolean", StrOptions({"auto"})],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
}


@dataclass_transform(kw_only_default=True, eq_default=False)
def parameters(*positional: str) -> Callable[[T], T]:
    """Return a decorator that gives a class a constructor for its annotated class variables with defaults.

    The constructor takes the ``positional`` names by position too, in this order. The parameters of the class come
    before those that it inherits. Annotations without a default, or with ``ClassVar``, are not parameters.
    """

    def decorate(cls: T) -> T:
        own = {
            name: vars(cls)[name]
            for name, kind in inspect.get_annotations(cls).items()
            if name in vars(cls) and not str(kind).startswith("ClassVar")
        }
        inherited = {name: default for name, default in getattr(cls, "_defaults", {}).items() if name not in own}
        defaults = own | inherited
        for name in own:
            delattr(cls, name)
        Parameter = inspect.Parameter
        keywords = [name for name in defaults if name not in positional]
        signature = inspect.Signature(
            [
                Parameter("self", Parameter.POSITIONAL_OR_KEYWORD),
                *(Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=defaults[name]) for name in positional),
                *(Parameter(name, Parameter.KEYWORD_ONLY, default=defaults[name]) for name in keywords),
            ]
        )

        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
            try:
                given = signature.bind(self, *args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{type(self).__name__}: {error}; see its parameters.") from None
            given.apply_defaults()
            for name in defaults:
                setattr(self, name, given.arguments[name])

        __init__.__signature__ = signature  # type: ignore[attr-defined]
        __init__.__qualname__ = f"{cls.__qualname__}.__init__"
        cls.__init__, cls._defaults = __init__, defaults  # type: ignore[misc, attr-defined]
        return cls

    return decorate


@parameters()
class LinearParameters:
    """Parameters of all linear models."""

    fit_intercept: bool = True
    regularizer: Penalty | None = None
    solver: str | Solver = "auto"
    solver_options: dict[str, Any] | None = None
    tol: float = 1e-6
    max_iter: int = 100
    max_rounds: int | None = None
    max_bytes: float | None = None
    max_seconds: float | None = None
    warm_start: bool = False
    early_stopping: bool = False
    n_iter_no_change: int = 5
    persist: bool | Literal["auto"] = "auto"
    random_state: Any = None
    verbose: int = 0

    _parameter_constraints: ClassVar[dict[str, Any]] = {**_CONSTRAINTS, "fit_intercept": ["boolean"]}


@parameters()
class NetworkParameters:
    """Parameters of all networks, except the two that may be given by position."""

    solver: str | Solver = "auto"
    alpha: float = 0.0001
    batch_size: int | str | None = "auto"
    solver_options: dict[str, Any] | None = None
    regularizer: Penalty | None = None
    initialisation: str = "glorot"
    max_iter: int = 200
    tol: float = 1e-4
    n_iter_no_change: int = 10
    early_stopping: bool = False
    validation_fraction: float = 0.1
    max_rounds: int | None = None
    max_bytes: float | None = None
    max_seconds: float | None = None
    warm_start: bool = False
    persist: bool | Literal["auto"] = "auto"
    random_state: Any = None
    verbose: int = 0

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **_CONSTRAINTS,
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "alpha": [NON_NEGATIVE],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left"), None],
        "initialisation": [StrOptions(set(INITIALISATIONS))],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    }


# Paragraphs of class docstrings. "<shared NAME>" in a docstring stands for one of them.
_BUDGETS = """
    max_rounds, max_bytes, max_seconds : float, default=None
        Further budgets: communication rounds, bytes sent up and down, and seconds. They are checked between
        iterations. A fit that ends on a budget warns, and ``result_.status`` names the budget.
"""
_STORAGE = """
    persist : bool or 'auto', default='auto'
        Whether chunks stay in memory between passes (True), or every pass reads them again, a few at a time (False).
        ``'auto'`` keeps them if they take at most half of the memory of the workers, or of this machine
        (``dask-newton.persist.share``). Arrays in memory stay there in any case.
"""
_VERBOSE = """
    verbose : int, default=0
        1 logs every iteration to standard error.
"""
_SEEN = """
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if X has feature names.
"""
_COST = """
    history_ : History
        A record of every iteration; ``history_.plot(x="rounds")`` draws it.
    n_passes_, n_rounds_ : int
        Passes over the data, and communication rounds, that the solver used.
    solver_ : Solver
        The solver that was used, with all hyper-parameters.
"""
_TEXTS = {
    "solver": """
    regularizer : Penalty, optional
        A penalty of :mod:`dask_newton.penalties` in place of the one above, such as
        :class:`~dask_newton.penalties.GroupLasso` or an l1 penalty with a strength for each coefficient. It is added
        to the mean loss unchanged.
    solver : str or Solver, default='auto'
        A name, a :class:`~dask_newton.solvers.Solver`, or ``'auto'``, which chooses by the sizes, the penalty and the
        speed of the machine, see :meth:`explain`. The names, which :doc:`/solvers` compares, are
        <names>.
    solver_options : dict, optional
        Hyper-parameters of a named solver, see its class.
""",
    "tol of numbers": """
    tol : float, default=1e-6
        Stop when no entry of the gradient of the objective above (for l1, of its smallest subgradient) is larger than
        ``tol`` times its typical size: the root mean square of the column times that of the targets (for Tweedie
        losses, to the power 2 - p). The units of X and y therefore do not matter.
""",
    "limits": """
    max_iter : int, default=100
"""
    + _BUDGETS
    + """
    warm_start : bool, default=False
        Start from the coefficients of the previous fit, if they have the right shape.
    early_stopping : bool, default=False
        Stop when the mean loss on ``X_val, y_val``, given to fit, has not decreased for ``n_iter_no_change``
        iterations, and keep the best coefficients.
    n_iter_no_change : int, default=5
"""
    + _STORAGE
    + """
    random_state : int, RandomState instance or None, default=None
        Seed of solvers that draw samples.
"""
    + _VERBOSE,
    "results": _SEEN
    + """
    converged_ : bool
        Whether the certificate reached ``tol``.
"""
    + _COST
    + """
    explanation_ : Explanation
        Only with ``solver="auto"``: the estimated cost of every solver, see :meth:`explain`.
    result_ : Result
        The certificate and the final status.
""",
    "network parameters": """
    hidden_layer_sizes : int or sequence of int, default=(100,)
        Number of units of each hidden layer. Without hidden layers the model is linear.
    activation : {'relu', 'leaky_relu', 'tanh', 'logistic', 'identity'}, default='relu'
        f of the hidden layers.
    solver : str or Solver, default='auto'
        A name listed in :doc:`/networks`, such as ``'gn-cg'``, ``'lbfgs'`` or ``'adam'``, or a
        :class:`~dask_newton.solvers.Solver`. ``'auto'`` is ``'kfac'``, which took the fewest rounds in our
        measurements; ``'lbfgs'`` for layers that are too wide for it, see :ref:`network-auto`; and ``'pdadmm'`` for
        penalties that are not differentiable. The choice is logged.
    alpha : float, default=0.0001
        Strength of the penalty, which is divided by S. That is scikit-learn's objective for ``solver='lbfgs'``; its
        'sgd' and 'adam' divide by the weight of a mini-batch instead, so that their penalty is stronger.
    solver_options : dict, optional
        Hyper-parameters of a named solver, see its class: ``{"learning_rate": 0.01}`` for 'adam'.
    batch_size : int, 'auto' or None, default='auto'
        Rows of a mini-batch, over all blocks together, for named solvers that use mini-batches ('sgd', 'adam' and the
        like). One iteration is then one epoch. ``'auto'`` is 200, None is all rows. A solver object has its own.
    regularizer : Penalty, optional
        A penalty of :mod:`dask_newton.penalties` in place of the one above, added to the mean loss unchanged.
    initialisation : {'glorot', 'he', 'gauss'}, default='glorot'
        Distribution of the random initial weights, see :func:`dask_newton.make_network`.
    max_iter : int, default=200
    tol : float, default=0.0001
        Training ends when the objective has not decreased by more than ``tol`` for ``n_iter_no_change`` iterations,
        or when no entry of its gradient is larger than ``tol``. For regression both are in units of the targets: the
        first of their variance, the second of their standard deviation.
    n_iter_no_change : int, default=10
    early_stopping : bool, default=False
        End instead when the score on held-out rows has not increased by more than ``tol`` for ``n_iter_no_change``
        iterations, and keep the parameters with the best score.
    validation_fraction : float, default=0.1
        Fraction of the rows of every block that early stopping holds out, stratified by class or by the size of the
        target. Not used if ``X_val, y_val`` are given to fit.
"""
    + _BUDGETS
    + """
    warm_start : bool, default=False
        Start from the parameters of the previous fit, if the layers are the same.
"""
    + _STORAGE
    + """
    random_state : int, RandomState instance or None, default=None
        Seed of the initial weights, of the held-out rows, and of solvers that draw samples. With None every fit starts
        from other weights.
"""
    + _VERBOSE,
    "network results": """
    coefs_ : list of ndarray
        Weights of every layer, of shape (n_in, n_out), in the precision of X.
    intercepts_ : list of ndarray
        Biases of every layer.
    n_layers_ : int
        Number of layers, including input and output.
    n_outputs_ : int
    out_activation_ : str
    loss_ : float
        The final objective.
    loss_curve_ : list of float
        The objective after every iteration.
    best_loss_ : float or None
        Its smallest value; None with ``early_stopping``.
    validation_scores_ : list of float or None
        The score on held-out rows after every iteration; None without such rows.
    best_validation_score_ : float or None
        The largest of them.
    n_iter_ : int
"""
    + _SEEN
    + """
    converged_ : bool
        Whether training ended by ``tol`` and not by a budget. Little more can be gained near this minimum; there may
        be a better one elsewhere.
"""
    + _COST
    + """
    result_ : Result
        The gradient norm and the final status; 'no_change' where ``n_iter_no_change`` ended the fit.
""",
}


def with_shared_text(doc: str) -> str:
    """Return a docstring with the shared paragraphs in place of their names."""
    names = textwrap.fill(", ".join(f"``'{name}'``" for name in sorted(SOLVERS)), 110, break_on_hyphens=False)
    for name, text in _TEXTS.items():
        filled = text.replace("<names>", names.replace("\n", "\n        "))
        paragraphs = [line for line in filled.split("\n") if line]
        doc = doc.replace(f"    <shared {name}>", "\n".join(paragraphs))
    return doc
