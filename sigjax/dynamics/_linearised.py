"""A system of equations near a point, in units of its own."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

Residual = Callable[[Array, Array], Array]

# Roundings that a residual may hold, each of eps times a slope times the size of its unknown. A
# sigmoid and a few sums make 2 to 5; another 10 are room for sums over 50 states.
_ROUNDINGS = 64


class Linearised(NamedTuple):
    """Each unknown is counted in its unit, each equation in its steepest slope.

    So nothing depends on what state, parameter and residual are measured in.

    Attributes:
      value: `[variables]`.
      matrix: `[variables, variables + 1]`, of derivatives; the largest of each row is 1.
      tolerance: `[variables]`, of the value: what rounding of the unknowns alone can make of it.
      unit: `[variables]`, by which value and tolerance are in the residual's own units.
    """

    value: Array
    matrix: Array
    tolerance: Array
    unit: Array

    def excess(self) -> Array:
        """The largest value, in its tolerance: at most 1 at a solution."""
        smallest = jnp.finfo(self.value.dtype).tiny
        return jnp.max(jnp.abs(self.value) / jnp.maximum(self.tolerance, smallest))


def metric(scale: Array) -> Array:
    """The units `[variables + 1]` in which lengths are measured, from the size of each component.

    A length is the root of the mean square over the state and the square of the parameter, so that
    steps do not become shorter with more variables.
    """
    variables = len(scale) - 1
    return scale * jnp.full_like(scale, variables**0.5).at[-1].set(1)


def deviation(residual: Residual, point: Array, tolerance: Array) -> Array:
    """About how far beyond its tolerance a point near a branch is from it."""
    value = residual(point[:-1], point[-1]).astype(point.dtype)
    eps = jnp.finfo(point.dtype).eps
    smallest = jnp.finfo(point.dtype).tiny
    excess = jnp.max(jnp.abs(value) / jnp.maximum(tolerance, smallest))
    return _ROUNDINGS * eps * (excess - 1)


def linearise(residual: Residual, point: Array, scale: Array) -> Linearised:
    """The residual's value and derivatives at a point `[variables + 1]`, the parameter last."""
    units = metric(scale)

    def value_twice(point: Array) -> tuple[Array, Array]:
        value = residual(point[:-1], point[-1]).astype(point.dtype)
        return value, value

    slopes, value = jax.jacfwd(value_twice, has_aux=True)(point)
    matrix = slopes * units[None]
    unit = jnp.max(jnp.abs(matrix), axis=1)
    # An equation without any slope, as at some crossings of branches, keeps its unit.
    unit = jnp.where(unit > 0, unit, 1)
    matrix = matrix / unit[:, None]
    size = jnp.maximum(scale, jnp.abs(point)) / units
    eps = jnp.finfo(point.dtype).eps
    return Linearised(value / unit, matrix, _ROUNDINGS * eps * (jnp.abs(matrix) @ size), unit)
