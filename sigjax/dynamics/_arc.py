"""A piece of a branch between two of its points."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array


class Arc(NamedTuple):
    """Hermite's cubic through two points with their tangents, for s from 0 to 1.

    All in units of the scale; the error is of fourth order in the length.

    Attributes:
      start: `[variables + 1]`, as are all but the length.
      first: the derivative by s at 0.
      quadratic: the coefficient of s^2.
      cubic: the coefficient of s^3.
      length: along the arc.
    """

    start: Array
    first: Array
    quadratic: Array
    cubic: Array
    length: Array

    def at(self, s: Array) -> Array:
        """The point."""
        return self.start + s * (self.first + s * (self.quadratic + s * self.cubic))

    def slope(self, s: Array) -> Array:
        """The derivative by s."""
        return self.first + s * (2 * self.quadratic + 3 * s * self.cubic)

    def lowest_slope(self) -> tuple[Array, Array]:
        """Where the derivative of the last coordinate has its extremum, and what it is there."""
        s = _ratio(-self.quadratic[-1], 3 * self.cubic[-1])
        return s, self.slope(s)[-1]

    def turn(self) -> Array:
        """Where the derivative of the last coordinate changes its sign; 1 where it does not."""
        first, quadratic, cubic = (x[-1] for x in (self.first, self.quadratic, self.cubic))
        # A root of first + 2 quadratic s + 3 cubic s^2, in the form that does not cancel.
        root = jnp.sqrt(jnp.maximum(quadratic**2 - 3 * cubic * first, 0))
        q = -(quadratic + jnp.where(quadratic < 0, -root, root))
        one, other = _ratio(first, q), _ratio(q, 3 * cubic)
        s = jnp.where((one >= 0) & (one <= 1), one, other)
        turns = first * self.slope(jnp.ones_like(s))[-1] < 0
        return jnp.where(turns, jnp.clip(s, 0, 1), 1)

    def crossing(self, value: Array, end: Array) -> Array:
        """About where the last coordinate takes a value before `end`, where it may turn."""
        share = _ratio(value - self.start[-1], self.at(end)[-1] - self.start[-1])
        share = jnp.clip(share, 0, 1)
        return end * jnp.where(end < 1, 1 - jnp.sqrt(1 - share), share)


def _ratio(a: Array, b: Array) -> Array:
    return a / jnp.where(b == 0, 1, b)


def arc(start: Array, end: Array, first: Array, last: Array) -> Arc:
    """From two points and their unit tangents, all in units of the scale."""
    chord = end - start
    # A circle's arc of angle a is 1 + a^2 / 24 of its chord, and a^2 is 2 (1 - cos a).
    length = jnp.linalg.norm(chord) * (1 + (1 - first @ last) / 12)
    first, last = first * length, last * length
    return Arc(start, first, 3 * chord - 2 * first - last, first - 2 * chord + last, length)
