"""A value between two others, with the sigmoid as its weight."""

import functools
import math
from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax import Array

from . import _sigmoid
from ._double_word import (
    DoubleWord,
    Scaled,
    difference,
    is_small,
    logistic_tail,
    power_of_two,
    product,
    raised,
    raising,
    rounded,
    times_power_of_two,
    two_sum,
)
from ._exponentials import exp_parts_in_two, horner
from ._sigmoid import SIGMOID, SIGMOID_DERIVATIVE

# What rounding took from the two ends; see `_bounds`.
Rests: TypeAlias = tuple[Array, Array]


_HEADROOM = 32


def _cut(x: Array) -> Array:
    """|x|, cut where e^-|x| times the largest number is less than the smallest."""
    info = jnp.finfo(x.dtype)
    limit = math.log(2) * float(info.maxexp - info.minexp + info.nmant)
    return jnp.minimum(jnp.abs(x), limit)


def _value(x: Array, on: Array, off: Array, rests: Rests) -> Array:
    # It starts from the nearer end, with a weight of 1/2 or less: rounding is monotone, so that
    # no result lies outside the two, and each end is reached exactly.
    up = x > 0
    near, far = jnp.where(up, on, off), jnp.where(up, off, on)
    near_rest, far_rest = jnp.where(up, *rests), jnp.where(up, *rests[::-1])
    width = difference(far, near, far_rest - near_rest)
    weight = logistic_tail(_cut(x)).far
    step = product(DoubleWord(width.high, width.low), DoubleWord(weight.high, weight.low))
    exponent = width.exponent + weight.exponent
    small = is_small(near) & is_small(times_power_of_two(step.high, exponent))
    by = jnp.where(small, raising(x), 0)
    high, low = (times_power_of_two(word, exponent + by) for word in step)
    total, lost = two_sum(jnp.where(small, raised(near), near), high)
    rest = jnp.where(small, 0, near_rest)  # of so small an end half an ulp at most is left out
    between = times_power_of_two(total + (lost + (rest + low)), -by)
    finite = jnp.isfinite(on) & jnp.isfinite(off)
    weight_of = _sigmoid.nth_derivative(0)
    return jnp.where(finite, between, weight_of(x) * on + weight_of(-x) * off)


def scaled_derivative(x: Array, order: int) -> Scaled:
    """The sigmoid's derivative of an order of at least 1, in whatever range."""
    a = _cut(x)
    n, s, _ = exp_parts_in_two(a)
    power = power_of_two(-n, x)
    t = power * (1 + s)
    if order == 2:
        # It vanishes with x, and is raised there before it may become subnormal.
        by = jnp.where(a < 2.0**-_HEADROOM, _HEADROOM, 0)
        n = n + by
        complement = ((1 - power) - power * s) * power_of_two(by, x)
        signed = jnp.where(x < 0, complement, -complement)
        high = (signed + signed * s) / (1 + t * (3 + t * (3 + t)))
    else:
        high = (1 + s) / (1 + t * (2 + t))
        if order > 2:
            polynomial = _sigmoid.derivative_polynomial(order)[::-1]
            high = high * horner(polynomial, _sigmoid.tanh_half(x))
    return Scaled(high, jnp.zeros_like(high), -n)


@functools.cache
def interpolation(order: int) -> Callable[..., Array]:
    r"""Returns the `order`-th derivative by $x$ of $\sigma(x)\,on + \sigma(-x)\,off$.

    That is $(on - off)\,\sigma^{(n)}(x)$: the ends are subtracted before they are multiplied, and
    the product is normal wherever it is a normal number, however small or large its factors.

    Returns:
      A differentiable function of `(x, on, off, rests)`.
    """

    @jax.custom_jvp
    def function(x: Array, on: Array, off: Array, rests: Rests) -> Array:
        if order == 0:
            return _value(x, on, off, rests)
        width = difference(on, off, rests[0] - rests[1])
        slope = scaled_derivative(x, order)
        return rounded(Scaled(width.high * slope.high, slope.low, width.exponent + slope.exponent))

    @function.defjvp
    def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
        (x, _, _, _), (dx, don, doff, _) = primals, tangents
        if order == 0:
            of_ends = SIGMOID(x) * don + SIGMOID(-x) * doff
        else:
            of_ends = SIGMOID_DERIVATIVE(x, order=order) * (don - doff)
        return function(*primals), interpolation(order + 1)(*primals) * dx + of_ends

    return function
