"""Symmetric linear systems, and a matrix that counts its products."""

import numpy as np


def system(d=12, condition=100.0, seed=0):
    """Return a symmetric positive definite matrix with eigenvalues in [1 / condition, 1], and a right side."""
    rng = np.random.default_rng(seed)
    Q, _ = np.linalg.qr(rng.normal(size=(d, d)))
    return (Q * np.geomspace(1 / condition, 1, d)) @ Q.T, rng.normal(size=d)


class Counted:
    """A matrix that counts its products and may give NaN in one of them."""

    def __init__(self, A, nan_at=None):
        self.A, self.nan_at, self.count = A, nan_at, 0

    def __call__(self, v):
        self.count += 1
        return self.A @ v * (np.nan if self.count == self.nan_at else 1.0)


def spectrum(eigenvalues, seed=0):
    """Return a symmetric matrix with these eigenvalues, and a right side."""
    rng = np.random.default_rng(seed)
    d = len(eigenvalues)
    Q, _ = np.linalg.qr(rng.normal(size=(d, d)))
    return (Q * eigenvalues) @ Q.T, rng.normal(size=d)


def singular(seed=0):
    """Return a singular, indefinite 40 x 40 matrix, a right side out of its range, and the pseudo-inverse times it."""
    eigenvalues = np.concatenate([np.linspace(-3, -0.5, 10), np.linspace(0.3, 4, 20), np.zeros(10)])
    A, b = spectrum(eigenvalues, seed)
    return A, b, np.linalg.pinv(A, rcond=1e-10) @ b
