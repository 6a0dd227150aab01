r"""
DINO, figure 2: a non-convex problem
====================================

Crane and Roosta (2020, arXiv:2006.03694) fit CIFAR-10 labels by non-linear least squares, :math:`(y_j - \log(1 +
e^{x_j^\top w}))^2` without a penalty, on 50 workers with 1,000 rows of 3,072 features each. GIANT fails at once,
because conjugate gradients fail on all 50 workers. DiSCO runs and does poorly; DINO and DINGO do well.

``python plot_paper_dino_least_squares.py --full cifar10.zarr/train`` uses a data set whose labels are numbers.
"""

# %%
# 900 of scikit-learn's digits in 25 blocks of 36 rows and 64 features: as in the paper, a block has fewer rows than
# features. The labels are the digits themselves, and the start is zero. The settings are the paper's, including the
# learning rates: :math:`10^{-4}` for SVRG, :math:`10^{-3}` for SGD, :math:`\tau = 100` for AIDE.

import argparse

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits

from dask_newton import LossRegressor, compare
from dask_newton.losses import SquaredSoftplus
from dask_newton.solvers import AIDE, DINGO, DINO, GIANT, SGD, DiSCO, InexactDANE, NewtonCG
from dask_newton.solvers.parts.line_search import LineSearch

parser = argparse.ArgumentParser()
parser.add_argument("--full", metavar="DATA", help="Path of a Zarr data set.")
parser.add_argument("--max-rounds", type=int, default=60)
options = parser.parse_args()

if options.full:
    from dask_newton.data import open_dataset

    X, y, n_blocks = open_dataset(options.full).X, open_dataset(options.full).y, 50
else:
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    X, y = X[order[:900]] / 16, y[order[:900]].astype(float)
    n_blocks = 25

SEARCH = LineSearch(speculative=False, batch=51)  # all steps in one round, as in the paper
solvers = {
    "DINO": DINO(theta=1e-4, phi=1e-6, max_iter=50, line_search=SEARCH),
    "DINO, theta=1, phi=0.1": DINO(theta=1.0, phi=0.1, max_iter=50, line_search=SEARCH),
    "DINGO": DINGO(theta=1e-4, phi=1e-6, max_iter=50, minres_rtol=1e-4),
    "GIANT": GIANT(cg_max_iter=50, line_search=SEARCH),
    "DiSCO": DiSCO(max_cg=50, preconditioner="none"),
    "InexactDANE": InexactDANE(learning_rate=1e-4),
    "AIDE": AIDE(learning_rate=1e-4, tau=100.0),
    "SGD": SGD(learning_rate=1e-3),
    "Newton-CG": NewtonCG(),
}
model = LossRegressor(SquaredSoftplus(), alpha=0.0, fit_intercept=False)
found = compare(
    model,
    X,
    y,
    solvers=solvers,
    n_blocks=n_blocks,
    max_rounds=options.max_rounds,
    max_iter=10_000,
    fit_params={"coef_init": np.zeros(X.shape[1])},
)
print(found)

# %%
# Where each of them ended, relative to the start.

start = found.runs[0].history[0]["objective"]
table = pd.DataFrame(
    {
        "objective": {run.label: run.value for run in found.runs},
        "change": {run.label: run.value - start for run in found.runs},
        "largest gradient entry": {run.label: run.gradient_norm for run in found.runs},
        "status": {run.label: run.status for run in found.runs},
    }
)
print(f"at the start {start:.4f}; at the plateau, where all predictions are 0, {float((y**2).mean()):.4f}")
print(table.to_string(float_format="{:.4g}".format))

# %%
# As in the paper, GIANT fails in its first iteration, because conjugate gradients meet negative curvature on the
# blocks, and DINO always descends. How fast depends on :math:`\theta`: with the paper's value, the correction that
# makes a direction descend is short, and every block needs one. A :math:`\theta` near one over the largest curvature is
# far faster. "Parameter free" is true of convergence, not of speed.
#
# DINGO behaves differently here. It minimises the norm of the gradient, which vanishes in two ways: at the minimum, and
# on the plateau at infinity, where all predictions are 0 and nothing changes. From zero, DINGO heads for the plateau,
# and the objective rises above its initial value. The paper says that this can happen if the objective is not invex; it
# does not show it. DiSCO, whose steps need convexity, runs in the paper to little effect; ours refuses.
#
# Newton-CG, which uses the curvature of all blocks together, comes closest to the minimum.

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for run in found.runs:
    run.history.plot("rounds", ax=ax, label=run.label, markevery=0.1)
ax.legend(frameon=False)
ax.grid(color="0.9")
ax.spines[["top", "right"]].set_visible(False)
plt.show()
