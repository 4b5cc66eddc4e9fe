"""Sums of squares that neither underflow nor overflow, and can be added up.

Three accumulators at fixed scales (J. L. Blue, "A Portable Fortran Program to Find the Euclidean
Norm of a Vector", ACM TOMS 4, 1978): most numbers are squared as they are; where such a sum leaves
the range in which it is exact, the numbers are scaled first, up or down, and have a sum of their
own. Being sums, they may be added to others: of calls, of time steps, of devices.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from .._jaxpr import is_spread

ACCUMULATORS = 3


class _Scales(NamedTuple):
    """Powers of two for one dtype.

    Attributes:
      low, high: between them a plain sum of squares is exact to rounding: no term that matters
        is subnormal, and none overflows.
      up, down: what numbers are multiplied by below `low` and above `high`.
    """

    low: int
    high: int
    up: int
    down: int


# float32: numbers from 2^-149 to 2^128. Scaled up by 2^100 the smallest has the square 2^-98, and a
# sum below 2^-80 stays below 2^120; scaled down by 2^-96 the largest has the square 2^64.
# float64: from 2^-1074 to 2^1024, in the same way.
_SCALES = {"float32": _Scales(-80, 120, 100, -96), "float64": _Scales(-900, 1000, 600, -600)}
# As many numbers are added one after another; the rounding errors of more would add up to 1e-6.
_RUN = 256


class Sums(NamedTuple):
    """Sums of squares of runs of numbers, `[..., runs]`.

    Attributes:
      plain: of the numbers as they are.
      scaled: of the numbers scaled, where the plain sum is out of its range.
    """

    plain: Array
    scaled: Array


@jax.jit
def plain_squares(x: Array) -> Array:
    """Sums of squares of each run for numbers of usual size, such as weights: no scaled ones."""
    return _sum_of_squares(_runs(x.astype(_wide(x))))


@jax.jit
def run_squares(x: Array) -> Sums:
    """Sums of squares of each run of numbers, plain, and scaled where that is needed.

    A plain sum that is out of its range has beside it the sum of the same numbers, scaled down if
    it is too large (or not finite) and up if it is too small. `totals` tells which from the plain
    one. It is compiled once for each shape, and one operation in the program that calls it.

    Args:
      x: floating array of any shape.

    Returns:
      `Sums`, float64 for float64, else float32. How many runs there are depends on the shape and
      sharding alone.
    """
    dtype = _wide(x)
    scales = _SCALES[dtype.name]
    runs = _runs(x.astype(dtype))
    plain = _sum_of_squares(runs)
    small, large = plain < 2.0**scales.low, plain > 2.0**scales.high
    usual = jnp.where(large, 2.0**scales.down, jnp.ones((), dtype))
    factors = jnp.where(small, jnp.asarray(2.0**scales.up, dtype), usual)
    factors = factors.reshape(factors.shape + (1,) * (runs.ndim - factors.ndim))
    # Of a product's square XLA makes the product of squares where one factor is constant, and these
    # overflow; the square of a maximum it leaves as it is. That maximum may lose a NaN, which the
    # plain sum has kept.
    sizes = lax.max(lax.abs(runs * factors), jnp.zeros((), dtype))
    return Sums(plain, _sum_of_squares(sizes))


def _sum_of_squares(runs: Array) -> Array:
    """Along the last axis if there are runs, else of the whole array."""
    if runs.ndim == 2:
        return jnp.sum(runs * runs, -1)
    sums = jnp.sum(runs * runs, -1) if runs.ndim else runs * runs
    return jnp.sum(sums)[None]


def totals(sums: Sums) -> Array:
    """The sum over all runs in three accumulators.

    Args:
      sums: what `run_squares` gave, with any axes before the runs.

    Returns:
      `[..., 3]`: plain, scaled down, scaled up. The second and third are 0 where no run is out of
      range. Where an element was infinite or NaN, so is the first or second, and only there.
    """
    plain, scaled = sums
    scales = _SCALES[plain.dtype.name]
    small, large = plain < 2.0**scales.low, plain > 2.0**scales.high
    parts = jnp.stack(
        [
            jnp.where(small | large, 0, plain),
            jnp.where(large, scaled, 0),
            jnp.where(small, scaled, 0),
        ],
        -2,
    )
    count = parts.shape[-1]
    run = _divisor(count)
    return jnp.sum(jnp.sum(parts.reshape(*parts.shape[:-1], count // run, run), -1), -1)


def squares(x: Array) -> Array:
    """The sum of squares in three accumulators, `[3]`; see `totals`."""
    return totals(run_squares(x))


def _wide(x: Array) -> jnp.dtype:
    return jnp.dtype(jnp.float64 if x.dtype == jnp.float64 else jnp.float32)


def _runs(x: Array) -> Array:
    """The array as runs, `[runs, numbers]`; one that is spread over a mesh stays as it is."""
    if is_spread(jax.typeof(x)):
        return x[None] if x.ndim == 2 else x
    run = _divisor(x.size)
    if x.size > _RUN > 8 * run:  # no divisor will do
        x = jnp.pad(x.reshape(-1), (0, -x.size % _RUN))
        run = _RUN
    return x.reshape(-1, run)


def _divisor(count: int) -> int:
    """The largest divisor that is no longer than a run."""
    return max((d for d in range(1, min(count, _RUN) + 1) if count % d == 0), default=1)


def log10_norm(sums: np.ndarray) -> np.ndarray:
    """log10 of the norm, from accumulators `[..., 3]`; -inf for zeros, inf or NaN where one is."""
    sums = np.asarray(sums)
    scales = _SCALES["float64" if sums.dtype == np.float64 else "float32"]
    with np.errstate(divide="ignore"):
        logs = np.log2(sums.astype(np.float64)) - 2.0 * np.array([0, scales.down, scales.up])
    highest = np.max(logs, axis=-1, keepdims=True)
    shift = np.where(np.isfinite(highest), highest, 0.0)
    with np.errstate(divide="ignore"):
        total = np.log2(np.sum(np.exp2(logs - shift), axis=-1)) + shift[..., 0]
    return np.asarray(total / 2 * np.log10(2.0))


def log10_norm_traced(sums: Array) -> Array:
    """`log10_norm` in JAX, for what is computed inside a traced function; float32 accuracy."""
    scales = _SCALES[sums.dtype.name]
    powers = jnp.array([0, scales.down, scales.up], sums.dtype)
    logs = jnp.log2(sums) - 2 * jnp.broadcast_to(powers, sums.shape)
    highest = jnp.max(logs, -1, keepdims=True)
    shift = jnp.where(jnp.isfinite(highest), highest, 0)
    total = jnp.log2(jnp.sum(jnp.exp2(logs - shift), -1)) + shift[..., 0]
    return total / 2 * math.log10(2.0)
