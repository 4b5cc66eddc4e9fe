r"""The exponential taken apart, and the logarithm near 1: what the whole family is made of.

The exponential is reduced as by Cody & Waite (1980, Software Manual for the Elementary Functions):
with $n$ the integer nearest to $x / \ln 2$, $e^{-x} = 2^{-n} e^r$ and $|r| \le \ln(2)/2$, where
$\ln 2$ is a high part, short enough that its product with $n$ is exact, and a low part. The
logarithm near 1 is $2 \operatorname{artanh}(z/2)$. What is left of both is a polynomial, highest
power first: Chebyshev's fit, nearly the best one, of the function that the comment above it names;
float32's exponential has within 1 % of the smallest possible error relative to $e^r$, 2^-28.
`experiments/tools/coefficients.py` makes the fits, `tests/functional/test_exponentials.py` holds
what is made of them to mpmath.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import DTypeLike

from ._arithmetic import add, divide, minimum, multiply, subtract


class _Format(NamedTuple):
    """The constants of one floating format (IEEE 754) and the fits made for it."""

    integer: DTypeLike
    fraction_bits: int
    bias: int
    # ln 2 in two parts, the first short enough that its product with an exponent is exact
    ln2_high: float
    ln2_low: float
    # (e^r - 1 - r)/r^2 for |r| <= ln(2)/2
    exp_tail: tuple[float, ...]
    # (2 atanh(z/2) - z)/z^3 as a function of z^2 on [0, 4/9]
    atanh_tail: tuple[float, ...]


_FORMATS = {
    "float32": _Format(
        integer=jnp.int32,
        fraction_bits=23,
        bias=127,
        ln2_high=0.693145751953125,
        ln2_low=1.4286068203094173e-06,
        exp_tail=(
            0.001386375673439719,
            0.008367509150001201,
            0.04166723877213315,
            0.16666533803287298,
            0.5,
        ),
        atanh_tail=(
            0.00011346516839694232,
            0.0004239060217514634,
            0.002233790000900626,
            0.012499907054007053,
            0.0833333358168602,
        ),
    ),
    "float64": _Format(
        integer=jnp.int64,
        fraction_bits=52,
        bias=1023,
        ln2_high=0.6931471805592082,
        ln2_low=7.371002565167799e-13,
        exp_tail=(
            2.0914898727175524e-09,
            2.5105513541847086e-08,
            2.755727313289604e-07,
            2.7557254685728803e-06,
            2.480158732595111e-05,
            0.0001984126987538548,
            0.0013888888888883633,
            0.008333333333325973,
            0.04166666666666667,
            0.1666666666666667,
            0.5,
        ),
        atanh_tail=(
            1.8658786361932007e-08,
            3.567111730834773e-08,
            2.0690384122260446e-07,
            8.952305201761593e-07,
            4.0695806656617805e-06,
            1.877995959281698e-05,
            8.877841761495512e-05,
            0.0004340277773001583,
            0.0022321428571565505,
            0.012499999999999848,
            0.08333333333333333,
        ),
    ),
}


def _format(x: Array) -> _Format:
    return _FORMATS[x.dtype.name]


def horner(coefficients: tuple[float, ...], x: Array) -> Array:
    """Evaluates a polynomial, highest power first."""
    highest, second, *rest = coefficients
    total = add(multiply(x, highest), second)
    for coefficient in rest:
        total = add(multiply(total, x), coefficient)
    return total


def _exp_parts(x: Array) -> tuple[Array, Array]:
    """Returns an integer $n$ and $s$ with $e^{-x} = 2^{-n}(1 + s)$ and $|s| < 0.42$.

    XLA's own exp takes 1.7 times as long on a CPU and hides the parts.
    """
    constants = _format(x)
    n = lax.round(multiply(x, 1 / math.log(2)), lax.RoundingMethod.TO_NEAREST_EVEN)
    high, low = multiply(n, constants.ln2_high), multiply(n, constants.ln2_low)
    r = add(subtract(high, x), low)
    s = add(r, multiply(multiply(r, r), horner(constants.exp_tail, r)))
    return lax.convert_element_type(n, constants.integer), s


def _power_of_two(biased_exponent: Array, dtype: DTypeLike) -> Array:
    """Writes an exponent into the bits: the lowest is 0, the highest infinity."""
    fraction_bits = _FORMATS[np.dtype(dtype).name].fraction_bits
    return lax.bitcast_convert_type(biased_exponent << fraction_bits, dtype)


def exp_parts_in_two(x: Array) -> tuple[Array, Array, Array]:
    """Returns $n$, $s$ and `lost`, so that $e^{-x} = 2^{-n}(1 + s + lost)$ to more than a digit."""
    constants = _format(x)
    n = lax.round(multiply(x, 1 / math.log(2)), lax.RoundingMethod.TO_NEAREST_EVEN)
    exact, low = subtract(multiply(n, constants.ln2_high), x), multiply(n, constants.ln2_low)
    r = add(exact, low)
    curve = multiply(multiply(r, r), horner(constants.exp_tail, r))
    s = add(r, curve)
    lost_of_r = add(subtract(exact, r), low)
    lost = add(add(lost_of_r, multiply(lost_of_r, s)), add(subtract(r, s), curve))
    return lax.convert_element_type(n, constants.integer), s, lost


def exp_in_two(x: Array) -> tuple[Array, Array]:
    """$e^x$ as a number and what rounding took from it, up to where $e^{-e^x}$ is 0."""
    bias = _format(x).bias
    lowest, highest = -bias * math.log(2), math.log(_largest_magnitude(x))
    x = jnp.where(x > highest, highest, x)
    x = jnp.where(x < lowest, lowest, x)
    n, s, lost = exp_parts_in_two(-x)
    power = _power_of_two(bias - n, x.dtype)
    value = power * (1 + s)
    rest = ((power - value) + power * s) + power * lost
    return value, jnp.where(value > 2.0**-60, rest, 0)  # power s may have been flushed below


# A decay is kept times 2^64, so that |x| e^-|x| does not pass through a subnormal number.
_HEADROOM = 64


def _largest_magnitude(x: Array) -> float:
    return (_format(x).bias + _HEADROOM) * math.log(2)


def magnitude(x: Array) -> Array:
    """|x|, cut where every tail is 0, so that no infinity meets a zero."""
    return minimum(lax.abs(x), _largest_magnitude(x))


class Decay(NamedTuple):
    """$t = e^{-a}$ as $2^{-n}(1 + s)$, so that what would cancel or underflow need not.

    Attributes:
      power: $2^{-n}$, 0 below the smallest normal number.
      s: what is left, $|s| < 0.42$.
      t: $e^{-a}$, 0 below the smallest normal number.
      raised: $2^{64-n}$.
    """

    power: Array
    s: Array
    t: Array
    raised: Array

    def complement(self) -> Array:
        """$1 - e^{-a}$ with full relative accuracy."""
        return subtract(subtract(1.0, self.power), multiply(self.power, self.s))

    def times(self, factor: Array) -> Array:
        """$t$ factor, normal whenever the result is."""
        return (self.raised * (factor + factor * self.s)) * 2.0**-_HEADROOM

    def times_sigmoid(self, factor: Array) -> Array:
        r"""factor $t/(1+t)$ as factor $(t - t \sigma(-a))$, a rounding less than the quotient."""
        raised_product = self.raised * (factor + factor * self.s)
        raised_t = self.raised * (1 + self.s)
        share = raised_t / (2.0**_HEADROOM + raised_t)
        return (raised_product - raised_product * share) * 2.0**-_HEADROOM

    def times_over(self, start: Array, slope: Array, excess: Array) -> Array:
        r"""$t\,(start + slope \cdot s)/(1 + t \cdot excess)$, normal whenever the result is."""
        # (1+s)(start + slope s) = start + s (start + slope + slope s): one rounding at full size
        inner = add(add(start, slope), multiply(slope, self.s))
        numerator = add(start, multiply(self.s, inner))
        raised_t = multiply(self.raised, add(1.0, self.s))
        denominator = add(2.0**_HEADROOM, multiply(raised_t, excess))
        return divide(multiply(self.raised, numerator), denominator)


def decay(a: Array) -> Decay:
    """Evaluates $e^{-a}$ for a `magnitude` $a$."""
    n, s = _exp_parts(a)
    raised = _power_of_two(subtract(_format(a).bias + _HEADROOM, n), a.dtype)
    power = multiply(raised, 2.0**-_HEADROOM)
    return Decay(power=power, s=s, t=multiply(power, add(1.0, s)), raised=raised)


def atanh_tail(z: Array) -> Array:
    r"""$2 \operatorname{artanh}(z/2) - z$ for $|z| \le 2/3$."""
    square = multiply(z, z)
    return multiply(z, multiply(square, horner(_format(z).atanh_tail, square)))


def two_atanh_half(z: Array) -> Array:
    r"""$2 \operatorname{artanh}(z/2) = \log\frac{2+z}{2-z}$ for $|z| \le 2/3$."""
    return add(z, atanh_tail(z))


def log1p_unit(t: Array) -> Array:
    r"""$\log(1 + t)$ for $0 \le t \le 1$, as $2 \operatorname{artanh}\frac{t}{2+t}$."""
    # With z = t/(1 + t/2), z = t - z t/2: t leads the sum, so the quotient's rounding fades.
    z = multiply(2.0, divide(t, add(2.0, t)))
    square = multiply(z, z)
    tail = multiply(square, horner(_format(t).atanh_tail, square))
    return subtract(t, multiply(z, subtract(multiply(t, 0.5), tail)))


def as_normal(x: Array) -> tuple[Array, Array]:
    """Returns $(m, k)$ with $x = 2^k m$ and `m` normal, for nonnegative `x`.

    XLA's CPU arithmetic takes a subnormal number for zero; its bits, read as an integer, are
    its multiple $m$ of the smallest one. Elsewhere `m` is `x` and `k` is 0.
    """
    constants = _format(x)
    bits = lax.bitcast_convert_type(x, constants.integer)
    subnormal = (bits > 0) & (bits < 1 << constants.fraction_bits)
    smallest = 1 - constants.bias - constants.fraction_bits
    return jnp.where(subnormal, bits.astype(x.dtype), x), jnp.where(subnormal, smallest, 0)


def log_of(x: Array) -> Array:
    r"""$\log x$, right for subnormal `x` too."""
    m, k = as_normal(x)
    return jnp.log(m) + k.astype(x.dtype) * math.log(2)


def reduced_ratio(p: Array, q: Array) -> tuple[Array, Array]:
    r"""$(z, k)$ with $\log(p/q) = k \log 2 + 2 \operatorname{artanh}(z/2)$, $|z| \le 2/3$.

    $z = 2\,\frac{2^{-k}p - q}{2^{-k}p + q}$ for positive normal numbers, with $k$ the difference
    of the exponents rounded, read off the bits: one quotient and no logarithm.
    """
    constants = _format(p)
    half = 1 << (constants.fraction_bits - 1)
    bits = [lax.bitcast_convert_type(v, constants.integer) for v in (p, q)]
    k = (bits[0] - bits[1] + half) >> constants.fraction_bits
    lowered = p * _power_of_two(constants.bias - k, p.dtype)
    return 2 * ((lowered - q) / (lowered + q)), k
