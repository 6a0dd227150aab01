"""Sampled Newton: every metric leads to the optimum of all rows, in few passes."""

import dataclasses

import catalogue
import dask
import numpy as np
import pytest
import scipy.sparse
from matrices import KINDS
from pairwise import cases
from problems import LAYOUTS, Dense, known, objective, parts

from dask_newton import minimize
from dask_newton.arrays import nbytes
from dask_newton.losses import Logistic, Softmax
from dask_newton.objectives.linear.objective import LinearObjective
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.penalties import L2
from dask_newton.solvers import NewtonCG, SampledNewton

PRODUCTS = SampledNewton(max_features=1)  # so that no matrix is factored


def many_rows(n=8000):
    """Enough rows for the number of coefficients that their Hessian is taken from a tenth of them."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4))
    y = (rng.random(n) < 1 / (1 + np.exp(-X @ [1.0, -2.0, 0.5, 0.0] - 0.3))).astype(float)
    return Dense(X, y, np.ones(n), 0.0, Logistic(), True, L2(1 / n))


def test_with_many_rows_it_starts_near_the_optimum():
    model = many_rows()
    F = objective(parts(model, 4), model.penalty)
    assert F.n_rows >= 1000 * F.size
    result = minimize(F, SampledNewton(), tol=1e-8)
    assert result.state.kind == "joint"
    # The optimum of a sample of 800 rows is d / (2 * 800) from that of all of them, ln 2 - F is far more.
    assert result.history[0]["objective"] - result.value < 3 * F.size / (2 * 0.1 * F.n_rows)
    assert result.n_iter <= 8
    np.testing.assert_allclose(result.W, model.minimum(), atol=1e-6)


@pytest.mark.parametrize("name", ["digits", "breast_cancer"])
def test_with_few_rows_one_gram_matrix_serves_all_outputs(name):
    problem = known(name)
    result = minimize(problem.objective, SampledNewton(), tol=1e-7, max_iter=200)
    assert result.converged
    assert result.state.kind in ("shared", "outputs")
    assert problem.gap(result.value) <= 1e-9
    # An iteration is a pass, a better metric another, a rejected step one more.
    assert problem.objective.blocks.meter.passes <= 1.5 * result.n_iter + 10


def test_a_step_is_one_pass():
    problem = known()
    result = minimize(problem.objective, SampledNewton(), tol=1e-7)
    for before, after in zip(list(result.history)[:-1], list(result.history)[1:], strict=True):
        if after["step_size"] == 1 and not after["note"]:
            assert after["passes"] - before["passes"] == 1


@pytest.mark.parametrize("seed", [0, 1])
def test_samples_depend_on_the_seed_alone(seed):
    model = many_rows()
    solver = dataclasses.replace(SampledNewton(), seed=seed)
    runs = [minimize(objective(parts(model, 4), model.penalty), solver, tol=1e-8) for _ in range(2)]
    np.testing.assert_array_equal(runs[0].W, runs[1].W)
    # Another sample, the same optimum.
    np.testing.assert_allclose(runs[0].W, model.minimum(), atol=1e-6)


def test_objective_never_rises():
    problem = known("noisy")
    start = 3 * np.random.default_rng(0).normal(size=problem.objective.shape)
    result = minimize(problem.objective, SampledNewton(), start, tol=1e-8, max_iter=200)
    values = np.array([r["objective"] for r in result.history])
    # Steps at the end of the arithmetic may move the last digits: 4 units of rounding are allowed for.
    assert np.all(np.diff(values) <= 4 * np.finfo(float).eps * values[:-1])
    assert result.converged


# Without a factor


def texts(n=4000, p=3000, K=4, seed=0):
    """Return rows of some 30 words, popular and rare, and topics with words of their own."""
    rng = np.random.default_rng(seed)
    topic = rng.integers(0, K, n)
    popular = 1 / (np.arange(p) + 10.0)
    words = rng.choice(p, size=(n, 40), p=popular / popular.sum())
    own = rng.random(words.shape) < 0.2
    words = np.where(own, (words * 7 + 13 * topic[:, None]) % (p // 3), words)
    X = scipy.sparse.csr_array((np.ones(words.size), words.ravel(), np.arange(0, words.size + 1, 40)), shape=(n, p))
    X.sum_duplicates()
    y = np.where(rng.random(n) < 0.1, rng.integers(0, K, n), topic)
    X = scipy.sparse.csr_array(X / np.sqrt(X.power(2).sum(axis=1))[:, None])
    return X, y.astype(float), Softmax(K) if K > 2 else Logistic()


def texts_objective(m=2, **options):
    X, y, loss = texts(**options)
    cuts = [len(y) * i // m for i in range(m + 1)]
    blocks = [RowBlock(X[a:b], y[a:b], None, None, loss) for a, b in zip(cuts, cuts[1:], strict=False)]
    return objective(blocks, L2(1 / len(y)))


@cases(
    "name, penalty, layout",
    [
        (*pair, layout)
        for pair in [("breast_cancer", "l2"), ("noisy", "none"), ("noisy_reference", "l2")]
        for layout in LAYOUTS
    ],
    together=1,
)
def test_products_with_a_sample_reach_the_optimum(name, penalty, layout):
    problem = known(name, penalty, layout=layout, weighted=True, offset=True)
    result = minimize(problem.objective, PRODUCTS, tol=1e-9, max_iter=300)
    assert result.converged
    assert result.state.kind == "products"
    assert problem.error(result.W) <= 1e-6
    assert problem.gap(result.value) <= 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_products_with_a_sample_of_sparse_rows_are_those_of_dense_rows(kind):
    dense, sparse = known("digits"), known("digits", move=lambda a: KINDS[kind](a) if a.ndim == 2 else a)
    # A few steps; in the long run rounding decides when conjugate gradients stop, whose products magnify it.
    one, other = (minimize(problem.objective, PRODUCTS, tol=1e-2) for problem in (dense, sparse))
    assert one.n_iter == other.n_iter >= 2
    np.testing.assert_allclose(other.W, one.W, atol=1e-10)


@pytest.mark.parametrize("K", [2, 4])
def test_texts_need_few_passes(K):
    """A pass for the facts, one for the sample, one for the start, one per iteration; and half those of Newton-CG."""
    F = texts_objective(K=K)
    result = minimize(F, PRODUCTS, tol=1e-7)
    assert result.converged
    assert F.blocks.meter.passes == result.n_iter + 3
    G = texts_objective(K=K)
    other = minimize(G, NewtonCG(preconditioner="jacobi"), tol=1e-7)
    assert F.blocks.meter.passes < 0.6 * G.blocks.meter.passes
    assert result.value == pytest.approx(other.value, rel=1e-10)


def test_the_sample_comes_to_the_driver_once_and_is_counted():
    F, fraction = texts_objective(), 0.2
    before = F.blocks.meter.snapshot()
    sample = F.sample_here(fraction, 0)
    after = F.blocks.meter.snapshot()
    assert after["passes"] == before["passes"] + 1
    blocks = sample.blocks.gather(sample.data)
    assert sample.n_rows == sum(block.n_rows for block in blocks) == 800
    assert sample.n_stored == sum(block.X.nnz for block in blocks)
    sent = sum(nbytes(block.X) + block.y.nbytes for block in blocks)
    assert after["bytes_up"] - before["bytes_up"] == sent
    sample.at(np.zeros(F.shape))
    assert F.blocks.meter.snapshot() == after


def test_a_sample_of_all_rows_is_the_objective():
    case = known("noisy", weighted=True, layout="weightless")
    F = case.objective
    sample = F.sample_here(1.0, 0)
    here, there = F.at(0.5 * case.W), sample.at(0.5 * case.W)
    assert there.value == pytest.approx(here.value, rel=1e-13)
    np.testing.assert_allclose(there.gradient, here.gradient, atol=1e-14)


def test_columns_outside_the_sample_get_a_diagonal():
    """One row in twenty: most columns of the texts are not in it."""
    F = texts_objective()
    result = minimize(F, dataclasses.replace(PRODUCTS, hessian_sample=0.05), tol=1e-7)
    absent = (
        np.diff(
            scipy.sparse.csc_array(
                scipy.sparse.vstack(
                    [
                        block.X
                        for block in result.state.factors[0].sample.blocks.gather(result.state.factors[0].sample.data)
                    ]
                )
            ).indptr
        )
        == 0
    )
    assert absent.sum() > 500
    assert result.converged
    assert result.n_iter < 40
    assert np.all(result.state.factors[0].diagonal[:-1][absent] >= 1 / F.n_rows)


def test_slow_progress_renews_the_sampled_hessian():
    """Nearly separable: far from the start, where the curvature is another one. L-BFGS alone takes over 300 passes."""
    weak = dataclasses.replace(known("breast_cancer").dense, penalty=L2(1e-6))
    F = objective(parts(weak), weak.penalty)
    result = minimize(F, PRODUCTS, tol=1e-7, max_iter=60)
    assert result.converged
    assert result.state.builds >= 1
    assert result.state.factors[0].sample.n_rows > 0.3 * F.n_rows
    assert "sampled Hessian renewed" in [record["note"] for record in result.history]
    np.testing.assert_allclose(weak.gradient(result.W), 0, atol=1e-7)


def test_dear_factors_are_avoided():
    """Few rows and many features: a factor of 3,001 rows would cost more than a hundred passes."""
    F = texts_objective(n=300, K=2)
    result = minimize(F, SampledNewton(), tol=1e-7)
    assert result.converged
    assert result.state.kind == "products"


def test_products_give_the_same_bits_from_dask_threads():
    F = texts_objective(m=3)
    one = minimize(F, PRODUCTS, tol=1e-4)
    with dask.config.set(scheduler="threads", num_workers=2):
        blocks, data = catalogue.dask_blocks(F.blocks.gather(F.data))
        other = minimize(LinearObjective.from_blocks(blocks, data, F.penalty), PRODUCTS, tol=1e-4)
    np.testing.assert_array_equal(one.W, other.W)
    assert one.history[-1]["bytes_up"] == other.history[-1]["bytes_up"]


@pytest.mark.cluster
def test_products_give_the_same_bits_from_a_cluster(cluster_client):
    F = texts_objective(m=3)
    one = minimize(F, PRODUCTS, tol=1e-4)
    blocks, data = catalogue.dask_blocks(F.blocks.gather(F.data))
    other = minimize(LinearObjective.from_blocks(blocks, data, F.penalty), PRODUCTS, tol=1e-4)
    np.testing.assert_array_equal(one.W, other.W)
