"""The exponential that every loss here is made of."""

import functools
import math
from functools import cached_property

import jax.numpy as jnp
from jax import Array, lax

from ..functional._arithmetic import (
    add,
    choose,
    divide,
    less,
    maximum,
    minimum,
    multiply,
    subtract,
)
from ..functional._exponentials import (
    _format,
    _power_of_two,
    exp_parts_in_two,
    horner,
    log1p_unit,
)

# e^-60 = 9e-27 is a normal number in float32 and float64, and 1 + e^-60 is 1 in both.
_FAR = 60.0


class Tail:
    r"""$t = e^{-a}$ for $a \ge 0$, and functions of it times weights.

    A weight may be as large as $t$ is small: $t = 2^{-n}(1 + s)$ multiplies it by half of the
    power first, so that a product is normal whenever it can be, and is rounded once. What no
    one asks for is not traced.

    Args:
      a: distance from the decision's boundary, not negative.
      rest: what rounding took from `a`; None for nothing.
    """

    def __init__(self, a: Array, rest: Array | None = None):
        self.a = a
        self._rest_of_a = rest
        self._bias = _format(a).bias

    @cached_property
    def _parts(self) -> tuple[Array, Array, Array]:
        """n, s and what rounding took from s."""
        # From here on both halves of the power are 0, as an exponent of 0 is written.
        n, s, lost = exp_parts_in_two(minimum(self.a, 2 * self._bias * math.log(2)))
        if self._rest_of_a is not None:
            lost = subtract(lost, multiply(self._rest_of_a, add(1.0, s)))
        both = add(s, lost)
        return n, both, add(subtract(s, both), lost)

    @cached_property
    def _power(self) -> Array:
        n, _, _ = self._parts
        return _power_of_two(maximum(subtract(self._bias, n), 0), self.a.dtype)

    @cached_property
    def _halves(self) -> tuple[Array, Array]:
        n, _, _ = self._parts
        half = n >> 1
        first, second = (subtract(self._bias, part) for part in (half, subtract(n, half)))
        return _power_of_two(first, self.a.dtype), _power_of_two(second, self.a.dtype)

    @cached_property
    def t(self) -> Array:
        """The exponential."""
        return add(self._power, multiply(self._power, self._parts[1]))

    @cached_property
    def rest(self) -> Array:
        """What rounding took from it."""
        _, s, lost = self._parts
        rounding = add(subtract(self._power, self.t), multiply(self._power, s))
        return add(rounding, multiply(self._power, lost))

    @cached_property
    def is_far(self) -> Array:
        """Whether the weighted functions are the exponential itself."""
        return less(_FAR, self.a)

    @cached_property
    def one_more(self) -> Array:
        """$1 + t$."""
        return add(1.0, self.t)

    def times(self, *weights: Array) -> Array:
        """$t$ times up to two weights (more may overflow on the way)."""
        if not weights:
            return self.t
        value, rest = self._times_half(lax.full_like(self.a, 1))
        weighted = add(multiply(weights[0], value), multiply(weights[0], rest))
        return multiply(weighted, functools.reduce(multiply, weights[1:], self._halves[1]))

    def _times_half(self, share: Array) -> tuple[Array, Array]:
        """A number of about 1, or 0, times $2^{-n/2}(1 + s)$, and what rounding took from it."""
        _, s, lost = self._parts
        scaled = multiply(share, self._halves[0])
        part = multiply(scaled, s)
        value = add(scaled, part)
        return value, add(add(subtract(scaled, value), part), multiply(scaled, lost))

    def complement(self) -> tuple[Array, Array]:
        """$1 - t$, nothing of which cancels, and what rounding took from it."""
        _, s, lost = self._parts
        rest, part = 1 - self._power, self._power * s
        value = rest - part
        return value, ((rest - value) - part) - self._power * lost

    def sigmoid_derivative(self, *weights: Array) -> Array:
        r"""$\sigma'(a)$ times weights; the square is expanded, so that it rounds once near 1."""
        square = add(1.0, multiply(self.t, add(2.0, self.t)))
        if len(weights) < 2:
            return divide(self.times(*weights), square)
        return self.times(weights[0] / square, *weights[1:])  # the quotient may be finite alone

    def log1p(self, *weights: Array) -> Array:
        r"""$\log(1 + t)$ times weights.

        By the compiler's own exponential, which is cheap in sums and near enough: no term that
        could be as large is taken from a loss.
        """
        t = lax.exp(lax.neg(self.a))
        if self._rest_of_a is not None:
            t = subtract(t, multiply(t, self._rest_of_a))
        near = functools.reduce(multiply, weights, log1p_unit(t))
        return lax.select(self.is_far, self.times(*weights), near) if weights else near

    def log1p_in_two(self) -> tuple[Array, Array]:
        r"""$\log(1 + t)$ and what rounding took from it.

        It is $2 \operatorname{artanh}\frac{t}{2+t}$, of which $t$ leads: see `log1p_unit`.
        """
        t = self.t
        z = 2 * (t / (2 + t))
        square = z * z
        below = z * (t / 2 - square * horner(_format(t).atanh_tail, square))
        value = t - below
        return value, ((t - value) - below) + self.rest / (1 + t)

    def excess(self, wrong: Array, right: Array, rest: Array | None = None) -> Array:
        r"""$wrong\,\sigma(a) - right\,\sigma(-a)$, subtracted before it is divided.

        Args:
          rest: what rounding took from the difference of $wrong$ and $t$ times $right$.
        """
        value, lost = (multiply(part, self._halves[1]) for part in self._times_half(right))
        difference = subtract(subtract(wrong, value), lost)
        if rest is not None:
            difference = add(difference, rest)
        return divide(difference, self.one_more)


def paired(first: Array, second: Array) -> tuple[Array, Array]:
    """Two weights for `Tail.times` with the same product, the first at least 1 in magnitude.

    Where one is as small as the other is large, the small one's product with a half of the power
    may be subnormal, and flushed to 0, where the whole is not: here it goes to the large one.
    """
    is_first = less(lax.abs(second), lax.abs(first))
    larger, smaller = lax.select(is_first, first, second), lax.select(is_first, second, first)
    raises = less(1.0, lax.abs(smaller))
    gathered = choose(raises, larger, multiply(larger, smaller), larger)
    return choose(raises, smaller, 1.0, smaller), gathered


def saturate(x: Array) -> Array:
    """1/16 of the largest number for infinity: 0 times it, and a sum of some, are finite."""
    largest = float(jnp.finfo(x.dtype).max)
    limit = multiply(lax.sign(x), largest / 16)
    return choose(less(largest, lax.abs(x)), limit, x, x)


def product_or_0(distance: Array, mass: Array) -> Array:
    """Their product; 0 where no mass is, also at an infinite distance."""
    return choose(lax.eq(mass, lax.full_like(mass, 0)), 0.0, multiply(distance, mass), mass)


def signed(positive: Array, value: Array) -> Array:
    """The value where `positive` holds, else its negative."""
    return lax.select(positive, value, lax.neg(value))
