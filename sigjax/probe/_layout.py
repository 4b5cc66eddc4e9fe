"""What is measured of sites and parameters: taken one by one, put together where shapes agree.

To put hundreds of small arrays together takes XLA longer to compile than the sums themselves. So
it is done outside of the program, by NumPy, where nobody waits for the next step; inside of a
traced function the same code makes it a part of the program.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ._mark import Layer, marked
from ._plan import Site
from ._sums import ACCUMULATORS, over_runs, plain_squares, run_squares, totals
from ._tap import joined

Shape = tuple[int, ...]
# Kinds of what is marked as measured in a traced gradient.
SITE, PARAMETER = "site", "parameter"
# Parameters with so few elements are copied into one array rather than summed one by one.
_SMALL = 4096


class Measured(NamedTuple):
    """The arrays of a report.

    Attributes:
      loss: scalar.
      sites: for each group of sites `[members, ..., size]`, loops in between.
      sums: for each group of parameters `[members, ..., 2, accumulators]`, of gradient and value.
      batch_is_finite: bool scalar.
      evaluations: how many are added up, int32 scalar; 0 in a report that nothing was
        measured for.
    """

    loss: Array
    sites: tuple[Array, ...]
    sums: tuple[Array, ...]
    batch_is_finite: Array
    evaluations: Array


class Parts(NamedTuple):
    """What a report's arrays are put together from.

    Attributes:
      loss, batch_is_finite: as in a report.
      sites: for each group the members' measurements.
      sums: for each group the members' sums of runs, of gradient and value; one array of all in a
        group of small parameters.
    """

    loss: Array
    sites: tuple[list[Any], ...]
    sums: tuple[Any, ...]
    batch_is_finite: Array


@dataclasses.dataclass(frozen=True)
class Layout:
    """Which measurements are taken, and which of them are stacked.

    Attributes:
      sites: where a program is measured.
      shapes: of each parameter, that of its stack and its own in it.
      site_groups, parameter_groups: which of them are stacked in each array of a report.
    """

    sites: tuple[Site, ...]
    shapes: tuple[tuple[Shape, Shape], ...]
    site_groups: tuple[tuple[int, ...], ...]
    parameter_groups: tuple[tuple[int, ...], ...]

    @classmethod
    def of(
        cls,
        sites: Sequence[Site],
        probes: Mapping[int, Any],
        shapes: Sequence[tuple[Shape, Shape]],
        parameters: Sequence[Any],
    ) -> "Layout":
        """The layout for these sites, with zeros of what is measured there, and parameters."""
        of_sites = _grouped(
            [
                (site.in_columns and site.shape, str(jax.tree.map(jnp.shape, probe)), site.dtype)
                for site, probe in zip(sites, probes.values(), strict=True)
            ]
        )
        of_parameters = _grouped(
            [
                (stack, own, jnp.dtype(p.dtype).name, str(jax.typeof(p).sharding.spec))
                for (stack, own), p in zip(shapes, parameters, strict=True)
            ]
        )
        return cls(tuple(sites), tuple(shapes), of_sites, of_parameters)

    def parts(
        self,
        loss: Array,
        found: Mapping[int, Any],
        gradients: Sequence[Array],
        parameters: Sequence[Array],
        batch: Sequence[Array],
    ) -> Parts:
        """Measures parameters and their gradients, beside what was found at the sites."""
        gradients = [_marked(PARAMETER, i, gradient) for i, gradient in enumerate(gradients)]
        return Parts(
            loss,
            tuple([_marked(SITE, i, found[i]) for i in group] for group in self.site_groups),
            tuple(
                self._sums([(gradients[i], parameters[i]) for i in group], group[0])
                for group in self.parameter_groups
            ),
            _all_finite(batch),
        )

    def measured(self, parts: Parts) -> Measured:
        """A report's arrays from parts of jax or, faster for many of them, of NumPy."""
        with np.errstate(over="ignore", invalid="ignore"):
            sites = [
                _together(self.sites[group[0]], members)
                for group, members in zip(self.site_groups, parts.sites, strict=True)
            ]
            sums = [_sums_together(members) for members in parts.sums]
        return Measured(
            jnp.asarray(parts.loss),
            tuple(map(jnp.asarray, sites)),
            tuple(map(jnp.asarray, sums)),
            jnp.asarray(parts.batch_is_finite),
            jnp.ones((), jnp.int32),
        )

    def _sums(self, pairs: Sequence[tuple[Array, Array]], first: int) -> Any:
        """Sums of squares of parameters of one shape and of their gradients."""
        stack = len(self.shapes[first][0])
        if pairs[0][1].size <= _SMALL:  # one operation for all of them
            together = jnp.stack([jnp.stack(pair) for pair in pairs])
            return _over(run_squares, stack + 2)(jnp.moveaxis(together, 1, stack + 1))
        return [
            (_over(run_squares, stack)(gradient), _over(plain_squares, stack)(parameter))
            for gradient, parameter in pairs
        ]


def _together(site: Site, members: Sequence[Any]) -> Any:
    """The measurements of sites of one shape."""
    stacked = jax.tree.map(lambda *parts: _namespace(parts[0]).stack(parts), *members)
    if site.in_columns:
        return joined(stacked, math.prod(site.shape))
    if isinstance(stacked, tuple):
        return _namespace(stacked[0]).stack(stacked, -2)
    return stacked


def _sums_together(members: Any) -> Any:
    """The sums of squares of parameters of one shape and of their gradients."""
    if not isinstance(members, list):
        return totals(members)
    gradients, parameters = zip(*members, strict=True)
    xp = _namespace(gradients[0])
    plain = over_runs(xp.stack(parameters))[..., None]
    none = xp.zeros((*plain.shape[:-1], ACCUMULATORS - 1), plain.dtype)
    return xp.stack([totals(xp.stack(gradients)), xp.concatenate([plain, none], -1)], -2)


def _namespace(array: Any) -> Any:
    return array.__array_namespace__()


def _marked(kind: str, index: int, value: Any) -> Any:
    return marked(value, Layer(str(index), kind), "output")


def _grouped(keys: Sequence[Any]) -> tuple[tuple[int, ...], ...]:
    groups: dict[Any, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key, []).append(index)
    return tuple(map(tuple, groups.values()))


def _over(function: Callable[[Array], Any], axes: int) -> Callable[[Array], Any]:
    for _ in range(axes):
        function = jax.vmap(function)
    return function


def _all_finite(arrays: Sequence[Array]) -> Array:
    floating = [x for x in arrays if jnp.issubdtype(x.dtype, jnp.inexact)]
    return jnp.all(jnp.array([jnp.all(jnp.isfinite(x)) for x in floating] or [True]))
