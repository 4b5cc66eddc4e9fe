"""Mean field of wide random networks: how far signals and gradients go."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from ._gaussian import gaussian_expectation

Activation = Callable[[Array], Array]

_MAX_ITERATIONS = 2_000
# A variance outside these has gone to 0 or to infinity. Near 0 every smooth activation is
# linear and near infinity every one of them is homogeneous, so that chi_1 no longer changes.
_VANISHED, _EXPLODED = 1e-12, 1e12


class MeanField(NamedTuple):
    r"""The fixed point of a wide network at initialisation.

    Attributes:
      q: variance of the pre-activations that a layer reproduces.
      chi1: mean squared singular value of a layer's Jacobian. From layer to layer the norm of
        the gradient changes by $\sqrt{\chi_1}$.
    """

    q: Array
    chi1: Array


@functools.partial(jax.jit, static_argnames="activation")
def mean_field(
    activation: Activation, weight_std: ArrayLike, bias_std: ArrayLike = 0.0
) -> MeanField:
    r"""Variance map and gradient factor of a wide fully connected network.

    With weights of variance $\sigma_w^2/n$ and biases of variance $\sigma_b^2$ the variance $q$
    of the pre-activations obeys $q \leftarrow \sigma_w^2 \mathrm{E}\,\phi(\sqrt q z)^2 +
    \sigma_b^2$, $z \sim N(0, 1)$, and at its fixed point $\chi_1 = \sigma_w^2
    \mathrm{E}\,\phi'(\sqrt q z)^2$.

    Args:
      activation: elementwise function $\phi$.
      weight_std: $\sigma_w$, scalar.
      bias_std: $\sigma_b$, scalar.

    Returns:
      `MeanField` of scalars; the fixed point is the one reached from $q = 1$. Where the
      variance dies out or explodes, `q` is 0 or inf and `chi1` its limit on the way there.

    Example:
      The logistic sigmoid with weights uniform on $\pm 1/\sqrt n$:

      >>> import sigjax
      >>> print(f"{mean_field(sigjax.sigmoid, 3**-0.5).chi1 ** 0.5:.5f}")
      0.14145

    References:
      Poole et al. 2016, NIPS 29. Schoenholz et al. 2017, ICLR (arXiv:1611.01232).
    """
    weight_variance = jnp.square(jnp.asarray(weight_std, float))
    bias_variance = jnp.square(jnp.asarray(bias_std, float))
    tolerance = 8 * float(jnp.finfo(weight_variance.dtype).eps)

    def layer(q: Array) -> Array:
        second_moment = gaussian_expectation(lambda z: jnp.square(activation(jnp.sqrt(q) * z)))
        return weight_variance * second_moment + bias_variance

    def unsettled(state: tuple[Array, Array, Array]) -> Array:
        q, previous, iteration = state
        moves = jnp.abs(q - previous) > tolerance * q
        return moves & (q > _VANISHED) & (q < _EXPLODED) & (iteration < _MAX_ITERATIONS)

    def advance(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        q, _, iteration = state
        return layer(q), q, iteration + 1

    start = jnp.ones_like(weight_variance)
    q, _, _ = lax.while_loop(unsettled, advance, (start, start * 2, jnp.int32(0)))

    def slope(z: Array) -> Array:
        return jax.jvp(activation, (z,), (jnp.ones_like(z),))[1]

    chi1 = weight_variance * gaussian_expectation(lambda z: jnp.square(slope(jnp.sqrt(q) * z)))
    settled = jnp.where(q <= _VANISHED, 0.0, jnp.where(q >= _EXPLODED, jnp.inf, q))
    return MeanField(settled, chi1)


@functools.partial(jax.jit, static_argnames=("activation", "bracket"))
def critical_weight_std(
    activation: Activation,
    bias_std: ArrayLike = 0.0,
    *,
    bracket: tuple[float, float] = (0.1, 100.0),
) -> Array:
    r"""The $\sigma_w$ at which $\chi_1 = 1$: gradients neither vanish nor explode.

    Bisection in $\log \sigma_w$. For tanh without biases the answer is 1, for ReLU $\sqrt 2$
    (He's rule). The logistic has one too, but only at $\sigma_w = 10.15$, where large weights
    have turned it into a step: $\chi_1 \to \sigma_w / (6\sqrt\pi)$ as $\sigma_w \to \infty$.

    Args:
      activation: elementwise function.
      bias_std: $\sigma_b$, scalar.
      bracket: where to look; $\chi_1 - 1$ must change sign on it.

    Returns:
      Scalar; NaN where $\chi_1$ jumps over 1 or does not reach it.

    Example:
      >>> import jax
      >>> print(f"{critical_weight_std(jax.nn.relu):.4f}")
      1.4142
    """

    def halve(_: int | Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = jnp.sqrt(low * high)
        vanishing = mean_field(activation, middle, bias_std).chi1 < 1
        return jnp.where(vanishing, middle, low), jnp.where(vanishing, high, middle)

    low, high = (jnp.asarray(end, float) for end in bracket)
    # 30 halvings bring a bracket of three decades below the spacing of float32.
    low, high = lax.fori_loop(0, 30, halve, (low, high))
    std = jnp.sqrt(low * high)
    reached = jnp.abs(mean_field(activation, std, bias_std).chi1 - 1) < 1e-3
    return jnp.where(reached, std, jnp.nan)
