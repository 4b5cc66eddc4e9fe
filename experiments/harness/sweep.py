"""The points of an experiment's sweep, measured one by one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import xarray as xr

Point = Mapping[str, Any]


def sweep(
    points: Sequence[Point], measure_point: Callable[[Point], xr.Dataset]
) -> list[xr.Dataset]:
    """Measures every point, in order."""
    return [measure_point(point) for point in points]
