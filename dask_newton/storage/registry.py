"""The names under which dataclasses are stored in models and checkpoints.

A file names a class by its registered name, never by the module it lives in, and can name no other class. Any package
may register its own losses, penalties, solvers and states, as this library does::

    @stored("solver-state/my-package.heavy-ball")
    @dataclass(frozen=True, eq=False)
    class HeavyBallState(PointState): ...
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeVar

__all__ = ["UnknownNameError", "class_of", "name_of", "stored"]

C = TypeVar("C", bound=type)

_CLASSES: dict[str, type] = {}
_NAMES: dict[type, str] = {}


class UnknownNameError(ValueError):
    """A file names a class that is not registered."""


def stored(name: str) -> Callable[[C], C]:
    """Register a dataclass under the name by which files refer to it; a class decorator.

    Parameters
    ----------
    name : str
        ``"kind/name"``, such as ``"solver/giant"``; the kind is used in messages. A package other than this library
        puts its own name first: ``"solver/my-package.heavy-ball"``. Renaming a class is a change of format.

    Raises
    ------
    ValueError
        If another class has the name.
    TypeError
        If the class is not a dataclass.
    """

    def register(cls: C) -> C:
        if not dataclasses.is_dataclass(cls) or "__dataclass_fields__" not in vars(cls):
            raise TypeError(f"{_place(cls)} is not a dataclass; put @stored({name!r}) above @dataclass.")
        if not all(part for part in name.partition("/")):
            raise ValueError(f"{name!r} is not a name for {_place(cls)}; give a kind and a name, as in 'solver/giant'.")
        other = _CLASSES.get(name)
        if other is not None and _place(other) != _place(cls):  # a module that is run again replaces its classes
            raise ValueError(f"{_place(cls)} cannot be registered as {name!r}: {_place(other)} has that name.")
        _CLASSES[name] = cls
        _NAMES[cls] = name
        return cls

    return register


def name_of(cls: type) -> str | None:
    """Return the registered name of a class; None if it has none. Subclasses need a name of their own."""
    return _NAMES.get(cls)


def class_of(name: str) -> type:
    """Return the class of a registered name.

    Raises
    ------
    UnknownNameError
        If there is none.
    """
    if name not in _CLASSES:
        kind, _, rest = str(name).partition("/")
        raise UnknownNameError(f"this version of dask_newton has no {kind.replace('-', ' ')} {rest!r}")
    return _CLASSES[name]


def _place(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
