"""
Spectral and fixed penalties in ADMM
====================================

Consensus ADMM has a penalty parameter for every block, and a bad value costs more than any other bad choice. Xu,
Taylor, Li, Figueiredo, Yuan and Goldstein (ICML 2017, arXiv:1706.02869) estimate it from the curvature along the
iterates, and Newton-ADMM (SC 2020) uses their estimates. They claim that convergence hardly depends on the initial
penalty, over many orders of magnitude.

``python plot_paper_spectral_penalties.py --full mnist.zarr/train`` uses your own data set.
"""

# %%
# The breast cancer data: 569 rows of 30 standardised features, in random order and four blocks. With ``--full``, the
# data at that path in eight blocks. The model's penalty is that of ``C=1``.

import argparse

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from sklearn.datasets import load_breast_cancer

from dask_newton import LogisticRegression, compare
from dask_newton.solvers import NewtonADMM

parser = argparse.ArgumentParser()
parser.add_argument("--full", metavar="DATA", help="Path of a Zarr data set.")
full = parser.parse_args().full

if full:
    X, y, n_blocks, max_iter = full, None, 8, 200
else:
    X, y = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    X, y = ((X - X.mean(axis=0)) / X.std(axis=0))[order], y[order]
    n_blocks, max_iter = 4, 110

# %%
# Three rules start from the same penalties, which are on the scale of the sum over samples: fixed, changed so that the
# primal and dual residuals balance, and estimated from the curvature of each block. ADMM runs alone here, without the
# Newton-CG that finishes the fit by default.

FIRST = [1e-3, 1.0, 1e3]
RULES = ("fixed", "residual_balancing", "spectral")
solvers = {f"{rule} {rho:g}": NewtonADMM(penalty=rule, rho=rho, polish=False) for rule in RULES for rho in FIRST}
optimum = compare(LogisticRegression(), X, y, solvers=["newton-cg"], n_blocks=n_blocks, tol=1e-9).optimum
found = compare(
    LogisticRegression(), X, y, solvers=solvers, n_blocks=n_blocks, optimum=optimum, max_iter=max_iter, tol=1e-5
)

# %%
# Iterations (each is one pass here) until the objective is within a thousandth and a millionth of the optimum.

table = pd.DataFrame(
    {
        (f"gap {gap:g}", rule): [found.reaching(gap).loc[f"{rule} {rho:g}", "iteration"] for rho in FIRST]
        for gap in (1e-3, 1e-6)
        for rule in RULES
    },
    index=pd.Index(FIRST, name="first penalty"),
)
print(table.to_string(na_rep="-", float_format="{:.0f}".format))

# %%
# This agrees with the paper: a fixed penalty that is wrong by a factor of a thousand is useless, and spectral estimates
# recover from such a start within about ten iterations. It disagrees in one point: residual balancing is as good here.
# The reason is that we use relative residuals (Wohlberg 2017, arXiv:1704.06209), whereas the result of the rule in the
# paper's comparison depends on the scale of the data.

figure, axes = plt.subplots(1, 3, figsize=(10, 3.6), sharey=True, layout="constrained")
for ax, rule in zip(axes, RULES, strict=True):
    for rho in FIRST:
        found[f"{rule} {rho:g}"].history.plot("passes", optimum=optimum, ax=ax, label=f"{rho:g}", marker="")
    ax.set_title(rule.replace("_", " "), fontsize="medium")
    ax.set_ylim(1e-8, 30)
    ax.grid(color="0.9")
    ax.spines[["top", "right"]].set_visible(False)
for ax in axes[1:]:
    ax.set_ylabel("")
axes[0].legend(title="first penalty", frameon=False)
plt.show()
