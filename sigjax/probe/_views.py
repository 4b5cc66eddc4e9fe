"""Rows as a table, a dataset and a figure."""

import dataclasses
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._figure import new_figure
from ._rows import Row

_HEADINGS = (
    "layer", "kind", "gradient", "per element", "ratio to next", "parameters", "RMS of output",
    "saturated", "dead", "smallest",
)  # fmt: skip
_WORDS = ("name", "kind", "dtype", "activation")


def table(loss: float, rows: Sequence[Row], verdict: str) -> str:
    """A table as text, with the verdict under it."""
    from rich.console import Console
    from rich.table import Table

    found = Table(title=f"loss {loss:.6g}", title_justify="left")
    for heading in _HEADINGS:
        left = heading in ("layer", "kind")
        found.add_column(heading, justify="left" if left else "right", no_wrap=True)
    for row in rows:
        found.add_row(*_cells(row))
    # Wide enough for every column: a report is read in notebooks and log files too.
    text = io.StringIO()
    Console(file=text, width=200).print(found)
    return f"{text.getvalue()}{verdict}\n"


def _cells(row: Row) -> Sequence[str]:
    def power(log10: float) -> str:
        if not math.isfinite(log10):
            return "0" if log10 == -math.inf else "-"
        exponent = math.floor(log10)
        return f"{10 ** (log10 - exponent):.2f}e{exponent:+d}"

    def share(value: float) -> str:
        return "-" if math.isnan(value) else f"{100 * value:.1f} %"

    return (
        row.name,
        row.kind if row.activation is None else f"{row.kind} + {row.activation}",
        power(row.log10_gradient),
        power(row.log10_gradient_rms),
        "-" if math.isnan(row.ratio) else f"x{row.ratio:.3g}",
        power(row.log10_parameter_gradient),
        power(row.log10_rms),
        share(row.saturated),
        share(row.dead),
        "-" if math.isnan(row.smallest) else f"{row.smallest:.1e} {row.dtype}",
    )


def dataset(loss: float, rows: Sequence[Row], verdict: str) -> Any:
    """An `xarray.Dataset` over `layer`."""
    import xarray

    names = [field.name for field in dataclasses.fields(Row) if field.name not in _WORDS]
    found = xarray.Dataset(
        {name: ("layer", np.array([getattr(row, name) for row in rows])) for name in names},
        coords={
            "layer": [row.name for row in rows],
            "kind": ("layer", [row.kind for row in rows]),
            "dtype": ("layer", [row.dtype for row in rows]),
            "activation": ("layer", [row.activation or "" for row in rows]),
        },
        attrs={"verdict": verdict, "loss": loss},
    )
    for name in ("log10_gradient", "log10_parameter_gradient"):
        found[name].attrs["long_name"] = "log10 of the norm of the loss gradient"
    return found


def figure(rows: Sequence[Row]) -> Any:
    """A matplotlib `Figure`: norms over layers, and shares of units without a slope."""
    found = new_figure(max(6.0, 0.3 * len(rows)), 5.0)
    norms, health = found.subplots(2, sharex=True, height_ratios=(2, 1))
    places = np.arange(len(rows))
    norms.plot(places, [r.log10_gradient for r in rows], "o-", label="at the output")
    norms.plot(places, [r.log10_parameter_gradient for r in rows], "s--", label="of the parameters")
    norms.set_ylabel("log10 norm of the gradient (1)")
    norms.legend()
    health.plot(places, [r.saturated for r in rows], "o", label="saturated")
    health.plot(places, [r.dead for r in rows], "x", label="dead")
    health.set_ylabel("share of units (1)")
    health.set_ylim(-0.05, 1.05)
    health.legend()
    health.set_xticks(places, [r.name for r in rows], rotation=90, fontsize=7)
    health.set_xlabel("layer, from input to output")
    return found
