"""Types that several files of this folder name."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

__all__ = ["Columns", "PathLike", "Progress"]

PathLike = str | os.PathLike[str]

# progress(done, total), in rows or bytes; the total is None while it is not known.
Progress = Callable[[int, int | None], object]

# The columns of some rows by name: NumPy arrays; X may be a scipy.sparse.csr_array.
Columns = dict[str, Any]
