"""Activations of hidden layers, a = f(z), whose derivatives are functions of a.

    name         f(z)                          f'                      f'' / f'
    relu         max(z, 0)                     1 where a > 0, else 0   0
    leaky_relu   z where z > 0, else c z       1 where a > 0, else c   0
    tanh         tanh z                        1 - a^2                 -2 a
    logistic     (1 + tanh(z / 2)) / 2         a (1 - a)               1 - 2 a
    identity     z                             1                       0

So a layer stores only a. At z = 0 the derivative of relu is 0, and that of leaky_relu is c.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from dask_newton.arrays import namespace

__all__ = ["ACTIVATIONS", "Activation", "Identity", "LeakyReLU", "LogisticSigmoid", "ReLU", "Tanh"]

Array = Any


class Activation(ABC):
    """A function of one number, applied entrywise; strictly increasing where it is not constant.

    Attributes
    ----------
    name : str
        Its name in options: scikit-learn's, if there is one.
    leak : float or None
        The derivative for z < 0 of functions that are linear there and have derivative 1 for z > 0; None for others.
    """

    name: ClassVar[str]
    leak: float | None = None

    @abstractmethod
    def value(self, z: Array) -> Array:
        """Return ``a = f(z)``."""

    @abstractmethod
    def derivative(self, a: Array) -> Array:
        """Return ``f'`` where ``f = a``."""

    def derivative_ratio(self, a: Array) -> Array | None:
        """Return ``f'' / f'`` where ``f = a``; None where it is 0 everywhere."""
        return None


@dataclass(frozen=True)
class ReLU(Activation):
    """``max(z, 0)``."""

    name = "relu"
    leak = 0.0

    def value(self, z: Array) -> Array:
        """Return ``max(z, 0)``."""
        return namespace(z).maximum(z, 0.0)

    def derivative(self, a: Array) -> Array:
        """Return 1 where a > 0, else 0."""
        return namespace(a).astype(a > 0, a.dtype)


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """``z`` where z > 0, else ``leak z``.

    Parameters
    ----------
    leak : float
        Derivative for negative z, larger than 0.
    """

    leak: float = 0.01
    name = "leaky_relu"

    def value(self, z: Array) -> Array:
        """Return ``z`` where z > 0, else ``leak z``."""
        xp = namespace(z)
        return xp.maximum(z, 0.0) + self.leak * xp.minimum(z, 0.0)

    def derivative(self, a: Array) -> Array:
        """Return 1 where a > 0, else ``leak``."""
        return self.leak + (1 - self.leak) * namespace(a).astype(a > 0, a.dtype)


@dataclass(frozen=True)
class Tanh(Activation):
    """``tanh z``."""

    name = "tanh"

    def value(self, z: Array) -> Array:
        """Return ``tanh z``."""
        return namespace(z).tanh(z)

    def derivative(self, a: Array) -> Array:
        """Return ``1 - a^2``."""
        return 1 - a * a

    def derivative_ratio(self, a: Array) -> Array:
        """Return ``-2 a``."""
        return -2 * a


@dataclass(frozen=True)
class LogisticSigmoid(Activation):
    """``1 / (1 + exp(-z))``, by a formula that does not overflow."""

    name = "logistic"

    def value(self, z: Array) -> Array:
        """Return ``(1 + tanh(z / 2)) / 2``."""
        return (1 + namespace(z).tanh(z / 2)) / 2

    def derivative(self, a: Array) -> Array:
        """Return ``a (1 - a)``."""
        return a * (1 - a)

    def derivative_ratio(self, a: Array) -> Array:
        """Return ``1 - 2 a``."""
        return 1 - 2 * a


@dataclass(frozen=True)
class Identity(Activation):
    """``z``: the network is a factored linear model."""

    name = "identity"
    leak = 1.0

    def value(self, z: Array) -> Array:
        """Return ``z``."""
        return z

    def derivative(self, a: Array) -> Array:
        """Return 1."""
        return namespace(a).ones_like(a)


ACTIVATIONS: dict[str, type[Activation]] = {cls.name: cls for cls in (Identity, LeakyReLU, LogisticSigmoid, ReLU, Tanh)}
