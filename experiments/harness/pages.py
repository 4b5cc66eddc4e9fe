"""Pages that need nothing but the folder they lie in: templates, with style and script inside."""

from pathlib import Path
from typing import Any

import jinja2

from .claims import Claim
from .papers import linked
from .storage import write_bytes

_SIGNS = {"==": "=", "<=": "≤", ">=": "≥"}


def write_page(path: Path, template: str, **content: Any) -> Path:
    """Fills a template of the folder `templates` with content; returns the path."""
    text = _environment().get_template(template).render(content)
    write_bytes(path, text.encode())
    return path


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "expected": expected,
        "tolerance": tolerance,
        "linked": linked,
        "slug": lambda verdict: verdict.replace(" ", "-"),
        "setting": _setting,
    }
    return environment


def number(value: float) -> str:
    """Six significant digits, with a minus sign that is as wide as a digit."""
    return f"{value + 0.0:.6g}".replace("-", "\N{MINUS SIGN}")  # + 0.0 makes -0 a 0


def expected(claim: Claim) -> str:
    """As in "≤ 2.5", or "aim: ≥ 0.9"; "" for a number without an aim."""
    if claim.expected is None:
        return ""
    aim = "aim: " if claim.kind == "reported" else ""
    return f"{aim}{_SIGNS[claim.relation]} {number(claim.expected)}"


def tolerance(claim: Claim) -> str:
    """As in "± 0.01" or "± 5 %"; "" for none."""
    if not claim.tolerance:
        return ""
    return f"± {100 * claim.tolerance:g} %" if claim.relative else f"± {number(claim.tolerance)}"


def _setting(value: Any) -> str:
    """A field of a configuration, as it came from JSON."""
    return ", ".join(map(_setting, value)) if isinstance(value, list) else str(value)
