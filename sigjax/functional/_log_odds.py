"""The logit on an interval, and the logarithm of what the sigmoid onto it stretches."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

from ._differences import log_of_difference
from ._double_word import (
    DoubleWord,
    Scaled,
    difference,
    log1p,
    logistic_tail,
    power_of_two,
    product,
    rounded,
    times_power_of_two,
    two_sum,
)
from ._elementwise import Elementwise
from ._exponentials import magnitude, reduced_ratio, two_atanh_half
from ._interpolation import scaled_derivative
from ._precision import Kernel
from ._sigmoid import tanh_half
from ._undefined import defined_where


def _aligned(below: Scaled, above: Scaled) -> tuple[DoubleWord, DoubleWord, Array]:
    """Both with one exponent, the larger; far from the other a number may underflow to 0."""
    exponent = jnp.maximum(below.exponent, above.exponent)
    words = [
        DoubleWord(*(times_power_of_two(word, x.exponent - exponent) for word in (x.high, x.low)))
        for x in (below, above)
    ]
    return words[0], words[1], exponent


def _excess(below: DoubleWord, above: DoubleWord) -> Array:
    """below - above, which is 0 in the middle of the interval."""
    total, lost = two_sum(below.high, -above.high)
    return total + (lost + (below.low - above.low))


def _value(below: Scaled, above: Scaled) -> Array:
    b, a, _ = _aligned(below, above)
    centre = 2 * _excess(b, a) / ((b.high + a.high) + (b.low + a.low))
    z, k = reduced_ratio(below.high, above.high)
    lost = below.low / below.high - above.low / above.high
    k = k + below.exponent - above.exponent
    outer = two_atanh_half(z) + (lost + k.astype(z.dtype) * math.log(2))
    # Where one part is at most twice the other a logarithm of the quotient would cancel.
    inside = jnp.where(jnp.abs(centre) < 2 / 3, two_atanh_half(centre), outer)
    valid = (below.high > 0) & (above.high > 0)
    limits = (below.high == 0, -math.inf), (above.high == 0, math.inf)
    return defined_where(valid, inside, *limits)


def _nth_derivative(order: int, below: Scaled, above: Scaled) -> Array:
    r"""$(n-1)!\,(A^{-n} \pm B^{-n})$ as $(n-1)!\,(1 \pm r^n)/m^n$ with $r = m/M \le 1$.

    $A$ and $B$ are `above` and `below`, $m$ is the smaller of them and $M$ the larger. For even $n$
    it is a difference, negative if $B$ is the smaller, with $1 - r^n = (1 - r) \sum_k r^k$: nothing
    cancels in the middle.
    """
    b, a, _ = _aligned(below, above)
    is_below = b.high < a.high
    smaller, larger = jnp.where(is_below, b.high, a.high), jnp.where(is_below, a.high, b.high)
    ratio = smaller / larger
    if order % 2:
        total = 1 + ratio**order
    else:
        total = (_excess(b, a) / larger) * sum(ratio**k for k in range(order))
    total = total * math.factorial(order - 1)
    least = Scaled(*(jnp.where(is_below, *pair) for pair in zip(below, above, strict=True)))
    for _ in range(order):
        total = times_power_of_two(total / least.high, -least.exponent)
    return total


@functools.cache
def log_odds(order: int) -> Callable[..., Array]:
    r"""Returns the `order`-th derivative by $y$ of $\log(y - low) - \log(high - y)$.

    Returns:
      A differentiable function of `(y, low, high, low_rest, high_rest)`; the rests are what
      rounding took from the bounds.
    """
    sign = -((-1) ** order)

    @jax.custom_jvp
    def function(y: Array, low: Array, high: Array, low_rest: Array, high_rest: Array) -> Array:
        below, above = difference(y, low, -low_rest), difference(high, y, high_rest)
        return _nth_derivative(order, below, above) if order else _value(below, above)

    @function.defjvp
    def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
        (y, low, high, low_rest, high_rest), (dy, dlow, dhigh, _, _) = primals, tangents
        of_low = log_of_difference(order + 1)(y, low, -low_rest)
        of_high = sign * log_of_difference(order + 1)(high, y, high_rest)
        slope = log_odds(order + 1)(*primals) * dy - of_low * dlow + of_high * dhigh
        return function(*primals), slope

    return function


def _nth_derivative_of_tanh_half(order: int) -> Kernel:
    if order == 0:
        return tanh_half

    def kernel(x: Array) -> Array:
        slope = scaled_derivative(x, order)
        return rounded(slope._replace(exponent=slope.exponent + 1))

    return kernel


TANH_HALF = Elementwise("tanh_half", _nth_derivative_of_tanh_half)


def _log(x: Scaled) -> Array:
    r"""$\log x$ for positive normal numbers, with the relative accuracy of $x - 1$ next to 1."""
    info = jnp.finfo(x.high.dtype)
    integer = jnp.dtype(f"int{info.bits}")
    one = lax.bitcast_convert_type(jnp.ones_like(x.high), integer)
    bits = lax.bitcast_convert_type(x.high, integer)
    k = (bits - one + (1 << (info.nmant - 1))) >> info.nmant  # x.high / 2^k is in [3/4, 3/2)
    scale = power_of_two(-k, x.high)
    excess = DoubleWord(x.high * scale - 1, x.low * scale)
    return sum(log1p(excess)) + (k + x.exponent).astype(x.high.dtype) * math.log(2)


@jax.custom_jvp
def log_det(x: Array, low: Array, high: Array, low_rest: Array, high_rest: Array) -> Array:
    r"""$\log((high - low)\,\sigma'(x))$."""
    # One logarithm of one product: of three terms of either sign some digits would be lost.
    width = difference(high, low, high_rest - low_rest)
    a = magnitude(x)
    tail = logistic_tail(a)
    slope = product(DoubleWord(tail.far.high, tail.far.low), tail.near)
    stretch = product(slope, DoubleWord(width.high, width.low))
    near = _log(Scaled(*stretch, tail.far.exponent + width.exponent))
    usual = (width.high > 0) & jnp.isfinite(width.high)
    # Beyond a, the slope is e^-|x|.
    return jnp.where(usual, near, jnp.log(width.high)) - (jnp.abs(x) - a)


@log_det.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (x, low, high, low_rest, high_rest), (dx, dlow, dhigh, _, _) = primals, tangents
    of_width = log_of_difference(1)(high, low, high_rest - low_rest)
    return log_det(*primals), of_width * (dhigh - dlow) - TANH_HALF(x) * dx
