"""The gradient that mean field predicts for each layer."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from ..functional._arguments import check_functions, check_integers
from ._double import in_double
from ._mean_field import Activation, gradient_factor, refuse_negative, variance_map


class GradientProfile(NamedTuple):
    r"""Predictions for the layers 1 to `depth`, arrays `[..., depth]`.

    Attributes:
      q: variance of the pre-activations.
      chi: $\sigma_w^2 \mathrm{E}\,\phi'(\sqrt{q_l} z)^2$, the factor by which the squared
        gradient at the pre-activations of layer $l$ differs from that of layer $l + 1$.
      log10_norm: $\log_{10}$ of the norm of the gradient at the pre-activations over its norm at
        the last layer. A logarithm, since the norm itself leaves every dtype's range.
    """

    q: Array
    chi: Array
    log10_norm: Array


def gradient_profile(
    activation: Activation,
    weight_std: ArrayLike,
    bias_std: ArrayLike = 0.0,
    *,
    depth: int,
    input_variance: ArrayLike = 1.0,
) -> GradientProfile:
    r"""How a wide network passes gradients down, layer by layer, before any fixed point is reached.

    Layer 1 has pre-activations of variance $q_1 = \sigma_w^2 v + \sigma_b^2$ for inputs whose mean
    square is $v$; then $q_{l+1} = V(q_l)$. The squared norm of the gradient is multiplied by
    $\chi_l$ from layer $l+1$ to layer $l$.

    Args:
      activation: elementwise function $\phi$.
      weight_std: $\sigma_w$, any shape.
      bias_std: $\sigma_b$, of a shape that broadcasts with it.
      depth: number of layers.
      input_variance: $v$, broadcasts too.

    Returns:
      `GradientProfile`. Derivatives are NaN where a variance is 0.

    Raises:
      ValueError: if `depth` is not positive, or an argument is negative or not finite.

    Example:
      Thirty logistic layers with weights uniform on $\pm 1/\sqrt n$:

      >>> import sigjax
      >>> profile = gradient_profile(sigjax.sigmoid, 3**-0.5, depth=30)
      >>> print(f"{profile.log10_norm[0]:.1f}")
      -24.7

    References:
      Schoenholz et al. 2017, ICLR (arXiv:1611.01232), section 4.
    """
    check_functions(activation=activation)
    refuse_negative(weight_std=weight_std, bias_std=bias_std, input_variance=input_variance)
    check_integers(depth=depth)
    return _gradient_profile((activation, depth), weight_std, bias_std, input_variance)


@in_double
def _gradient_profile(
    static: tuple[Activation, int], weight_std: Array, bias_std: Array, input_variance: Array
) -> GradientProfile:
    activation, depth = static
    following = variance_map(activation, weight_std, bias_std)

    def layer(q: Array, _: None) -> tuple[Array, tuple[Array, Array]]:
        return following(q), (q, gradient_factor(activation, weight_std, q))

    first = jnp.square(weight_std) * input_variance + jnp.square(bias_std)
    _, (q, chi) = lax.scan(layer, first, None, length=depth)
    above = jnp.log10(chi).at[-1].set(0.0)  # the last layer's own is not between two layers
    return GradientProfile(q, chi, jnp.cumsum(above[::-1])[::-1] / 2)
