"""The layers of a multi-layer perceptron, and their initial parameters.

    Z_l = A_{l-1} W_l + 1 b_l',    A_l = f(Z_l)  for l < L,    A_0 = X,    margins Z_L

The parameters are one vector, [W_1, ..., W_L, b_1, ..., b_L], with matrices by rows. All weights come before all
biases, so that the penalised parameters are a slice. Layers are views of the vector.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from dask_newton.arrays import namespace
from dask_newton.objectives.network.activations import Activation, ReLU

__all__ = ["INITIALISATIONS", "Layers"]

Array = Any


@dataclass(frozen=True)
class Layers:
    """Sizes and activation of a network.

    Attributes
    ----------
    sizes : tuple of int
        Number of features, of units in every hidden layer, and of outputs.
    activation : Activation
        Of the hidden layers.
    """

    sizes: tuple[int, ...]
    activation: Activation = ReLU()

    def __post_init__(self) -> None:
        if len(self.sizes) < 2 or min(self.sizes) < 1:
            raise ValueError(f"sizes={self.sizes}: a network needs features, outputs and units in every hidden layer.")

    @property
    def n_layers(self) -> int:
        """L, the number of layers with weights."""
        return len(self.sizes) - 1

    @cached_property
    def slices(self) -> list[tuple[slice, slice]]:
        """The slices of the weights and of the biases of each layer in the vector of parameters."""
        shapes = list(pairwise(self.sizes))
        ends = list(accumulate([n * m for n, m in shapes] + [m for _, m in shapes], initial=0))
        cuts = [slice(*pair) for pair in pairwise(ends)]
        return list(zip(cuts[: self.n_layers], cuts[self.n_layers :], strict=True))

    @property
    def n_weights(self) -> int:
        """Number of parameters that are not biases."""
        return self.slices[-1][0].stop

    @property
    def n_parameters(self) -> int:
        """P, the number of all parameters."""
        return self.slices[-1][1].stop

    def of(self, theta: Array) -> list[tuple[Array, Array]]:
        """Return (W_l, b_l) of every layer, as views of ``theta``, shape (P, 1)."""
        xp = namespace(theta)
        return [
            (xp.reshape(theta[weights, 0], shape), theta[biases, 0])
            for (weights, biases), shape in zip(self.slices, pairwise(self.sizes), strict=True)
        ]

    def start(self, seed: int, initialisation: str = "glorot") -> np.ndarray:
        """Return random parameters, shape (P, 1).

        Each layer has its own random stream, so that its start does not depend on the sizes of the other layers.

        Parameters
        ----------
        seed : int
        initialisation : str
            A key of :data:`INITIALISATIONS`.
        """
        if initialisation not in INITIALISATIONS:
            raise ValueError(
                f"initialisation={initialisation!r} is not known; choose one of {', '.join(sorted(INITIALISATIONS))}."
            )
        theta = np.zeros((self.n_parameters, 1))
        streams = np.random.SeedSequence(seed).spawn(self.n_layers)
        for (W, b), stream in zip(self.of(theta), streams, strict=True):
            INITIALISATIONS[initialisation](W, b, np.random.default_rng(stream))
        return theta


def _glorot(W: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> None:
    reach = math.sqrt(6 / sum(W.shape))
    W[...] = rng.uniform(-reach, reach, W.shape)


def _he(W: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> None:
    W[...] = math.sqrt(2 / len(W)) * rng.normal(size=W.shape)


def _gauss(W: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> None:
    W[...] = 0.1 * rng.normal(size=W.shape)
    b[...] = 0.1 * rng.normal(size=b.shape)


#: Name -> function that fills weights and biases, which are zero before, of a layer. 'glorot': uniform, of variance
#: 2 / (n_in + n_out) (Glorot and Bengio 2010); 'he': normal, of variance 2 / n_in (He et al. 2015); 'gauss': normal, of
#: deviation 0.1, biases too (dlADMM, pdADMM).
INITIALISATIONS: dict[str, Callable[[np.ndarray, np.ndarray, np.random.Generator], None]] = {
    "gauss": _gauss,
    "glorot": _glorot,
    "he": _he,
}
