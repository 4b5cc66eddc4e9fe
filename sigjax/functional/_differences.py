"""Functions of a difference, which keep what its rounding takes."""

import functools
import math
from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax import Array, lax

from . import _log1mexp
from ._arithmetic import choose
from ._double_word import (
    DoubleWord,
    Scaled,
    difference,
    in_range,
    log,
    log1p,
    times_power_of_two,
    two_sum,
)
from ._exponentials import exp_in_two
from ._precision import Kernel

# What is known of a - b beside both: see `difference`.
Rest: TypeAlias = Array | None
DifferenceKernel: TypeAlias = Callable[[Array, Array, Rest], Array]


def of_difference(nth_kernel: Callable[[int], DifferenceKernel]) -> Callable[[int], Callable]:
    r"""Joins the closed forms of $f^{(n)}(a - b)$ into differentiable functions of $a$ and $b$.

    As `Elementwise` does for one variable: the derivative of $f^{(n)}$ is the kernel of
    $f^{(n+1)}$, evaluated at a and b themselves.

    Returns:
      Maps an order to a function of `(a, b, rest)`.
    """

    @functools.cache
    def nth_derivative(order: int) -> Callable[..., Array]:
        kernel = nth_kernel(order)

        @jax.custom_jvp
        def function(a: Array, b: Array, rest: Rest) -> Array:
            return kernel(a, b, rest)

        @function.defjvp
        def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
            da, db, _ = tangents
            return function(*primals), nth_derivative(order + 1)(*primals) * (da - db)

        return function

    return nth_derivative


def _put_back(nth_derivative: Callable[[int], Kernel], order: int, d: Array, rest: Array) -> Array:
    """$f^{(n)}(d + rest)$ by Taylor: a rounding error's square counts for nothing."""
    value = nth_derivative(order)(d)
    slope = nth_derivative(order + 1)(d)
    return jnp.where(rest == 0, value, value + rest * slope)  # a slope may be infinite


def plain_difference(a: Array, b: Array) -> DoubleWord:
    """a - b, and 0 where both are the same infinity, for functions that are flat next to 0."""
    d, lost = two_sum(a, lax.neg(b))
    return DoubleWord(choose(lax.eq(a, b), 0.0, d, a), choose(lax.is_finite(d), lost, 0.0, a))


def smooth(nth_derivative: Callable[[int], Kernel]) -> Callable[[int], DifferenceKernel]:
    """The kernels of a function that is no steeper next to 0 than elsewhere."""

    def nth_kernel(order: int) -> DifferenceKernel:
        def kernel(a: Array, b: Array, rest: Rest) -> Array:
            d, lost = plain_difference(a, b)
            return _put_back(nth_derivative, order, d, lost if rest is None else lost + rest)

        return kernel

    return nth_kernel


def nth_log(order: int, d: Scaled) -> Array:
    """The derivative of an order of the logarithm at d."""
    if order == 0:
        exponent = d.exponent.astype(d.high.dtype)
        of_low = jnp.where(d.low == 0, 0, d.low / d.high)
        return jnp.log(d.high) + (exponent * math.log(2) + of_low)
    inverse = 1 / d.high
    power = jnp.full_like(inverse, (-1) ** (order - 1) * math.factorial(order - 1))
    for _ in range(order):
        power = times_power_of_two(power * inverse, -d.exponent)
    return power


def _nth_log(order: int) -> DifferenceKernel:
    return lambda a, b, rest: nth_log(order, difference(a, b, rest))


def _next_to_0(d: Scaled, x: Array) -> Array:
    """Where log(1 - e^-d) is log d to rounding, for a difference d that may be subnormal.

    The bound is far below eps, yet not so low that above it the third derivative, by which
    `_put_back` corrects the second, would leave float32's range.
    """
    return (d.high >= 0) & (x < 2.0**-16 * float(jnp.finfo(x.dtype).eps))


def log1mexp_in_two(d: Scaled) -> DoubleWord:
    """log(1 - e^-d) to more than one word: a sum with it may cancel."""
    x, lost = in_range(d)
    t, rest = exp_in_two(-x)
    rest = rest - t * lost
    # Where it is used 1 - t is exact: t is more than 0.49.
    complement = two_sum(1 - t, -rest)
    tiny = _next_to_0(d, x)
    near = log(
        Scaled(
            jnp.where(tiny, d.high, complement.high),
            jnp.where(tiny, d.low, complement.low),
            jnp.where(tiny, d.exponent, 0),
        )
    )
    far = log1p(DoubleWord(-jnp.minimum(t, 0.5), -rest))
    is_far = x > 0.7
    high = jnp.where(is_far, far.high, near.high)
    return DoubleWord(high, jnp.where(is_far, far.low, near.low))


def _nth_log1mexp(order: int) -> DifferenceKernel:
    def kernel(a: Array, b: Array, rest: Rest) -> Array:
        d = difference(a, b, rest)
        if order == 0:
            high, low = log1mexp_in_two(d)
            return high + low
        x, lost = in_range(d)
        usual = _put_back(_log1mexp.nth_derivative, order, x, lost)
        return jnp.where(_next_to_0(d, x), nth_log(order, d), usual)

    return kernel


# log(a - b) and log(1 - e^(b - a)), by order of the derivative
log_of_difference = of_difference(_nth_log)
log1mexp_of_difference = of_difference(_nth_log1mexp)
