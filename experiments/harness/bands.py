"""Curves of several seeds as one: their mean, and a band around it."""

from typing import Any

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D


def mean_and_range(
    axis: Axes, x: Any, seeds: xr.DataArray, style: str = "-", **look: Any
) -> Line2D:
    """Draws the mean over seeds and a band from the lowest to the highest of them.

    Args:
      axis: where to.
      x: as many numbers as each curve has.
      seeds: the curves, with a dimension "seed" and one other.
      style: of the line, as `Axes.plot` has it.
      **look: of the line too; the band has its colour.

    Returns:
      The line.
    """
    (line,) = axis.plot(x, seeds.mean("seed"), style, **look)
    axis.fill_between(
        x,
        seeds.min("seed"),
        seeds.max("seed"),
        color=line.get_color(),
        alpha=0.15,
        linewidth=0,
    )
    return line
