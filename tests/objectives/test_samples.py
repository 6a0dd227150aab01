"""Hessians of row samples: exact with all rows, right on average with some, the same for the same seed."""

import dataclasses

import numpy as np
import pytest
from matrices import KINDS
from problems import known, parts

from dask_newton.objectives.linear.block import LinearBlock
from dask_newton.objectives.linear.samples import sampled_gram, sampled_output_hessians
from dask_newton.objectives.rows.sampling import stratified_rows

MODELS = {"logistic": ("breast_cancer", True, True, True), "softmax": ("noisy", True, True, True)}


def make(model):
    name, *options = MODELS[model]
    case = known(name, "none", weighted=options[0], offset=options[1], fit_intercept=options[2])
    block = LinearBlock(parts(case.dense, 1)[0], options[2])
    W = 0.5 * np.random.default_rng(0).normal(size=case.objective.shape)
    S = case.dense.weight.sum()
    q, K = W.shape
    blocks = S * case.dense.hessian(W).reshape(q, K, q, K)
    return block, W, [blocks[:, k, :, k] for k in range(K)]


def first_entry(loss, curvature):
    return loss.hess_entry(curvature, 0, 0)


@pytest.mark.parametrize(("n_rows", "size"), [(100, 1), (100, 7), (100, 99), (101, 100), (5, 5), (5, 9)])
def test_rows_are_one_of_each_run(n_rows, size):
    rows = stratified_rows(n_rows, size, np.random.default_rng(0))
    assert len(rows) == min(size, n_rows)
    assert np.all(np.diff(rows) > 0)
    edges = n_rows * np.arange(len(rows) + 1) // len(rows)
    assert np.all((edges[:-1] <= rows) & (rows < edges[1:]))


def test_every_row_may_be_drawn():
    drawn = {row for seed in range(200) for row in stratified_rows(20, 4, np.random.default_rng(seed))}
    assert drawn == set(range(20))


@pytest.mark.parametrize("model", MODELS)
def test_all_rows_give_the_exact_matrices(model):
    block, W, exact = make(model)
    gram = sampled_gram(block, W, block.rows.n_rows, first_entry, [0])
    np.testing.assert_allclose(gram, exact[0], atol=1e-12 * np.abs(exact[0]).max())
    hessians = sampled_output_hessians(block, block.ray(W).curvature, block.rows.n_rows, [0])
    for hessian, right in zip(hessians, exact, strict=True):
        np.testing.assert_allclose(hessian, right, atol=1e-12 * np.abs(right).max())


def unbiased(samples, exact):
    """Whether the mean is within five standard errors everywhere; seeds are fixed."""
    samples = np.array(samples)
    error = samples.std(axis=0) / np.sqrt(len(samples))
    return np.all(np.abs(samples.mean(axis=0) - exact) <= 5 * error + 1e-9 * np.abs(exact).max())


@pytest.mark.parametrize("model", MODELS)
def test_few_rows_give_them_on_average(model):
    block, W, exact = make(model)
    curvature, n = block.ray(W).curvature, 60
    assert unbiased([sampled_gram(block, W, n, first_entry, [seed]) for seed in range(150)], exact[0])
    drawn = [sampled_output_hessians(block, curvature, n, [seed]) for seed in range(150)]
    for k, right in enumerate(exact):
        assert unbiased([hessians[k] for hessians in drawn], right)


def test_rows_drawn_by_weight_are_worth_more():
    """Of the Hessian of an output that few rows take part in, as late in a fit, with the same number of rows."""
    block, W, exact = make("softmax")
    W, errors = 6 * W, {"by weight": [], "evenly": []}
    curvature = block.ray(W).curvature
    right = block.grams(curvature, [first_entry])[0]
    for seed in range(30):
        errors["by weight"].append(np.linalg.norm(sampled_output_hessians(block, curvature, 60, [seed])[0] - right))
        errors["evenly"].append(np.linalg.norm(sampled_gram(block, W, 60, first_entry, [seed]) - right))
    assert np.mean(errors["by weight"]) < 0.7 * np.mean(errors["evenly"])


def test_samples_depend_on_the_seed_alone():
    block, W, _ = make("softmax")
    curvature = block.ray(W).curvature
    for draw in (
        lambda seed: sampled_gram(block, W, 50, first_entry, [seed]),
        lambda seed: sampled_output_hessians(block, curvature, 50, [seed])[1],
    ):
        np.testing.assert_array_equal(draw(1), draw(1))
        assert not np.array_equal(draw(1), draw(2))


def test_the_objective_adds_up_its_blocks():
    case = known("noisy", "l2", m=3, weighted=True)
    F, W = case.objective, 0.5 * case.W
    point = F.at(W)
    q, K = W.shape
    blocks = known("noisy", "none", weighted=True).dense.hessian(W).reshape(q, K, q, K)
    gram = F.sampled_gram(W, 1.0, 0)
    np.testing.assert_allclose(gram, sum(blocks[:, k, :, k] for k in range(K)) / K, atol=1e-12)
    hessians, diagonal = F.sampled_output_hessians(point, 1.0, 0)
    np.testing.assert_allclose(hessians, [blocks[:, k, :, k] for k in range(K)], atol=1e-12)
    np.testing.assert_allclose(diagonal, np.array([np.diag(blocks[:, k, :, k]) for k in range(K)]).T, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", MODELS)
def test_samples_of_sparse_rows_are_those_of_dense_rows(model, kind):
    block, W, _ = make(model)
    sparse = dataclasses.replace(block, rows=dataclasses.replace(block.rows, X=KINDS[kind](block.rows.X)))
    curvature = block.ray(W).curvature
    gram = sampled_gram(block, W, 60, first_entry, [0])
    np.testing.assert_allclose(sampled_gram(sparse, W, 60, first_entry, [0]), gram, atol=1e-12 * np.abs(gram).max())
    drawn = sampled_output_hessians(block, curvature, 60, [0])
    for a, b in zip(sampled_output_hessians(sparse, sparse.ray(W).curvature, 60, [0]), drawn, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12 * np.abs(b).max())
