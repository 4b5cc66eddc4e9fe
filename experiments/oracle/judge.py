"""Holds computed values against the float64 truth."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from . import bounds
from .truth import TRUTHS
from .ulps import Errors, ulp_errors


class Worst(NamedTuple):
    """What is kept of the errors on a set of inputs.

    Attributes:
      ulp: the largest error, in ulp.
      worst_input: where it is.
      wrong: how many results are wrong whatever the ulp, see `Errors`.
    """

    ulp: float
    worst_input: float
    wrong: int


def _errors(x: Array, result: Array, name: str, order: int, dtype: str) -> Errors:
    """The errors, of inputs and results that are float64.

    XLA's CPU arithmetic takes a subnormal argument for 0. What is promised of one is the value
    where the truth is not NaN, and nothing of the derivatives.
    """
    least: Array | float = 0.0
    if dtype == "float32" and name == "silu" and order in bounds.SILU_ROOTS:
        near = jnp.abs(jnp.abs(x) - bounds.SILU_ROOTS[order]) < bounds.ROOT_REACH
        least = jnp.where(near, bounds.ROOT_LEAST, 0.0)
    truth = TRUTHS[name][order](x)
    found = ulp_errors(result, truth, dtype, least)
    flushed = (jnp.abs(x) < 2.0**-126) & (x != 0) & ((order > 0) | jnp.isnan(truth))
    return Errors(jnp.where(flushed, 0.0, found.ulp), found.wrong & ~flushed)


_fused_errors = jax.jit(_errors, static_argnums=(2, 3, 4))


def errors(
    name: str, order: int, x: np.ndarray, result: np.ndarray, *, fused: bool = False
) -> Errors:
    """Errors of `result`, of the dtype of `x`.

    Args:
      fused: compile a program for each function and order, which pays for many inputs only.
    """
    judge = _fused_errors if fused else _errors
    with np.errstate(invalid="ignore"), jax.enable_x64(True):  # some NaNs signal
        # Widened by NumPy: XLA would flush subnormal numbers.
        wide = jnp.asarray(x.astype(np.float64)), jnp.asarray(result.astype(np.float64))
        return Errors(*map(np.asarray, judge(*wide, name, order, x.dtype.name)))


def worst(x: np.ndarray, errors: Errors) -> Worst:
    """The largest of the errors."""
    where = int(np.argmax(errors.ulp))
    with np.errstate(invalid="ignore"):
        at = float(x[where])
    return Worst(float(errors.ulp[where]), at, int(np.count_nonzero(errors.wrong)))
