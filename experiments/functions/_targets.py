"""Functions for sums of sigmoids to approximate."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array


class Target(NamedTuple):
    """A function on a ball around 0.

    Attributes:
      function: of points `[..., dimensions]`.
      dimensions: 1 or 2.
      radius: of the ball, on which points are uniform.
    """

    function: Callable[[Array], Array]
    dimensions: int
    radius: float


def _gaussian(x: Array) -> Array:
    return jnp.exp(-jnp.sum(x * x, axis=-1) / 2)


TARGETS = {
    "cos 2x": Target(lambda x: jnp.cos(2 * x[..., 0]), 1, 1.0),
    "cos 6x": Target(lambda x: jnp.cos(6 * x[..., 0]), 1, 1.0),
    "Gaussian, 1-D": Target(_gaussian, 1, 3.0),
    "Gaussian, 2-D": Target(_gaussian, 2, 3.0),
}


def on_line(x: Array) -> Array:
    """Points of the plane `[points, 2]`: all targets are of it, so that they share a program."""
    return jnp.stack([x, jnp.zeros_like(x)], axis=-1)


def in_ball(key: Array, points: int, target: Target) -> Array:
    """Points `[points, 2]`: a grid on the line, uniform draws in the disc."""
    if target.dimensions == 1:
        return on_line(target.radius * jnp.linspace(-1.0, 1.0, points))
    for_angle, for_radius = jax.random.split(key)
    angle = 2 * jnp.pi * jax.random.uniform(for_angle, (points,))
    radius = target.radius * jnp.sqrt(jax.random.uniform(for_radius, (points,)))
    return radius[:, None] * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)
