"""The focal loss: cross-entropy that forgets what is already right."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from ..functional import sigmoid, softplus, tanh_from_sigmoid
from ._cross_entropy import cross_entropy, residual, saturate
from ._elements import Axis, elements, parameter


class _Miss(NamedTuple):
    r"""The probability $q = y\,\sigma(-z) + (1-y)\,\sigma(z)$ of a miss, and quotients by it.

    With $r$ the mass of the label that the sign of $z$ is for, $w$ that of the other one and
    $t = e^{-|z|}$: $q = (w + r t)/(1 + t)$. Where $q$ and what it divides vanish together, the
    quotient is formed before either has.

    Attributes:
      power: $q^\gamma$.
      log: $\log q$.
      inverse: $1/q$, cut where it would overflow.
      slope: $\sigma'(z)/q$.
      excess: $(\sigma(z) - y)/q$.
      surprise: the cross-entropy over $q$.
    """

    power: Array
    log: Array
    inverse: Array
    slope: Array
    excess: Array
    surprise: Array


@jax.custom_jvp
def _miss(z: Array, y: Array, gamma: Array) -> _Miss:
    r, w = jnp.where(z > 0, y, 1 - y), jnp.where(z > 0, 1 - y, y)
    a = jnp.abs(z)
    # Unless w is 0, t has no influence beyond; if it is, all is known but for a power of t.
    reach = 80.0 if z.dtype == jnp.float32 else 700.0
    near = jnp.where(w == 0, jnp.minimum(a, reach), a)
    hit, missed = w * sigmoid(near), r * sigmoid(-near)
    q = hit + missed
    return _Miss(
        power=jnp.power(q, gamma) * jnp.exp(-gamma * (a - near)),
        log=jnp.log(q) - (a - near),
        inverse=1 / q,
        slope=sigmoid(-near) * sigmoid(near) / q,
        excess=jnp.copysign(1, z) * (hit - missed) / q,
        surprise=((r + w) * softplus(-near) + w * a) / q,
    )


@_miss.defjvp
def _(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[_Miss, _Miss]:
    (z, y, gamma), (dz, dy, dgamma) = primals, tangents
    miss = _miss(z, y, gamma)
    tanh = tanh_from_sigmoid(z / 2)
    dlog = (1 - 2 * y) * miss.slope * dz - tanh * miss.inverse * dy
    return miss, _Miss(
        power=miss.power * (gamma * dlog + miss.log * dgamma),
        log=dlog,
        inverse=-miss.inverse * dlog,
        slope=-miss.slope * (tanh * dz + dlog),
        excess=miss.slope * dz - miss.inverse * dy - miss.excess * dlog,
        surprise=miss.excess * dz - z * miss.inverse * dy - miss.surprise * dlog,
    )


@jax.custom_jvp
def _focal(z: Array, y: Array, gamma: Array, weight: Array) -> Array:
    entropy = cross_entropy(z, y, 1 - y)
    # An entropy of 0 or infinity has the last word, also beside a power that underflowed.
    decided = (entropy == 0) | jnp.isinf(entropy)
    power = jnp.where(decided, 1, _miss(_finite(z), y, gamma).power)
    return jnp.where(weight == 0, 0, weight * (power * entropy))


@_focal.defjvp
def _(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    (z, y, gamma, weight), (dz, dy, dgamma, dweight) = primals, tangents
    z = _finite(z)
    miss, entropy = _miss(z, y, gamma), cross_entropy(z, y, 1 - y)
    of_logits = gamma * (1 - 2 * y) * miss.slope * entropy + residual(z, y, 1 - y)
    of_labels = -(gamma * tanh_from_sigmoid(z / 2) * miss.surprise + z)
    within = of_logits * dz + of_labels * dy + entropy * miss.log * dgamma
    return _focal(*primals), miss.power * (weight * within + entropy * dweight)


def _finite(z: Array) -> Array:
    return jnp.where(z < 0, -1, 1) * saturate(jnp.abs(z))


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
    name = "sigmoid_focal_loss"
    given = elements(name, logits, labels, where=where, check_labels=check_labels)
    z, y = given.logits, given.labels
    gamma = parameter(name, "gamma", gamma, z, 0.0, float(jnp.finfo(z.dtype).max))
    weight = jnp.ones_like(z)
    if alpha is not None:
        share = parameter(name, "alpha", alpha, z, 0.0, 1.0)
        weight = share * y + (1 - share) * (1 - y)
    return given.reduce(_focal(*jnp.broadcast_arrays(z, y, gamma, weight)), axis)
