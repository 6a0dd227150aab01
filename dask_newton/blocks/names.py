"""Names of tasks, as Dask's dashboard, progress bars and performance reports show them.

Every key is ``newton-<name>-<number>``. A pass has its name from :func:`named`, beside its code; Dask takes the letters
up to the number for the name of a kind of task.
"""

from __future__ import annotations

import functools
import re
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

import dask

__all__ = ["delayed", "named", "task_key", "task_name"]

F = TypeVar("F", bound=Callable[..., Any])

# Dask takes other words, and those of eight letters that begin with a to f, for numbers, and does not show them.
_WORD = "(?![a-f][a-z]{7}(-|$))[a-z]+"
_WORDS = re.compile(f"{_WORD}(-{_WORD})*")


def named(name: str) -> Callable[[F], F]:
    """Give the tasks of a pass their name.

    Parameters
    ----------
    name : str
        What the pass computes, such as ``"hessian-product"``: lower-case words, with hyphens between them.

    Returns
    -------
    callable
        A decorator of functions, or of classes whose instances are called.

    Raises
    ------
    ValueError
        If Dask would not show the whole name.
    """
    if not _WORDS.fullmatch(name):
        raise ValueError(
            f"{name!r} cannot be the name of a task: give lower-case words with hyphens between them, none of eight "
            "letters that begins with a to f, as Dask takes those for numbers."
        )

    def decorate(fn: F) -> F:
        fn.task_name = name  # type: ignore[attr-defined]
        return fn

    return decorate


def task_name(fn: Callable[..., Any]) -> str:
    """Return the name of the tasks of a pass: what it was given, else the words of its function's name."""
    name = getattr(fn, "task_name", None)
    if name is not None:
        return name
    if isinstance(fn, functools.partial):
        return task_name(fn.func)
    words = re.findall("[a-z]+", getattr(fn, "__name__", type(fn).__name__).lower())
    return "-".join(words) or "pass"


def task_key(name: str, number: str | None = None) -> str:
    """Return a key for Dask; without a number one that no other task has."""
    return f"newton-{name}-{number or uuid.uuid4().hex}"


def delayed(fn: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Return ``fn`` as a function of delayed values, whose tasks have a name."""
    lazy = dask.delayed(fn, pure=False)
    return lambda *args: lazy(*args, dask_key_name=task_key(name))
