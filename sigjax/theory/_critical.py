"""Where gradients neither vanish nor explode."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from ..functional._arguments import check_functions
from ..functional._implicit import with_derivatives
from ..functional._messages import must
from ..functional._undefined import nan_unless
from ._double import in_double
from ._gaussian import gaussian_expectation
from ._mean_field import (
    Activation,
    gradient_factor,
    refuse_negative,
    settled_variance,
)

# Halvings of a bracket of three decades down to the spacing of float64.
_HALVINGS = 56
# chi_1 may miss 1 by this at the end of the bisection; more means that it jumped.
_JUMP = 1e-3


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
      bias_std: $\sigma_b$, any shape.
      bracket: where to look; $\chi_1 - 1$ must change sign on it.

    Returns:
      Array of the shape of `bias_std`; NaN where $\chi_1$ jumps over 1 or does not reach it.

    Raises:
      ValueError: if `bias_std` is negative or not finite, or the bracket is not one.

    Example:
      >>> import jax
      >>> print(f"{critical_weight_std(jax.nn.relu):.4f}")
      1.4142
    """
    check_functions(activation=activation)
    refuse_negative(bias_std=bias_std)
    if not 0 < bracket[0] < bracket[1]:
        raise ValueError(
            must(
                "bracket",
                "be two increasing positive numbers",
                bracket,
                of="sigjax.theory.critical_weight_std",
            )
        )
    return _critical_weight_std((activation, bracket), bias_std)


@in_double
def _critical_weight_std(static: tuple[Activation, tuple[float, float]], bias_std: Array) -> Array:
    activation, bracket = static

    def excess(log_std: Array) -> Array:
        q = settled_variance(activation, jnp.exp(log_std), bias_std)
        return jnp.log(gradient_factor(activation, jnp.exp(log_std), q))

    def halve(_: int | Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        vanishing = excess(middle) < 0
        return jnp.where(vanishing, middle, low), jnp.where(vanishing, high, middle)

    ends = tuple(jnp.full_like(bias_std, jnp.log(end)) for end in bracket)
    low, high = lax.fori_loop(0, _HALVINGS, halve, lax.stop_gradient(ends))
    log_std = with_derivatives(excess, (low + high) / 2)
    reached = jnp.abs(excess(log_std)) < _JUMP
    return nan_unless(reached, jnp.exp(log_std))


class CriticalPoint(NamedTuple):
    """Standard deviations of weights (times the root of the fan-in) and of biases."""

    weight_std: Array
    bias_std: Array


def critical_line(activation: Activation, q: ArrayLike) -> CriticalPoint:
    r"""The critical network whose pre-activations have variance $q$.

    The line $\chi_1 = 1$ in closed form, with $q$ as its parameter: $\sigma_w^2 = 1 /
    \mathrm{E}\,\phi'(\sqrt q z)^2$ and $\sigma_b^2 = q - \sigma_w^2 \mathrm{E}\,\phi(\sqrt q
    z)^2$. A small $q$ keeps a bounded activation in its linear part.

    Args:
      activation: elementwise function $\phi$.
      q: variance, positive, any shape.

    Returns:
      `CriticalPoint` of arrays of the shape of `q`; `bias_std` is NaN where no biases can bring
      the variance to $q$ since the weights alone make it larger. The variance of the biases is a
      difference of numbers as large as $q$, right to $10^{-15} q$: for tanh, where it goes to
      $\frac43 q^3$, two digits are left at $q = 10^{-7}$ and none below $10^{-8}$.

    Raises:
      ValueError: if a `q` that is not traced is negative or not finite.

    Example:
      The setting of Pennington et al. 2017, figure 3:

      >>> import jax.numpy as jnp
      >>> point = critical_line(jnp.tanh, 0.0259)
      >>> print(f"{point.weight_std**2:.3f} {point.bias_std**2:.2e}")
      1.050 2.01e-05

    References:
      Poole et al. 2016, NIPS 29. Pennington, Schoenholz & Ganguli 2017, NIPS 30
      (arXiv:1711.04735).
    """
    check_functions(activation=activation)
    refuse_negative(q=q)
    return _critical_line(activation, q)


@in_double
def _critical_line(activation: Activation, q: Array) -> CriticalPoint:
    weight_std = 1 / jnp.sqrt(gradient_factor(activation, jnp.ones_like(q), q))
    moment = gaussian_expectation(lambda z: jnp.square(activation(jnp.sqrt(q) * z)))
    return CriticalPoint(weight_std, jnp.sqrt(q - jnp.square(weight_std) * moment))
