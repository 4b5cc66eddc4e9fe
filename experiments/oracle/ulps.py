"""Errors in units in the last place."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import ml_dtypes
import numpy as np
from jax import Array

# bits of precision, exponents of the smallest normal and of the largest number (IEEE 754)
FORMATS = {"bfloat16": (8, -126, 127), "float16": (11, -14, 15), "float32": (24, -126, 127)}


class Errors(NamedTuple):
    """What one function does on a set of inputs.

    Attributes:
      ulp: error of each result, in ulp of the truth; 0 where the truth is no normal number or the
        result is not finite.
      wrong: where the truth is a normal number and the result 0, infinite or NaN; where the truth
        is 0 or subnormal and the result is NaN or larger than the smallest normal number by more
        than 8 ulp; where the truth is NaN and the result is not; where the truth rounds to infinity
        and the result is NaN, smaller than the largest number or of the other sign.
    """

    ulp: Any
    wrong: Any


def ulp_errors(result: Array, truth: Array, dtype: str, least: Array | float = 0.0) -> Errors:
    """Compares float64 `result`s, which are numbers of `dtype`, with float64 `truth`s.

    The ulp of a truth in $[2^e, 2^{e+1})$ is $2^{e+1-p}$; no truth is given the ulp of a
    number smaller than `least` (the mixed bound near a root).
    """
    precision, smallest, highest = FORMATS[dtype]
    size = jnp.abs(truth)
    largest = (2.0 - 2.0 ** (1 - precision)) * 2.0**highest
    overflow = size >= largest + 2.0 ** (highest - precision)  # rounds to infinity
    normal = (size >= 2.0**smallest) & ~overflow
    _, exponent = jnp.frexp(jnp.maximum(size, least))
    unit = jnp.ldexp(jnp.ones_like(truth), exponent - precision)
    broken = ~jnp.isfinite(result)
    ulp = jnp.where(normal & ~broken, jnp.abs(result - truth) / unit, 0.0)
    wrong_normal = normal & (broken | ((result == 0) & (size >= least)))
    # XLA's CPU arithmetic takes a subnormal number for 0, so its size is all that is asked.
    beyond = (1 + 8 * 2.0 ** (1 - precision)) * 2.0**smallest
    wrong_small = (size < 2.0**smallest) & ~(jnp.abs(result) <= beyond)
    wrong_nan = jnp.isnan(truth) & ~jnp.isnan(result)
    wrong_infinite = overflow & ~(result * jnp.sign(truth) >= largest)
    return Errors(ulp, wrong_normal | wrong_small | wrong_nan | wrong_infinite)


def every_16_bit_number(dtype: str) -> np.ndarray:
    """All 65,536 bit patterns of float16 or bfloat16."""
    kind = np.float16 if dtype == "float16" else ml_dtypes.bfloat16
    return np.arange(2**16, dtype=np.uint16).view(kind)


def float32_numbers(start: int, count: int, stride: int) -> np.ndarray:
    """The float32 numbers whose bits are start, start + stride, ..."""
    stop = min(start + stride * count, 2**32)
    return np.arange(start, stop, stride, dtype=np.int64).astype(np.uint32).view(np.float32)
