"""Cross-entropy of a Bernoulli variable, from its logit."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from ..functional import sigmoid, sigmoid_derivative, softplus
from ._elements import Axis, elements, parameter


def saturate(magnitude: Array) -> Array:
    """Cuts at 1/16 of the largest number, so that 0 times it, and some of it, are finite."""
    return jnp.minimum(magnitude, float(jnp.finfo(magnitude.dtype).max) / 16)


# Both functions below are linear in the two masses, and so is each of their derivatives: the
# rules pass the masses' tangents through the same lines. Nothing is subtracted that could
# cancel: of softplus(z) and softplus(-z), the larger is the smaller plus |z|.


@jax.custom_jvp
def cross_entropy(z: Array, positive: Array, negative: Array) -> Array:
    r"""$a \log(1 + e^{-z}) + b \log(1 + e^{z})$ for masses $a$ of label 1 and $b$ of label 0."""
    wrong = jnp.where(z > 0, negative, positive)
    # 0 times infinity: a logit may be infinite on the right side.
    distance = jnp.where(wrong == 0, 0, jnp.abs(z)) * wrong
    return (positive + negative) * softplus(-jnp.abs(z)) + distance


@cross_entropy.defjvp
def _(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    (z, _, _), (dz, dpositive, dnegative) = primals, tangents
    distance = saturate(jnp.abs(z)) * jnp.where(z > 0, dnegative, dpositive)
    of_masses = (dpositive + dnegative) * softplus(-jnp.abs(z)) + distance
    return cross_entropy(*primals), residual(*primals) * dz + of_masses


def _residual(z: Array, positive: Array, negative: Array) -> Array:
    tail = (positive + negative) * sigmoid(-jnp.abs(z))
    return jnp.where(z > 0, negative - tail, tail - positive)


@jax.custom_jvp
def residual(z: Array, positive: Array, negative: Array) -> Array:
    r"""$b\,\sigma(z) - a\,\sigma(-z)$; for $a = y$, $b = 1 - y$ it is $\sigma(z) - y$."""
    return _residual(z, positive, negative)


@residual.defjvp
def _(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    z, positive, negative = primals
    dz, dpositive, dnegative = tangents
    curvature = (positive + negative) * sigmoid_derivative(z)
    return residual(*primals), curvature * dz + _residual(z, dpositive, dnegative)


def sigmoid_binary_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    pos_weight: ArrayLike | None = None,
    label_smoothing: ArrayLike = 0.0,
    where: ArrayLike | None = None,
    axis: Axis = None,
    check_labels: bool = False,
) -> Array:
    r"""Cross-entropy $-w\,y \log \sigma(z) - (1-y) \log(1 - \sigma(z))$ of logits $z$.

    Drop-in for `optax.losses.sigmoid_binary_cross_entropy`. The gradient is exactly
    $\sigma(z) - y$ ($w = 1$) and the Hessian $\sigma'(z)$, whatever the label; optax's Hessian
    is 0 at $z = -20$, $y = 1$.

    Args:
      logits: real, shape `[...]`; their dtype is the result's. 16-bit is computed in float32.
      labels: probabilities of the positive class, of any real or boolean dtype; the shapes
        broadcast together.
      pos_weight: $w \ge 0$, the weight of positives; broadcasts, e.g. one a class.
      label_smoothing: $s$ in [0, 1]; labels become $(1-s) y + s/2$.
      where: boolean; entries where it is False count 0 and get gradient 0, even if they hold NaN.
      axis: axis or axes to sum over: the negative log-likelihood of independent labels. None
        leaves every entry for itself, as optax does.
      check_labels: whether to raise if a label that counts is outside [0, 1].

    Returns:
      Array of the joint shape less `axis`. An infinite logit costs 0 where it is right and
      infinity where it is wrong; the gradients are finite in both cases.

    Raises:
      TypeError: if an argument is not a real number or array, or `where` is not boolean.
      ValueError: if shapes do not broadcast, a parameter is outside its range, or
        `check_labels` finds a label outside [0, 1]. Under `jit` the latter is an error of
        `jax.experimental.checkify`, which the program has to be transformed with.

    Example:
      >>> import jax, sigjax
      >>> loss = sigjax.losses.sigmoid_binary_cross_entropy
      >>> print(f"{loss(-20.0, 1.0):.6f} {jax.grad(jax.grad(loss))(-20.0, 1.0):.5g}")
      20.000000 2.0612e-09

    References:
      Goodfellow, Bengio & Courville 2016, Deep Learning, section 6.2.2.2.
    """
    name = "sigmoid_binary_cross_entropy"
    given = elements(name, logits, labels, where=where, check_labels=check_labels)
    positive, negative = given.labels, 1 - given.labels
    if not (isinstance(label_smoothing, (int, float)) and label_smoothing == 0):
        s = parameter(name, "label_smoothing", label_smoothing, positive, 0.0, 1.0)
        positive, negative = (1 - s) * positive + s / 2, (1 - s) * negative + s / 2
    if pos_weight is not None:
        limit = float(jnp.finfo(positive.dtype).max)
        positive = parameter(name, "pos_weight", pos_weight, positive, 0.0, limit) * positive
    arguments = jnp.broadcast_arrays(given.logits, positive, negative)
    return given.reduce(cross_entropy(*arguments), axis)
