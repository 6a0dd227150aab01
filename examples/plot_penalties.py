"""
An l1 path with warm starts
===========================

With an l1 penalty some coefficients are exactly zero. The path of solutions shows in which order features enter.
"""

# %%
# We standardise the features ourselves. The library never does so, because the penalty would then apply to other
# coefficients than those it reports.

import dask.array as da
import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_breast_cancer

from dask_newton import LogisticRegression

data = load_breast_cancer()
X = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
X = da.from_array(X, chunks=(143, -1))
y = da.from_array(data.target, chunks=143)

# %%
# ``l1_ratio=1`` is the l1 penalty, 0 is l2, and values in between are the elastic net. An l1 penalty is not
# differentiable; ``solver="auto"`` chooses a solver that can handle that. With ``warm_start`` each fit starts from the
# solution for the previous ``C``.

strengths = np.geomspace(3e-3, 1.0, 14)
clf = LogisticRegression(l1_ratio=1.0, warm_start=True, max_iter=200)
path, passes = [], []
for C in strengths:
    clf.set_params(C=C).fit(X, y)
    path.append(clf.coef_[0])
    passes.append(clf.n_passes_)
    print(
        f"C {C:6.3f}   {np.count_nonzero(clf.coef_):2d} non-zero coefficients   {clf.n_passes_:3d} passes   "
        f"certificate {clf.result_.gradient_norm:.0e}"
    )
path = np.array(path)

# %%
# The zeros are exact rather than small numbers, so counting them is meaningful. A path need not be monotone: near the
# weakest penalty "worst area" enters and "worst radius" shrinks, because the two measure almost the same.

print("solver:", clf.solver_.name)
names = list(data.feature_names)
radius, area = names.index("worst radius"), names.index("worst area")
print(f"correlation {np.corrcoef(data.data[:, [radius, area]].T)[0, 1]:.3f}")

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.plot(strengths, path, color="0.75", linewidth=1)
ax.plot(strengths, path[:, radius], linewidth=1.6, label="worst radius")
ax.plot(strengths, path[:, area], linewidth=1.6, label="worst area")
ax.legend(frameon=False)
ax.set_xscale("log")
ax.set_xlabel("C, the inverse strength of the penalty")
ax.set_ylabel("coefficient of the standardised feature")
ax.axhline(0, color="0.6", linewidth=0.8)
ax.spines[["top", "right"]].set_visible(False)
plt.show()
