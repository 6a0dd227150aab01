"""
Larger than memory: Zarr data sets
==================================

Save a data set once, then fit from its path. Blocks are read where they are needed, and read again if they are lost.
"""

# %%
# Data often come in pieces. Here Dask generates them chunk by chunk, and they are never in memory as a whole.

import tempfile
from pathlib import Path

from matplotlib import pyplot as plt

from dask_newton import LogisticRegression
from dask_newton.data import dataset_info, make_softmax, open_dataset, save_splits, verify_dataset

X, y, coef, intercept = make_softmax(60_000, 20, 3, chunk_rows=5_000, condition=10.0)
print(X)

# %%
# A data set is a Zarr v3 group with ``X``, ``y`` and names; splits are sub-groups. The group appears at its path only
# after it has been read back completely and compared with its checksums.

folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "softmax.zarr"
save_splits(
    path,
    {"train": (X[:50_000], y[:50_000]), "test": (X[50_000:], y[50_000:])},
    feature_names=[f"x{j}" for j in range(20)],
    classes=[0, 1, 2],
    chunk_rows=5_000,
    attrs={"name": "softmax", "source": "dask_newton.data.make_softmax"},
)
print(f"{verify_dataset(path)} chunks are as they were written")
for name, split in dataset_info(path)["splits"].items():
    print(name, split["n_samples"], "x", split["n_features"], "classes", split["class_counts"])

# %%
# Opening reads no data. A block is a chunk on disk unless ``chunk_rows`` says otherwise.

train = open_dataset(path / "train")
print(train.X)

# %%
# An estimator accepts the path. It finds the labels, and sample weights if there are any, in the group.

clf = LogisticRegression().fit(path / "train")
print(f"accuracy on unseen rows {clf.score(path / 'test'):.3f}, converged: {clf.converged_}")

# %%
# Prediction is lazy, chunk by chunk.

probabilities = clf.predict_proba(path / "test")
print(probabilities)

# %%
# The labels were drawn from known coefficients. The estimates scatter around them, more so if a feature varies less:
# here the standard deviations of the features fall from 1 to 1/10.

estimated = clf.coef_ - clf.coef_.mean(axis=0)
figure, ax = plt.subplots(figsize=(5, 4), layout="constrained")
ax.axline((0, 0), slope=1, color="0.8", zorder=0)
for k in range(3):
    ax.plot(coef[k], estimated[k], ".", markersize=8, label=f"class {k}")
ax.set_xlabel("coefficient that the labels were drawn from")
ax.set_ylabel("estimate")
ax.legend(frameon=False)
ax.spines[["top", "right"]].set_visible(False)
plt.show()

folder.cleanup()
