r"""
Newton-ADMM: which local solver?
================================

A report on Newton-ADMM (K. Ghosh, 2021) proposes to replace the Newton-CG step on the blocks by Newton-MR, which does
not need convexity, but could not run the authors' code. It ends with open questions: does Newton-MR improve
Newton-ADMM, and do other methods on the blocks? This example answers them for one convex and one non-convex problem.
"""

# %%
# Every block minimises its share of the loss plus :math:`\tfrac{\rho_i}{2} \lVert z - x + y_i / \rho_i \rVert^2`.
# The report's formula for the step lacks the pseudo-inverse: it should be :math:`-[\nabla^2 f]^\dagger \nabla f`, which
# MINRES approximates.

import argparse

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits

from dask_newton import LogisticRegression, LossRegressor, compare
from dask_newton.losses import SquaredSoftplus
from dask_newton.solvers import NewtonADMM, NewtonCG

parser = argparse.ArgumentParser()
parser.add_argument("--full", metavar="DATA", help="Path of a Zarr data set with numeric labels.")
full = parser.parse_args().full

if full:
    from dask_newton.data import open_dataset

    X, y = open_dataset(full).X, open_dataset(full).y
else:
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    X, y = X[order] / 16, y[order]

MR = {"local_solver": "newton-mr"}
LOCAL = {
    "CG, 3 products": {"cg_max_iter": 3},
    "CG, 10 products": {},
    "CG, 50 products": {"cg_max_iter": 50},
    "CG, 3 steps of 10": {"newton_steps": 3},
    "MINRES, 10 products": MR,
    "MINRES, 3 steps of 10": {**MR, "newton_steps": 3},
}
solvers = {label: NewtonADMM(polish=False, **options) for label, options in LOCAL.items()}


def summary(found, gaps):
    """Return the iterations to each gap, and the products with a block's Hessian per iteration."""
    table = pd.DataFrame({f"iterations to {gap:g}": found.reaching(gap)["iteration"] for gap in gaps})
    table["gap at the end"] = [found.gap(run.value) for run in found.runs]
    table["products per iteration"] = [run.history.to_pandas()["inner_iterations"][1:].mean() for run in found.runs]
    return table.to_string(na_rep="-", float_format="{:.3g}".format)


# %%
# A convex problem: softmax regression on the digits in eight blocks. Each iteration is one pass.

model = LogisticRegression(C=1.0)
best = compare(model, X, y, solvers=["sampled-newton"], tol=1e-7).optimum
convex = compare(model, X, y, solvers=solvers, n_blocks=8, optimum=best, max_iter=30)
print(summary(convex, (1.0, 0.1, 0.01)))

# %%
# A non-convex problem: the digits as numbers, with the loss :math:`(y - \log(1 + e^{x^\top w}))^2`, from zero.

model = LossRegressor(SquaredSoftplus(), alpha=0.0, fit_intercept=False)
given = {"n_blocks": 8, "fit_params": {"coef_init": np.zeros(X.shape[1])}}
y = y.astype(float)
best = compare(model, X, y, solvers=[NewtonCG()], tol=1e-6, **given).optimum
other = compare(model, X, y, solvers=solvers, optimum=best, max_iter=60, **given)
print(summary(other, (1.0, 0.1, 0.03)))

# %%
# The answers, for these problems. *Newton-MR does not improve Newton-ADMM.* For the convex loss it needs as many
# iterations and products as conjugate gradients. For the non-convex loss, the penalty on a block is raised until the
# local problem is convex, so the negative curvature that MINRES could exploit has gone before MINRES meets it, and with
# such a large penalty both take the same short steps.
#
# *For the non-convex loss, more local work helps*: with three Newton steps per iteration, ADMM is near the optimum when
# with one step it is still half its value away. For the convex loss, one step of ten products is as good as more, and
# three products are too few. A method that is not confined to the blocks, such as
# :class:`~dask_newton.solvers.NewtonCG`, which computed the reference here, is the better choice for non-convex losses.

figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for ax, found, title in zip(axes, (convex, other), ("softmax regression", "non-linear least squares"), strict=True):
    for run in found.runs:
        run.history.plot("passes", optimum=found.optimum, ax=ax, label=run.label, marker="")
    ax.set_title(title, fontsize="medium")
    ax.grid(color="0.9")
    ax.spines[["top", "right"]].set_visible(False)
axes[0].legend(frameon=False)
plt.show()
