"""The progress of a fit, read from the library's log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Listener", "in_words", "listening"]


class Listener(logging.Handler):
    """A handler of the log that extracts iterations, choices of solvers, and turns of a comparison.

    Attributes
    ----------
    reason : str
        The reason for the choice of solver='auto'.
    turn : (str, int, int)
        Label, number, and total number of the compared solvers.
    """

    def __init__(self, on_iteration: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(logging.DEBUG)
        self.on_iteration, self.reason, self.turn = on_iteration, "", ("", 0, 0)

    def emit(self, record: logging.LogRecord) -> None:
        """Handle one record."""
        if str(record.msg).startswith("solver='auto' chose"):
            self.reason = f", as {record.getMessage().partition(': ')[2].removesuffix('.')}"
        if str(record.msg).startswith("Comparing") and isinstance(record.args, tuple):
            self.turn = record.args  # type: ignore[assignment]
        last = record.args[-1] if isinstance(record.args, tuple) and record.args else None
        if isinstance(last, dict) and {"iteration", "gradient_norm"} <= set(last):
            self.on_iteration(last)


@contextmanager
def listening(on_iteration: Callable[[dict[str, Any]], None]) -> Iterator[Listener]:
    """Call ``on_iteration`` with the record of every iteration of the fits inside the block."""
    library, listener = logging.getLogger("dask_newton"), Listener(on_iteration)
    level = library.level
    library.addHandler(listener)
    library.setLevel(logging.DEBUG)
    try:
        yield listener
    finally:
        library.setLevel(level)
        library.removeHandler(listener)


def in_words(record: dict[str, Any]) -> str:
    """Return a short description of an iteration."""
    text = f"Iteration {record['iteration']}, objective {record['objective']:.6g}"
    if record["gradient_norm"] == record["gradient_norm"]:  # ADMM does not compute it in every iteration
        text += f", largest gradient entry {record['gradient_norm']:.1e}"
    return text
