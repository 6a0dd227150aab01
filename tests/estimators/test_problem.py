"""Objectives made from any container are those that are made from blocks by hand."""

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from problems import dense, objective, parts, rows

from dask_newton import make_network, make_problem, minimize
from dask_newton.blocks import SerialBlocks
from dask_newton.data import save_dataset
from dask_newton.losses import Logistic, Softmax, Squared, SquaredSoftplus
from dask_newton.objectives.network.activations import Tanh
from dask_newton.objectives.network.layers import Layers
from dask_newton.objectives.network.objective import NetworkObjective
from dask_newton.penalties import L2, NoPenalty
from dask_newton.solvers import NewtonCholesky

MODEL = dense("noisy", "l2", weighted=True, offset=True)  # 600 rows, 5 features, softmax of three classes
COLUMNS = {"sample_weight": MODEL.weight, "offset": MODEL.offset}


def make(X, y=MODEL.y, **more):
    return make_problem(X, y, loss=MODEL.loss, penalty=MODEL.penalty, **COLUMNS | more)


def chunked(a):
    return da.from_array(a, chunks=(150, -1)[: a.ndim])


def unknown(X, y):
    """Return rows in chunks of unknown size."""
    return chunked(X)[chunked(y) > 0], chunked(y)[chunked(y) > 0]


CONTAINERS = {
    "numpy": lambda: make(MODEL.X, n_blocks=4),
    "csr": lambda: make(scipy.sparse.csr_array(MODEL.X), n_blocks=4),
    "pandas": lambda: make(pd.DataFrame(MODEL.X), pd.Series(MODEL.y), n_blocks=4),
    "dask": lambda: make(chunked(MODEL.X), chunked(MODEL.y)),
    "dask, in other chunks": lambda: make(da.from_array(MODEL.X, chunks=(99, 2)), n_blocks=4),
    "dask, chunks of csr": lambda: make(chunked(MODEL.X).map_blocks(scipy.sparse.csr_array), n_blocks=4),
    "dask, not kept": lambda: make(chunked(MODEL.X), persist=False),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_any_container_gives_the_same_objective(container):
    by_hand, made = objective(parts(MODEL, 4), MODEL.penalty), CONTAINERS[container]()
    np.testing.assert_array_equal(made.weights, by_hand.weights)
    assert made.shape == by_hand.shape and made.penalty == by_hand.penalty
    W = np.random.default_rng(3).normal(size=made.shape)
    here, there = made.at(W), by_hand.at(W)
    assert here.value == pytest.approx(there.value, rel=1e-14)
    np.testing.assert_allclose(here.gradient, there.gradient, rtol=1e-12, atol=1e-15)
    assert here.value == pytest.approx(MODEL.value(W), rel=1e-13)


def test_a_zarr_group_brings_its_targets_and_weights(tmp_path):
    save_dataset(tmp_path / "rows.zarr", MODEL.X, MODEL.y, sample_weight=MODEL.weight, chunk_rows=200)
    problem = make_problem(tmp_path / "rows.zarr", loss=MODEL.loss, penalty=MODEL.penalty)
    W = np.ones(problem.shape)
    W[0] = [0.5, -0.5, 0.0]
    assert problem.blocks.n_blocks == 3
    assert problem.value(W) == pytest.approx(dense("noisy", "l2", weighted=True).value(W), rel=1e-13)


def test_blocks_of_memory_are_no_copies():
    problem = make_problem(MODEL.X, MODEL.y, loss=MODEL.loss, n_blocks=7)
    sizes = [block.n_rows for block in problem.data.parts]
    assert sum(sizes) == 600 and max(sizes) - min(sizes) == 1
    assert all(np.shares_memory(block.X, MODEL.X) for block in problem.data.parts)


def test_a_function_makes_the_penalty_from_the_weights():
    problem = make_problem(
        MODEL.X, MODEL.y, loss=MODEL.loss, sample_weight=MODEL.weight, penalty=lambda S: L2(1 / S), fit_intercept=False
    )
    assert problem.penalty == L2(1 / problem.total_weight)
    assert problem.shape == (5, 3)
    assert make_problem(MODEL.X, MODEL.y, loss=MODEL.loss).penalty == NoPenalty()


def test_a_solver_is_found_by_its_name():
    X, y, loss = rows("plane")
    by_name, by_object = (
        minimize(make_problem(X, y, loss=loss), solver, tol=1e-10) for solver in ("newton-cholesky", NewtonCholesky())
    )
    np.testing.assert_array_equal(by_name.W, by_object.W)
    A = np.column_stack([X, np.ones(len(X))])
    np.testing.assert_allclose(by_name.W, np.linalg.lstsq(A, y)[0], atol=1e-12)
    with pytest.raises(ValueError, match="'newton-cholesk' is not known; did you mean 'newton-cholesky'"):
        minimize(make_problem(X, y, loss=loss), "newton-cholesk")


def test_nonlinear_least_squares_find_the_coefficients_that_made_exact_targets():
    rng = np.random.default_rng(5)
    X, w = rng.normal(size=(400, 4)), np.array([1.0, -0.5, 0.25, 0.0])
    y = np.logaddexp(0, X @ w + 0.5)
    result = minimize(make_problem(X, y, loss=SquaredSoftplus(), n_blocks=3), "newton-cg", tol=1e-10)
    np.testing.assert_allclose(result.W[:, 0], [*w, 0.5], atol=1e-8)
    assert result.value < 1e-16


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda X, y: make_problem(X, loss=Squared()), "y is missing"),
        (lambda X, y: make_problem(X, y + 3, loss=Softmax(3)), "y must be whole numbers from 0 to n_classes - 1"),
        (lambda X, y: make_problem(X, 2 * y - 1, loss=Logistic()), "targets that Logistic does not allow"),
        (lambda X, y: make_problem(X, np.column_stack([y, y, y]), loss=Squared(2)), "y has 3 columns .* 2 outputs"),
        (lambda X, y: make_problem(chunked(X), chunked(y).astype(str), loss=Squared()), "y has dtype"),
        (lambda X, y: make_problem(X, y, loss=Squared(), n_blocks=0), "600 rows cannot be cut into 0 blocks"),
        (lambda X, y: make_problem(chunked(X), y, loss=Squared(), n_blocks=601), "cannot be cut into 601 blocks"),
        (lambda X, y: make_problem(*unknown(X, y), loss=Squared(), n_blocks=2), "n_blocks needs to know the number of"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(MODEL.X, MODEL.y)


def test_any_container_gives_the_same_network():
    options = {"loss": MODEL.loss, "hidden_layer_sizes": (4, 3), "activation": "tanh", "penalty": L2(0.1), **COLUMNS}
    X, y = MODEL.X, MODEL.y
    blocks = SerialBlocks(1)
    layers = Layers((5, 4, 3, 3), Tanh())
    by_hand = NetworkObjective.from_blocks(blocks, blocks.place(parts(MODEL, 1)), layers, L2(0.1))
    point = by_hand.at(by_hand.null)
    made = [
        make_network(X, y, **options),
        make_network(scipy.sparse.csr_array(X), y, **options, n_blocks=3),
        make_network(chunked(X), chunked(y), **options),
    ]
    for F in made:
        np.testing.assert_array_equal(F.null, by_hand.null)
        here = F.at(F.null)
        assert here.value == pytest.approx(point.value, rel=1e-13)
        np.testing.assert_allclose(here.gradient, point.gradient, rtol=1e-11, atol=1e-15)
    assert made[2].blocks.n_blocks == 4
    assert not np.array_equal(make_network(X, y, **options, seed=1).null, by_hand.null)
    with pytest.raises(ValueError, match="activation='swish' is not known; choose one of identity, leaky_relu"):
        make_network(X, y, **options | {"activation": "swish"})
