"""Group lasso: each group of features is in the model as a whole, or not at all.

    R(w) = sum_g lam_g c_g norm(w_g) + (lam2 / 2) norm(w)^2,      c_g = sqrt(features in g), or 1

w_g are the rows of w for the features in group g, over all outputs, and norm is the Frobenius norm. The factor c_g is
usual: without it a large group would cost less per feature than a small one.

    prox(w, t)_g = max(0, 1 - t lam_g c_g / norm(w_g)) w_g / (1 + t lam2)

Source: Yuan and Lin, J. R. Stat. Soc. B 68 (2006).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dask_newton.penalties.base import NormPenalty, Penalty, SmoothPenalty
from dask_newton.penalties.l2 import L2, NoPenalty
from dask_newton.penalties.norms import Norms
from dask_newton.penalties.strengths import ByValue, Strength, require_shape, strength
from dask_newton.storage.registry import stored

__all__ = ["GroupLasso"]


@stored("penalty/group-lasso")
@dataclass(frozen=True, eq=False, repr=False)
class GroupLasso(ByValue, NormPenalty):
    """Sum of the norms of groups of features, optionally with an l2 part.

    Parameters
    ----------
    groups : array of int, shape (n_features,)
        The label of the group of each feature.
    lam : float, or array of shape (n_groups,)
        Strength, or one for each group, in the order of the labels. Groups of strength zero are not penalised.
    lam2 : float, or array of shape (n_features,) or (n_features, n_outputs)
        Strength of the l2 part.
    scale_by_size : bool
        Whether the strength of a group is multiplied by the square root of the number of its features.
    """

    groups: Any
    lam: Strength
    lam2: Strength = 0.0
    scale_by_size: bool = True

    def __post_init__(self) -> None:
        groups = np.array(self.groups)
        if groups.ndim != 1 or not np.issubdtype(groups.dtype, np.integer):
            raise ValueError(
                f"groups has the shape {groups.shape} and dtype {groups.dtype}; give an integer label for each feature."
            )
        groups.setflags(write=False)
        object.__setattr__(self, "groups", groups)
        for name in ("lam", "lam2"):
            object.__setattr__(self, name, strength(getattr(self, name), name))
        n_groups = len(np.unique(groups))
        if isinstance(self.lam, np.ndarray) and self.lam.shape != (n_groups,):
            raise ValueError(
                f"lam has the shape {self.lam.shape}, but there are {n_groups} groups; give a number, or an array of "
                f"shape ({n_groups},), in the order of the labels."
            )

    def check(self, shape: tuple[int, int]) -> None:
        """Raise ValueError if the number of labels is not the number of features."""
        if len(self.groups) != shape[0]:
            raise ValueError(
                f"groups has {len(self.groups)} labels, but the model has {shape[0]} features; give one label for each."
            )
        require_shape(self.lam2, "lam2", shape)

    def norms(self, shape: tuple[int, int]) -> Norms:
        """Return the norms of the groups, without the l2 part."""
        _, labels, sizes = np.unique(self.groups, return_inverse=True, return_counts=True)
        strengths = self.lam * (np.sqrt(sizes) if self.scale_by_size else np.ones(len(sizes)))
        return Norms(np.repeat(strengths[labels], shape[1]), np.repeat(labels, shape[1]))

    def value(self, w: np.ndarray) -> float:
        """Return R(w)."""
        return super().value(w) + L2(self.lam2).value(w)

    def prox(self, w: np.ndarray, step: float) -> np.ndarray:
        """Shrink every group towards zero."""
        return L2(self.lam2).prox(super().prox(w, step), step)

    def split(self) -> tuple[SmoothPenalty, Penalty | None]:
        """Return the l2 part and the norms."""
        if not np.any(self.lam2):
            return NoPenalty(), self
        return L2(self.lam2), replace(self, lam2=0.0)
