"""What an experiment is, and which there are."""

import ast
import difflib
import importlib.util
import re
from pathlib import Path
from typing import Any, Protocol

import xarray as xr
from jax import Array
from matplotlib.figure import Figure

from .claims import Claim
from .usage import UsageError


class Experiment(Protocol):
    """A module: one file, read from top to bottom.

    Its `Config` is a frozen dataclass of `Settings` with the class methods `quick` and `paper`, and
    `full` where a paper's setting is more than two cores bear within the hour. A
    module that sets `TIMED = True` measures time, and `figures` runs nothing beside it; one that
    defines `table(dataset) -> str`, in Markdown, has that printed and saved too; one that defines
    `details(dataset) -> Figure` has a second figure, of what else there is to see, which the first
    line of its docstring puts into words; one whose points differ in length defines
    `cost(point) -> float`, in any unit, and the time left is told by it.
    """

    __name__: str
    __doc__: str | None
    Config: Any

    def measure(self, config: Any, key: Array) -> xr.Dataset: ...
    def claims(self, dataset: xr.Dataset) -> list[Claim]: ...
    def plot(self, dataset: xr.Dataset) -> Figure: ...


def themes(package: str) -> dict[str, tuple[str, ...]]:
    """The names of the experiments of each theme, both in the order of the article.

    A package lists its themes, its folders, as `THEMES`; each of them its experiments, its files,
    as `EXPERIMENTS`. No experiment is imported.
    """
    return {
        theme: importlib.import_module(f"{package}.{theme}").EXPERIMENTS
        for theme in importlib.import_module(package).THEMES
    }


def about(package: str, theme: str) -> tuple[str, str]:
    """A theme's title, and what it is about: its docstring before the colon and behind it."""
    text = (importlib.import_module(f"{package}.{theme}").__doc__ or theme).strip()
    title, _, rest = text.partition(":")
    rest = rest.strip()
    return title.rstrip("."), rest[:1].upper() + rest[1:]


def names(package: str) -> list[str]:
    """The experiments of a package, in the order of the article."""
    return [name for members in themes(package).values() for name in members]


def _place(package: str, name: str) -> str:
    """The full name of an experiment's module.

    Raises:
      UsageError: if there is none of that name, with those that come near.
    """
    for theme, members in themes(package).items():
        if name in members:
            return f"{package}.{theme}.{name}"
    known = names(package)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise UsageError(f"unknown experiment {name!r}{hint} There are: {', '.join(known)}")


def load(package: str, name: str) -> Experiment:
    """Imports one experiment.

    Raises:
      UsageError: if there is none of that name, with those that come near.
    """
    module: Any = importlib.import_module(_place(package, name))
    return module


def docstring(package: str, name: str) -> str:
    """What the file of an experiment begins with: it is read, since to import it takes longer.

    Raises:
      UsageError: if there is none of that name, with those that come near.
    """
    spec = importlib.util.find_spec(_place(package, name))
    if spec is None or spec.origin is None:
        return ""
    return ast.get_docstring(ast.parse(Path(spec.origin).read_text("utf-8"))) or ""


def stated_time(text: str | None, preset: str) -> tuple[int, str]:
    """How long a preset takes, as an experiment's docstring says: a number of "s", "min" or "h".

    (0, "") where it does not say. It says so behind "Time:" or "Time on 2 CPU cores:".
    """
    _, *said = re.split(r"\bTime(?: on 2 CPU cores)?:", text or "", maxsplit=1)
    unit = r"(?:(s)|(min)(?:utes?)?|(h)(?:ours?)?)"
    stated = re.search(rf"\b{preset}\b[^;.]*?(\d+) {unit}\b", "".join(said))
    return (int(stated[1]), stated[2] or stated[3] or stated[4]) if stated else (0, "")


def stated_seconds(text: str | None, preset: str) -> int:
    """The same in seconds; 0 where it does not say."""
    number, unit = stated_time(text, preset)
    return number * {"s": 1, "min": 60, "h": 3600, "": 0}[unit]


def summary(text: str | None) -> str:
    """The first line of an experiment's docstring."""
    return (text or "").strip().partition("\n")[0]
