"""The size of each unknown, when nobody says it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ._linearised import Residual

# Rounds of Ruiz's equilibration, each of which halves the logarithms of rows and columns.
_ROUNDS = 6
# A component this much smaller than how far it goes between the bounds counts as passing through 0:
# below, it may be rounding of float32.
_SMALL = 1e-5
# Roundings of a singular vector, as a multiple of eps.
_ROUNDINGS = 64


class Outlook(NamedTuple):
    """What the derivatives at the start say of the branch.

    Attributes:
      tangent: `[variables + 1]`, of the null space of $[F_x\\ F_p]$; of no particular length.
      scale: `[variables + 1]`, by default; 0 where nothing tells it.
      crossing: whether the null space has more dimensions: branches cross at the start.
    """

    tangent: Array
    scale: Array
    crossing: Array


def outlook(residual: Residual, point: Array, low: Array, high: Array) -> Outlook:
    r"""The tangent, and the size of each unknown.

    The size of a component is its absolute value. A component that passes through 0 has instead the
    distance that it goes while the parameter changes by the parameter's size. That in turn is the
    larger of the parameter's absolute value and how far the parameter goes while another component
    changes by its own size; it is at most the distance of the bounds, and that distance where no
    component tells more. All this is to second order, so that there is a size at a fold too:
    $z(s) = z_0 + s v + \frac{s^2}{2} w$ with $A v = 0$ and $A w = -F''[v, v]$
    for $A = [F_x\ F_p]$. Rows and columns of $A$ are brought to one size first (Ruiz 2001,
    RAL-TR-2001-034), so that the result is the same in any units.
    """

    def value(point: Array) -> Array:
        return residual(point[:-1], point[-1]).astype(point.dtype)

    slopes = jax.jacfwd(value)(point)
    rows, columns = _equilibrate(slopes)
    matrix = rows[:, None] * slopes * columns[None]
    left, sizes, directions = jnp.linalg.svd(matrix, full_matrices=True)
    noise = float(_ROUNDINGS * jnp.finfo(point.dtype).eps)
    crossing = sizes[-1] <= noise * sizes[0]

    null = _without_noise(directions[-1], noise)
    tangent = columns * null

    def along(point: Array) -> Array:
        return jax.jvp(value, (point,), (tangent,))[1]

    curvature = rows * jax.jvp(along, (point,), (tangent,))[1]
    # The least w, by the pseudoinverse.
    parts = left.T @ curvature
    parts = jnp.where(sizes > noise * sizes[0], parts / jnp.where(sizes > 0, sizes, 1), 0)
    bend = columns * _without_noise(-parts @ directions[:-1], noise)

    # The parameter as a function of each component: it changes by a |x| + c x^2 / 2.
    still = tangent[:-1] == 0
    speed = jnp.where(still, 1, tangent[:-1])
    slope = jnp.abs(tangent[-1] / speed)
    curvature = jnp.abs(bend[-1] - bend[:-1] * tangent[-1] / speed) / speed**2

    def reach(width: Array) -> Array:
        """How far each component goes while the parameter changes by a width."""
        s = _root(jnp.abs(tangent[-1]), jnp.abs(bend[-1]), width)
        return jnp.where(still, jnp.abs(bend[:-1]) * s**2 / 2, _root(slope, curvature, width))

    state, width = jnp.abs(point[:-1]), high - low
    limited = jnp.isfinite(width)
    width = jnp.where(limited, width, 0)
    passes_zero = state <= jnp.where(limited, _SMALL * reach(width), 0)
    # The parameter's own size, and how far it goes while a component changes by its size.
    own = jnp.where(still | passes_zero, 0, slope * state + curvature * state**2 / 2)
    own, now = jnp.max(own), jnp.abs(point[-1])
    parameter = jnp.where(own > 0, jnp.maximum(own, now), jnp.where(limited, width, now))
    parameter = jnp.where(limited, jnp.minimum(parameter, width), parameter)
    state = jnp.where(passes_zero, reach(parameter), state)
    return Outlook(tangent, jnp.append(state, parameter), crossing)


def _root(slope: Array, curvature: Array, height: Array) -> Array:
    """The s >= 0 at which slope s + curvature s^2 / 2 is a height; 0 where it never is."""
    divisor = slope + jnp.sqrt(slope**2 + 2 * curvature * height)
    return jnp.where(divisor > 0, 2 * height / jnp.where(divisor > 0, divisor, 1), 0)


def _without_noise(vector: Array, noise: float) -> Array:
    return jnp.where(jnp.abs(vector) > noise * jnp.max(jnp.abs(vector)), vector, 0)


def _equilibrate(matrix: Array) -> tuple[Array, Array]:
    """Factors of rows and columns that bring the largest of each near 1."""

    def root_of_largest(values: Array, axis: int) -> Array:
        largest = jnp.max(jnp.abs(values), axis=axis)
        return jnp.sqrt(jnp.where(largest > 0, largest, 1))

    def once(_: Array | int, factors: tuple[Array, Array]) -> tuple[Array, Array]:
        rows, columns = factors
        balanced = rows[:, None] * matrix * columns[None]
        return rows / root_of_largest(balanced, 1), columns / root_of_largest(balanced, 0)

    ones = jnp.ones_like(matrix[:, 0]), jnp.ones_like(matrix[0])
    return lax.fori_loop(0, _ROUNDS, once, ones)
