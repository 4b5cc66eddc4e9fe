"""Numbers as unevaluated sums of two: what rounding took is kept and put back.

"Double-word arithmetic", after Dekker 1971, Numerische Mathematik 18:224-242, and Joldes, Muller
& Popescu 2017, ACM Transactions on Mathematical Software 44(2):15. A compiler may contract
a b + c into one rounding: every product below whose sum counts is of halves, and exact, so that
contraction changes nothing. No constant is added and taken away again: XLA folds (x + 1) - 1.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ._arithmetic import add, choose, less, multiply, subtract
from ._exponentials import _format, as_normal, atanh_tail, exp_parts_in_two


class DoubleWord(NamedTuple):
    """The number high + low, of which `high` is nearly the nearest one of its format."""

    high: Array
    low: Array


class Scaled(NamedTuple):
    """The number (high + low) $2^{exponent}$, which need not be in the range of its format."""

    high: Array
    low: Array
    exponent: Array


def _bits_of(x: Array) -> tuple[jnp.dtype, int, int]:
    """The integer type of a format, its fraction's bits and its exponent's bias (IEEE 754)."""
    info = jnp.finfo(x.dtype)
    return jnp.dtype(f"int{info.bits}"), info.nmant, info.maxexp - 1


def two_sum(a: Array, b: Array) -> DoubleWord:
    """a + b exactly, unless it overflows (Knuth); `b` may be a constant, `a` not."""
    total = add(a, b)
    part = subtract(total, a)
    return DoubleWord(total, add(subtract(a, subtract(total, part)), subtract(b, part)))


def two_product(a: Array, b: Array) -> DoubleWord:
    """a b (Dekker), but for 2^-52 ulp in float64, whose halves have up to 27 bits.

    Where a part would be subnormal or infinite the low one is 0.
    """
    left, right = split(a), split(b)
    leading, lowest = multiply(left.high, right.high), multiply(left.low, right.low)
    first, second = multiply(left.high, right.low), multiply(left.low, right.high)
    product = add(leading, add(add(first, second), lowest))
    lost = add(add(add(subtract(leading, product), first), second), lowest)
    info = jnp.finfo(a.dtype)
    least = float(info.tiny) / float(info.eps) ** 2
    whole = lax.bitwise_and(lax.is_finite(product), less(least, lax.abs(leading)))
    high = lax.select(whole, product, multiply(a, b))
    return DoubleWord(high, choose(whole, lost, 0.0, a))


def split(x: Array) -> DoubleWord:
    """`x` as two halves of so few bits that the product of two such halves is exact."""
    integer, fraction_bits, _ = _bits_of(x)
    lower = (fraction_bits + 1 + 1) // 2
    bits = lax.bitcast_convert_type(x, integer)
    cut = lax.full_like(bits, -(1 << lower))
    high = lax.bitcast_convert_type(lax.bitwise_and(bits, cut), x.dtype)
    return DoubleWord(high, subtract(x, high))


def renormalized(high: Array, low: Array) -> DoubleWord:
    """The same sum with a low part below the last place of the high one (|low| <= |high|)."""
    total = high + low
    return DoubleWord(total, (high - total) + low)


def product(a: DoubleWord, b: DoubleWord) -> DoubleWord:
    """a b, within some 2^-10 ulp of the high part."""
    left, right = split(a.high), split(b.high)
    rest = left.high * right.low + (left.low * right.high + left.low * right.low)
    high, low = renormalized(left.high * right.high, rest)
    return DoubleWord(high, low + (a.high * b.low + a.low * b.high))


def added(x: Array, words: DoubleWord) -> Array:
    """x + words, rounded once; infinite where a part is."""
    total, lost = two_sum(x, words.high)
    return jnp.where(jnp.isfinite(total), total + (lost + words.low), total)


def power_of_two(exponent: Array, like: Array) -> Array:
    """2^exponent, 0 below the smallest normal number and infinite above the largest."""
    integer, fraction_bits, bias = _bits_of(like)
    biased = jnp.clip(exponent, -bias, bias + 1) + bias
    return lax.bitcast_convert_type(biased.astype(integer) << fraction_bits, like.dtype)


def times_power_of_two(x: Array, exponent: Array) -> Array:
    """x 2^exponent for |exponent| up to twice the format's: exact where the result is normal."""
    _, _, bias = _bits_of(x)
    first = jnp.clip(exponent, 1 - bias, bias)
    return (x * power_of_two(first, x)) * power_of_two(exponent - first, x)


def rounded(x: Scaled) -> Array:
    """The nearest number."""
    return times_power_of_two(x.high + x.low, x.exponent)


def in_range(x: Scaled) -> DoubleWord:
    """The same number, which may overflow or underflow."""
    high, low = (times_power_of_two(word, x.exponent) for word in (x.high, x.low))
    return DoubleWord(high, jnp.where(jnp.isfinite(high), low, 0))


# A word is here a factor of 2^24 in float32 and of 2^53 in float64. Numbers less than 3 words above
# the smallest normal one are raised by 4 words, so that neither their difference nor its rounding
# error is subnormal. Numbers within 2^4 of overflow are lowered by 2^4: then their difference does
# not overflow, and `times_power_of_two`, which reaches down to 2^-252 in float32, gives each of its
# products with a small power that is a normal number.
_SMALL_WORDS, _RAISED_WORDS, _LARGE = 3, 4, 4


def is_small(x: Array) -> Array:
    """Whether |x| is so small that what rounding takes from a sum with it may be subnormal."""
    _, fraction_bits, bias = _bits_of(x)
    return jnp.abs(x) < 2.0 ** (1 - bias + _SMALL_WORDS * (fraction_bits + 1))


def raising(x: Array) -> int:
    """The exponent of the power of two by which small numbers of the format of x are raised."""
    _, fraction_bits, _ = _bits_of(x)
    return _RAISED_WORDS * (fraction_bits + 1)


def raised(x: Array) -> Array:
    """A small x times that power; right for subnormal numbers, which XLA's CPU takes for 0."""
    _, fraction_bits, bias = _bits_of(x)
    by = raising(x)
    normal, exponent = as_normal(jnp.abs(x))
    smallest = by + 1 - bias - fraction_bits
    return jnp.copysign(normal * jnp.where(exponent < 0, 2.0**smallest, 2.0**by), x)


def difference(a: Array, b: Array, rest: Array | float | None = None) -> Scaled:
    """a - b, and 0 where both are the same infinity: two words, whatever their size.

    Args:
      rest: a number that is small beside a or b and belongs to the difference.
    """
    bias, by = jnp.finfo(a.dtype).maxexp - 1, raising(a)
    size = jnp.maximum(jnp.abs(a), jnp.abs(b))
    small, large = is_small(size), size > 2.0 ** (bias - _LARGE)
    factor = jnp.where(large, 2.0**-_LARGE, 1.0).astype(a.dtype)
    high, low = two_sum(*(jnp.where(small, raised(x), x * factor) for x in (a, -b)))
    low = jnp.where(jnp.isfinite(high), low, 0)
    high = jnp.where(jnp.isinf(a) & (a == b), 0, high)
    if rest is not None:
        rest = jnp.where(small, rest * 2.0**by, rest * factor)
        high, low = renormalized(high, low + rest)
    return Scaled(high, low, jnp.where(small, -by, jnp.where(large, _LARGE, 0)))


def log1p(t: DoubleWord) -> DoubleWord:
    r"""$\log(1 + t)$ for $-1/2 \le t \le 1$, within a fifth of an ulp of the high part.

    $2 \operatorname{artanh}(z/2)$ with $z = 2t/(2 + t)$, whose quotient is corrected.
    """
    denominator, lost = two_sum(t.high, jnp.full_like(t.high, 2))
    z = 2 * (t.high / denominator)
    missing = 2 * t.low - z * (lost + t.low)
    z_rest = (_remainder(2 * t.high, z, denominator) + missing) / denominator
    return renormalized(z, z_rest + atanh_tail(z))


def log(x: Scaled) -> DoubleWord:
    """log x, within a tenth of an ulp of the high part; -infinity at 0, NaN below.

    x is 2^k (1 + t) with t between -1/4 and 1/2, so that the two terms cancel little.
    """
    constants = _format(x.high)
    integer, fraction_bits, _ = _bits_of(x.high)
    bits, one = (lax.bitcast_convert_type(y, integer) for y in (x.high, jnp.ones_like(x.high)))
    k = (bits - one + (1 << (fraction_bits - 1))) >> fraction_bits
    high, low = (times_power_of_two(word, -k) for word in (x.high, x.low))
    of_t = log1p(two_sum(high - 1, low))
    exponent = (k + x.exponent).astype(x.high.dtype)
    total, lost = two_sum(exponent * constants.ln2_high, of_t.high)
    total = jnp.where(x.high > 0, total, jnp.where(x.high == 0, -jnp.inf, jnp.nan))
    return DoubleWord(total, lost + (of_t.low + exponent * constants.ln2_low))


def _remainder(dividend: Array, quotient: Array, divisor: Array) -> Array:
    """What is left of a division: dividend - quotient divisor, in exact products."""
    q, d = split(quotient), split(divisor)
    return ((dividend - q.high * d.high) - (q.high * d.low + q.low * d.high)) - q.low * d.low


class LogisticTail(NamedTuple):
    r"""$\sigma(-a) = (high + low)\,2^{-n}$ and $\sigma(a)$ for $a \ge 0$, in two words each."""

    far: Scaled
    near: DoubleWord


def logistic_tail(a: Array) -> LogisticTail:
    """The sigmoid of -a and of a, which must be small enough for e^-a to have an exponent."""
    n, s, lost = exp_parts_in_two(a)
    power = power_of_two(-n, a)
    part = power * s
    base = 1 + power
    # Beyond the last place of 1 the sum is 1, and the power is what rounding took.
    base_rest = jnp.where(base == 1, power, 0)
    denominator = base + part
    rest = ((base - denominator) + part) + (base_rest + power * lost)
    quotient = 1 / denominator
    missing = _remainder(jnp.ones_like(a), quotient, denominator) - quotient * rest
    near = DoubleWord(quotient, quotient * missing)
    # (1 + s + lost) / (1 + t) as the quotient and its products
    times_s = product(DoubleWord(s, lost), near)
    far, far_rest = two_sum(quotient, times_s.high)
    return LogisticTail(Scaled(far, far_rest + (near.low + times_s.low), -n), near)
