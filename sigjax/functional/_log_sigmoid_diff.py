"""The logarithm of a difference of two sigmoids: a cell of an ordered logistic model."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from ._compiled import compiled
from ._differences import log1mexp_of_difference, plain_difference
from ._double_word import DoubleWord
from ._exponentials import decay, magnitude
from ._joint import evaluate_jointly
from ._softplus import LOG1M_SIGMOID, LOG_SIGMOID

# The function is log sigma(a) + log sigma(-b) + log(1 - e^(b-a)): three numbers that are at most
# 0, and so are their derivatives of second order, while each of the first order has one sign.
# Nothing cancels, however close or far a and b are.

_FAR = 40.0  # 1 + e^-40 is 1 in any format


def _of_tails(usual: Array, sign: int, *distances: DoubleWord) -> Array:
    """`usual`, or its leading terms, sign times the sum of e^-distance, where all are far.

    There each term may be subnormal, and flushed, where their sum is not.
    """
    raised = jnp.zeros_like(usual)
    far = jnp.ones_like(usual, bool)
    for distance, lost in distances:
        tail = decay(magnitude(distance))
        raised = raised + (tail.raised + tail.raised * (tail.s - (lost + tail.s * lost)))
        far = far & (distance > _FAR)
    one = decay(jnp.zeros_like(usual)).raised
    return jnp.where(far, sign * (raised / one), usual)


def _exact(x: Array) -> DoubleWord:
    return DoubleWord(x, jnp.zeros_like(x))


@jax.custom_jvp
def _value(a: Array, b: Array) -> Array:
    logarithms = (LOG_SIGMOID(a) + LOG1M_SIGMOID(b)) + log1mexp_of_difference(0)(a, b, None)
    return _of_tails(logarithms, -1, _exact(a), _exact(-b))


@_value.defjvp
def _(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (a, b), (da, db) = primals, tangents
    return _value(a, b), _along(1, True)(a, b) * da + _along(1, False)(a, b) * db


@functools.cache
def _along(order: int, of_a: bool) -> Callable[[Array, Array], Array]:
    """The derivative of an order of at least 1 by a alone, or by b alone."""

    @jax.custom_jvp
    def function(a: Array, b: Array) -> Array:
        d = plain_difference(a, b)
        of_difference = log1mexp_of_difference(order)(a, b, None)
        if of_a:
            slope = LOG_SIGMOID(a, order=order) + of_difference
            return _of_tails(slope, -((-1) ** order), _exact(a), d)
        slope = LOG1M_SIGMOID(b, order=order) + (-1) ** order * of_difference
        return _of_tails(slope, -1, _exact(-b), d)

    @function.defjvp
    def _(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
        (a, b), (da, db) = primals, tangents
        mixed = log1mexp_of_difference(order + 1)(a, b, None)
        same = _along(order + 1, of_a)(a, b)
        slope = same * da - mixed * db if of_a else (-1) ** order * mixed * da + same * db
        return function(a, b), slope

    return function


@compiled()
def log_sigmoid_diff(a: ArrayLike, b: ArrayLike) -> Array:
    r"""$\log(\sigma(a) - \sigma(b))$ for $a \ge b$.

    Computed as $\log\sigma(a) + \log\sigma(-b) + \log(1 - e^{b-a})$.

    Args:
      a, b: real arrays or scalars of shapes that broadcast together.

    Returns:
      Array of the joint shape and floating dtype; -inf where $a = b$, NaN where $a < b$.

    Raises:
      TypeError: if an argument is complex or not a number.
      ValueError: if the shapes do not broadcast.

    Example:
      >>> import sigjax
      >>> print(f"{sigjax.log_sigmoid_diff(51.0, 50.0):.4f}")
      -50.4587

    References:
      McCullagh 1980, Journal of the Royal Statistical Society B 42:109-142.
    """
    return evaluate_jointly("log_sigmoid_diff", _value, a=a, b=b)
