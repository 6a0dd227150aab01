"""The estimator for any loss: that of the loss where there is one, and honest where the loss is not convex."""

import dask.array as da
import numpy as np
import pytest

from dask_newton import LossRegressor, PoissonRegressor, Ridge, load_model, save_model
from dask_newton.losses import CustomLoss, Logistic, Poisson, Squared, SquaredSoftplus, Tweedie
from dask_newton.models import ModelError
from dask_newton.penalties import GroupLasso

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 4))
Z = X @ [0.5, -0.3, 0.2, 0.0] + 0.7
COUNTS = RNG.poisson(np.exp(Z)).astype(float)
SOFT = np.logaddexp(0, Z)
SLOW = dict(tol=1e-10)


class NormalWithVariance(CustomLoss):
    """Minus log likelihood of a normal target, of which mean and log variance are linear in the features."""

    n_outputs = 2

    def fun(self, y, z):
        return 0.5 * (z[:, 1] + (y - z[:, 0]) ** 2 * np.exp(-z[:, 1]))

    def grad(self, y, z):
        r, e = z[:, 0] - y, np.exp(-z[:, 1])
        return np.stack([r * e, 0.5 * (1 - r**2 * e)], axis=1)

    def hessp(self, y, z, v):
        r, e = z[:, 0] - y, np.exp(-z[:, 1])
        return np.stack([e * v[:, 0] - r * e * v[:, 1], -r * e * v[:, 0] + 0.5 * r**2 * e * v[:, 1]], axis=1)

    def inverse_link(self, z):
        return z[:, 0]


def test_it_is_the_estimator_of_its_loss():
    weight = np.random.default_rng(1).uniform(0.5, 2.0, 300)
    for r in (0.0, 0.5):
        mine = LossRegressor(Poisson(), alpha=0.1, l1_ratio=r, **SLOW).fit(X, COUNTS, weight)
        theirs = PoissonRegressor(alpha=0.1, l1_ratio=r, **SLOW).fit(X, COUNTS, weight)
        np.testing.assert_array_equal(mine.coef_, theirs.coef_)
        np.testing.assert_array_equal(mine.predict(X), theirs.predict(X))
    several = np.column_stack([Z, -2 * Z + X[:, 0]]) + RNG.normal(size=(300, 2))
    mine = LossRegressor(Squared(2), alpha=0.5 / 300, **SLOW).fit(X, several)
    theirs = Ridge(0.5, **SLOW).fit(X, several)
    np.testing.assert_allclose(mine.coef_, theirs.coef_, atol=1e-9)
    assert mine.score(X, several) == pytest.approx(theirs.score(X, several))
    assert LossRegressor(alpha=1e-9, **SLOW).fit(X, Z).score(X, Z) == pytest.approx(1.0)


def test_it_finds_what_nonlinear_targets_were_made_from_and_predicts_them():
    model = LossRegressor(SquaredSoftplus(), alpha=0.0, **SLOW).fit(da.from_array(X, chunks=(100, 4)), SOFT)
    np.testing.assert_allclose(model.coef_, [0.5, -0.3, 0.2, 0.0], atol=1e-6)
    assert model.intercept_ == pytest.approx(0.7, abs=1e-6)
    np.testing.assert_allclose(model.predict(X), SOFT, atol=1e-6)
    assert model.score(X, SOFT) == pytest.approx(1.0)


@pytest.mark.parametrize("more", [{}, {"l1_ratio": 0.5}, {"regularizer": GroupLasso([0, 0, 1, 1], 0.01)}])
def test_auto_has_a_solver_for_losses_that_are_not_convex(more):
    y = SOFT + 0.3 * np.random.default_rng(2).normal(size=300)
    model = LossRegressor(SquaredSoftplus(), alpha=0.02, **more, **SLOW).fit(X, y)
    assert model.converged_ and not model.result_.convex
    assert np.corrcoef(model.predict(X), SOFT)[0, 1] > 0.98


def test_only_a_convex_fit_is_called_an_optimum(caplog):
    with caplog.at_level("INFO", "dask_newton"):
        assert LossRegressor(Poisson()).fit(X, COUNTS).result_.convex
        assert "stationary" not in caplog.text
        assert not LossRegressor(SquaredSoftplus()).fit(X, SOFT).result_.convex
    assert "found a stationary point. The objective is not convex" in caplog.text


def test_a_loss_may_have_more_margins_than_targets():
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(4000, 2))
    y = rows @ [1.0, 0.0] + np.exp(0.5 * (rows @ [0.0, 1.0] - 1.0)) * rng.normal(size=4000)
    model = LossRegressor(NormalWithVariance(), alpha=0.0).fit(rows, y)
    np.testing.assert_allclose(model.coef_, [[1.0, 0.0], [0.0, 1.0]], atol=0.1)
    np.testing.assert_allclose(model.intercept_, [0.0, -1.0], atol=0.1)
    assert model.predict(rows).shape == (4000,)
    assert model.predict(da.from_array(rows, chunks=(1000, 2))).compute().shape == (4000,)
    assert 0.5 < model.score(rows, y) < 0.9


def test_models_hold_losses_of_the_library_alone(tmp_path):
    for loss in (None, Tweedie(1.3), SquaredSoftplus()):
        model = LossRegressor(loss, alpha=0.1).fit(X, COUNTS)
        save_model(model, tmp_path / "model.zarr", overwrite=True)
        again = load_model(tmp_path / "model.zarr")
        assert again.loss == loss and again.result_.convex == model.result_.convex
        np.testing.assert_array_equal(again.predict(X), model.predict(X))
    own = LossRegressor(NormalWithVariance(), alpha=0.1).fit(X, COUNTS)
    with pytest.raises(ModelError, match="NormalWithVariance is neither .* A model holds no code"):
        save_model(own, tmp_path / "own.zarr")


@pytest.mark.parametrize(
    ("loss", "y", "message"),
    [
        (Logistic(), (Z > 0).astype(float), "needs a loss for numbers, and .* use LogisticRegression"),
        (Poisson(), Z - 5, "targets that Poisson does not allow"),
        (Squared(3), np.zeros((300, 2)), "y has 2 columns and the loss has 3 outputs"),
        ("huber", Z, "The 'loss' parameter of LossRegressor must be an instance of"),
    ],
)
def test_losses_that_do_not_fit_are_refused(loss, y, message):
    with pytest.raises(ValueError, match=message):
        LossRegressor(loss).fit(X, y)
