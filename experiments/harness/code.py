"""Which code made a result: a digest of the project's, and the versions of jax and Flax."""

import functools
import hashlib
import importlib.metadata
from collections.abc import Mapping
from typing import Any, NamedTuple

from .reached import code_of

# What of an experiment decides its data, and what its claims and its figures.
MEASURES = ("measure",)
SHOWS = ("claims", "plot", "table", "details")


class Code(NamedTuple):
    """What besides configuration, seed and device decides a result's numbers.

    Attributes:
      digest: of the project's code, see `code_digest`.
      jax, flax: versions.
    """

    digest: str
    jax: str
    flax: str

    @classmethod
    def today(cls, module: str) -> "Code":
        """The code that would make a result of an experiment's module now."""
        version = importlib.metadata.version
        return cls(code_digest(module), version("jax"), version("flax"))

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> "Code":
        """The code that made a recorded result."""
        versions = record["versions"]
        return cls(record["code"], versions["jax"], versions["flax"])

    def differences(self, today: "Code") -> str:
        """What is another today, in words, as in "jax 0.10.2, today 0.11.0"."""
        pairs = zip(("code", "jax", "flax"), self, today, strict=True)
        return ", ".join(f"{what} {old}, today {new}" for what, old, new in pairs if old != new)


@functools.cache
def code_digest(module: str, names: tuple[str, ...] = MEASURES) -> str:
    """Eight hexadecimal digits that change when the code of a result does.

    The digest is of what the experiment's `measure` reaches, see `code_of`: how claims and figures
    are made of the data, or progress is told, does not count, nor the presets of its `Config`,
    whose values are part of a result's key by themselves.

    Args:
      module: the experiment's module, as in "experiments.depth.isometry".
      names: of the module's functions whose code counts; unless given, of those that make data.
    """
    total = hashlib.sha256()
    for text in code_of(module, names):
        total.update(text.encode())
    return total.hexdigest()[:8]
