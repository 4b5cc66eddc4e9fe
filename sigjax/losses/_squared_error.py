"""The squared error of a sigmoid: the loss that does not fit it."""

import math

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from ..functional import _sigmoid
from ..functional._compiled import compiled
from ..functional._double_word import two_product, two_sum
from ._checked import checked
from ._elements import Axis, elements
from ._partials import Kernel, Orders, differentiable
from ._tail import Tail, signed

# With T = sigma(-|z|) and c the probability that the label gives to the side on which z is not,
# the error is c - T, or T - c for negative z: exact where the label is certain and right.


def _partial(orders: Orders) -> Kernel | None:
    by_z, by_y = orders
    if by_y > 2 or (by_z and by_y == 2):
        return None

    def kernel(z: Array, y: Array) -> Array:
        two = jnp.full_like(z, 2)
        at = _Sides(z, y)
        if by_y == 2:
            return two
        if by_y and by_z == 1:
            return -at.tail.sigmoid_derivative(two)
        if by_y and by_z:
            return -2 * _sigmoid.nth_derivative(by_z)(z)
        error = at.error()
        if by_z == 0 and by_y == 0:
            return error * error
        if by_z == 0:
            return signed(z > 0, -2 * error)
        if by_z == 1:
            return signed(z > 0, at.tail.sigmoid_derivative(2 * error))
        if by_z == 2:
            return at.tail.sigmoid_derivative(2 * at.bend())
        return _leibniz(by_z, z, signed(z > 0, error))

    return kernel


class _Sides:
    """The exponential, and the label's shares of the wrong side and the right one of 0."""

    def __init__(self, z: Array, y: Array):
        other, lost = two_sum(-y, jnp.ones_like(y))
        none = jnp.zeros_like(y)
        self.tail = Tail(lax.abs(z))
        self.wrong, self.right = lax.select(z > 0, other, y), lax.select(z > 0, y, other)
        self._lost_wrong = lax.select(z > 0, lost, none)
        self._lost_right = lax.select(z > 0, none, lost)

    def error(self) -> Array:
        r"""$wrong - T$, as $(wrong - right\,t)/(1 + t)$ with the errors of both put back: a
        square doubles the error of its root."""
        t, rest_of_t = self.tail.t, self.tail.rest
        missed, lost = two_product(self.right, t)
        difference, rest = two_sum(self.wrong, -missed)
        rest = rest + self._lost_wrong - (lost + self.right * rest_of_t + self._lost_right * t)
        whole, lost_whole = two_sum(t, jnp.ones_like(t))
        quotient = difference / whole
        return quotient + (rest - quotient * lost_whole) / whole

    def bend(self) -> Array:
        r"""$\sigma' - (wrong - T) \tanh(|z|/2)$, the second derivative over $2 \sigma'$.

        Both terms have the denominator $(1 + t)^2$, and their numerators add up to
        $(t - wrong) + t (1 - right\,t)$. Near the root of that an error of $t$ counts twice, so
        that all rounding errors are put back.
        """
        t, rest_of_t = self.tail.t, self.tail.rest
        missed, lost_missed = two_product(self.right, t)
        hit, lost_hit = two_sum(-missed, jnp.ones_like(missed))
        second, lost = two_product(t, hit)
        lost_hit = lost_hit - (lost_missed + self._lost_right * t)
        rest = lost + t * lost_hit + 2 * hit * rest_of_t - self._lost_wrong
        first, lost_first = two_sum(t, -self.wrong)
        return ((first + second) + (rest + lost_first)) / (1 + t * (2 + t))


def _leibniz(order: int, z: Array, error: Array) -> Array:
    """The derivative of a square, of any order."""
    factors = [error, *(_sigmoid.nth_derivative(n)(z) for n in range(1, order + 1))]
    return sum(
        (math.comb(order, n) * (factors[n] * factors[order - n]) for n in range(order + 1)),
        jnp.zeros_like(z),
    )


_squared_error = differentiable(_partial, (0, 0))


@checked()
@compiled("axis", "check_labels")
def squared_error_on_sigmoid(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    where: ArrayLike | None = None,
    axis: Axis = None,
    check_labels: bool = False,
) -> Array:
    r"""Squared error $(\sigma(z) - y)^2$, for comparison with the cross-entropy.

    Its gradient $2(\sigma(z) - y)\,\sigma'(z)$ holds the factor $\sigma'(z)$, which the
    cross-entropy cancels: a neuron that is wrong and sure of it hardly learns.

    Args:
      logits: real, shape `[...]`; their dtype is the result's. 16-bit is computed in float32.
      labels: targets, usually in [0, 1]; the shapes broadcast together.
      where, axis, check_labels: as for `sigmoid_binary_cross_entropy`.

    Returns:
      Array of the joint shape less `axis`. Value and derivatives have the cross-entropy's
      accuracy: within 4, 5 and 6.5 ulp in float32, of the larger term where two cancel.

    Raises:
      TypeError, ValueError: as `sigmoid_binary_cross_entropy`.

    Example:
      A neuron that says 0.99 where 0 is right, with either loss:

      >>> import jax, sigjax
      >>> z = sigjax.logit(0.99)
      >>> print(f"{jax.grad(sigjax.losses.squared_error_on_sigmoid)(z, 0.0):.4f}")
      0.0196
      >>> print(f"{jax.grad(sigjax.losses.sigmoid_binary_cross_entropy)(z, 0.0):.4f}")
      0.9900
    """
    given = elements(
        "squared_error_on_sigmoid", {"logits": logits}, {"labels": labels}, where=where
    )
    return given.reduce(_squared_error(*given.arguments), axis)
