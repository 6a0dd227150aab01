"""Consensus ADMM on networks: the blocks' problems, one block, agreement, what an iteration costs."""

import dataclasses

import numpy as np
import pytest
from networks import blobs, digits, error, network
from sklearn.exceptions import ConvergenceWarning

from dask_newton import minimize
from dask_newton.objectives.network.block import NetworkBlock
from dask_newton.objectives.network.local import LocalNetwork
from dask_newton.penalties import L1, NoPenalty
from dask_newton.solvers import GNCG, NetworkADMM, NewtonMR, Status, UnsupportedError


def shares(F, **options):
    return [LocalNetwork(NetworkBlock(rows, F.layers), F.total_weight, **options) for rows in F.data.parts]


def test_the_shares_of_the_blocks_add_up_to_the_objective():
    F = dataclasses.replace(network(blobs(), m=3), penalty=NoPenalty())
    point, V = F.at(F.null), np.random.default_rng(0).normal(size=F.shape)
    parts = [share.at(F.null) for share in shares(F)]
    assert sum(part.value for part in parts) == pytest.approx(point.value, rel=1e-14)
    np.testing.assert_allclose(sum(part.gradient for part in parts), point.gradient, atol=1e-15)
    product = sum(share.hessian(part.curvature)(V) for share, part in zip(shares(F), parts, strict=True))
    np.testing.assert_allclose(product, F.hess_mul(point, V), atol=1e-14)
    for gradient in (True, False):
        losses = [share.loss(F.null, gradient=gradient) for share in shares(F)]
        assert sum(value for value, _ in losses) == pytest.approx(60 * point.value, rel=1e-14)
    np.testing.assert_allclose(sum(share.loss(F.null, gradient=True)[1] for share in shares(F)), 60 * point.gradient)


def test_the_proximal_term_of_a_share():
    """Its derivatives against differences of its values and gradients."""
    F, rng = network(blobs(), m=2), np.random.default_rng(0)
    center, V = rng.normal(size=(2, *F.shape))
    share, plain = (shares(F, **options)[0] for options in ({"rho": 0.3, "center": center}, {}))
    point = share.at(F.null)
    assert point.value - plain.at(F.null).value == pytest.approx(0.15 * np.sum((F.null - center) ** 2))
    h = 1e-6
    (up, down), _ = share.along(point, V, (h, -h))
    assert (up - down) / (2 * h) == pytest.approx(np.vdot(point.gradient, V), rel=1e-7)
    change = share.at(F.null + h * V).gradient - share.at(F.null - h * V).gradient
    np.testing.assert_allclose(share.hessian(point.curvature)(V), change / (2 * h), atol=1e-7)


@pytest.mark.parametrize("keep", [True, False])
def test_one_block_without_a_penalty_does_newton_mr_by_itself(keep):
    """Then z is x_1, and with a vanishing rho x_1 are three steps of Newton-MR on F."""
    F = dataclasses.replace(network(blobs(), m=1), penalty=NoPenalty(), keep=keep)
    admm, central = NetworkADMM(rho=1e-13), NewtonMR(rtol=1e-4, max_minres=20)
    state = admm.init(F, F.null)
    for _ in range(2):  # z is known after the first, and its value after the second
        state, _ = admm.step(F, state)
    expected = central.init(F, F.null)
    for _ in range(3):
        expected, _ = central.step(F, expected)
    np.testing.assert_allclose(state.W, expected.W, atol=1e-8)
    assert state.value == pytest.approx(expected.value, rel=1e-10)
    assert state.value < F.value(F.null)


def test_blocks_come_to_agree_on_a_network_as_good_as_that_of_gn_cg():
    """To some digits, as ADMM does; the last ones take long."""
    F = network(blobs(), m=3)
    result = minimize(F, NetworkADMM(), tol=0.0, callbacks=[lambda row, state: row["iteration"] == 50])
    residuals = [r["primal_residual"] for r in result.history.records[2:]]
    assert residuals[-1] < 0.02 * max(residuals)
    assert residuals[-1] < 1e-2 * np.linalg.norm(result.W)
    best = minimize(F, GNCG(), tol=1e-3).value
    assert result.value < 1.04 * best < 0.6 * F.value(F.null)
    assert result.gradient_norm < 0.02


def test_digits_are_learnt_in_a_dozen_passes():
    """gn-cg needs more than a hundred."""
    F = network(digits(), (40, 15), m=4, ridge=1e-4)
    result = minimize(
        F, NetworkADMM(), tol=0.0, callbacks=[lambda row, state: error(F, state.W, digits()) <= 0.02], max_iter=15
    )
    assert result.status is Status.STOPPED
    assert result.history[-1]["passes"] <= 15


def test_l1_penalties_make_weights_zero():
    F = dataclasses.replace(network(blobs(), m=2), penalty=L1(0.02))
    result = minimize(
        F, NetworkADMM(curvature_floor=2.0), tol=0.0, callbacks=[lambda row, state: row["iteration"] == 60]
    )
    assert 10 < np.sum(result.W == 0) < F.size - 8
    assert result.gradient_norm < 0.02
    assert result.value < 0.7 * F.value(F.null)


def test_an_iteration_is_one_pass():
    F = network(blobs(), m=3)
    with pytest.warns(ConvergenceWarning):
        history = minimize(F, NetworkADMM(certify_every=2), tol=0.0, max_iter=4).history
    for count, expected in (("passes", [1] * 4), ("rounds", [2] * 4), ("epochs", [1] * 4)):
        assert list(np.diff([r[count] for r in history])) == expected
    up = np.diff([r["bytes_up"] for r in history]) / (3 * 8)
    np.testing.assert_array_equal(up, [F.size + 9, F.size + 9, 2 * F.size + 9, F.size + 9])


@pytest.mark.parametrize(("options", "message"), [
    ({"penalty": "hessian"}, "for linear models only"), ({"curvature_floor": -1.0}, "must not be negative"),
    ({"rho": 0.0}, "positive"),
])  # fmt: skip
def test_bad_options_are_refused(options, message):
    with pytest.raises(UnsupportedError, match=message):
        minimize(network(blobs()), NetworkADMM(**options))


def test_newton_cg_finishes_what_is_smooth():
    F = network(blobs(), m=3)
    result = minimize(F, NetworkADMM(polish=True, polish_after=5), tol=1e-9)
    assert result.converged
    assert result.history[-1]["note"].startswith("polish")
    with pytest.raises(UnsupportedError, match="cannot polish"):
        minimize(dataclasses.replace(F, penalty=L1(0.1)), NetworkADMM(polish=True))
