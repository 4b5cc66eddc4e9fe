"""Sphinx: notebooks are executed when the pages are built, docstrings are read as they stand."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils import unescape
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
default_role = "named"
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_math_renderer = "mathml"  # of offline.py
html_title = f"sigjax {release}"

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3  # headings down to this level can be linked to, from other pages too
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "4")  # notebooks inherit it; see meshes.md
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_merge_streams = True  # what a loop prints is one block
nb_execution_timeout = 300  # seconds a cell; the slowest takes some ten

nitpicky = True  # a reference to what is not documented is a warning
nitpick_ignore_regex = [
    ("py:class", r"(?:collections|flax|jax|numpy|os)\..*"),
    ("py:class", r"sigjax\..*\b_.*"),  # types that private modules give names to
    ("py:class", r"float32|Filter|.* .*"),  # a default, a type's argument, prose before a colon
]

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
    """Docstrings write $maths$ as Markdown does; `code` is the default role, below."""
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


_PARTS = ("losses", "initializers", "nn", "theory", "probe", "calibration", "dynamics")


def _public_names() -> Iterator[tuple[str, str]]:
    """What a docstring may call a thing, and where the reference has it."""
    for name in (*vars(sigjax.functional), "stabilize", "StabilizeWarning", "cite"):
        if not name.startswith("_") and callable(getattr(sigjax, name, None)):
            yield name, f"sigjax.{name}"
    for part in _PARTS:
        module = getattr(sigjax, part)
        for name in getattr(module, "__all__", vars(module)):
            if not name.startswith("_") and callable(getattr(module, name)):
                yield name, f"sigjax.{part}.{name}"


_PUBLIC = {
    called: target
    for name, target in _public_names()
    for called in (name, target, target.removeprefix("sigjax."))
}


def _named(
    role: str, rawtext: str, text: str, lineno: int, inliner: Any, *options: Any
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """`code`, which is a link if it is a public name."""
    del role, options
    code = unescape(text, restore_backslashes=True)
    if code not in _PUBLIC:
        return [nodes.literal(rawtext, code)], []
    link = inliner.document.settings.env.get_domain("py").role("obj")
    return link("py:obj", rawtext, f"{code} <{_PUBLIC[code]}>", lineno, inliner)


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
    app.add_role("named", _named)
    app.connect("autodoc-process-docstring", _to_rst, priority=400)
    app.connect("autodoc-process-signature", _signature)
