"""What an experiment is, and which there are."""

import ast
import difflib
import importlib
import pkgutil
import re
from pathlib import Path
from typing import Any, Protocol

import xarray as xr
from jax import Array
from matplotlib.figure import Figure

from .claims import Claim
from .refusal import Refusal

_PARTS = {"Config", "measure", "claims", "plot"}


class Experiment(Protocol):
    """A module: one file, read from top to bottom.

    Its `Config` is a frozen dataclass of `Settings` with the class methods `quick` and `paper`. A
    module that sets `TIMED = True` measures time, and `figures` runs nothing beside it; one that
    defines `table(dataset) -> str`, in Markdown, has that printed and saved too.
    """

    __name__: str
    __doc__: str | None
    Config: Any

    def measure(self, config: Any, key: Array) -> xr.Dataset: ...
    def claims(self, dataset: xr.Dataset) -> list[Claim]: ...
    def plot(self, dataset: xr.Dataset) -> Figure: ...


def _defined(path: Path) -> set[str]:
    names = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
    return names


def names(package: str) -> list[str]:
    """The experiments of a package, found without importing them."""
    found = []
    for folder in importlib.import_module(package).__path__:
        for module in pkgutil.iter_modules([folder]):
            path = Path(folder) / f"{module.name}.py"
            if path.exists() and _defined(path) >= _PARTS:
                found.append(module.name)
    return sorted(found)


def load(package: str, name: str) -> Experiment:
    """Imports one experiment.

    Raises:
      Refusal: if there is none of that name, with those that come near.
    """
    known = names(package)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise Refusal(f"unknown experiment {name!r}{hint} There are: {', '.join(known)}")
    module: Any = importlib.import_module(f"{package}.{name}")
    return module


def quick_seconds(experiment: Experiment) -> float:
    """How long the quick preset takes, as the docstring says; 0 where it does not."""
    stated = re.search(r"quick\b[^;.]*?(\d+) s\b", experiment.__doc__ or "")
    return float(stated[1]) if stated else 0.0


def summary(experiment: Experiment) -> str:
    """The first line of the module's docstring."""
    return (experiment.__doc__ or "").strip().partition("\n")[0]
