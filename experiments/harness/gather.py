"""The points of a sweep as one dataset."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from .sweep import Point


def gather(points: Sequence[Point], parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """Joins parts along one new dimension for each field of their points.

    Coordinates keep the order in which they first come; what no part has is NaN. Every part
    holds float variables, with a coordinate for each of its dimensions.
    """
    coords: dict[str, list] = {}
    variables: dict[str, list[str]] = {}
    for point, part in zip(points, parts, strict=True):
        labels = {name: [value] for name, value in point.items()}
        labels |= {str(dim): part[dim].values.tolist() for dim in part.dims}
        for dim, values in labels.items():
            known = coords.setdefault(dim, [])
            known += [value for value in values if value not in known]
        for name, variable in part.data_vars.items():
            variables.setdefault(str(name), [*point, *map(str, variable.dims)])
    whole = xr.Dataset(
        {
            name: (dims, np.full([len(coords[dim]) for dim in dims], np.nan))
            for name, dims in variables.items()
        },
        coords=coords,
    )
    for point, part in zip(points, parts, strict=True):
        for name, variable in part.data_vars.items():
            where = dict(point) | {dim: part[dim].values for dim in variable.dims}
            whole[str(name)].loc[where] = variable.values
    return whole
