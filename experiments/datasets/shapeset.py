"""Shapeset-3x2: images of one or two shapes, drawn anew for every example.

Bengio's data for Glorot & Bengio 2010, section 2.1: 32 x 32 pixels, one or two of triangle,
parallelogram and ellipse with random position, size and pose, the one hiding at most half of the
other; nine classes, the three single shapes and the six pairs.
"""

import functools

import jax
import jax.numpy as jnp
from jax import Array

from .images import Batch

SIDE = 32
CLASSES = 9
SHAPES = ("triangle", "parallelogram", "ellipse")
# Half lengths of the shapes' axes and their distance from the centre, in half images.
_SIZES = (0.25, 0.6)
_REACH = 0.55
_HIDES = 2  # the overlap of two shapes may be 1/_HIDES of the smaller at most
# The second shape is redrawn up to so many times, until that is so; 1 in 3 drawings overlaps more.
_TRIES = 8


def _grid() -> tuple[Array, Array]:
    line = (jnp.arange(SIDE, dtype=jnp.float32) + 0.5) / SIDE * 2 - 1
    x, y = jnp.meshgrid(line, line)
    return x, y


def _shape(key: Array, kind: Array) -> Array:
    """Which pixels a random shape covers, `[32, 32]`."""
    sizes, turn, place, skew = jax.random.split(key, 4)
    a, b = jax.random.uniform(sizes, (2,), minval=_SIZES[0], maxval=_SIZES[1])
    angle = jax.random.uniform(turn, maxval=2 * jnp.pi)
    centre = jax.random.uniform(place, (2,), minval=-_REACH, maxval=_REACH)
    x, y = _grid()
    x, y = x - centre[0], y - centre[1]
    u = (jnp.cos(angle) * x + jnp.sin(angle) * y) / a
    v = (jnp.cos(angle) * y - jnp.sin(angle) * x) / b
    u = u + jax.random.uniform(skew, minval=-0.5, maxval=0.5) * v
    inside = jnp.stack(
        [
            (v > -0.6) & (v < 0.9 - 1.5 * jnp.abs(u)),
            (jnp.abs(u) < 0.75) & (jnp.abs(v) < 0.75),
            jnp.square(u) + jnp.square(v) < 0.8,
        ]
    )
    return inside[kind]


def _image(key: Array) -> tuple[Array, Array]:
    for_class, for_first, for_second, for_levels = jax.random.split(key, 4)
    label = jax.random.randint(for_class, (), 0, CLASSES)
    # Classes 0 to 2 are single shapes; 3 to 8 the pairs with first <= second.
    pairs = jnp.array([(0, 0), (1, 1), (2, 2), (0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)])
    first = _shape(for_first, pairs[label, 0])

    def hides_too_much(state: tuple[Array, Array]) -> Array:
        attempt, second = state
        covered = jnp.sum(first & second)
        smaller = jnp.minimum(jnp.sum(first), jnp.sum(second))
        return (covered * _HIDES > smaller) & (attempt < _TRIES)

    def redraw(state: tuple[Array, Array]) -> tuple[Array, Array]:
        attempt, _ = state
        return attempt + 1, _shape(jax.random.fold_in(for_second, attempt), pairs[label, 1])

    second = _shape(for_second, pairs[label, 1])
    _, second = jax.lax.while_loop(hides_too_much, redraw, (jnp.int32(0), second))
    second &= label >= len(SHAPES)
    levels = jax.random.uniform(for_levels, (3,), minval=0.0, maxval=1.0)
    background, bright, brighter = levels[0] * 0.3, 0.4 + levels[1] * 0.3, 0.7 + levels[2] * 0.3
    image = jnp.where(second, brighter, jnp.where(first, bright, background))
    return image, label


@functools.partial(jax.jit, static_argnums=1)
def shapes(key: Array, size: int) -> Batch:
    """`size` images as inputs `[size, 1024]` of mean near 0 and standard deviation near 1."""
    images, labels = jax.vmap(_image)(jax.random.split(key, size))
    # Mean and standard deviation of the pixels of 10,000 images.
    inputs = (images.reshape(size, SIDE * SIDE) - 0.23) / 0.217
    return Batch(inputs, labels.astype(jnp.int32))
