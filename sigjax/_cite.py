"""What to cite for what was used."""

import re
import types
from collections.abc import Iterator
from importlib import resources
from typing import Any

from .functional._messages import must

_SOFTWARE = """@software{{sigjax,
  title = {{sigjax: the sigmoid in {{JAX}}, its derivatives, gradients and gates}},
  author = {{{{The sigjax authors}}}},
  version = {{{version}}}
}}"""


def cite(*used: Any) -> None:
    """Prints BibTeX of sigjax and of the papers behind what was used.

    An entry is printed if the "References" of a docstring name its first author and year.

    Args:
      used: functions, classes and modules of sigjax, or objects of its classes; a module stands
        for all it has.

    Raises:
      TypeError: for something that is not sigjax's.

    Example:
      >>> import sigjax
      >>> sigjax.cite(sigjax.calibration.fit_temperature)  # doctest: +ELLIPSIS
      @software{sigjax,
      ...
      <BLANKLINE>
      @inproceedings{guo2017,
        author = {Guo, Chuan and Pleiss, Geoff and Sun, Yu and Weinberger, Kilian Q.},
      ...
    """
    from . import __version__

    sections = [section for thing in used for section in _references(thing)]
    entries = [entry for entry in _entries() if any(_names(s, entry) for s in sections)]
    print("\n\n".join([_SOFTWARE.format(version=__version__), *entries]))


def _entries() -> list[str]:
    text = resources.files(__package__).joinpath("references.bib").read_text("utf-8")
    return re.split(r"\n\n(?=@)", text.strip())


def _names(section: str, entry: str) -> bool:
    """Whether a section names the entry's first author, and its year."""
    author, year = re.search(r"author = \{([^,]+),", entry), re.search(r"year = \{(\d+)\}", entry)
    return all(found is not None and found[1] in section for found in (author, year))


def _references(thing: Any) -> Iterator[str]:
    """The sections "References" of a thing, or of all that a module has."""
    is_module = isinstance(thing, types.ModuleType)
    described = thing if hasattr(thing, "__name__") else type(thing)
    if not _is_ours(described.__name__ if is_module else getattr(described, "__module__", "")):
        raise TypeError(
            must(
                "things",
                "be functions, classes, modules or objects of sigjax",
                f"{thing!r} ({type(thing).__name__})",
                of="sigjax.cite",
            )
        )
    if not is_module:
        yield (described.__doc__ or "").partition("References:")[2]
        return
    for name, value in vars(thing).items():
        if not name.startswith("_") and callable(value) and _is_ours(value.__module__):
            yield from _references(value)


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == __package__
