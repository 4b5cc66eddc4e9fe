"""Sphinx: notebooks are executed when the pages are built, docstrings are read as they stand."""

import os
import re
import sys
from pathlib import Path
from typing import Any

from flax import nnx
from jax.typing import ArrayLike
from sphinx.util import inspect
from sphinx.util.typing import stringify_annotation

import sigjax

project = "sigjax"
author = "the authors of sigjax"
release = version = sigjax.__version__

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "offline"]
exclude_patterns = ["_build"]
default_role = "code"
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_math_renderer = "mathml"  # of offline.py
html_title = f"sigjax {release}"

myst_enable_extensions = ["dollarmath"]
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "4")  # notebooks inherit it; see meshes.md
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300  # seconds a cell; the slowest takes some ten

autodoc_typehints = "signature"  # the docstrings say shapes and dtypes, which annotations do not
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 80  # a parameter a line beyond it
autodoc_member_order = "bysource"
autodoc_default_options = {"special-members": "__call__"}
napoleon_use_rtype = False
napoleon_use_ivar = True  # "Attributes:" describes the fields that autodoc finds by itself

_MARKUP = re.compile(r"``.*?``|:\w+:`.*?`|`[^`]+`|\$([^$]+)\$|(\|)", re.DOTALL)
_DISPLAY = re.compile(r"^( *)\$\$([^$]+)\$\$(.?)", re.DOTALL | re.MULTILINE)


def _to_rst(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings write $maths$ as Markdown does; `code` is the default role."""
    del app, what, name, obj, options
    text = "\n".join(lines)
    parts = re.split(r"(^[ ]*>>>.*?(?:\n[ ]*\n|\Z))", text, flags=re.DOTALL | re.MULTILINE)
    for index in range(0, len(parts), 2):  # what stands between examples
        parts[index] = _MARKUP.sub(_marked, _DISPLAY.sub(_displayed, parts[index]))
    lines[:] = "".join(parts).split("\n")


def _marked(found: re.Match[str]) -> str:
    maths, pipe = found.groups()
    if maths:
        return f":math:`{' '.join(maths.split())}`"
    return r"\|" if pipe else found[0]  # a pipe would begin a substitution


def _displayed(found: re.Match[str]) -> str:
    indent, maths, _ = found.groups()  # what follows the formula is a comma or a full stop
    return f"{indent}.. math:: {' '.join(maths.split())}\n"


_ARRAY_LIKE = stringify_annotation(ArrayLike, "smart")
# How defaults that are no literals are printed, and how they are to be read.
_DEFAULTS = (
    (re.compile(r"<function ([\w.]+?)(?:\.<locals>[\w.<>]*)?>"), r"\1"),
    (re.compile(r"<class '[\w.]*?(\w+)'>"), r"\1"),
    (re.compile(r"mappingproxy\((\{\})\)"), r"\1"),
)


def _signature(
    app: Any, what: str, name: str, obj: Any, options: Any, signature: str, returned: str
) -> tuple[str, str] | None:
    """Types as the source names them: a module's own arguments, and ArrayLike."""
    del app, name, options
    if what == "class" and issubclass(obj, nnx.Module):  # Flax's metaclass hides them
        of_instance = inspect.signature(obj.__init__, bound_method=False)
        arguments = [each for key, each in of_instance.parameters.items() if key != "self"]
        signature = inspect.stringify_signature(
            of_instance.replace(parameters=arguments, return_annotation=of_instance.empty),
            unqualified_typehints=True,
        )
    if not signature:
        return None
    for printed, named in _DEFAULTS:
        signature = printed.sub(named, signature)
    return signature.replace(_ARRAY_LIKE, "~jax.typing.ArrayLike"), returned


def setup(app: Any) -> None:
    """Before napoleon, which reads sections at priority 500."""
    app.connect("autodoc-process-docstring", _to_rst, priority=400)
    app.connect("autodoc-process-signature", _signature)
