"""The squared error of a sigmoid: the loss that does not fit it."""

import jax
from jax import Array
from jax.typing import ArrayLike

from ..functional import sigmoid_derivative
from ._cross_entropy import residual
from ._elements import Axis, elements


@jax.custom_jvp
def _squared(z: Array, y: Array) -> Array:
    error = residual(z, y, 1 - y)
    return error * error


@_squared.defjvp
def _(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (z, y), (dz, dy) = primals, tangents
    error = residual(z, y, 1 - y)
    return _squared(z, y), 2 * (error * sigmoid_derivative(z)) * dz - 2 * error * dy


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
      Array of the joint shape less `axis`.

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
    name = "squared_error_on_sigmoid"
    given = elements(name, logits, labels, where=where, check_labels=check_labels)
    return given.reduce(_squared(given.logits, given.labels), axis)
