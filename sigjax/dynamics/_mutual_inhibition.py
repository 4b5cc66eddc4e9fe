r"""Two populations, each a sigmoid of what the other leaves it: $x = \sigma(p - \alpha y)$,
$y = \sigma(q - \beta x)$ with $\alpha, \beta > 0$.

Flip-flop and sleep switch are this in other units. Coordinates are the logits $u$ of $x$ and $v$
of $y$, whose relative precision lasts where $x$ or $1 - x$ does not.

All equilibria: they are the roots of $h(u) = u - p + \alpha \sigma(q - \beta \sigma(u))$ between
$p - \alpha$ and $p$, with $h' = 1 - \alpha \beta \sigma'(u) \sigma'(v)$. The logarithm of the
product $\alpha \beta \sigma'(u) \sigma'(v)$ is concave in $x$, since $\log x(1 - x)$ is and $v$ is
linear in $x$. So $h$ has at most two turning points, on either side of the product's maximum, and
at most three roots, each alone in an interval where $h$ is monotone.

All folds: equilibria where $\alpha \beta \sigma'(u) \sigma'(v) = 1$, that is
$\mathrm{sech}^2(u/2)\, \mathrm{sech}^2(v/2) = 16/(\alpha\beta)$: a closed convex curve in $(u, v)$
around 0, passed once by an angle.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from sigjax.functional import sigmoid, sigmoid_derivative

from ._bisection import bisect

MOST = 3


class Roots(NamedTuple):
    """Logits `[..., 3]` of the equilibria from left to right, and which of them there are.

    The others are finite, and mean nothing.
    """

    u: Array
    v: Array
    exists: Array
    stable: Array


@jax.jit
def roots(p: Array, q: Array, alpha: Array, beta: Array) -> Roots:
    """All equilibria; the arguments have one shape."""

    def other(u: Array) -> Array:
        return q - beta * sigmoid(u)

    def height(u: Array) -> Array:
        return u - p + alpha * sigmoid(other(u))

    def excess(u: Array) -> Array:
        """Positive where h falls."""
        return alpha * beta * sigmoid_derivative(u) * sigmoid_derivative(other(u)) - 1

    def towards_maximum(u: Array) -> Array:
        """Of the sign of the product's derivative by x."""
        return beta * sigmoid_derivative(u) * jnp.tanh(other(u) / 2) - jnp.tanh(u / 2)

    low, high = p - alpha, p
    top = bisect(towards_maximum, low, high)
    top = jnp.clip(top, low, high)
    left = jnp.where(excess(low) < 0, bisect(excess, low, top), low)
    right = jnp.where(excess(high) < 0, bisect(excess, top, high), high)
    folded = excess(top) > 0
    left, right = jnp.where(folded, left, high), jnp.where(folded, right, high)

    three = folded & (height(left) > 0) & (height(right) < 0)
    # With one root: beyond the right turning point if h is below 0 at the left one.
    first_end = jnp.where(height(left) > 0, left, high)
    u = jnp.stack(
        [
            bisect(height, low, first_end),
            bisect(height, left, right),
            bisect(height, right, high),
        ],
        axis=-1,
    )
    exists = jnp.stack([jnp.ones_like(three), three, three], axis=-1)
    v = q[..., None] - beta[..., None] * sigmoid(u)
    stable = exists & jnp.stack([jnp.ones_like(three), ~three, three], axis=-1)
    return Roots(u, v, exists, stable)


def fold_curve(angle: Array, alpha: Array, beta: Array) -> tuple[Array, Array]:
    r"""The fold $(u, v)$ at an angle in radians.

    $|u| = 2 \operatorname{artanh} \sqrt{1 - e^{-K \cos^2 \phi}}$ and $|v|$ with the sine, where
    $e^K = \alpha \beta / 16$; u is negative and v positive between 0 and $\pi / 2$. Where
    $\alpha \beta < 16$ there is no fold, and the result is finite and means nothing.
    """
    k = jnp.log(alpha * beta / 16)
    k = jnp.where(k < 0, 1, k)

    def logit(part: Array) -> Array:
        # artanh(sqrt(1 - z)) with z = exp(-k part^2)
        root = jnp.sqrt(-jnp.expm1(-k * part**2))
        return jnp.sign(part) * (2 * jnp.log1p(root) + k * part**2)

    return -logit(jnp.cos(angle)), logit(jnp.sin(angle))


def inputs(u: Array, v: Array, alpha: Array, beta: Array) -> tuple[Array, Array]:
    """The (p, q) for which (u, v) is an equilibrium."""
    return u + alpha * sigmoid(v), v + beta * sigmoid(u)


def _cusp_angle(alpha: Array, beta: Array) -> Array:
    """Where two folds of the curve meet, between -pi/2 and 0; the other cusp is half a turn on.

    There the curve is tangent to the lines of constant q.
    """

    def tangency(angle: Array) -> Array:
        u, v = fold_curve(angle, alpha, beta)
        return jnp.tanh(v / 2) - alpha * sigmoid_derivative(v) * jnp.tanh(u / 2)

    quarter = jnp.full_like(alpha, jnp.pi / 2)
    return bisect(tangency, -quarter, jnp.zeros_like(alpha))


@jax.jit
def folds_along_p(q: Array, alpha: Array, beta: Array) -> tuple[Array, Array, Array]:
    """The lower and the upper p between which there are two stable equilibria, if there are.

    Between the cusps q rises along one side of the curve and falls along the other.
    """

    def input_of_y(angle: Array) -> Array:
        return inputs(*fold_curve(angle, alpha, beta), alpha, beta)[1] - q

    cusp = _cusp_angle(alpha, beta)
    found = []
    for start in (cusp, cusp + jnp.pi):
        angle = bisect(input_of_y, start, start + jnp.pi)
        found.append(inputs(*fold_curve(angle, alpha, beta), alpha, beta)[0])
    between = input_of_y(cusp) * input_of_y(cusp + jnp.pi) < 0
    exists = between & (alpha * beta >= 16)
    return jnp.minimum(*found), jnp.maximum(*found), exists


@jax.jit
def folds_along_difference(total: Array, alpha: Array) -> Array:
    """Half the difference |p - q| at the fold with alpha = beta where p + q is `total`.

    The sum of the inputs rises from one cusp of the curve to the other.
    """

    def excess(angle: Array) -> Array:
        p, q = inputs(*fold_curve(angle, alpha, alpha), alpha, alpha)
        return p + q - total

    quarter = jnp.full_like(alpha, jnp.pi / 4)
    angle = bisect(excess, -quarter, 3 * quarter)
    p, q = inputs(*fold_curve(angle, alpha, alpha), alpha, alpha)
    return jnp.abs(p - q) / 2
