r"""
DINO, figure 1: softmax regression on five workers
==================================================

Crane and Roosta (2020, arXiv:2006.03694) compare DINO with DINGO, GIANT, DiSCO, InexactDANE, AIDE and synchronous SGD
on EMNIST Digits: the objective against communication rounds. Their figure has curves without numbers. It shows the
second-order methods close to each other and all of them ahead of SGD.

``python plot_paper_dino_softmax.py --full mnist.zarr`` uses a data set with the splits ``train`` and ``test``.
"""

# %%
# scikit-learn's digits in five blocks. The settings are the paper's: at most 50 iterations of every inner solver, no
# preconditioner, :math:`\theta = 10^{-4}` and :math:`\phi = 10^{-6}`; for SVRG and SGD a learning rate of 0.1, the best
# of :math:`10^{-5}, \dots, 10^5` in the paper; :math:`\tau = 1` for AIDE; and a fifth of the rows for SGD. One setting
# is ours: the mini-batches of SVRG have 128 rows instead of one.

import argparse

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits

from dask_newton import LogisticRegression, compare
from dask_newton.solvers import AIDE, DINGO, DINO, GIANT, SGD, DiSCO, InexactDANE
from dask_newton.solvers.parts.line_search import LineSearch

parser = argparse.ArgumentParser()
parser.add_argument("--full", metavar="DATA", help="Path of a Zarr data set with the splits train and test.")
parser.add_argument("--max-rounds", type=int, default=120)
options = parser.parse_args()

if options.full:
    data = {"X": f"{options.full}/train", "X_test": f"{options.full}/test"}
else:
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    X, y = X[order] / 16, y[order]
    data = {"X": X[:1500], "y": y[:1500], "X_test": X[1500:], "y_test": y[1500:]}

SEARCH = LineSearch(speculative=False, batch=51)  # all steps in one round, as in the paper
solvers = {
    "DINO": DINO(theta=1e-4, phi=1e-6, max_iter=50, line_search=SEARCH),
    "DINGO": DINGO(theta=1e-4, phi=1e-6, max_iter=50, minres_rtol=1e-4),
    "GIANT": GIANT(cg_max_iter=50, line_search=SEARCH),
    "DiSCO": DiSCO(max_cg=50, preconditioner="none"),
    "InexactDANE": InexactDANE(learning_rate=0.1),
    "AIDE": AIDE(learning_rate=0.1, tau=1.0),
    "SGD": SGD(learning_rate=0.1, certify_every=4),
}
model = LogisticRegression(C=1.0, fit_intercept=False)
best = compare(model, **data, solvers=["sampled-newton"], tol=1e-7)
found = compare(
    model, **data, solvers=solvers, n_blocks=5, optimum=best.optimum, max_rounds=options.max_rounds, max_iter=10_000
)
print(found)

# %%
# The relative gap after several numbers of rounds, and the rounds per iteration, which the paper lists in table 2 (for
# DiSCO two, and two more for each of the k products with the Hessian).


def gap_after(run, rounds):
    """Return the smallest gap that a run had reached."""
    return min(found.gap(r["objective"]) for r in run.history if r["rounds"] <= rounds and r["objective"] > 0)


PAPER = {
    "DINO": "6", "DINGO": "4 to 8", "GIANT": "6", "DiSCO": "2 + 2k", "InexactDANE": "4", "AIDE": "4", "SGD": "2",
}  # fmt: skip
budgets = [int(options.max_rounds * share) for share in (0.1, 0.3, 1.0)]
table = pd.DataFrame(
    {
        **{f"gap after {n} rounds": {run.label: f"{gap_after(run, n):.1e}" for run in found.runs} for n in budgets},
        "rounds/iteration": {
            run.label: f"{(run.rounds - run.history[0]['rounds']) / run.n_iter:.1f}" for run in found.runs
        },
        "in the paper": PAPER,
    }
)
print(table.reindex(list(solvers)).to_string())

# %%
# The ranking is the paper's: DINO, DINGO and GIANT are close together and far ahead of SGD, with InexactDANE and AIDE
# in between. The rounds per iteration are those of the paper's table 2.
#
# Two things differ. DINO falls behind if there are many coefficients: on MNIST, with 7,840 of them, its gap after 40
# rounds is 0.3, while DINGO and GIANT are at 0.003 and 0.004. Its local problems have the square of the condition
# number, and the paper's 50 iterations are too few; our default is 200. And DiSCO does worse here than in the paper:
# without a preconditioner its conjugate gradients need almost 40 products, of two rounds each, for the first step from
# zero. With the published preconditioner, the Hessian of one block, which is our default, it needs a third of them in
# total.

found.plot()
plt.show()
