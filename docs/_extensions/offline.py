"""Pages that need no network: formulas become MathML when the pages are built.

A formula that cannot be rendered, or a page with a script, style, font or picture from elsewhere,
stops the build.
"""

import html.parser
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.errors import SphinxError

# How many children an element of MathML must have, where the number is fixed (MathML Core).
_CHILDREN = {
    "mfrac": 2, "mroot": 2, "msub": 2, "msup": 2, "msubsup": 3, "munder": 2, "mover": 2,
    "munderover": 3,
}  # fmt: skip


class CannotRender(SphinxError):
    """A formula that the converter does not know, or takes for another."""

    category = "Formula"


class NeedsNetwork(SphinxError):
    """A page that a browser without a network would not show as it is meant."""

    category = "Network"


def mathml(formula: str, *, display: bool) -> str:
    """MathML of a formula in LaTeX.

    Raises:
      CannotRender: if a command is not known, or an argument is missing.
    """
    if display and r"\\" in formula and r"\begin" not in formula:
        formula = rf"\begin{{array}}{{l}}{formula}\end{{array}}"  # browsers break no lines
    upright = re.sub(r"\\mathrm\{(\w+)\}", r"\\text{\1}", formula)  # MathML slants a single letter
    try:
        found = convert(upright, display="block" if display else "inline")
    except Exception as error:
        raise CannotRender(f"{formula!r}: {type(error).__name__} {error}") from error
    for element in ElementTree.fromstring(found).iter():
        name = element.tag.rpartition("}")[2]
        if "\\" in (element.text or ""):  # passed on as a name
            raise CannotRender(f"{formula!r}: no command {element.text}")
        if len(element) != _CHILDREN.get(name, len(element)):
            raise CannotRender(f"{formula!r}: an argument is missing")
    return found


def _visit_inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(_located(node, display=False))
    raise nodes.SkipNode


def _visit_block(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="formula">{_located(node, display=True)}</div>')
    raise nodes.SkipNode


def _located(node: nodes.Element, *, display: bool) -> str:
    try:
        return mathml(node.astext(), display=display)
    except CannotRender as error:
        raise CannotRender(f"{node.source}:{node.line}: {error}") from error


class _Addresses(html.parser.HTMLParser):
    """Collects the addresses that a browser loads to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = dict(attrs)
        loads = {
            "script": "src", "img": "src", "iframe": "src", "source": "src", "object": "data",
        }.get(tag)  # fmt: skip
        if tag == "link" and has.get("rel") in ("stylesheet", "preload", "icon", "preconnect"):
            loads = "href"
        if loads:
            self.found.append(has.get(loads) or "")


def loaded_from_elsewhere(folder: Path) -> Iterator[str]:
    """Each page or style of a built folder that loads something from another host, and what."""
    for page in sorted(folder.glob("**/*.html")):
        addresses = _Addresses()
        addresses.feed(page.read_text("utf-8"))
        for address in addresses.found:
            if re.match(r"(?:\w+:)?//", address):
                yield f"{page.relative_to(folder)} loads {address}"
    for style in sorted(folder.glob("**/*.css")):
        for address in re.findall(
            r"(?:@import|url\()\s*[\"']?((?:https?:)?//[^\"')\s]+)", style.read_text("utf-8")
        ):
            yield f"{style.relative_to(folder)} loads {address}"


def _check(app: Any, exception: Exception | None) -> None:
    if exception is None and app.builder.format == "html":
        found = list(loaded_from_elsewhere(Path(app.outdir)))
        if found:
            raise NeedsNetwork("; ".join(found))


def setup(app: Any) -> dict[str, bool]:
    """Adds the renderer "mathml", and the look at what was built."""
    app.add_html_math_renderer("mathml", (_visit_inline, None), (_visit_block, None))
    app.connect("build-finished", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
