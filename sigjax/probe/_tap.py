"""An identity that measures what passes through it, forwards and backwards."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ._sums import ACCUMULATORS, log10_norm, run_squares, squares, totals

_COUNTS = 3
PROBE_SIZE = 2 * ACCUMULATORS + _COUNTS


class Statistics(NamedTuple):
    """What a tap measured, on the host.

    Attributes:
      log10_gradient: log10 of the 2-norm of the gradient; -inf for a gradient of exact zeros.
      log10_signal: log10 of the 2-norm of the value.
      elements: how many the value has, over all calls.
      finite_gradient, finite_signal: whether all elements are.
      nonzero, subnormal: how many elements of a float16 gradient are not 0, and how many of those
        are below its smallest normal number; 0 for other dtypes.
    """

    log10_gradient: np.ndarray
    log10_signal: np.ndarray
    elements: np.ndarray
    finite_gradient: np.ndarray
    finite_signal: np.ndarray
    nonzero: np.ndarray
    subnormal: np.ndarray


@jax.custom_vjp
def tap(x: Array, probe: Array) -> Array:
    r"""`x`, and, as the gradient with respect to `probe`, what there is to know of it.

    The gradient of the loss with respect to `probe` is no derivative but a vector of sums that
    `read` explains: squares of `x` and of the loss's gradient at `x`, kept apart by magnitude so
    that they neither underflow nor overflow. Being sums, they survive everything that adds
    gradients up: a probe that is used at many steps of a loop reports all of them together, and
    one that is scanned over reports each step. Nothing of the size of `x` is stored.

    Args:
      x: floating array.
      probe: zeros, `[PROBE_SIZE]`, float64 for a float64 `x`, else float32.

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


def _forwards(x: Array, probe: Array) -> tuple[Array, Array]:
    del probe
    return x, squares(x)


def _backwards(signal: Array, gradient: Array) -> tuple[Array, Array]:
    size = jnp.full(1, gradient.size, signal.dtype)
    counts = _small(gradient) if gradient.dtype == jnp.float16 else jnp.zeros(2)
    return gradient, jnp.concatenate([squares(gradient), signal, size, counts.astype(size.dtype)])


tap.defvjp(_forwards, _backwards)


class Columns(NamedTuple):
    """What a tap measures where it need not be added up at once.

    Attributes:
      gradient, signal: sums of `run_squares`.
      counts: of float16 how many elements of the gradient are not 0, and how many of those are
        subnormal; else None.
    """

    gradient: Any
    signal: Any
    counts: Any


def empty_columns(x: jax.ShapeDtypeStruct) -> Columns:
    """Zeros, for a value of this shape and dtype."""
    sums = jax.eval_shape(run_squares, x)
    zeros = jnp.zeros(sums.shape, sums.dtype)
    return Columns(zeros, zeros, jnp.zeros(2) if x.dtype == jnp.float16 else None)


@jax.custom_vjp
def tap_columns(x: Array, probe: Columns) -> Array:
    """`tap`, with less work in the program: sums of columns are left for `joined`."""
    del probe
    return x


def _columns_backwards(signal: Array, gradient: Array) -> tuple[Array, Columns]:
    counts = _small(gradient) if gradient.dtype == jnp.float16 else None
    return gradient, Columns(run_squares(gradient), signal, counts)


tap_columns.defvjp(lambda x, probe: (x, run_squares(x)), _columns_backwards)


def joined(columns: Columns, size: int) -> Any:
    """What `tap` would have measured, `[..., PROBE_SIZE]`, of stacked columns of jax or NumPy."""
    gradient, signal = totals(columns.gradient), totals(columns.signal)
    xp = gradient.__array_namespace__()
    shape = gradient.shape[:-1]
    counts = xp.zeros((*shape, 2)) if columns.counts is None else columns.counts
    sizes = xp.full((*shape, 1), size, gradient.dtype)
    return xp.concatenate([gradient, signal, sizes, counts.astype(gradient.dtype)], -1)


def _small(gradient: Array) -> Array:
    """How many elements are not 0, and how many of those are subnormal; of float16."""
    size = jnp.abs(gradient)
    some, small = size > 0, (size > 0) & (size < jnp.finfo(jnp.float16).smallest_normal)
    return jnp.stack([jnp.sum(where.astype(jnp.float32)) for where in (some, small)])


@jax.custom_vjp
def record(x: Array, probe: Any, statistics: Any) -> Array:
    """`x`, and, as the gradient with respect to `probe`, `statistics`."""
    del probe, statistics
    return x


record.defvjp(
    lambda x, probe, statistics: (x, statistics),
    lambda statistics, gradient: (
        gradient,
        statistics,
        jax.tree.map(jnp.zeros_like, statistics),
    ),
)


def read(probe: ArrayLike) -> Statistics:
    """What the gradient with respect to a probe says.

    Args:
      probe: `[..., PROBE_SIZE]`, the gradient by a probe that was given to `tap`.

    Returns:
      `Statistics` of arrays `[...]`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> gradient = jax.grad(lambda probe: jnp.sum(tap(jnp.ones(9), probe)))(jnp.zeros(PROBE_SIZE))
      >>> print(f"{10 ** read(gradient).log10_gradient:.0f}")  # the norm of nine ones
      3
    """
    values = np.asarray(probe)
    gradient, signal, counts = np.split(values, [ACCUMULATORS, 2 * ACCUMULATORS], axis=-1)
    elements, nonzero, subnormal = np.moveaxis(counts.astype(np.float64), -1, 0)
    return Statistics(
        log10_gradient=log10_norm(gradient),
        log10_signal=log10_norm(signal),
        elements=elements,
        finite_gradient=np.isfinite(gradient).all(-1),
        finite_signal=np.isfinite(signal).all(-1),
        nonzero=nonzero,
        subnormal=subnormal,
    )
