"""Sphinx: notebooks are executed when the pages are built, docstrings are read as they stand."""

import re
from typing import Any

import sigjax

project = "sigjax"
author = "the authors of sigjax"
release = version = sigjax.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"sigjax {release}"

myst_enable_extensions = ["dollarmath"]
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300  # seconds a cell; the slowest takes some ten

autodoc_typehints = "none"  # the docstrings say shapes and dtypes, which annotations do not
autodoc_member_order = "bysource"
napoleon_use_rtype = False
napoleon_use_ivar = True  # "Attributes:" describes the fields that autodoc finds by itself

_MARKUP = re.compile(r"``.*?``|:\w+:`.*?`|`([^`]+)`|\$([^$]+)\$|(\|)", re.DOTALL)
_DISPLAY = re.compile(r"^( *)\$\$([^$]+)\$\$(.?)", re.DOTALL | re.MULTILINE)


def _to_rst(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings write `code` and $maths$ as Markdown does."""
    del app, what, name, obj, options
    text = "\n".join(lines)
    parts = re.split(r"(^[ ]*>>>.*?(?:\n[ ]*\n|\Z))", text, flags=re.DOTALL | re.MULTILINE)
    for index in range(0, len(parts), 2):  # what stands between examples
        parts[index] = _MARKUP.sub(_marked, _DISPLAY.sub(_displayed, parts[index]))
    lines[:] = "".join(parts).split("\n")


def _marked(found: re.Match[str]) -> str:
    code, maths, pipe = found.groups()
    if code:
        return f"``{code}``"
    if maths:
        return f":math:`{' '.join(maths.split())}`"
    return r"\|" if pipe else found[0]  # a pipe would begin a substitution


def _displayed(found: re.Match[str]) -> str:
    indent, maths, _ = found.groups()  # what follows the formula is a comma or a full stop
    return f"{indent}.. math:: {' '.join(maths.split())}\n"


def setup(app: Any) -> None:
    """Before napoleon, which reads sections at priority 500."""
    app.connect("autodoc-process-docstring", _to_rst, priority=400)
