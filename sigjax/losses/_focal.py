"""The focal loss: cross-entropy that forgets what is already right."""

import functools
import math
from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from ..functional._compiled import compiled
from ..functional._log1mexp import minus_log1m
from ..functional._sigmoid import tanh_half
from ._checked import LARGEST, checked
from ._cross_entropy import cross_entropy
from ._elements import Axis, elements
from ._partials import Kernel, Orders, by_tracing, differentiable
from ._tail import Tail

_ENTROPY = cross_entropy()


class _Miss:
    r"""The probability $q = y\,\sigma(-z) + (1-y)\,\sigma(z)$ of a miss, and quotients by it.

    With $r$ the mass of the label that the sign of $z$ is for, $w$ that of the other one and
    $t = e^{-|z|}$: $q = (w + r t)/(1 + t)$. Where $q$ and what it divides vanish together, the
    quotient is formed before either has.

    Attributes:
      slope: $\sigma'(z)/q$.
      excess: $(\sigma(z) - y)/q$.
      surprise: the cross-entropy $H$ over $q$.
      entropy, residual: $H$ and $\sigma(z) - y$ themselves.
      q: that itself.
      log: $\log q$.
    """

    def __init__(self, z: Array, y: Array):
        r, w = lax.select(z > 0, y, 1 - y), lax.select(z > 0, 1 - y, y)
        a = lax.abs(z)
        # Where w > 0, t is negligible beside w beyond some |z|. Where w = 0, q is proportional to t
        # and would underflow: all is evaluated at |z| <= reach, then q is multiplied by
        # e^-(|z| - reach).
        reach = 80.0 if z.dtype == jnp.float32 else 700.0
        near = lax.select(w == 0, jnp.minimum(a, reach), a)
        tail = Tail(near)
        missed = tail.times(r)
        total = w + missed
        self._near, self._beyond = _by_whole(total, tail), a - near
        self.q = self._near * jnp.exp(-self._beyond)
        hit = _by_whole(r + tail.times(w), tail)
        self.log = lax.select(
            hit < 0.5, -minus_log1m(jnp.minimum(hit, 0.5)), jnp.log(self._near) - self._beyond
        )
        excess = (w - missed) / total
        self.excess = lax.select(z > 0, excess, -excess)
        self.slope = _by_whole(tail.t, tail) / total
        self.surprise = (tail.log1p() + w * a) * (1 + tail.t) / total
        far = Tail(a)
        self.entropy = far.log1p() + w * a
        residual = _by_whole(w - far.times(r), far)
        self.residual = lax.select(z > 0, residual, -residual)

    def times_power(self, factor: Array, exponent: Array, more: int = 0) -> Array:
        """A factor times $q$ to an exponent and a whole number; normal where that is."""
        if more == -1:
            divided = self.times_power(factor / self.q, exponent)
            lowered = self.times_power(factor, exponent - 1)  # q may be 0 where this is not
            return lax.select(self._is_small(self.q), lowered, divided)
        power, half = self._power(exponent), self._power(exponent / 2)
        product = lax.select(self._is_small(power), half * factor * half, power * factor)
        product = product * self.q if more == 1 else product
        return lax.select(factor == 0, factor, product)

    @staticmethod
    def _is_small(x: Array) -> Array:
        """Whether a product with it may be subnormal, or a quotient by it infinite."""
        return x < float(jnp.finfo(x.dtype).tiny) * 2.0**20

    def _power(self, exponent: Array) -> Array:
        return jnp.power(self._near, exponent) * jnp.exp(-exponent * self._beyond)


def _by_whole(x: Array, tail: Tail) -> Array:
    r"""$x/(1 + t)$, for small t as $x - x\,t/(1 + t)$: what 1 + t rounds away counts by t only."""
    whole = 1 + tail.t
    return lax.select(tail.t < 1 / 4, x - x * (tail.t / whole), x / whole)


def _clipped(z: Array) -> Array:
    r"""Logits whose multiples by some $\gamma^2$ are finite."""
    limit = float(jnp.finfo(z.dtype).max) / 2**10
    return jnp.clip(z, -limit, limit)


# Each derivative of q^gamma H, with H the cross-entropy, is q^(gamma + shift) times a bracket of
# the quotients by q above, of m = 1 - 2y and of u = tanh(z/2): q_z = m sigma', q_y = -u.
_Bracket = Callable[[_Miss, Array, Array, Array, Array], Array]
_FORMS: dict[Orders, tuple[int, _Bracket]] = {
    (0, 0, 0): (1, lambda q, z, m, u, g: q.surprise),
    (1, 0, 0): (0, lambda q, z, m, u, g: g * (m * q.slope * q.entropy) + q.residual),
    (0, 1, 0): (0, lambda q, z, m, u, g: -(g * (u * q.surprise) + z)),
    (0, 0, 1): (1, lambda q, z, m, u, g: q.log * q.surprise),
    (2, 0, 0): (
        1,
        lambda q, z, m, u, g: (
            q.slope * (g * m * (((g - 1) * (m * q.slope) - u) * q.surprise + 2 * q.excess) + 1)
        ),
    ),
    (1, 1, 0): (
        0,
        lambda q, z, m, u, g: (
            -(
                g * (q.slope * (((g - 1) * (m * u) + 2 * q.q) * q.surprise + m * z) + u * q.excess)
                + 1
            )
        ),
    ),
    (0, 2, 0): (-1, lambda q, z, m, u, g: g * u * ((g - 1) * (u * q.surprise) + 2 * z)),
    (1, 0, 1): (
        1,
        lambda q, z, m, u, g: (1 + g * q.log) * (m * q.slope * q.surprise) + q.log * q.excess,
    ),
    (0, 1, 1): (0, lambda q, z, m, u, g: -((1 + g * q.log) * (u * q.surprise) + q.log * z)),
    (0, 0, 2): (1, lambda q, z, m, u, g: q.log * q.log * q.surprise),
}


def _unweighted(orders: Orders) -> Kernel:
    r"""A derivative of $q^\gamma H$ by $z$, $y$ and $\gamma$."""
    if orders not in _FORMS:
        last = max(i for i, n in enumerate(orders) if n)
        return by_tracing(_unweighted(tuple(n - (i == last) for i, n in enumerate(orders))), last)
    shift, bracket = _FORMS[orders]

    def kernel(z: Array, y: Array, gamma: Array) -> Array:
        z = _clipped(z)
        miss = _Miss(z, y)
        factor = bracket(miss, z, 1 - 2 * y, tanh_half(z), gamma)
        return miss.times_power(factor, gamma, shift)

    return kernel


def _value(z: Array, y: Array, gamma: Array) -> Array:
    entropy = _ENTROPY(z, y)
    # An entropy of 0 or infinity has the last word, also beside a power that underflowed.
    decided = (entropy == 0) | jnp.isinf(entropy)
    return lax.select(decided, entropy, _Miss(_clipped(z), y).times_power(entropy, gamma))


def _balance(by_label: int, by_alpha: int) -> Callable[[Array, Array], Array] | None:
    r"""A derivative of $\alpha y + (1 - \alpha)(1 - y)$, each of which is one difference."""
    forms: dict[tuple[int, int], Callable[[Array, Array], Array]] = {
        (0, 0): lambda y, alpha: alpha * y + (1 - alpha) * (1 - y),
        (1, 0): lambda y, alpha: 2 * alpha - 1,
        (0, 1): lambda y, alpha: 2 * y - 1,
        (1, 1): lambda y, alpha: jnp.full_like(y, 2),
    }
    return forms.get((by_label, by_alpha))


@functools.cache
def _focal(balanced: bool) -> Kernel:
    r"""Returns the loss as a differentiable function of $z, y, \gamma$ and, if any, $\alpha$."""

    def partial(orders: Orders) -> Kernel | None:
        if not balanced:
            return _unweighted(orders) if any(orders) else _value
        by_z, by_y, by_gamma, by_alpha = orders
        terms = []
        for of_weight in range(min(by_y, 1) + 1):  # Leibniz' rule
            weight = _balance(of_weight, by_alpha)
            rest = (by_z, by_y - of_weight, by_gamma)
            if weight is not None:
                loss = _unweighted(rest) if any(rest) or any(orders) else _value
                terms.append((math.comb(by_y, of_weight), weight, loss))
        if not terms:
            return None

        def kernel(z: Array, y: Array, gamma: Array, alpha: Array) -> Array:
            summands = []
            for count, weight, loss in terms:
                factor = weight(y, alpha)
                value = loss(z, y, gamma)
                product = lax.select(factor == 0, jnp.zeros_like(z), factor * value)
                summands.append(count * product)
            return functools.reduce(jnp.add, summands)

        return kernel

    return differentiable(partial, (0,) * (3 + balanced))


@checked(alpha=(0.0, 1.0), gamma=(0.0, LARGEST))
@compiled("axis", "check_labels")
def sigmoid_focal_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    alpha: ArrayLike | None = None,
    gamma: ArrayLike = 2.0,
    *,
    where: ArrayLike | None = None,
    axis: Axis = None,
    check_labels: bool = False,
) -> Array:
    r"""Focal loss $\alpha_t\, q^\gamma$ times the cross-entropy of logits $z$.

    $q = y\,\sigma(-z) + (1-y)\,\sigma(z)$ is the probability of a miss and
    $\alpha_t = \alpha y + (1-\alpha)(1-y)$. Drop-in for `optax.losses.sigmoid_focal_loss`, which
    is NaN at infinite logits. $\gamma = 0$ is the cross-entropy.

    In float32 and float64, for labels 0 and 1 and $\gamma = 2$, the value is within 7 ulp and the
    derivative by the logit within 9; second derivatives lose more near their roots.

    Args:
      logits: real, shape `[...]`; their dtype is the result's. 16-bit is computed in float32.
      labels: in [0, 1], of any real or boolean dtype; the shapes broadcast together.
      alpha: weight of positives in [0, 1], that of negatives being $1 - \alpha$; None for none.
      gamma: focus $\gamma \ge 0$.
      where, axis, check_labels: as for `sigmoid_binary_cross_entropy`.

    Returns:
      Array of the joint shape less `axis`. An infinite logit costs 0 where it is right and
      infinity where it is wrong. The gradients with respect to logits and labels are finite
      everywhere; where the truth is infinite (the label's, at an infinite logit) the largest
      numbers stand for it. For $\gamma > 0$ second derivatives with respect to labels may
      overflow next to labels 0 and 1.

    Raises:
      TypeError, ValueError: as `sigmoid_binary_cross_entropy`.

    Example:
      >>> import sigjax
      >>> easy, hard = (sigjax.losses.sigmoid_focal_loss(z, 1, gamma=2.0) for z in (3.0, -3.0))
      >>> print(f"{easy:.6f} {hard:.4f}")
      0.000109 2.7663

    References:
      Lin, Goyal, Girshick, He & Dollár 2017, ICCV 2980-2988, equations 4 and 5.
    """
    given = elements(
        "sigmoid_focal_loss",
        {"logits": logits},
        {"labels": labels, "gamma": gamma, "alpha": alpha},
        where=where,
    )
    return given.reduce(_focal(alpha is not None)(*given.arguments), axis)
