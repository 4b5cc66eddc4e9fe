"""Sums of squares that neither underflow nor overflow, and can be added up.

Three accumulators at fixed scales (J. L. Blue, "A Portable Fortran Program to Find the Euclidean
Norm of a Vector", ACM TOMS 4:15-23, 1978, doi 10.1145/355769.355771): most numbers are squared as
they are; where such a sum leaves the range in which it is exact, the sum of the same numbers scaled
up or down is taken. Being sums, they may be added to others: of calls, of time steps, of devices.
"""

import math
from typing import Any, NamedTuple

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


@jax.jit
def plain_squares(x: Array) -> Array:
    """Sums of squares of each run, `[runs]`, for numbers of usual size, such as weights."""
    runs = _runs(x.astype(_wide(x)))
    return _sums_along(runs * runs, 0)


@jax.jit
def run_squares(x: Array) -> Array:
    """Sums of squares of each run of numbers: as they are, scaled down, and scaled up.

    `totals` tells by the first whether it is in its range, or which of the others is to be taken.
    All three are made whatever the numbers are, by one operation on the array: scaling by what the
    first sum says would be a second one, which waits for the first and runs no sooner, and there
    would be more to compile. It is traced once for each shape.

    Args:
      x: floating array of any shape.

    Returns:
      `[3, runs]`, float64 for float64, else float32; a sum that is not to be taken may be infinite.
      How many runs there are depends on the shape and sharding alone.
    """
    dtype = _wide(x)
    scales = _SCALES[dtype.name]
    runs = _runs(x.astype(dtype))
    factors = jnp.array([1.0, 2.0**scales.down, 2.0**scales.up], dtype)
    # Of a product's square XLA makes the product of squares where one factor is known to be
    # constant, and these overflow. Behind a barrier it is not known.
    factors = lax.optimization_barrier(_with_sign_of(runs, factors))
    factors = factors.reshape(ACCUMULATORS, *(1,) * runs.ndim)
    scaled = runs[None] * factors
    return _sums_along(scaled * scaled, 1)


def _with_sign_of(x: Array, factors: Array) -> Array:
    """Factors whose sign depends on the array's first element, which squares do not see.

    So they are no constant that many arrays share: XLA would store such a constant at the size of
    its products. The factors of sharded arrays are as they were.
    """
    if not x.size or is_spread(jax.typeof(x)):
        return factors
    first = lax.slice(x, (0,) * x.ndim, (1,) * x.ndim).reshape(1)
    return jnp.where(first < 0, -factors, factors)


def _sums_along(squares: Array, first: int) -> Array:
    """Of runs along the last axis, `[..., runs]`; else of the axes from `first` on, `[..., 1]`."""
    if squares.ndim == first + 2:
        return jnp.sum(squares, -1)
    return jnp.sum(squares, tuple(range(first, squares.ndim)))[..., None]


def totals(sums: Any) -> Any:
    """The sum over all runs in three accumulators.

    Args:
      sums: `[..., 3, runs]`, what `run_squares` gave; of jax or NumPy, as the result then is.

    Returns:
      `[..., 3]`: plain, scaled down, scaled up. The second and third are 0 where no run is out of
      range. Where an element was infinite or NaN, so is the first or second, and only there.
    """
    plain, down, up = (sums[..., i, :] for i in range(ACCUMULATORS))
    xp = sums.__array_namespace__()
    scales = _SCALES[sums.dtype.name]
    small, large = plain < 2.0**scales.low, plain > 2.0**scales.high
    parts = [
        xp.where(small | large, 0, plain),
        xp.where(large, down, 0),
        xp.where(small, up, 0),
    ]
    return over_runs(xp.stack(parts, -2))


def over_runs(sums: Any) -> Any:
    """The sum along the last axis, `[...]`, a run of runs at a time; of jax or NumPy."""
    count = sums.shape[-1]
    run = _divisor(count)
    return sums.reshape(*sums.shape[:-1], count // run, run).sum(-1).sum(-1)


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
