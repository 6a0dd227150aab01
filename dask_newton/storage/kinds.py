"""The kinds of groups that this library writes, with the versions of their formats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["CHECKPOINT", "DATASET", "MODEL", "CheckpointError", "DatasetError", "GroupKind", "ModelError"]


class DatasetError(ValueError):
    """A data set or raw file cannot be read or written; the message says where, why and what to do."""


class ModelError(ValueError):
    """A model cannot be saved or loaded; the message says why and what to do."""


class CheckpointError(ValueError):
    """A run cannot be continued from a checkpoint; the message says why and what to do."""


@dataclass(frozen=True)
class GroupKind:
    """A kind of group.

    Attributes
    ----------
    noun : str
        What it is called in messages.
    key : str
        The attribute that marks it and holds the version of its format.
    version : int
        The version that is written and read.
    origin : str
        How one is made, a sentence.
    remedy : str
        What to do with one that cannot be read, a clause.
    error : type
        What is raised.
    """

    noun: str
    key: str
    version: int
    origin: str
    remedy: str
    error: type[ValueError]

    def check_version(self, attributes: Mapping[str, Any], where: str) -> None:
        """Refuse a group of another version, older or newer."""
        found = attributes[self.key]
        if found == self.version and type(found) is int:
            return
        newer = isinstance(found, int) and found > self.version
        remedy = f"update dask_newton, or {self.remedy}" if newer else self.remedy
        writer = attributes.get("created_by")
        by = f", written by {writer}" if isinstance(writer, str) else ""
        raise self.error(
            f"{where} is a {self.noun} of format {found!r}{by}, but this version of dask_newton reads format "
            f"{self.version}; {remedy}."
        )


DATASET = GroupKind(
    "data set",
    "dask_newton_format",
    1,
    "Write one with save_dataset, or convert raw files.",
    "convert or save the data again",
    DatasetError,
)
MODEL = GroupKind(
    "model", "dask_newton_model_format", 2, "Write one with save_model.", "fit the model again and save it", ModelError
)
CHECKPOINT = GroupKind(
    "checkpoint",
    "dask_newton_checkpoint_format",
    2,
    "A fit with checkpoint= writes one.",
    "remove it to start anew",
    CheckpointError,
)
