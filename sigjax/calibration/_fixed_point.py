r"""Sums of numbers in [0, 1] that order and number of the terms do not change.

A float's running sum stands still once it is $2^{24}$ times its terms, and depends on their order.
Here a number is three whole digits, $x = \sum_{k=1}^{3} d_k B^{-k}$ with $B = 2^{15}$ for float32
and $2^{30}$ for float64, and digits are added as integers: exactly, in any order, on any device.
What a float has below $B^{-3}$ is cut off, at most 2.9e-14 of a term in float32 and 8.1e-28 in
float64.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

DIGITS = 3
# Terms of one step: the sum of so many digits of 15 bits is at most 2^31.
_STEP = 2**16
# Rows of terms that are summed side by side. Terms that are sharded over a power of two of devices,
# to this number, are summed where they lie.
_LANES = 64

Number: TypeAlias = tuple[Array, Array, Array]  # digits, the most significant first


def _bits(dtype: np.dtype) -> int:
    return 15 if dtype.itemsize == 4 else 30


def to_digits(x: Array) -> Number:
    """The digits of floats in [0, 1]; 1 itself has the digit B."""
    bits = _bits(x.dtype)
    unsigned = jnp.uint32 if bits == 15 else jnp.uint64
    two = x * 2.0 ** (2 * bits)
    whole = two.astype(unsigned)
    rest = two - whole.astype(x.dtype)  # exact: whole holds the leading bits of two
    low = whole & jnp.asarray(2**bits - 1, unsigned)
    return whole >> bits, low, (rest * 2.0**bits).astype(unsigned)


def product(a: Number, b: Number) -> Number:
    """The digits of a b; cut off below the third."""
    bits = _bits(a[0].dtype)
    mask = jnp.asarray(2**bits - 1, a[0].dtype)
    third = a[0] * b[2] + a[1] * b[1] + a[2] * b[0]
    second = a[0] * b[1] + a[1] * b[0] + (third >> bits)
    first = a[0] * b[0] + (second >> bits)
    return first >> bits, first & mask, second & mask


class Totals(NamedTuple):
    """What was summed in each segment, of each of some numbers.

    Attributes:
      terms: `[segments]`, how many there were; integers. 0 if they were not to be counted.
      whole: `[segments, numbers]`, the integer part of each sum.
      digits: `[segments, numbers, 3]`, its digits after the point.
    """

    terms: Array
    whole: Array
    digits: Array

    def carried(self) -> "Totals":
        """The same sums with digits below B."""
        bits = _bits(self.digits.dtype)
        mask = jnp.asarray(2**bits - 1, self.digits.dtype)
        first, second, third = (self.digits[..., i] for i in range(DIGITS))
        second += third >> bits
        first += second >> bits
        whole = self.whole + (first >> bits).astype(self.whole.dtype)
        return self._replace(
            whole=whole, digits=jnp.stack([first & mask, second & mask, third & mask], axis=-1)
        )


def sum_by_segment(
    describe: Callable[..., tuple[Array, list[Number]]],
    terms: tuple[Array, ...],
    segments: int,
    *,
    count_terms: bool,
) -> Totals:
    """Sums numbers in segments, some terms at a time, so that memory does not grow with them.

    Args:
      describe: maps arrays `[rows, terms]` to the segment of each term and its numbers.
      terms: arrays `[all terms]`, to be described some at a time.
      segments: how many.
      count_terms: whether to count the terms of each segment as well.
    """
    count: Any = terms[0].shape[0]  # a number, or a name for one in an exported program
    width: Any
    last_start: Any
    if jax.export.is_symbolic_dim(count):
        # Whole steps of one lane, over zeros at the end that are counted nowhere.
        lanes, width, length = 1, count, _STEP
        rows = [jnp.pad(array, (0, length)).reshape(1, -1) for array in terms]
        last_start = count
    else:
        lanes = math.gcd(count, _LANES)
        width = count // lanes
        length = min(width, _STEP // lanes)
        rows = [array.reshape(lanes, width) for array in terms]
        last_start = width - length

    def add(step: ArrayLike, before: Totals) -> Totals:
        due = jnp.asarray(step) * length
        start = jnp.minimum(due, last_start)
        segment, numbers = describe(
            *(lax.dynamic_slice_in_dim(row, start, length, axis=1) for row in rows)
        )
        # The last step begins in what was summed already, which goes to a segment of its own.
        places = start + jnp.arange(length)
        fresh = (places >= due) & (places < width)
        segment = jnp.where(fresh[None], segment, segments)
        ones = [jnp.ones_like(numbers[0][0])] if count_terms else []
        columns = jnp.stack(ones + [digit for number in numbers for digit in number], axis=-1)

        def one_lane(segment: Array, columns: Array) -> Array:
            empty = jnp.zeros((segments + 1, columns.shape[-1]), columns.dtype)
            return empty.at[segment].add(columns, mode="promise_in_bounds")[:segments]

        sums = jax.vmap(one_lane)(segment, columns)
        new, digits = jnp.split(sums, [len(ones)], axis=-1)
        return Totals(
            before.terms + jnp.sum(new, axis=-1).astype(before.terms.dtype),
            before.whole,
            before.digits + digits.reshape(before.digits.shape),
        ).carried()

    pieces = (jax.ShapeDtypeStruct((lanes, length), row.dtype) for row in rows)
    described = jax.eval_shape(describe, *pieces)[1]
    shape = (lanes, segments, len(described))
    integer = jnp.result_type(int)
    zero = Totals(
        jnp.zeros(shape[:2], integer),
        jnp.zeros(shape, integer),
        jnp.zeros((*shape, DIGITS), described[0][0].dtype),
    )
    sums = lax.fori_loop(0, -(-width // length), add, zero)
    return Totals(*(jnp.sum(each, axis=0, dtype=each.dtype) for each in sums)).carried()


def to_float(whole: Array, digits: Array, dtype: np.dtype) -> Array:
    """A number, or a difference of numbers with digits of either sign, as a float: to 2 ulp.

    The largest part comes first: where it nearly cancels, its sum with the next is exact.
    """
    base = 2.0 ** -_bits(dtype)
    first, second, third = (digits[..., i].astype(dtype) for i in range(DIGITS))
    return ((whole.astype(dtype) + first * base) + second * base**2) + third * base**3
