"""An identity that measures what passes through it, forwards and backwards."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from ._norms import normalized

# A sum of squares is kept in the bin whose centre is nearest to its magnitude's power of two.
# Squares of all float32 numbers, 2^-298 to 2^256, then stay within 2^+-96 of a bin's centre and
# can be added up by whatever adds up gradients: calls, time steps, devices.
_CENTRES = np.array([-120, -72, -24, 24, 72, 120])
_BINS = len(_CENTRES)
_COUNTS = (
    "elements",
    "not_finite",
    "gates",
    "saturated",
    "units",
    "dead",
    "slopes",
    "slope_squares",
)
PROBE_SIZE = 2 * _BINS + len(_COUNTS)


class Statistics(NamedTuple):
    """What a tap measured, float64 on the host.

    Attributes:
      log10_gradient: log10 of the 2-norm of the gradient; -inf for a gradient of exact zeros.
      log10_signal: log10 of the 2-norm of the value.
      elements: how many the value has, over all calls.
      not_finite: how many elements of the value or its gradient are infinite or NaN.
      gates, saturated: outputs of bounded activations, and those within 1 % of a bound.
      units, dead: units behind a ReLU, and those that are 0 for the whole batch.
      slopes, slope_squares: activations whose slope is known, and the sum of its squares.
    """

    log10_gradient: np.ndarray
    log10_signal: np.ndarray
    elements: np.ndarray
    not_finite: np.ndarray
    gates: np.ndarray
    saturated: np.ndarray
    units: np.ndarray
    dead: np.ndarray
    slopes: np.ndarray
    slope_squares: np.ndarray


@jax.custom_vjp
def tap(x: Array, probe: Array) -> Array:
    r"""`x`, and, as the gradient with respect to `probe`, what there is to know of it.

    The gradient of the loss with respect to `probe` is no derivative but a vector of sums that
    `read` explains: squares of `x` and of the loss's gradient at `x`, kept apart by magnitude so
    that they do not underflow. Being sums, they survive everything that adds gradients up: a
    probe that is used at many steps of a loop reports all of them together, and one that is
    scanned over reports each step. Nothing of the size of `x` is stored.

    Args:
      x: floating array.
      probe: zeros, `[PROBE_SIZE]` float32.

    Returns:
      `x` itself.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> def loss(probe, x):
      ...     return jnp.sum(tap(x, probe) * 1e-30)
      >>> found = read(jax.grad(loss)(jnp.zeros(PROBE_SIZE), jnp.ones(4)))
      >>> print(f"{found.log10_gradient:.4f} {found.log10_signal:.4f}")
      -29.6990 0.3010
    """
    del probe
    return x


def _forwards(x: Array, probe: Array) -> tuple[Array, tuple[Array, Array]]:
    del probe
    return x, (binned_squares(x), _count(~jnp.isfinite(x)))


def _backwards(residuals: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    squares, not_finite = residuals
    not_finite += _count(~jnp.isfinite(gradient))
    counts = counted(elements=float(gradient.size), not_finite=not_finite)
    return gradient, jnp.concatenate([binned_squares(gradient), squares, counts])


tap.defvjp(_forwards, _backwards)


@jax.custom_vjp
def record(x: Array, probe: Array, statistics: Array) -> Array:
    """`x`, and, as the gradient with respect to `probe`, `statistics`."""
    del probe, statistics
    return x


record.defvjp(
    lambda x, probe, statistics: (x, statistics),
    lambda statistics, gradient: (gradient, statistics, jnp.zeros_like(statistics)),
)


def counted(**counts: ArrayLike) -> Array:
    """The part of a probe that counts."""
    values = [jnp.asarray(counts.get(name, 0.0), jnp.float32) for name in _COUNTS]
    return jnp.stack(values)


def only_counted(**counts: ArrayLike) -> Array:
    """A whole probe that does nothing but count."""
    return jnp.concatenate([jnp.zeros(2 * _BINS, jnp.float32), counted(**counts)])


def binned_squares(x: Array) -> Array:
    """The sum of squares, in the bin of its magnitude."""
    wide = x if x.dtype == jnp.float64 else x.astype(jnp.float32)
    mantissa, exponent = normalized(wide)
    # Behind the barrier XLA cannot multiply x with x and scale with scale, as it does when both
    # are constants: the one underflows, the other overflows.
    squares = jnp.square(lax.optimization_barrier(mantissa))
    # Sums of rows first: one long sum of float32 numbers would be right to 1e-5 only.
    total = jnp.sum(jnp.sum(squares, -1) if x.ndim else squares).astype(jnp.float32)
    centres = jnp.asarray(_CENTRES, jnp.int32)
    nearest = jnp.argmin(jnp.abs(exponent - centres))
    scaled = jnp.ldexp(total, 2 * (exponent - centres[nearest]))
    return jnp.where(jnp.arange(_BINS) == nearest, scaled, 0.0)


def _count(where: Array) -> Array:
    return jnp.sum(where.astype(jnp.float32))


def read(probe: ArrayLike) -> Statistics:
    """What the gradient with respect to a probe, `[..., PROBE_SIZE]`, says."""
    values = np.asarray(probe, np.float64)
    gradient, signal, counts = np.split(values, [_BINS, 2 * _BINS], axis=-1)
    return Statistics(
        log10_norm(gradient), log10_norm(signal), *map(np.asarray, np.moveaxis(counts, -1, 0))
    )


def log10_norm(bins: np.ndarray) -> np.ndarray:
    """log10 of the root of binned squares, `[..., bins]`; -inf where all are 0."""
    bins = np.asarray(bins, np.float64)
    with np.errstate(divide="ignore"):
        logs = np.log2(bins) + 2.0 * _CENTRES
    highest = np.max(logs, axis=-1, keepdims=True)
    finite = np.where(np.isfinite(highest), highest, 0.0)
    with np.errstate(divide="ignore"):
        total = np.log2(np.sum(np.exp2(logs - finite), axis=-1)) + finite[..., 0]
    return np.asarray(total / 2 * np.log10(2.0))
