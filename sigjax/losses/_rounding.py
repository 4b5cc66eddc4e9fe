"""Sums and products with what rounding takes from them."""

import jax.numpy as jnp
from jax import Array, lax

from ..functional._arithmetic import add, choose, less, multiply, subtract

_INTEGERS = {"float32": jnp.int32, "float64": jnp.int64}
# Half the digits of a significand of 24 or 53 bits are cut: products of halves are exact.
_CUT_BITS = {"float32": 12, "float64": 27}


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """Returns the rounded sum and its error, exactly (Knuth); `b` may be a constant, `a` not.

    XLA folds (c + a) - c for a constant c.
    """
    total = add(a, b)
    part = subtract(total, a)
    return total, add(subtract(a, subtract(total, part)), subtract(b, part))


def difference(a: Array, b: Array) -> tuple[Array, Array]:
    """Returns $a - b$ and what rounding took from it; 0 where both are the same infinity."""
    total, rest = two_sum(a, lax.neg(b))
    return choose(lax.eq(a, b), 0.0, total, a), choose(lax.is_finite(total), rest, 0.0, a)


def two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """Returns the rounded product and its error, exactly (Dekker).

    The product is summed from its parts: a compiler may contract a product and the sum behind
    it into one operation with one rounding, which changes nothing for an exact product. Where a
    part would be subnormal or infinite the error is taken for 0.
    """
    (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
    leading, lowest = multiply(a_high, b_high), multiply(a_low, b_low)
    first, second = multiply(a_high, b_low), multiply(a_low, b_high)
    product = add(leading, add(add(first, second), lowest))
    lost = add(add(add(subtract(leading, product), first), second), lowest)
    info = jnp.finfo(a.dtype)
    least = float(info.tiny) / float(info.eps) ** 2
    whole = lax.bitwise_and(lax.is_finite(product), less(least, lax.abs(leading)))
    return lax.select(whole, product, multiply(a, b)), choose(whole, lost, 0.0, a)


def _halves(x: Array) -> tuple[Array, Array]:
    name = x.dtype.name
    bits = lax.bitcast_convert_type(x, _INTEGERS[name])
    cut = lax.full_like(bits, -(1 << _CUT_BITS[name]))
    high = lax.bitcast_convert_type(lax.bitwise_and(bits, cut), x.dtype)
    return high, subtract(x, high)
