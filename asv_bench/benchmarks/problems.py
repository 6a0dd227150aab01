"""The problems: real ones from scikit-learn, and imitations of larger ones, drawn with fixed seeds.

Small by default; in full size with the environment variable DASK_NEWTON_BENCH=full. C = 1 (images: 0.1), no
intercept, and an l2 penalty, or with the suffix _l1 the elastic net with equal shares: so the objective is strongly
convex, and how far a point is from the optimum can be bounded.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from scipy.ndimage import gaussian_filter
from scipy.special import expit, log_expit, log_softmax
from sklearn.datasets import load_breast_cancer, load_digits

FULL = os.environ.get("DASK_NEWTON_BENCH") == "full"
SIZES = {  # rows: small, full
    "tall": (50_000, 1_000_000),
    "pixels": (3_000, 60_000),
    "images": (4_000, 50_000),
    "text2": (8_000, 200_000),
    "text20": (4_000, 200_000),
}
SMOOTH = ("digits", "breast_cancer", *SIZES)
NAMES = (*SMOOTH, "breast_cancer_l1", "pixels_l1")
REGULARISATION = {"images": 0.1}  # C
SLICE = 10_000  # rows drawn at a time


@dataclass(frozen=True)
class Problem:
    """A classification problem, X dense or CSR.

    Its objective is ``mean loss + (r norm1(w) + (1 - r) norm(w)^2 / 2) / (C n)``.
    """

    name: str
    X: Any
    y: np.ndarray

    @property
    def C(self) -> float:
        return REGULARISATION.get(self.name, 1.0)

    @property
    def l1_ratio(self) -> float:
        return 0.5 if self.name.endswith("_l1") else 0.0

    @property
    def n_outputs(self) -> int:
        classes = len(np.unique(self.y))
        return 1 if classes == 2 else classes

    @property
    def n_coefficients(self) -> int:
        return self.X.shape[1] * self.n_outputs

    def objective(self, coef: np.ndarray) -> float:
        """Evaluate F in float64, for coefficients of any library: shape (n_outputs, n_features)."""
        return self._evaluate(coef)[0]

    def gap_bound(self, coef: np.ndarray) -> float:
        """Return ``norm(g)^2 / (2 lam2) >= F(coef) - F*``, with g the smallest subgradient of F."""
        gradient = self._evaluate(coef)[1]
        scale = 1 / (self.C * len(self.y))
        lam1, lam2 = self.l1_ratio * scale, (1 - self.l1_ratio) * scale
        gradient = gradient + lam2 * coef
        threshold = np.sign(gradient) * np.maximum(np.abs(gradient) - lam1, 0)
        g = np.where(coef != 0, gradient + lam1 * np.sign(coef), threshold)
        return float(np.vdot(g, g)) / (2 * lam2)

    def _evaluate(self, coef: np.ndarray) -> tuple[float, np.ndarray]:
        """Return F, and the gradient of the mean loss."""
        total, gradient, n = 0.0, np.zeros(coef.shape), len(self.y)
        for start in range(0, n, SLICE):
            X, y = self.X[start : start + SLICE].astype(np.float64), self.y[start : start + SLICE].astype(int)
            z, rows = X @ coef.T, np.arange(len(y))
            if self.n_outputs == 1:
                total -= log_expit(np.where(y == 1, z[:, 0], -z[:, 0])).sum()
                residual = expit(z) - y[:, None]
            else:
                log_p = log_softmax(z, axis=1)
                total -= log_p[rows, y].sum()
                residual = np.exp(log_p)
                residual[rows, y] -= 1
            gradient += residual.T @ X
        r = self.l1_ratio
        penalty = (r * np.abs(coef).sum() + (1 - r) * np.vdot(coef, coef) / 2) / self.C
        return float(total + penalty) / n, gradient / n


def make(name: str) -> Problem:
    """Make a problem by name."""
    data = name.removesuffix("_l1")
    if data in SIZES:
        draw = {"tall": _tall, "pixels": _pixels, "images": _images, "text2": _text, "text20": _topics}[data]
        return Problem(name, *draw(SIZES[data][FULL]))
    X, y = (load_digits if data == "digits" else load_breast_cancer)(return_X_y=True)
    X = X / 16 if data == "digits" else (X - X.mean(axis=0)) / X.std(axis=0)
    return Problem(name, X, y)


def _slices(n: int, seed: int) -> list[tuple[slice, np.random.Generator]]:
    starts = range(0, n, SLICE)
    return [(slice(i, min(i + SLICE, n)), np.random.default_rng([seed, i])) for i in starts]


def _tall(n: int) -> tuple[np.ndarray, np.ndarray]:
    """28 correlated measurements, covariance of condition 10,000; labels from a logistic model, a few of them wrong."""
    p, rng = 28, np.random.default_rng(10)
    rotation = np.linalg.qr(rng.standard_normal((p, p)))[0]
    scales = np.geomspace(1, 1e-2, p)
    w = rng.standard_normal(p)  # of the independent components, so that each of them matters
    X, y = np.empty((n, p)), np.empty(n, np.int64)
    for rows, rng in _slices(n, 11):
        z = rng.standard_normal((rows.stop - rows.start, p))
        X[rows] = (z * scales) @ rotation
        label = rng.random(len(z)) < 1 / (1 + np.exp(-z @ w / 3))
        y[rows] = label ^ (rng.random(len(z)) < 0.05)
    return X, y


def _pixels(n: int) -> tuple[np.ndarray, np.ndarray]:
    """28 x 28 grey images: smooth strokes of ten kinds, mostly zero, the border always."""
    rng = np.random.default_rng(20)

    def smooth(*shape: int) -> np.ndarray:
        fields = gaussian_filter(rng.standard_normal((*shape, 28, 28)), (*[0] * len(shape), 2, 2))
        return fields / fields.std(axis=(-2, -1), keepdims=True)

    kinds, styles = smooth(10, 4), smooth(40)  # four ways to write each class, and what all of them share
    distance = np.hypot(*np.meshgrid(np.arange(28) - 13.5, np.arange(28) - 13.5))
    window = np.exp(-((distance / 11) ** 4))
    X, y = np.empty((n, 784), np.float32), np.empty(n, np.int64)
    for rows, rng in _slices(n, 21):
        m = rows.stop - rows.start
        y[rows] = rng.integers(0, 10, m)
        ink = kinds[y[rows], rng.integers(0, 4, m)].reshape(m, -1)
        ink = ink + 0.15 * rng.standard_normal((m, 40)) @ styles.reshape(40, -1)
        X[rows] = np.round(np.clip(0.6 * ink * window.ravel() - 0.2, 0, 1) * 255) / 255
    return X, y


def _images(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of three colours, with the spectrum of photographs and a faint trace of the class.

    Of 32 x 32 pixels in full size, 16 x 16 else, so that there are more rows than features.
    """
    side, rng = 32 if FULL else 16, np.random.default_rng(30)
    frequency = np.hypot(np.fft.fftfreq(side, 1 / side)[:, None], np.fft.rfftfreq(side, 1 / side))
    amplitude = (1 + frequency) ** -1.5

    def scenes(rng: np.random.Generator, *shape: int) -> np.ndarray:
        noise = np.fft.rfft2(rng.standard_normal((*shape, side, side), dtype=np.float32))
        return np.fft.irfft2(noise * amplitude, s=(side, side)).astype(np.float32)

    spread = scenes(rng, 200).std()
    traces = scenes(rng, 10, 3) / spread
    X, y = np.empty((n, 3 * side * side), np.float32), np.empty(n, np.int64)
    for rows, rng in _slices(n, 31):
        m = rows.stop - rows.start
        y[rows] = rng.integers(0, 10, m)
        grey, colour = scenes(rng, m, 1) / spread, scenes(rng, m, 3) / spread
        X[rows] = (grey + 0.3 * colour + 0.04 * traces[y[rows]]).reshape(m, -1)
    return X, y


def _words(n: int, topics: np.ndarray) -> scipy.sparse.csr_array:
    """Texts of 60 words, a fifth of them from the popular words of a topic, weighted as search engines do.

    Of 50,000 words in full size, 6,000 else.
    """
    p, length, rng = 50_000 if FULL else 6_000, 60, np.random.default_rng(40)
    own = np.stack([rng.permutation(p // 5) for _ in range(20)])
    cumulated = [np.cumsum(1 / (np.arange(size) + 15.0) ** 1.05) for size in (p, p // 5)]
    words = np.empty((n, length), np.int32)
    for rows, rng in _slices(n, 41):
        u = rng.random((2, rows.stop - rows.start, length))
        general, special = (
            np.searchsorted(c / c[-1], v).clip(0, len(c) - 1) for c, v in zip(cumulated, u, strict=True)
        )
        special = own[topics[rows, None], special]
        words[rows] = np.where(rng.random(general.shape) < 0.2, special, general)
    indptr = np.arange(0, length * n + 1, length, dtype=np.int32)
    X = scipy.sparse.csr_array((np.ones(words.size, np.float32), words.ravel(), indptr), shape=(n, p))
    X.sum_duplicates()
    documents = np.bincount(X.indices, minlength=p)
    X.data = np.log1p(X.data) * np.log(1 + n / (1 + documents)).astype(np.float32)[X.indices]
    rows = np.repeat(np.arange(n), np.diff(X.indptr))
    X.data /= np.sqrt(np.bincount(rows, X.data**2, minlength=n)).astype(np.float32)[rows]
    return X


def _text(n: int) -> tuple[scipy.sparse.csr_array, np.ndarray]:
    """Texts of two classes, labels from a logistic model with a third of the words."""
    rng = np.random.default_rng(42)
    X = _words(n, rng.integers(0, 20, n))
    z = X @ (rng.standard_normal(X.shape[1]) * (rng.random(X.shape[1]) < 0.3))
    return X, (rng.random(n) < expit(2 * z / z.std())).astype(np.int64)


def _topics(n: int) -> tuple[scipy.sparse.csr_array, np.ndarray]:
    """Texts of twenty topics, one label in twenty drawn at random."""
    rng = np.random.default_rng(43)
    topics = rng.integers(0, 20, n)
    return _words(n, topics), np.where(rng.random(n) < 0.05, rng.integers(0, 20, n), topics)
