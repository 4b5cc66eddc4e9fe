"""The singular values of a deep network's input-output Jacobian at initialisation."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from ..functional._arguments import check_functions, check_integers
from ..functional._messages import must
from ..functional._undefined import nan_unless
from ._double import in_double
from ._gaussian import COARSE_NODES, NODES, normal_nodes
from ._mean_field import Activation, refuse_negative, slope_of

ENSEMBLES = ("gaussian", "orthogonal")

# The resolvent is followed from far away, where it is known, down to the real line: from an
# imaginary part of 10^3 times the eigenvalue to 10^-6 of it. Between two stages that shrinks by
# a fifth, which Newton's method follows in 3 steps.
_FAR, _NEAR = 1e3, 1e-6
_STAGES = 100
_NEWTON_STEPS = 3
# A solution has its eigenvalue to this relative precision.
_LOST = 1e-6
# The largest eigenvalue is a minimum over one variable: golden-section steps to 1e-12.
_GOLDEN_STEPS = 60


class JacobianMoments(NamedTuple):
    r"""The squared singular values of $J = \prod_l D_l W_l$, arrays of the shape of `q`.

    Attributes:
      mean: $m_1 = \chi_1^L$.
      variance: of the squared singular values.
      relative_variance: variance over squared mean, $L\,(\mu_2/\mu_1^2 - 1 - s_1)$, with $s_1 = -1$
        for Gaussian weights and 0 for orthogonal ones.
      largest: the upper edge of the spectrum.
    """

    mean: Array
    variance: Array
    relative_variance: Array
    largest: Array


def jacobian_moments(
    activation: Activation,
    weight_std: ArrayLike,
    q: ArrayLike,
    *,
    depth: int,
    ensemble: str = "gaussian",
) -> JacobianMoments:
    r"""Mean, variance and upper edge of the squared singular values of $J$.

    With $\mu_k = \mathrm{E}\,\phi'(\sqrt q z)^{2k}$ the moments are those of Pennington et al.
    The upper edge is where $\lambda(w)$ below has its minimum:

    $$\lambda(w) = \frac{1 + m}{m} \Big(\frac{\sigma_w^2\, m\, w}{1 + m}\Big)^L\,
      (1 + m)^{L}\;\text{(Gaussian; without the last factor for orthogonal weights)},\quad
      m(w) = \mathrm{E}\,\frac{\phi'^2}{w - \phi'^2},$$

    which is the product of S-transforms, solved for the eigenvalue. For linear networks it gives
    $(L+1)^{L+1}/L^L$ with Gaussian weights.

    Args:
      activation: elementwise function $\phi$.
      weight_std: $\sigma_w$, any shape: Gaussian weights have variance $\sigma_w^2/n$, orthogonal
        ones satisfy $W^\top W = \sigma_w^2 I$.
      q: variance of the pre-activations, the same in all layers; broadcasts.
      depth: $L$, number of layers.
      ensemble: "gaussian" or "orthogonal".

    Returns:
      `JacobianMoments`. Derivatives are NaN at `q` = 0, unless the activation is linear.

    Raises:
      ValueError: if `depth` or `ensemble` is not one, or an argument is negative.

    Example:
      Fifty critical tanh layers with small signals, orthogonal and Gaussian:

      >>> import jax.numpy as jnp
      >>> from sigjax.theory import critical_line
      >>> std, _ = critical_line(jnp.tanh, 1 / 64)
      >>> for ensemble in ("orthogonal", "gaussian"):
      ...     moments = jacobian_moments(jnp.tanh, std, 1 / 64, depth=50, ensemble=ensemble)
      ...     print(f"{moments.relative_variance:.3f}")
      0.084
      50.084

    References:
      Pennington, Schoenholz & Ganguli 2017, NIPS 30 (arXiv:1711.04735), and 2018, AISTATS, PMLR
      84:1924-1932.
    """
    _refuse(activation, weight_std, q, depth, ensemble)
    return _jacobian_moments((activation, depth, ensemble), weight_std, q)


def jacobian_density(
    activation: Activation,
    weight_std: ArrayLike,
    q: ArrayLike,
    singular_values: ArrayLike,
    *,
    depth: int,
    ensemble: str = "gaussian",
) -> Array:
    r"""Density of the singular values of $J$ in a wide network.

    $\rho(s) = -\frac{2s}{\pi}\,\mathrm{Im}\, G(s^2 + i0)$ with $G(\lambda) = (1 + m)/\lambda$ and
    $\lambda(w)$ of `jacobian_moments`, followed by Newton's method from $|\lambda| = \infty$ down
    to the real line. Singular values of exactly 0 (of ReLU) are not part of the density.

    Args:
      activation: elementwise function $\phi$.
      weight_std: $\sigma_w$.
      q: variance of the pre-activations.
      singular_values: $s > 0$, where to evaluate; all three broadcast.
      depth: $L$, number of layers.
      ensemble: "gaussian" or "orthogonal".

    Returns:
      $\rho(s)$; NaN where the solution was lost on the way: at singular values of a thousandth
      of the root mean square and below, where $w$ comes too near the slopes themselves.

    Raises:
      ValueError: as `jacobian_moments`.

    Example:
      One linear Gaussian layer has the quarter circle of radius 2, $\sqrt{4 - s^2}/\pi$:

      >>> import jax.numpy as jnp
      >>> print(jacobian_density(lambda x: x, 1.0, 1.0, jnp.array([1.0, 3.0]), depth=1).round(4))
      [0.5513 0.    ]
    """
    _refuse(activation, weight_std, q, depth, ensemble)
    refuse_negative(singular_values=singular_values)
    return _jacobian_density((activation, depth, ensemble), weight_std, q, singular_values)


def _refuse(
    activation: Activation, weight_std: ArrayLike, q: ArrayLike, depth: int, ensemble: str
) -> None:
    check_functions(activation=activation)
    refuse_negative(weight_std=weight_std, q=q)
    check_integers(depth=depth)
    if ensemble not in ENSEMBLES:
        raise ValueError(must("ensemble", f"be one of {ENSEMBLES}", repr(ensemble)))


def _squared_slopes(activation: Activation, q: Array, nodes: int = NODES) -> tuple[Array, Array]:
    r"""Values of $\phi'^2$ and their probabilities, `[nodes]` each."""
    slope = slope_of(activation)
    z, probability = normal_nodes(nodes)
    return jnp.square(slope(jnp.sqrt(q) * z)), probability


def _log_eigenvalue(
    static: tuple[Activation, int, str], weight_std: Array, slopes: tuple[Array, Array]
) -> Callable[[Array], tuple[Array, Array]]:
    r"""Maps $w$ to $\log \lambda(w)$ and $m(w)$; real or complex.

    The equation is best in its logarithm, since $\lambda$ spans $L$ orders of magnitude.
    """
    _, depth, ensemble = static
    squares, probability = slopes
    gain = 0 if ensemble == "orthogonal" else 1

    def evaluate(w: Array) -> tuple[Array, Array]:
        m = jnp.sum(probability * squares / (w - squares))
        # m w -> mu_1 for large w; the other factors stay near 1 there.
        log_lambda = (
            (1 + (gain - 1) * depth) * jnp.log(1 + m)
            + (depth - 1) * jnp.log(m * w)
            + jnp.log(w)
            + 2 * depth * jnp.log(weight_std)
        )
        return log_lambda, m

    return evaluate


@in_double
def _jacobian_moments(
    static: tuple[Activation, int, str], weight_std: Array, q: Array
) -> JacobianMoments:
    activation, depth, ensemble = static
    slopes = squares, probability = _squared_slopes(activation, q)
    mu1, mu2 = probability @ squares, probability @ jnp.square(squares)
    s1 = 0.0 if ensemble == "orthogonal" else -1.0
    mean = (jnp.square(weight_std) * mu1) ** depth
    relative = depth * (mu2 / jnp.square(mu1) - 1 - s1)
    largest = _upper_edge(jnp.max(squares), _log_eigenvalue(static, weight_std, slopes))
    return JacobianMoments(mean, jnp.square(mean) * relative, relative, largest)


def _upper_edge(top: Array, log_eigenvalue: Callable[[Array], tuple[Array, Array]]) -> Array:
    r"""$\min \lambda(w)$ over $w > \sup \phi'^2$, where the resolvent's branches meet."""

    def at(log_distance: Array) -> Array:
        return log_eigenvalue(top * (1 + jnp.exp(log_distance)))[0]

    ratio = (5**0.5 - 1) / 2

    def shrink(_: int | Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        inner, outer = high - ratio * (high - low), low + ratio * (high - low)
        left = at(inner) < at(outer)
        return jnp.where(left, low, inner), jnp.where(left, outer, high)

    # w - 1 from 1e-6, below which the nodes of the expectation cannot resolve it, to 1e6.
    low, high = (jnp.full_like(top, jnp.log(end)) for end in (1e-6, 1e6))
    low, high = lax.stop_gradient(lax.fori_loop(0, _GOLDEN_STEPS, shrink, (low, high)))
    return jnp.exp(at((low + high) / 2))


@in_double
@jax.numpy_dtype_promotion("standard")  # complex and real numbers are mixed
def _jacobian_density(
    static: tuple[Activation, int, str], weight_std: Array, q: Array, s: Array
) -> Array:
    activation, depth, _ = static
    slopes = squares, probability = _squared_slopes(activation, q, COARSE_NODES)
    mu1 = probability @ squares
    log_eigenvalue = _log_eigenvalue(static, weight_std, slopes)

    def above(height: Array) -> Array:
        """log of the eigenvalue with an imaginary part of `height` times itself."""
        return 2 * jnp.log(s) + jnp.log(lax.complex(jnp.ones_like(height), height))

    def residual(log_w: Array, height: Array) -> Array:
        return log_eigenvalue(jnp.exp(log_w))[0] - above(height)

    def stage(log_w: Array, height: Array) -> tuple[Array, None]:
        for _ in range(_NEWTON_STEPS):
            value, slope = jax.jvp(lambda w: residual(w, height), (log_w,), (jnp.ones_like(log_w),))
            log_w -= value / slope
        return log_w, None

    heights = jnp.geomspace(_FAR, _NEAR, _STAGES)
    # log_eigenvalue(w) for large w, where m w is mu_1
    start = above(heights[0]) - 2 * depth * jnp.log(weight_std) - (depth - 1) * jnp.log(mu1)
    log_w, _ = lax.scan(stage, start, heights)
    m = log_eigenvalue(jnp.exp(log_w))[1]
    lost = jnp.abs(residual(log_w, heights[-1])) > _LOST
    density = -2 / (jnp.pi * s) * jnp.imag((1 + m) * jnp.exp(2 * jnp.log(s) - above(heights[-1])))
    return nan_unless(~lost, density)
